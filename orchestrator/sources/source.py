"""What a source is: entries for the archive, and a report of every path that could not be taken."""

from collections.abc import Callable, Iterator, Mapping
from typing import Protocol, runtime_checkable

from leitstand.errors import LeitstandError
from orchestrator.archive import Entry, Problem

Report = Callable[[Problem], None]


class SourceError(LeitstandError):
    """A source as a whole cannot be read: the run fails and leaves no snapshot."""


@runtime_checkable
class Hindered(Protocol):
    """A source that a hardened unit may not be able to read though this user can."""

    def hindrance(self) -> str:
        """Why; empty when nothing hinders it."""


class Source(Protocol):
    """Something that is backed up.

    ``label`` is the folder in the archive under which its entries stand (``files/var/www``). ``sequential``
    says that each entry's blocks must be read before the next entry is asked for, as from a pipe. ``tables``
    has the rows per table of each dump, by its path in the archive, once its last block was read.
    """

    label: str
    sequential: bool

    @property
    def tables(self) -> Mapping[bytes, Mapping[str, int]]: ...

    def entries(self, report: Report) -> Iterator[Entry]:
        """Every path, a folder before what is in it. ``report`` is told of paths left out by an error.

        Raises SourceError when the source as a whole cannot be read.
        """

    def close(self) -> None:
        """Free what was held for the entries; called after the archive was closed or aborted."""
