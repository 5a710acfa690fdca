"""The result of loading a dump, and the two ways in which it may not load."""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import IO

from leitstand.errors import LeitstandError

LOAD_SECONDS = 6 * 3600.0
_LONGEST_LINE = 1 << 20


class DumpError(LeitstandError):
    """A dump does not load, or what it loads is damaged."""


class CannotLoadError(LeitstandError):
    """This machine lacks what the dump needs; that says nothing about the dump."""


def lines_of(file: IO[bytes]) -> Iterator[bytes]:
    """The lines of a dump, a long one in pieces: a row may be larger than memory."""
    return iter(lambda: file.readline(_LONGEST_LINE), b"")


@dataclass(frozen=True)
class Loaded:
    """The rows of each table that a dump made.

    Of ``shared`` tables only some rows are the dump's own: an extension, or other tables, have the rest.
    ``named`` writes the name of a table as ``tables`` has it. ``notes`` say what was left out, a line each.
    """

    tables: Mapping[str, int]
    shared: Collection[str] = frozenset()
    named: Callable[[str], str] = str
    notes: tuple[str, ...] = ()

    def differences(self, saved: Mapping[str, int]) -> list[str]:
        """The differences from the rows that were counted while the dump was made, a line for each table.

        A table that was not counted then is no difference: nothing comes from a dump that it does not have.
        Nor is one whose name the dump has in an encoding that was not understood.
        """
        return [
            f"table {table} has {self.tables.get(self.named(table), 'no')} rows, {rows} were saved"
            for table, rows in sorted(saved.items())
            if "\ufffd" not in table and self._differs(self.named(table), rows)
        ]

    def _differs(self, table: str, saved: int) -> bool:
        now = self.tables.get(table)
        return now is None or (now < saved if table in self.shared else now != saved)
