"""What a person sees while a roll-out runs: a line per batch and change, and the current task."""

import shutil
import sys
from typing import TextIO

from leitstand.text import visible

_TO_LINE_START = "\r\x1b[K"  # and erase the line: ECMA-48, EL


class Shown:
    """On a terminal the current task is one moving line; elsewhere, as in a log, tasks are left out."""

    def __init__(self, stream: TextIO | None = None) -> None:
        below: TextIO | None = getattr(stream, "below", stream)  # `HarmlessStream` would filter the drawing
        self._stream, self._moves = below, below is not None and below.isatty()

    def line(self, text: str) -> None:
        """A line that stays."""
        if self._stream is not None:
            self._stream.write(f"{_TO_LINE_START * self._moves}{visible(text)}\n")
            self._stream.flush()

    def task(self, name: str) -> None:
        """A task begins; the next line or task takes its place."""
        if self._stream is not None and self._moves:
            width = shutil.get_terminal_size().columns - 1
            self._stream.write(f"{_TO_LINE_START}{visible(f'  {name} …')[:width]}")
            self._stream.flush()

    def change(self, host: str, what: str) -> None:
        """Something was changed on a host."""
        self.line(f"  {host}: {what}")


def on_standard_error() -> Shown:
    """For people, beside the result on standard output."""
    return Shown(sys.stderr)
