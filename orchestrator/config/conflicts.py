"""Sources of one job that would give the same path twice. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath, PurePosixPath

from leitstand.settings.problems import Finding

# Settings for a whole server: one file of the snapshot, no matter which database's source sets it.
_OF_THE_SERVER = ("users", "globals")


def overlapping_sources(path: tuple[str | int, ...], labels: Sequence[str]) -> Iterator[Finding]:
    """A finding for each source that contains an earlier one, or is in it."""
    for index, label in enumerate(labels):
        for earlier in labels[:index]:
            if _holds(earlier, label) or _holds(label, earlier):
                what = f"holds the same files as '{earlier}'"
                yield (*path, "sources", index), what, "name each place once"


def repeated_accounts(path: tuple[str | int, ...], sources: Sequence[object]) -> Iterator[Finding]:
    """A finding for each source but the first that saves the accounts of its server."""
    for setting in _OF_THE_SERVER:
        asking = [index for index, source in enumerate(sources) if getattr(source, setting, False)]
        for index in asking[1:]:
            yield (
                (*path, "sources", index, setting),
                f"'{setting}' is set on two sources",
                "it applies to the whole server: set it on one of them; another server needs its own job",
            )


def same_places(
    path: tuple[str | int, ...], names: Sequence[str], places: Mapping[str, object]
) -> Iterator[Finding]:
    """A finding for each store that is the same place as an earlier one: one may undo the other's work."""
    for index, name in enumerate(names):
        for earlier in names[:index]:
            if name != earlier and name in places and places[name] == places.get(earlier):
                what = f"store '{name}' is the same place as '{earlier}'"
                yield (*path, "stores", index), what, "a second copy needs its own place"


def sources_in_stores(
    path: tuple[str | int, ...], labels: Sequence[str], folders: Mapping[str, PurePath]
) -> Iterator[Finding]:
    """A finding for each folder to be saved that is one of the job's own stores, or inside it."""
    for index, label in enumerate(labels):
        for name, folder in folders.items():
            if _holds(f"files{folder}", label):
                what = f"is in '{name}', a store of this job: it would save its own snapshots"
                yield (*path, "sources", index), what, "name another folder, or another store"


def _holds(outer: str, inner: str) -> bool:
    return PurePosixPath(inner).is_relative_to(PurePosixPath(outer))
