"""Run a program on a terminal of a given width, and capture the bytes that it sends."""

import fcntl
import os
import pty
import struct
import subprocess
import termios
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

ROWS = 24


@dataclass(frozen=True)
class Shown:
    """A program's exit status and everything it wrote to its terminal."""

    status: int
    text: str

    @property
    def lines(self) -> list[str]:
        """The output by lines."""
        return self.text.replace("\r\n", "\n").splitlines()


def on_a_terminal(
    argv: Sequence[str | Path],
    columns: int = 80,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Shown:
    """Run ``argv`` with a terminal of ``columns`` as its output and errors."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, columns, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    environment |= {"TERM": "xterm-256color", **(env or {})}
    with subprocess.Popen(
        argv, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs, env=environment, cwd=cwd
    ) as process:
        os.close(theirs)
        text = b""
        with suppress(OSError):  # EIO is the end: the other side is closed
            while block := os.read(ours, 65536):
                text += block
        os.close(ours)
        return Shown(process.wait(), text.decode(errors="surrogateescape"))
