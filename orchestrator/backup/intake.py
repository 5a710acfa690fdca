"""Entries on their way from a source into an archive: counted, held to the job's limits, and each to what a
restore takes (see `archive.admission`)."""

import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial

from orchestrator.archive import Entry, Kind, Problem
from orchestrator.archive.admission import refusal
from orchestrator.archive.holes import ZEROS
from orchestrator.config.limits import Limits
from orchestrator.config.settings import FilesSettings
from orchestrator.sources import Report, Source, SourceError

DEEPEST = 500  # folders; a restore goes deeper, but not all that removes a tree afterwards, as a drill has to
_LONGEST_TOLD = 1024  # bytes of a path that is refused


class Intake:
    """One reading of one source. ``taken`` counts entries, ``content_bytes`` what was read, without holes."""

    def __init__(self, source: Source, limits: Limits, report: Report) -> None:
        self._source, self._limits, self._report = source, limits, report
        self._end = time.monotonic() + limits.time.total_seconds()
        self.taken = self.files = self._trusted = self.content_bytes = 0

    @property
    def trusted(self) -> int | None:
        """Entries with attributes ``trusted.*``; None if none is there for certain."""
        return self._trusted or (None if getattr(self._source, "sees_trusted", False) else 0)

    def entries(self) -> Iterator[Entry]:
        """The good entries of the source; the rest is reported. Raises SourceLimitError, SourceError."""
        for entry in self._source.entries(self._report):
            why = refusal(entry.metadata, entry.size) or self._too_large(entry) or _too_deep(entry)
            if why:
                self._report(Problem(entry.path[:_LONGEST_TOLD], why))
                continue
            self.taken += 1
            self._trusted += any(name.startswith(b"trusted.") for name, _ in entry.metadata.xattrs)
            self._hold("entries", self.taken > self._limits.entries)
            if entry.metadata.kind is Kind.FILE:
                self.files += 1
                entry.blocks = partial(self._counted, entry.blocks)
            yield entry
        self._require_files()

    def _require_files(self) -> None:
        settings = getattr(self._source, "settings", None)
        minimum = settings.minimum_files if isinstance(settings, FilesSettings) else 0
        if self.files < minimum:
            raise SourceError(
                f"{self._source.label}: {self.files} files, fewer than minimum_files, {minimum}",
                "was it emptied, or is it not mounted?",
            )

    def _too_large(self, entry: Entry) -> str:
        if max(entry.size or 0, entry.metadata.sparse) <= self._limits.bytes:
            return ""
        return f"refused: larger than the job's limits.bytes, {self._limits.bytes}"

    def _counted(self, blocks: Callable[[], Iterable[bytes]]) -> Iterator[bytes]:
        for block in blocks():
            if block is not ZEROS:
                self.content_bytes += len(block)
            self._hold("bytes", self.content_bytes > self._limits.bytes)
            self._hold("time", time.monotonic() > self._end)
            yield block

    def _hold(self, limit: str, is_exceeded: bool) -> None:
        if is_exceeded:
            raise self._limits.exceeded(self._source.label, limit)


def _too_deep(entry: Entry) -> str:
    return f"refused: more than {DEEPEST} folders deep" if entry.path.count(b"/") >= DEEPEST else ""
