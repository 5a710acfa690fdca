"""Bring a snapshot, or some paths of it, back into an empty or new folder.

Everything is made in a staging folder inside the target, each file under its name only after its SHA-256 was
proven. At the end the staging folder's content moves up: what stands in the target is whole. An interrupted
restore into the same target goes on where it stopped.
"""

import errno
import os
from dataclasses import dataclass, field, replace
from pathlib import Path

from leitstand.errors import LeitstandError, UsageError
from orchestrator.archive import FileRecord, Kind, Metadata
from orchestrator.manifest import Row
from orchestrator.owners import Owners
from orchestrator.snapshot import Snapshot
from orchestrator.sources.patterns import Selection
from orchestrator.tree import Tree

_STAGING = ".leitstand-restoring-"


class RestoreError(LeitstandError):
    """The restore stopped; what has its final name is whole."""


@dataclass
class Restored:
    """Counters of a restore, moved on as it goes.

    ``notes`` are paths that are not as they were at the source; ``removed`` what the snapshot did not have.
    """

    entries: int = 0
    content_bytes: int = 0
    skipped: int = 0
    removed: int = 0
    notes: list[str] = field(default_factory=list)


def restore(
    snapshot: Snapshot, target: Path, selection: Selection, owners: Owners, result: Restored | None = None
) -> Restored:
    """Restore the selected paths.

    Raises UsageError for an unusable target, RestoreError when it must stop.
    """
    result = result or Restored()
    staging = prepare_target(target, snapshot.name.id)
    try:
        with Tree(staging, owners) as tree:
            Restoring(snapshot, selection, tree, result).run()
        _move_up(staging, target)
    except OSError as error:
        raise _stopped(target, staging, error) from error
    if owners.lost_xattrs:
        result.notes.append(f"{owners.lost_xattrs} extended attributes could not be set in {target}")
    return result


def prepare_target(target: Path, snapshot_id: str) -> Path:
    """The staging folder in an empty or new target. Raises UsageError when there is anything else in it."""
    staging = check_target(target, snapshot_id)
    try:
        target.mkdir(mode=0o700, parents=True, exist_ok=True)
        staging.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"{target}: {error.strerror}", "name a folder that can be made and written"
        ) from error
    return staging


def check_target(target: Path, snapshot_id: str) -> Path:
    """The staging folder that a restore would use. Raises UsageError unless the target is empty or new."""
    others = strangers(target, snapshot_id)
    if others:
        raise UsageError(
            f"{target} is not empty: {others[0]}", "restore into an empty or new folder, or --into-existing"
        )
    return target / f"{_STAGING}{snapshot_id}"


def strangers(target: Path, snapshot_id: str) -> list[str]:
    """The names in a target that this restore did not begin. Raises UsageError."""
    try:
        found = list(target.iterdir()) if target.exists() else []
    except OSError as error:
        raise UsageError(f"{target}: {error.strerror}", "name an empty or new folder") from error
    own = ("lost+found", f"{_STAGING}{snapshot_id}")
    return sorted(path.name for path in found if path.name not in own)


@dataclass
class Restoring:
    """One restore under way."""

    snapshot: Snapshot
    selection: Selection
    tree: Tree
    result: Restored
    # Files that are not selected themselves, but whose other names are: path -> those names.
    wanted_by_links: dict[bytes, list[bytes]] = field(default_factory=dict)
    folders: list[Metadata] = field(default_factory=list)

    def run(self) -> None:
        """Everything, in two steps."""
        self.write()
        self.finish_folders()

    def write(self) -> None:
        """All contents; folders have neither owners nor times yet."""
        if not self.selection.all:
            self._find_wanted_by_links()
        for row in self.snapshot.manifest.rows():
            self._row(row)

    def finish_folders(self) -> None:
        """Metadata of the folders, the innermost first: what is done in one changes its times."""
        for metadata in reversed(self.folders):
            self.tree.finish_folder(metadata)

    def _find_wanted_by_links(self) -> None:
        for row in self.snapshot.manifest.hardlinks():
            metadata = row.record.metadata
            if metadata.path in self.selection and metadata.link not in self.selection:
                self.wanted_by_links.setdefault(metadata.link, []).append(metadata.path)

    def _row(self, row: Row) -> None:
        record = row.record
        names = self.wanted_by_links.get(record.path, [])
        if names:
            self._file_as(row, names[0])
            for name in names[1:]:
                self.tree.make_hardlink(name, names[0])
            self.result.entries += len(names)
        elif record.path in self.selection and record.metadata.link not in self.wanted_by_links:
            self._selected_row(row)
            self.result.entries += 1

    def _selected_row(self, row: Row) -> None:
        metadata = row.record.metadata
        match metadata.kind:
            case Kind.FILE:
                self._file_as(row, metadata.path)
            case Kind.DIRECTORY:
                self.tree.make_folder(metadata.path)
                self.folders.append(metadata)
            case Kind.SYMLINK:
                self.tree.make_link(metadata)
            case Kind.HARDLINK:
                self.tree.make_hardlink(metadata.path, metadata.link)
            case Kind.FIFO:
                self.tree.make_fifo(metadata)
            case Kind.SOCKET | Kind.DEVICE:
                self.result.notes.append(f"{os.fsdecode(metadata.path)}: a {metadata.kind} is not restored")

    def _file_as(self, row: Row, path: bytes) -> None:
        record = row.record
        metadata = _renamed(record, path)
        if record.problem:
            self.result.notes.append(f"{os.fsdecode(path)}: {record.problem}")
        if self.tree.has_file(metadata, record.size, record.sha256):
            self.result.skipped += 1
            return
        with self.tree.new_file(metadata) as file:
            self.snapshot.copy(record, row.layer, file.write)
        self.result.content_bytes += record.size


def _renamed(record: FileRecord, path: bytes) -> Metadata:
    return record.metadata if path == record.path else replace(record.metadata, path=path)


def _move_up(staging: Path, target: Path) -> None:
    for path in sorted(staging.iterdir()):
        path.rename(target / path.name)
    staging.rmdir()


def _stopped(target: Path, staging: Path, error: OSError) -> RestoreError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        hint = f"make room and run the same command again: it goes on; or remove {staging}"
    else:
        hint = f"what was restored so far is in {staging}"
    name = os.fsdecode(error.filename) if isinstance(error.filename, bytes | str) else ""
    return RestoreError(f"{target}: {name + ': ' if name else ''}{error.strerror}", hint)
