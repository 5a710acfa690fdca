"""The differences between two snapshots, from their manifests. Pure."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from itertools import zip_longest

from orchestrator.archive import FileRecord
from orchestrator.repository.manifest import Row

_DIGEST_BYTES = 12

# What is compared: the content of a path, and everything else.
Contents = tuple[object, object]


@dataclass(frozen=True)
class Change:
    """One path: ``+`` new, ``-`` gone, ``M`` other content or kind, ``m`` other owner, rights, times."""

    kind: str
    path: bytes


def compare(before: Iterable[Row], after: Iterable[Row]) -> Iterator[Change]:
    """Every change: first of paths that both have, in the order in which they were seen in both, then new,
    then gone.

    Both are read in parallel. Except for changes their paths are in the same order, so only a few wait for
    their counterpart; two short digests of each are kept in memory.
    """
    old_ones: dict[bytes, Contents] = {}
    new_ones: dict[bytes, Contents] = {}
    for old, new in zip_longest(before, after):
        if old is not None and new is not None and old.record.path == new.record.path:
            yield from _changes(new.record.path, _contents(old.record), _contents(new.record))
            continue
        if old is not None:
            yield from _meet(old.record, old_ones, new_ones)
        if new is not None:
            yield from _meet(new.record, new_ones, old_ones)
    yield from (Change("+", path) for path in new_ones)
    yield from (Change("-", path) for path in old_ones)


def _meet(record: FileRecord, own: dict[bytes, Contents], others: dict[bytes, Contents]) -> Iterator[Change]:
    content, rest = _contents(record)
    contents, met = (_digest(content), _digest(rest)), others.pop(record.path, None)
    if met is None:
        own[record.path] = contents
    else:
        yield from _changes(record.path, met, contents)


def _changes(path: bytes, old: Contents, new: Contents) -> Iterator[Change]:
    if old[0] != new[0]:
        yield Change("M", path)
    elif old[1] != new[1]:
        yield Change("m", path)


def _contents(record: FileRecord) -> Contents:
    each = record.metadata
    content = each.kind, record.sha256, record.size, each.link
    return content, (each.mode, each.uid, each.gid, each.user, each.group, each.mtime_ns, each.xattrs)


def _digest(values: object) -> bytes:
    return blake2b(repr(values).encode(), digest_size=_DIGEST_BYTES).digest()
