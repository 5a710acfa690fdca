"""``python -m leitstand``: the same as the ``leitstand`` command."""

from leitstand.cli import main

main()
