"""The sealed archive: an inner plain ZIP inside one WinZip AES-256 (AE-2) entry, cut into volumes.

The format is described in ``docs/archive-format.md``.
"""

from orchestrator.archive.entry import (
    ArchiveError,
    ArchiveSummary,
    Entry,
    EntryChanged,
    FileRecord,
    Kind,
    Metadata,
    Method,
    Problem,
    Volume,
    WrongPasswordError,
)
from orchestrator.archive.reader import SealedReader
from orchestrator.archive.volumes import DEFAULT_VOLUME_BYTES, VolumeSink, joined
from orchestrator.archive.writer import SealedWriter

__all__ = [
    "DEFAULT_VOLUME_BYTES",
    "ArchiveError",
    "ArchiveSummary",
    "Entry",
    "EntryChanged",
    "FileRecord",
    "Kind",
    "Metadata",
    "Method",
    "Problem",
    "SealedReader",
    "SealedWriter",
    "Volume",
    "VolumeSink",
    "WrongPasswordError",
    "joined",
]
