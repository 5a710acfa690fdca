"""``python -m leitstand``: the same as the ``leitstand`` command."""

from leitstand.start import main

main()
