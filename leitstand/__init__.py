"""Code that two or more programs need. Imports none of them, and little: see `leitstand.start`."""
