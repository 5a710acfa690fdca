"""Where the ``leitstand`` command begins: it imports little, so that Ctrl-C is one line from the start."""

import os
import signal


def main() -> None:
    """Load the command line and run it; while it loads, and when it has ended, Ctrl-C ends it at once."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else it is ignored, and stays so
        signal.signal(signal.SIGINT, _end)
    # Which packages are installed beside it says nothing of a configuration; to look takes time, too.
    os.environ["PYDANTIC_DISABLE_PLUGINS"] = "__all__"
    from leitstand.cli import main as command_line

    command_line()


def _end(*_: object) -> None:
    os.write(2, b"interrupted\n")
    os._exit(130)
