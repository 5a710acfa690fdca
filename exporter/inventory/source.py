"""A source of the inventory: a function that reads the host and returns its findings."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeVar

from exporter.roots import Roots
from exporter.tree import Tree

Value = str | int | float | bool | None | list[str]
Item = dict[str, Value]
Row = tuple[tuple[str, ...], float]  # label values and the number
Kind = Literal["gauge", "counter"]
Entry = TypeVar("Entry")


@dataclass(slots=True)
class Metric:
    """One metric for /metrics, as `exposition.Family`, whose library the worker need not load."""

    name: str
    kind: Kind
    documentation: str
    label_names: Sequence[str] = ()
    rows: list[Row] = field(default_factory=list)

    def add(self, value: float, *labels: str) -> None:
        """Add one row; ``labels`` in the order of ``label_names``."""
        self.rows.append((labels, value))


@dataclass(slots=True)
class Findings:
    """The findings of one run of one source.

    ``items`` is the lasting content (kind, fields): it makes the document and its hash. ``metrics`` are
    for /metrics, and may change at any time. ``skipped`` counts what could not be understood;
    ``reason`` says of the first such thing where it is and what is wrong with it, never what it holds.
    """

    items: list[tuple[str, Item]] = field(default_factory=list)
    metrics: list[Metric] = field(default_factory=list)
    skipped: int = 0
    reason: str = ""

    def add(self, kind: str, **fields: Value) -> None:
        """Add one item; ``kind`` is a key of ``kinds.KINDS``, the fields are those of the kind."""
        self.items.append((kind, fields))

    def skip(self, count: int = 1, reason: str = "") -> None:
        """Count items that were there but could not be read or understood."""
        self.skipped += count
        if count:
            self.reason = self.reason or reason

    def known(self, source: str, entries: Iterable[Entry | None]) -> Iterator[Entry]:
        """The entries of a list without those that are not understood, which are None and are skipped.

        Raises ValueError if there are several of them and no other: then nothing is known of the list.
        """
        understood = skipped = 0
        for entry in entries:
            if entry is None:
                skipped += 1
                self.skip(reason=f"{source}: an entry that is not understood")
            else:
                understood += 1
                yield entry
        if skipped > 1 and not understood:
            raise ValueError(f"{source}: no entry is understood")


@dataclass(frozen=True)
class Context:
    """The host as a source sees it; ``now`` is Unix time."""

    roots: Roots
    tree: Tree
    now: float


Read = Callable[[Context], Findings]


# A killed process still has to be given the processor to end, and the worker's are the last to get it.
ENDING_SECONDS = 5.0


@dataclass(frozen=True)
class SourceEntry:
    """One line of the registry; ``readers.py`` has the function of the same name.

    ``summary`` completes "Read …." in the help. ``watches`` are files, or patterns of them: while size, time
    and inode of all are unchanged the source need not run again. ``limit`` is in seconds of wall time.
    ``quick`` sources run every minute, the others on the service's interval.
    """

    summary: str
    kinds: tuple[str, ...]
    watches: tuple[str, ...] = ()
    limit: float = 10.0
    quick: bool = False
