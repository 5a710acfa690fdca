"""The rule for every list that is read: an invalid entry is skipped, and its neighbours are kept."""

import logging
from collections.abc import Callable, Iterable
from typing import TypeVar

_LOG = logging.getLogger(__name__)
_MOST_LOGGED = 100  # lists; a name that changes from host to host must not fill the log
OUT_OF_RANGE = 2**64  # the kernel counts with 64 bits at most
# How a reader reports that an entry is invalid or unreadable.
_UNREADABLE = (ValueError, LookupError, ArithmeticError, OSError)

Entry = TypeVar("Entry")
Key = TypeVar("Key")
Result = TypeVar("Result")


class Skipped:
    """Counts the entries that one collector or source skipped, and logs the first of each list.

    The log has the error's text: readers of files that may contain secrets must not put the entry into it.
    """

    def __init__(self) -> None:
        self.count = 0
        self._logged: set[str] = set()

    def add(self, source: str, reason: object) -> None:
        self.count += 1
        if source not in self._logged and len(self._logged) < _MOST_LOGGED:
            self._logged.add(source)
            _LOG.warning("%s: an entry is skipped; further ones are counted, not logged: %s", source, reason)

    def each(self, source: str, entries: Iterable[Entry], read: Callable[[Entry], Result]) -> list[Result]:
        """The result of ``read`` for each entry, without those for which it raises ValueError or OSError.

        Raises the first of these errors if there are entries and none of them can be read.
        """
        found: list[Result] = []
        first: Exception | None = None
        for entry in entries:
            try:
                found.append(read(entry))
            except _UNREADABLE as error:
                self.add(source, error)
                first = first or error
        if first is not None and not found:
            raise first
        return found

    def parts(self, source: str, *parts: Callable[[], Iterable[Result]]) -> list[Result]:
        """The results of several parts together, as in `each`: a part that cannot be read is skipped."""
        found: list[Result] = []
        first: Exception | None = None
        for part in parts:
            try:
                found += list(part())
            except _UNREADABLE as error:
                self.add(source, error)
                first = first or error
        if first is not None and not found:
            raise first
        return found

    def unique(self, source: str, pairs: Iterable[tuple[Key, Result]]) -> dict[Key, Result]:
        """The pairs as a dictionary; the first pair of each key counts, later ones are skipped."""
        found: dict[Key, Result] = {}
        for key, value in pairs:
            if key in found:
                self.add(source, f"{key!r} comes twice")
            else:
                found[key] = value
        return found


def in_range(numbers: list[int]) -> list[int]:
    """The numbers. Raises ValueError if one exceeds the 64 bits that the kernel counts with."""
    if numbers and not -OUT_OF_RANGE < min(numbers) <= max(numbers) < OUT_OF_RANGE:
        raise ValueError("a number out of range")
    return numbers
