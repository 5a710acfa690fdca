"""Sources of one job that would give the same path twice. Pure."""

from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

from leitstand.fleet import Finding

# What is of a whole server, and one file of the snapshot, whichever database's source asks for it.
_OF_THE_SERVER = ("users", "globals")


def overlapping_sources(path: tuple[str | int, ...], labels: Sequence[str]) -> Iterator[Finding]:
    """A finding for each source whose place an earlier one holds, or the other way round."""
    for index, label in enumerate(labels):
        for earlier in labels[:index]:
            if _holds(earlier, label) or _holds(label, earlier):
                what = f"holds the same files as '{earlier}'"
                yield (*path, "sources", index), what, "name each place once"


def repeated_accounts(path: tuple[str | int, ...], sources: Sequence[object]) -> Iterator[Finding]:
    """A finding for each source but the first that asks for the accounts of its server."""
    for setting in _OF_THE_SERVER:
        asking = [index for index, source in enumerate(sources) if getattr(source, setting, False)]
        for index in asking[1:]:
            yield (
                (*path, "sources", index, setting),
                f"'{setting}' is set at two sources",
                "it is of the whole server: set it at one of them; another server needs a job of its own",
            )


def _holds(outer: str, inner: str) -> bool:
    return PurePosixPath(inner).is_relative_to(PurePosixPath(outer))
