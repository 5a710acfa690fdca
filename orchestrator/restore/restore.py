"""Bring a snapshot, or some paths of it, back into an empty or new folder.

Everything is written to a staging folder inside the target; a file gets its name only after its SHA-256 was
checked. At the end the staging folder's content moves up, so files in the target are complete. An interrupted
restore into the same target continues where it stopped. Damage stops no other file: all intact files are then
in the staging folder, and another store may complete it.
"""

import errno
import os
import stat
from dataclasses import dataclass, field, replace
from pathlib import Path

from leitstand.errors import LeitstandError, UsageError
from orchestrator.archive import ArchiveError, FileRecord, Kind, Metadata
from orchestrator.archive.admission import refusal
from orchestrator.archive.names import leaves_tree, printable
from orchestrator.archive.reader import SealedReader
from orchestrator.archive.sparse import Unpacking
from orchestrator.repository.manifest import Row
from orchestrator.repository.snapshot import Snapshot
from orchestrator.restore.owners import Owners
from orchestrator.restore.tree import SparseFile, Tree
from orchestrator.sources.patterns import Selection
from orchestrator.stores import ObjectMissingError

_STAGING = ".leitstand-restoring-"
_MOVING_UP = ".leitstand-restored-"  # the staging folder's name once all in it is whole
_LOST_AND_FOUND = "lost+found"  # of a file system of its own
OUTSIDE_NAMED = 1000  # of the links that lead out of the target
DAMAGED_NAMED = 10
# A folder has no other name, nor has anything on a file system without links.
_NO_OTHER_NAME = (errno.EPERM, errno.EMLINK, errno.EXDEV)


class RestoreError(LeitstandError):
    """The restore stopped; files with their final names are complete."""


@dataclass
class Restored:
    """Counters of a restore, moved on as it goes.

    ``notes`` are paths that are not as they were at the source; ``removed`` what the snapshot did not have;
    ``outside_links`` symbolic links that lead out of the target, ``outside`` names the first ones.
    """

    entries: int = 0
    content_bytes: int = 0
    skipped: int = 0
    removed: int = 0
    outside_links: int = 0
    outside: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def leads_outside(self, metadata: Metadata) -> bool:
        """Whether this is a link that leads out of the target; it is counted then."""
        if metadata.kind is not Kind.SYMLINK or not leaves_tree(metadata.path, metadata.link):
            return False
        self.outside_links += 1
        if len(self.outside) < OUTSIDE_NAMED:
            self.outside.append(f"{os.fsdecode(metadata.path)} -> {os.fsdecode(metadata.link)}")
        return True


def restore(
    snapshot: Snapshot,
    target: Path,
    selection: Selection,
    owners: Owners,
    result: Restored | None = None,
    *,
    refuse_outside: bool = False,
) -> Restored:
    """Restore the selected paths; with ``refuse_outside`` no devices, no links that lead out of the target.

    Raises UsageError for an unusable target, RestoreError when it must stop.
    """
    result = result or Restored()
    staging = prepare_target(target, snapshot.name.id)
    try:
        with Tree(staging, owners) as tree:
            restoring = Restoring(snapshot, selection, tree, result, refuse_outside)
            restoring.write()
            restoring.finish_folders()
        restoring.require_all(
            f"all others are complete, in {staging}; the same command with --store continues there"
        )
        _move_up(staging, target, snapshot.name.id)
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
        _take_back(target, staging, snapshot_id)
        staging.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"{target}: {error.strerror}", "name a folder that can be created and written"
        ) from error
    return staging


def check_target(target: Path, snapshot_id: str) -> Path:
    """The staging folder that a restore would use. Raises UsageError unless the target is empty or new."""
    others = strangers(target, snapshot_id)
    if others:
        raise UsageError(
            f"{target} is not empty: {others[0]}",
            "restore into an empty or new folder, or use --into-existing",
        )
    return target / f"{_STAGING}{snapshot_id}"


def strangers(target: Path, snapshot_id: str) -> list[str]:
    """The names in a target that this restore did not begin. Raises UsageError."""
    try:
        found = [path.name for path in target.iterdir()] if target.exists() else []
    except OSError as error:
        raise UsageError(f"{target}: {error.strerror}", "name an empty or new folder") from error
    if f"{_MOVING_UP}{snapshot_id}" in found:
        return []
    return sorted(set(found) - {_LOST_AND_FOUND, f"{_STAGING}{snapshot_id}"})


def _take_back(target: Path, staging: Path, snapshot_id: str) -> None:
    """Move what an interrupted restore had moved up back into its staging folder."""
    moving_up = target / f"{_MOVING_UP}{snapshot_id}"
    if not moving_up.exists():
        return
    for path in target.iterdir():
        if path.name not in (_LOST_AND_FOUND, moving_up.name, staging.name):
            path.rename(moving_up / path.name)
    moving_up.rename(staging)


@dataclass
class Restoring:
    snapshot: Snapshot
    selection: Selection
    tree: Tree
    result: Restored
    refuse_outside: bool = False
    # Files that are not selected themselves, but whose other names are: path -> those names.
    wanted_by_links: dict[bytes, list[bytes]] = field(default_factory=dict)
    folders: list[Metadata] = field(default_factory=list)
    # Files that were not restored: nothing may be hard-linked to what is in their place.
    left_out: set[bytes] = field(default_factory=set)
    # Files that this store cannot give: path -> why.
    damaged: dict[bytes, str] = field(default_factory=dict)

    def write(self) -> None:
        """All contents; folders have neither owners nor times yet."""
        if not self.selection.all:
            self._find_wanted_by_links()
        for row in self.snapshot.manifest.rows(self._wanted):
            try:
                self._row(row)
            except (OSError, ValueError, OverflowError) as error:
                raise _named(error, row.record.path) from error

    def finish_folders(self) -> None:
        """Metadata of the folders, the innermost first: a change inside one changes its times."""
        for metadata in reversed(self.folders):
            self.tree.finish_folder(metadata)

    def require_all(self, hint: str) -> None:
        """Raises RestoreError if there was anything damaged."""
        if self.damaged:
            each = [f"{printable(path)}: {why}" for path, why in self.damaged.items()]
            more = f"{len(each)} files are damaged, among them " if len(each) > DAMAGED_NAMED else ""
            raise RestoreError(more + "; ".join(each[:DAMAGED_NAMED]), hint)

    def _find_wanted_by_links(self) -> None:
        for row in self.snapshot.manifest.hardlinks():
            metadata = row.record.metadata
            if metadata.path in self.selection and metadata.link not in self.selection:
                self.wanted_by_links.setdefault(metadata.link, []).append(metadata.path)

    def _wanted(self, path: bytes) -> bool:
        return path in self.selection or path in self.wanted_by_links

    def _row(self, row: Row) -> None:
        record = row.record
        names = self.wanted_by_links.get(record.path, [])
        if names:
            self._make(row, replace(record.metadata, path=names[0]))
            for name in names[1:]:
                self._other_name(replace(record.metadata, path=name, link=names[0]))
            self.result.entries += len(names)
        elif record.path in self.selection and record.metadata.link not in self.wanted_by_links:
            self._make(row, record.metadata)
            self.result.entries += 1

    def _make(self, row: Row, metadata: Metadata) -> None:
        """Create the row's file, under the path in ``metadata``."""
        if why := refusal(metadata, row.record.size):
            raise ValueError(why.removeprefix("refused: "))
        match metadata.kind:
            case Kind.FILE:
                self._file(row, metadata)
            case Kind.DIRECTORY:
                self.tree.make_folder(metadata.path)
                self.folders.append(metadata)
            case Kind.SYMLINK:
                self._link(metadata)
            case Kind.HARDLINK:
                self._other_name(metadata)
            case Kind.FIFO | Kind.SOCKET | Kind.DEVICE:
                self._node(metadata)

    def _link(self, metadata: Metadata) -> None:
        if self.result.leads_outside(metadata) and self.refuse_outside:
            self._leave_out(metadata, f"refused: it leads out of the target, to {os.fsdecode(metadata.link)}")
        else:
            self.tree.make_link(metadata)

    def _other_name(self, metadata: Metadata) -> None:
        first = os.fsdecode(metadata.link)
        if metadata.link in self.damaged:
            self.damaged[metadata.path] = f"another name of {printable(metadata.link)}"
            return
        if metadata.link in self.left_out:
            self._leave_out(metadata, f"another name of {first}, which was not restored")
            return
        try:
            self.tree.make_hardlink(metadata.path, metadata.link)
        except FileNotFoundError:
            self._leave_out(metadata, f"another name of {first}, which the snapshot does not have")
        except OSError as error:
            if error.errno not in _NO_OTHER_NAME:
                raise
            self._leave_out(metadata, f"another name of {first}: {error.strerror}")

    def _node(self, metadata: Metadata) -> None:
        if metadata.kind is Kind.DEVICE and self.refuse_outside:
            self._leave_out(metadata, "refused: a device reaches out of the target")
            return
        if metadata.kind is Kind.DEVICE and stat.S_IFMT(metadata.mode) not in (stat.S_IFCHR, stat.S_IFBLK):
            self._leave_out(metadata, "a device of an older snapshot, which does not record its type")
            return
        try:
            self.tree.make_node(metadata)
        except PermissionError:
            self._leave_out(metadata, f"only root can restore a {metadata.kind}")

    def _leave_out(self, metadata: Metadata, why: str) -> None:
        self.tree.remove(metadata.path)
        self.left_out.add(metadata.path)
        self.result.notes.append(f"{os.fsdecode(metadata.path)}: {why}")

    def _file(self, row: Row, metadata: Metadata) -> None:
        record = row.record
        if record.problem:
            self.result.notes.append(f"{os.fsdecode(metadata.path)}: {record.problem}")
        if self.tree.has_file(metadata, metadata.sparse or record.size, record.sha256):
            self.result.skipped += 1
            return
        archive = self.snapshot.layer(row.layer)
        try:
            with self.tree.new_file(metadata) as file:
                _copy(archive, record, file)
        except (ArchiveError, ObjectMissingError) as error:
            self.damaged[metadata.path] = error.message.removeprefix(f"{printable(record.path)}: ")
            return
        except OSError as error:
            if error.errno != errno.EFBIG:
                raise
            self._leave_out(metadata, "larger than this file system allows")
            return
        self.result.content_bytes += record.size


def _copy(archive: SealedReader, record: FileRecord, file: SparseFile) -> None:
    if not record.metadata.sparse:
        archive.copy(record, file.write)
        return
    unpacking = Unpacking(record.metadata.sparse, file.write, file.skip)
    archive.copy(record, unpacking.feed)
    unpacking.finish()


def _named(error: Exception, path: bytes) -> Exception:
    """The error that stops the restore, with the path. Invalid numbers and names are refused."""
    if isinstance(error, OSError):
        return OSError(error.errno, error.strerror, path)
    return ArchiveError(f"refused: {printable(path)}: {error}", "leave it out with --exclude")


def _move_up(staging: Path, target: Path, snapshot_id: str) -> None:
    moving_up = staging.rename(target / f"{_MOVING_UP}{snapshot_id}")
    for path in sorted(moving_up.iterdir()):
        path.rename(target / path.name)
    moving_up.rmdir()


def _stopped(target: Path, staging: Path, error: OSError) -> RestoreError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        hint = f"free some space and run the same command again to continue, or remove {staging}"
    else:
        hint = f"what was restored so far is in {staging}; --exclude leaves a path out"
    name = os.fsdecode(error.filename) if isinstance(error.filename, bytes | str) else ""
    return RestoreError(f"{target}: {name + ': ' if name else ''}{error.strerror}", hint)
