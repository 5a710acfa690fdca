"""What two or more of Leitstand's programs need. Imports none of them, and little: see `leitstand.start`."""
