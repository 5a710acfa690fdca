"""A fire drill: restore a snapshot to a scratch place and prove that it can be used.

Every path is compared with the manifest on the disk, every dump is loaded into a database that is made for it
and thrown away, and the job's own check command has the last word. Nothing but such a drill proves a backup
restorable.
"""

import hashlib
import os
import stat
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from leitstand import process
from leitstand.errors import LeitstandError
from orchestrator.archive import FileRecord, Kind, Metadata
from orchestrator.config.settings import Drill
from orchestrator.repository.manifest import Row
from orchestrator.repository.snapshot import Snapshot
from orchestrator.restore.owners import Owners
from orchestrator.restore.restore import Restored, RestoreError, restore
from orchestrator.sources.patterns import Selection
from orchestrator.verify.databases import CannotLoadError, loader_for
from orchestrator.verify.full import Finding

_BLOCK_BYTES = 1 << 20
_LONGEST_PATH = 4095  # bytes; linux/limits.h
# Of times that ext4 keeps (fs/ext4/ext4.h); what lies beyond hangs on the file system of the scratch folder.
_KEPT_SECONDS = range(-(1 << 31), (3 << 32) + (1 << 31))
_FORMATS: Mapping[Kind, Callable[[int], bool]] = {
    Kind.FILE: stat.S_ISREG,
    Kind.HARDLINK: lambda mode: not stat.S_ISDIR(mode),
    Kind.DIRECTORY: stat.S_ISDIR,
    Kind.SYMLINK: stat.S_ISLNK,
    Kind.FIFO: stat.S_ISFIFO,
    Kind.SOCKET: stat.S_ISSOCK,
}


class Verdict(StrEnum):
    """A drill's verdicts on a snapshot, from good to bad. Only the last two are the backup's fault."""

    PROVEN = "proven"
    CANNOT_LOAD = "cannot load"
    DIFFERS = "differs"
    DAMAGED = "damaged"

    @property
    def severity(self) -> int:
        """0 for proven, to 3 for damaged."""
        return list(Verdict).index(self)


def verdict_of(error: Exception) -> Verdict:
    """The verdict of a drill that ended early: only what was read back can be damaged."""
    damaged = isinstance(error, RestoreError) and not isinstance(error.__cause__, OSError)
    return Verdict.DAMAGED if damaged else Verdict.CANNOT_LOAD


_TOLD: Mapping[Verdict, str] = {
    Verdict.CANNOT_LOAD: "this machine cannot load it",
    Verdict.DIFFERS: "loads but differs",
    Verdict.DAMAGED: "damaged, does not load",
}


@dataclass(frozen=True)
class Fault(Finding):
    """A finding of a drill, and which of the verdicts it means."""

    verdict: Verdict


@dataclass
class Drilled:
    """The result of a drill: paths compared, dumps loaded with their rows, the seconds of the restore alone.

    ``tables`` has the rows of each table that was loaded, by the dump's path; also of dumps that do not tell
    their rows while they are made. ``notes`` say what of a dump was not tried.
    """

    entries: int = 0
    dumps: int = 0
    rows: int = 0
    tables: dict[str, dict[str, int]] = field(default_factory=dict)
    restore_seconds: float = 0
    checked: bool = False
    findings: list[Fault] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def verdict(self) -> Verdict:
        found = (finding.verdict for finding in self.findings)
        return max(found, key=lambda verdict: verdict.severity, default=Verdict.PROVEN)

    def found(self, where: str, verdict: Verdict, what: str) -> None:
        self.findings.append(Fault(where, f"{_TOLD[verdict]}: {what}", verdict))


def drill(snapshot: Snapshot, settings: Drill, scratch: Path, live: Restored) -> Drilled:
    """Run a drill in a folder of its own below ``scratch``; it is removed at the end.

    Raises LeitstandError when the restore itself fails, or there is no room for it.
    """
    result = Drilled()
    with tempfile.TemporaryDirectory(prefix="leitstand-drill-", dir=_existing(scratch)) as folder:
        target = Path(folder) / "restored"
        start, owners = time.monotonic(), Owners(may_give=os.geteuid() == 0)
        restore(snapshot, target, Selection([]), owners, live)
        result.restore_seconds = round(time.monotonic() - start, 3)
        for row in snapshot.manifest.rows():
            _compare(target, row.record, owners, result)
            _load(target, row, Path(folder), result)
        if settings.check is not None:
            _check(settings, target, result)
    return result


def _existing(scratch: Path) -> Path:
    if not scratch.is_dir():
        raise LeitstandError(
            f"drill: there is no folder {scratch}", "make it, or name another as drill.scratch"
        )
    return scratch


def _compare(target: Path, record: FileRecord, owners: Owners, result: Drilled) -> None:
    """Hold one path on the disk against its record."""
    path = target / os.fsdecode(record.path)
    expected = _FORMATS.get(record.metadata.kind)
    if expected is None or len(os.fsencode(path)) > _LONGEST_PATH:
        return  # only root restores devices; and what lies too deep can only be reached step by step
    result.entries += 1
    for problem in _differences(path, record, owners):
        result.findings.append(Fault(os.fsdecode(record.path), problem, Verdict.DIFFERS))


def _differences(path: Path, record: FileRecord, owners: Owners) -> Iterator[str]:
    metadata = record.metadata
    try:
        status = path.lstat()
    except OSError as error:
        yield f"is not there after the restore: {error.strerror}"
        return
    if not _FORMATS[metadata.kind](status.st_mode):
        yield f"is no {metadata.kind} after the restore"
        return
    if metadata.kind is Kind.SYMLINK:
        if os.fsencode(path.readlink()) != metadata.link:
            yield "leads elsewhere after the restore"
    elif metadata.kind is not Kind.HARDLINK:  # which has what its first name has
        yield from _differing_facts(status, metadata, owners)
    if metadata.kind is Kind.FILE and not _has_content(path, status.st_size, record):
        yield "has another content on the disk"


def _differing_facts(status: os.stat_result, metadata: Metadata, owners: Owners) -> Iterator[str]:
    if status.st_mtime_ns != metadata.mtime_ns and metadata.mtime_ns // 10**9 in _KEPT_SECONDS:
        yield "has another time on the disk"
    mode, expected = stat.S_IMODE(status.st_mode), owners.mode(metadata)
    if mode != expected:
        yield f"has mode {mode:04o} on the disk instead of {expected:04o}"
    owner = owners.user(metadata), owners.group(metadata)
    if owners.may_give and (status.st_uid, status.st_gid) != owner:
        yield "has another owner on the disk"


def _has_content(path: Path, size: int, record: FileRecord) -> bool:
    """Whether a file is what was saved; of one with large holes the size tells, as its data was proven."""
    if record.metadata.sparse:
        return size == record.metadata.sparse
    return size == record.size and _sha256(path) == record.sha256


def _sha256(path: Path) -> bytes:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.digest()


def _load(target: Path, row: Row, folder: Path, result: Drilled) -> None:
    """Load a dump into a scratch database and count its rows."""
    path = os.fsdecode(row.record.path)
    load = loader_for(path)
    if load is None or row.record.metadata.kind is not Kind.FILE:
        return
    try:
        loaded = load(target / path, folder)
    except (CannotLoadError, process.ProcessError) as error:
        result.found(path, Verdict.CANNOT_LOAD, error.message)
        return
    except LeitstandError as error:
        result.found(path, Verdict.DAMAGED, error.message)
        return
    result.dumps += 1
    result.tables[path] = dict(loaded.tables)
    result.rows += sum(loaded.tables.values())
    result.notes += [f"{path}: {note}" for note in loaded.notes]
    # Not every kind of dump tells its rows while it is made: then there is nothing to compare with.
    for difference in loaded.differences(row.tables or {}):
        result.found(path, Verdict.DIFFERS, difference)


def _check(settings: Drill, target: Path, result: Drilled) -> None:
    """The job's own check: any program; status 0 means good. It finds the restored tree in RESTORED."""
    argv = settings.check or []
    result.checked = True
    try:
        done = process.run(
            argv, timeout=settings.timeout.total_seconds(), env={"RESTORED": str(target)}, keep_output=False
        )
    except process.ProcessError as error:
        result.found("check", Verdict.CANNOT_LOAD, error.message)
        return
    if done.status:
        last = done.last_words if done.stderr.strip() else "it said nothing"
        what = f"{argv[0]} ended with status {done.status}: {last}"
        result.findings.append(Fault("check", what, Verdict.DIFFERS))
