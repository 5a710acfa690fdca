"""The sealed archive: an inner plain ZIP inside one WinZip AES-256 (AE-2) entry, cut into volumes.

``docs/archive-format.md`` describes the format. The reader and writer are separate modules because they load
ciphers and compressors, which a command that only lists does not need.
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
from orchestrator.archive.volumes import DEFAULT_VOLUME_BYTES, VolumeSink, joined

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
    "Volume",
    "VolumeSink",
    "WrongPasswordError",
    "joined",
]
