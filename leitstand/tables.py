"""Tables that fit the terminal: words and names are never broken, and other output is never cut."""

import shutil
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Sequence

import click

from leitstand.text import visible

_GAP = 2  # columns between cells
_PROSE = 24  # minimum columns of the last cell for wrapping it next to the others


def terminal_width() -> int | None:
    """Columns of the terminal; None if standard output is not one."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[str] = ()) -> None:
    """Print a table on standard output; names of columns in ``right`` are aligned there."""
    for line in table_lines(columns, rows, right, terminal_width()):
        click.echo(line)


def table_lines(
    columns: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[str], width: int | None
) -> list[str]:
    """Columns if they fit ``width`` (None: always); else with the last one wrapped; else a block per row."""
    cells = [[visible(cell) for cell in row] for row in rows]
    widths = [max(map(_columns, column)) for column in zip(columns, *cells, strict=True)]
    before = sum(widths[:-1]) + _GAP * (len(widths) - 1)
    room = None if width is None else width - before
    longest = max((_columns(word) for row in cells for word in row[-1].split()), default=0)
    if room is not None and room < min(widths[-1], max(_PROSE, longest)):
        return [line for row in cells for line in _block(columns, row, width)]
    aligned = [column in right for column in columns]
    return [line for row in (columns, *cells) for line in _row(row, widths, aligned, room)]


def echo_fields(fields: Iterable[str]) -> None:
    """Print one record: fields separated by tabs; on a terminal by blanks, wrapped between fields."""
    parts, width = [visible(field) for field in fields if field], terminal_width()
    click.echo("\t".join(parts) if width is None else "\n".join(flow(parts, width)))


def flow(parts: Iterable[str], width: int | None, first: str = "", indent: str = "    ") -> list[str]:
    """``parts`` separated by two blanks, in lines of ``width``; no word is broken."""
    lines, line = [], first
    for part in parts:
        start = line if not line.strip() else line + " " * _GAP
        if width is None or _columns(start + part) <= width:
            line = start + part
            continue
        if line.strip():
            lines.append(line)
        line = indent if lines else first
        *whole, last = _wrapped(part, width - len(line))
        lines += [(line if not at else indent) + piece for at, piece in enumerate(whole)]
        line = (indent if whole else line) + last
    return [*lines, line] if line.strip() else lines


def _row(row: Sequence[str], widths: Sequence[int], right: Sequence[bool], room: int | None) -> Iterator[str]:
    """A row of cells, and the further lines that its last cell needs."""
    start = ""
    for cell, width, to_the_right in zip(row[:-1], widths, right, strict=False):
        space = " " * (width - _columns(cell))
        start += (space + cell if to_the_right else cell + space) + " " * _GAP
    last = row[-1].rjust(widths[-1]) if right[-1] else row[-1]
    pieces = [last] if room is None or _columns(last) <= room else _wrapped(last, room)
    for at, piece in enumerate(pieces):
        yield ((start if not at else " " * len(start)) + piece).rstrip()


def _block(columns: Sequence[str], row: Sequence[str], width: int | None) -> list[str]:
    """A row as lines: its first cell, then the others with their names."""
    named = [f"{name} {cell}" for name, cell in zip(columns[1:], row[1:], strict=True) if cell]
    return [row[0], *flow(named, width, "  ")]


def _wrapped(text: str, width: int) -> list[str]:
    """``text`` in lines of ``width`` columns; a longer word gets a line of its own, unbroken."""
    lines = [""]
    for word in text.split(" "):
        joined = f"{lines[-1]} {word}" if lines[-1] else word
        if lines[-1] and _columns(joined) > width:
            lines.append(word)
        else:
            lines[-1] = joined
    return lines


def _columns(text: str) -> int:
    """Columns that it takes on a terminal: wide letters two, combining marks none."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(letter) else 2 if unicodedata.east_asian_width(letter) in "WF" else 1
        for letter in text
    )
