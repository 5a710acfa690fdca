"""What differs between two snapshots, from their manifests. Pure."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import blake2b

from orchestrator.archive import FileRecord
from orchestrator.manifest import Row

_DIGEST_BYTES = 12


@dataclass(frozen=True)
class Change:
    """One path: ``+`` new, ``-`` gone, ``M`` other content or kind, ``m`` other owner, rights, times."""

    kind: str
    path: bytes


def compare(before: Iterable[Row], after: Iterable[Row]) -> Iterator[Change]:
    """Every change, in the order of the newer manifest; what is gone comes last.

    Of the older manifest two short digests a path are held, so that a million files fit into memory.
    """
    known = {row.record.path: (_content(row.record), _metadata(row.record)) for row in before}
    for row in after:
        record = row.record
        old = known.pop(record.path, None)
        if old is None:
            yield Change("+", record.path)
        elif old[0] != _content(record):
            yield Change("M", record.path)
        elif old[1] != _metadata(record):
            yield Change("m", record.path)
    for path in known:
        yield Change("-", path)


def _content(record: FileRecord) -> bytes:
    return _digest(record.metadata.kind, record.sha256, record.size, record.metadata.link)


def _metadata(record: FileRecord) -> bytes:
    each = record.metadata
    return _digest(each.mode, each.uid, each.gid, each.user, each.group, each.mtime_ns, each.xattrs)


def _digest(*values: object) -> bytes:
    return blake2b(repr(values).encode(), digest_size=_DIGEST_BYTES).digest()
