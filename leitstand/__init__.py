"""What two or more of Leitstand's programs need. Imports none of them."""

__version__ = "0.1.0"
