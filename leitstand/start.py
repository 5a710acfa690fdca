"""Entry point of the ``leitstand`` command: imports little, so Ctrl-C gives one line from the start."""

import os
import signal


def main() -> None:
    """Load the command line and run it; Ctrl-C ends it at once while it loads and after it has run."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # otherwise it would stay ignored
        signal.signal(signal.SIGINT, _end)
    # pydantic looks for plugins in installed packages: not needed here, and slow.
    os.environ["PYDANTIC_DISABLE_PLUGINS"] = "__all__"
    from leitstand.cli import main as command_line

    command_line()


def _end(*_: object) -> None:
    os.write(2, b"interrupted\n")
    os._exit(130)
