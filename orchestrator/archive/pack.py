"""Read small entries whole and build their part of the inner ZIP: the work of the worker threads."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from orchestrator.archive.deflate import crc32, shrink
from orchestrator.archive.entry import Entry, EntryChanged, Metadata, Method, Problem
from orchestrator.archive.inner import UNSTORED, Common, HeaderFields, common, fixed_content, local_header

# Entries up to this size are held in memory whole, so that their headers have the true sizes; a file that has
# grown past twice that since it was listed is written as a stream.
SMALL_BYTES = 4 << 20
CHANGED = "changed while it was read"


@dataclass(slots=True)
class Gathered:
    """The start of an entry's content; ``rest`` yields the remainder unless it ended within the limit."""

    content: bytes
    rest: Iterator[bytes] | None = None
    problem: str = ""


@dataclass(slots=True)
class Packed:
    """One entry ready to be written; ``fields.header`` is still 0, as only the writer knows its position."""

    metadata: Metadata
    both: Common
    fields: HeaderFields
    sha256: bytes
    header: bytes
    data: bytes
    problem: str = ""


@dataclass(slots=True)
class Grown:
    """An entry that turned out too large to hold in memory: it is written as a stream."""

    entry: Entry
    start: Gathered


PackResult = Packed | Grown | Problem


def gather(blocks: Iterable[bytes], limit: int) -> Gathered:
    """Read to the end, or to more than ``limit`` bytes. Raises what the blocks raise, except EntryChanged."""
    parts, size, iterator = [], 0, iter(blocks)
    try:
        for block in iterator:
            parts.append(block)
            size += len(block)
            if size > limit:
                return Gathered(b"".join(parts), iterator)
    except EntryChanged:
        return Gathered(b"".join(parts), None, CHANGED)
    return Gathered(parts[0] if len(parts) == 1 else b"".join(parts))


def pack_all(entries: list[tuple[Entry, Gathered | None]], level: int) -> list[PackResult]:
    """Pack a batch of entries; what has been gathered is not read again."""
    return [_pack(entry, gathered, level) for entry, gathered in entries]


def _pack(entry: Entry, gathered: Gathered | None, level: int) -> PackResult:
    try:
        content = gathered or _read(entry)
    except OSError as error:
        return Problem(entry.path, describe(error))
    if content.rest is not None:
        return Grown(entry, content)
    return _packed(entry.metadata, content, level)


def _read(entry: Entry) -> Gathered:
    fixed = fixed_content(entry.metadata)
    return gather(entry.blocks(), 2 * SMALL_BYTES) if fixed is None else Gathered(fixed)


def _packed(metadata: Metadata, gathered: Gathered, level: int) -> Packed:
    content = gathered.content
    digest, both = hashlib.sha256(content).digest(), common(metadata)
    if metadata.kind in UNSTORED:
        return Packed(metadata, both, HeaderFields(0, Method.NONE, 0, 0, 0, False), digest, b"", b"")
    deflated = shrink(content, level) if content else None
    data, method = (content, Method.STORE) if deflated is None else (deflated, Method.DEFLATE)
    fields = HeaderFields(0, method, crc32(content), len(data), len(content), False)
    return Packed(metadata, both, fields, digest, local_header(both, fields), data, gathered.problem)


def describe(error: OSError) -> str:
    """The error in one line, without the path, which is shown next to it."""
    return error.strerror or str(error) or type(error).__name__
