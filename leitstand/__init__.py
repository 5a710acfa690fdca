"""What two or more of Leitstand's programs need. Imports none of them."""

from leitstand.version import release

__version__ = release()
