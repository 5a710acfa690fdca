"""Split mysqldump's stream into a piece per table, so that all pieces are from one transaction.

Joined in the order of their names the pieces are the dump, byte for byte, wherever it was split: if the
comments that mark tables also occur in a routine's text, that does no harm.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

HEAD, VIEWS, END = "head", "views", "end"
_MARK = re.compile(
    rb"^-- (?:(?P<table>Table structure for table `(?P<name>(?:[^`\n]|``){1,400}+)`)"
    rb"|(?P<view>Temporary (?:table|view) structure for view )"
    rb"|(?:Dumping (?:events|routines) for database |Final view structure for view |Dump completed))",
    re.MULTILINE,
)
_LONGEST_MARK = 1024


@dataclass(frozen=True)
class Start:
    """A piece begins: ``head``, ``table.NAME``, ``views`` or ``end``. There is always one ``end``."""

    name: str


def cut(blocks: Iterable[bytes]) -> Iterator[Start | bytes]:
    """The blocks again, with a start before the first of each piece."""
    piece = HEAD
    yield Start(piece)
    for text in _at_lines(blocks):
        position = 0
        for found in _MARK.finditer(text.data) if text.begins_line else _MARK.finditer(text.data, 1):
            name = _name(found)
            if piece == END or name == piece:
                continue
            yield text.data[position : found.start()]
            yield Start(name)
            piece, position = name, found.start()
        yield text.data[position:]


@dataclass(frozen=True)
class _Text:
    data: bytes
    begins_line: bool


def _at_lines(blocks: Iterable[bytes]) -> Iterator[_Text]:
    """The same bytes, split so that each mark is in one block."""
    rest, begins_line = b"", True
    for block in blocks:
        data = rest + block
        line = data.rfind(b"\n") + 1
        # A long line has the rows of a table, not a mark: nothing to keep.
        line = line if len(data) - line < _LONGEST_MARK else len(data)
        data, rest = data[:line], data[line:]
        if data:
            yield _Text(data, begins_line)
            begins_line = data.endswith(b"\n")
    if rest:
        yield _Text(rest, begins_line)


def _name(found: re.Match[bytes]) -> str:
    if found["table"]:
        return f"table.{found['name'].replace(b'``', b'`').decode(errors='replace')}"
    return VIEWS if found["view"] else END
