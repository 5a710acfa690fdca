"""The interface of a source: entries for the archive, and a report of every path that could not be read."""

from collections.abc import Callable, Iterator, Mapping
from typing import Protocol, runtime_checkable

from leitstand.errors import LeitstandError
from orchestrator.archive import Entry, Problem

Report = Callable[[Problem], None]


class SourceError(LeitstandError):
    """A source as a whole cannot be read: the run fails and makes no snapshot."""


@runtime_checkable
class Hindered(Protocol):
    """A source that a hardened unit may be unable to read, though this user can."""

    def hindrance(self) -> str:
        """Why; empty if it can be read."""


class Source(Protocol):
    """Something that is backed up.

    ``label`` is the folder of its entries in the archive (``files/var/www``). ``sequential``: each entry's
    blocks must be read before the next entry is requested, as from a pipe. ``tables`` has the rows per table
    of each dump, by its path in the archive, once its last block was read.
    """

    label: str
    sequential: bool

    @property
    def tables(self) -> Mapping[bytes, Mapping[str, int]]: ...

    def entries(self, report: Report) -> Iterator[Entry]:
        """Every path, a folder before its contents. ``report`` gets the paths that are left out after an
        error.

        Raises SourceError when the source as a whole cannot be read.
        """

    def close(self) -> None:
        """Free resources of the entries; called after the archive was closed or aborted."""
