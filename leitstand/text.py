"""Text from other sources: file names, answers of other hosts, output of programs."""

import io
import re
from typing import TextIO

_LONGEST_ERROR = 1000  # characters
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
# What controls a terminal or reorders letters: control characters except line feed and tab,
# C1 (U+009B begins a sequence as ESC [ does), other line breaks, direction marks, tags, lone surrogates.
_STEERING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)


def visible(text: str) -> str:
    """``text`` with each letter that controls a terminal or begins a line replaced."""
    if text.isprintable():
        return text
    return "".join([letter if letter.isprintable() else _REPLACEMENT for letter in text])


def words_of(error: BaseException) -> str:
    """The kind of an error and what it says; its text may come from code that is not ours."""
    try:
        return f"{type(error).__name__}: {error}"[:_LONGEST_ERROR]
    except Exception:  # noqa: BLE001 - of the error's own __str__
        return type(error).__name__


class HarmlessStream(io.TextIOWrapper):
    """The only way to the terminal: it passes letters and line breaks, and replaces control characters."""

    def __init__(self, below: io.TextIOWrapper) -> None:
        super().__init__(
            below.buffer,
            encoding=below.encoding,
            errors=below.errors,
            line_buffering=below.line_buffering,
            write_through=below.write_through,
        )
        self.below = below  # for raw drawing; and it would close the descriptor when it is collected

    def write(self, text: str) -> int:
        """Write ``text``; each letter that would control a terminal is replaced."""
        return super().write(_STEERING.sub(_REPLACEMENT, text))


def harmless(stream: TextIO) -> TextIO:
    """A stream that writes to the same place as ``stream``; one without a buffer is returned as it is."""
    if not isinstance(stream, io.TextIOWrapper) or isinstance(stream, HarmlessStream):
        return stream
    stream.flush()
    return HarmlessStream(stream)
