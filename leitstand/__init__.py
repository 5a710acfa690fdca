"""What two or more of Leitstand's programs need. Imports none of them."""

from leitstand.version import release, revision

# Of the code that was loaded: a checkout may move on while a program runs.
__version__, __revision__ = release(), revision()
