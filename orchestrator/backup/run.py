"""Run one job: sources, sealed archive, volumes to every store, then manifest, meta.json and COMMIT.

Without COMMIT there is no snapshot: a run that ends early leaves nothing that could pass for one.
"""

import hashlib
import logging
import mmap
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Literal

from leitstand.errors import LeitstandError
from orchestrator.archive import ArchiveSummary, Entry, FileRecord, Kind, Problem, VolumeSink
from orchestrator.archive.writer import SealedWriter
from orchestrator.backup.changes import Changed, Paths
from orchestrator.backup.intake import Intake
from orchestrator.backup.shrunk import Shrinkage
from orchestrator.backup.uploads import Lane, Uploads, raise_if_none_is_left
from orchestrator.config.settings import Job
from orchestrator.repository.commit import Meta, encode_commit, encode_meta
from orchestrator.repository.keys import KeyRing
from orchestrator.repository.layout import COMMIT, MANIFEST, META, SnapshotName, new_snapshot
from orchestrator.repository.manifest import ManifestHeader, ManifestWriter
from orchestrator.sources import Report, Source
from orchestrator.stores import Store, StoreError

_log = logging.getLogger(__name__)
PROBLEMS_KEPT = 1000  # of a run's problems in memory; the manifest has them all


class RunFailedError(LeitstandError):
    """The run made no snapshot."""


@dataclass(frozen=True)
class RunPlan:
    """All that one run needs. The stores are open; ``sources`` are not read yet.

    ``known`` has the snapshots that each store has already, by its name, oldest first.
    """

    job_name: str
    job: Job
    sources: Sequence[Source]
    stores: Sequence[Store]
    keys: KeyRing
    shrinkage: Shrinkage = field(default_factory=Shrinkage)
    known: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass
class Progress:
    """Counters that a run moves on and that anyone may look at meanwhile."""

    entries: int = 0
    content_bytes: int = 0
    archive_bytes: int = 0
    problem_count: int = 0
    problems: list[Problem] = field(default_factory=list)
    paths: Paths = field(default_factory=Paths)

    def record(self, record: FileRecord) -> None:
        self.paths.add(record)
        self.entries += 1
        self.content_bytes += record.size

    def problem(self, problem: Problem) -> None:
        """Count one path that could not be read reliably."""
        self.problem_count += 1
        if not problem.path:
            self.problems.insert(0, problem)
        elif len(self.problems) < PROBLEMS_KEPT:
            self.problems.append(problem)
        _log.debug("%s: %s", os.fsdecode(problem.path), problem.what)


@dataclass(frozen=True)
class RunResult:
    """A run that made a snapshot in at least one store. ``failed`` has the stores that did not get it.

    ``changed`` is what differs from the last run; None when that is not known. ``shrunk`` names sources that
    hold far less than before.
    """

    name: SnapshotName
    meta: Meta
    stored: tuple[str, ...]
    failed: dict[str, StoreError]
    problems: tuple[Problem, ...]
    problem_count: int
    changed: Changed | None = None
    shrunk: tuple[str, ...] = ()


def run_job(plan: RunPlan, progress: Progress, now: datetime | None = None) -> RunResult:
    """Make one snapshot. Raises LeitstandError when no store has one; then nothing is left behind."""
    started = now or datetime.now(UTC)
    name = new_snapshot(plan.job.host, plan.job_name, started)
    lanes = [Lane(store) for store in plan.stores]
    try:
        _prepare(lanes)
        return _Run(plan, name, lanes, progress, started).make()
    except BaseException:
        for lane in lanes:
            lane.clean_up()
        raise
    finally:
        for source in plan.sources:
            source.close()


def _prepare(lanes: list[Lane]) -> None:
    for lane in lanes:
        try:
            lane.store.prepare()
        except StoreError as error:
            lane.drop_out(error)
    raise_if_none_is_left(lanes)


@dataclass
class _Run:
    plan: RunPlan
    name: SnapshotName
    lanes: list[Lane]
    progress: Progress
    started: datetime

    def make(self) -> RunResult:
        with tempfile.TemporaryFile(dir=self._scratch()) as file:
            manifest = ManifestWriter(file, self._password(), self._header())
            uploads = Uploads(self.lanes, self.name, self.plan.job.volume_size, self.plan.job.uploads)
            try:
                summary = self._archive(uploads, manifest)
                uploads.finish()
            finally:
                uploads.abort()
            volumes = tuple(uploads.volumes)
            manifest.close(volumes)
            file.flush()
            with _view(file) as view:
                meta = self._publish(view, summary, uploads)
        return self._result(meta)

    def _archive(self, uploads: Uploads, manifest: ManifestWriter) -> ArchiveSummary:
        """Write every source's entries into the archive, its volumes to the stores."""

        def on_record(record: FileRecord) -> None:
            first = record.metadata.link
            if record.metadata.kind is Kind.HARDLINK and not self.progress.paths.has_file(first):
                on_problem(Problem(record.path, f"another name of {os.fsdecode(first)}, which was not read"))
            self.progress.record(record)
            manifest.add(record, tables=self._tables(record.path))

        def on_problem(problem: Problem) -> None:
            self.progress.problem(problem)
            manifest.add_problem(problem)

        def sink(data: bytes | bytearray | memoryview) -> None:
            self.progress.archive_bytes += len(data)
            volumes.write(data)

        job, md5 = self.plan.job, any(store.checks_md5 for store in self.plan.stores)
        with (
            VolumeSink(
                uploads.deliver, job.volume_size, self._scratch(), md5=md5, kept=job.uploads
            ) as volumes,
            SealedWriter(sink, self._password(), on_record=on_record, on_problem=on_problem) as writer,
        ):
            for settings, source in zip(job.sources, self.plan.sources, strict=True):
                intake = Intake(source, job.limits, on_problem)
                self._take(source, intake, writer, on_problem)
                self.plan.shrinkage.note(source.label, settings, intake.taken, source.tables, intake.trusted)
            summary = writer.close()
            self._hold_policy()
            self._refuse_repeated()
            for what in self.plan.shrinkage.found:
                on_problem(Problem(b"", what))
            volumes.close()
        return summary

    def _take(self, source: Source, intake: Intake, writer: SealedWriter, report: Report) -> None:
        for entry in intake.entries():
            if source.sequential and self._is_of_no_folder(entry, writer):
                report(Problem(entry.path, "refused: another name of what lies in no folder"))
                continue
            streamed = source.sequential or entry.size is None
            (writer.add_stream if streamed else writer.add)(entry)

    def _is_of_no_folder(self, entry: Entry, writer: SealedWriter) -> bool:
        """Whether this is another name of something below a path that is no folder: a restore stops there."""
        first, paths = entry.metadata.link, self.progress.paths
        if entry.metadata.kind is not Kind.HARDLINK or paths.has_file(first):
            return False
        writer.flush()
        parts = first.split(b"/")
        return any(paths.has_file(b"/".join(parts[:depth])) for depth in range(1, len(parts)))

    def _tables(self, path: bytes) -> Mapping[str, int] | None:
        found = (source.tables[path] for source in self.plan.sources if path in source.tables)
        return next(found, None)

    def _hold_policy(self) -> None:
        if self.plan.job.policy == "fail" and self.progress.problem_count:
            first = self.progress.problems[0]
            raise RunFailedError(
                f"{self.plan.job_name}: {f'{os.fsdecode(first.path)}: ' if first.path else ''}{first.what}"
                f" ({self.progress.problem_count} such files; the job's policy is 'fail')",
                "nothing was kept; exclude these files, or set policy: warn",
            )

    def _refuse_repeated(self) -> None:
        """A restore refuses a path that is there twice: such a snapshot would be good for nothing."""
        if self.progress.paths.repeated:
            raise RunFailedError(
                f"{self.plan.job_name}: two sources yield the same path, so no snapshot was made",
                "do two sources give the same file? If not, run it again",
            )

    def _publish(self, manifest: memoryview, summary: ArchiveSummary, uploads: Uploads) -> Meta:
        """Manifest, meta.json, and, once every object is seen in its store, COMMIT."""
        digest = hashlib.sha256(manifest)
        self._put(MANIFEST, manifest, digest.hexdigest())
        meta = self._meta(summary, uploads, len(manifest))
        encoded = encode_meta(meta)
        self._put(META, encoded, hashlib.sha256(encoded).hexdigest())
        for lane in self.lanes:
            _check_presence(lane, self.name, meta)
        raise_if_none_is_left(self.lanes)
        key = self.plan.keys.commit_key(meta.generation)
        commit = encode_commit(self.name.id, manifest_sha256=digest.digest(), meta=encoded, key=key)
        self._put(COMMIT, commit, hashlib.sha256(commit).hexdigest())
        return meta

    def _put(self, name: str, data: bytes | memoryview, sha256: str) -> None:
        for lane in self.lanes:
            lane.put(self.name.key(name), data, sha256)
        raise_if_none_is_left(self.lanes)

    def _result(self, meta: Meta) -> RunResult:
        failed = {lane.store.name: lane.error for lane in self.lanes if lane.error is not None}
        for lane in self.lanes:
            if lane.error is not None:
                lane.clean_up()
        stored = tuple(lane.store.name for lane in self.lanes if lane.error is None)
        problems = tuple(self.progress.problems)
        shrunk = tuple(self.plan.shrinkage.found)
        return RunResult(
            self.name, meta, stored, failed, problems, self.progress.problem_count, shrunk=shrunk
        )

    def _meta(self, summary: ArchiveSummary, uploads: Uploads, manifest_bytes: int) -> Meta:
        state: Literal["complete", "partial"] = "partial" if self.progress.problem_count else "complete"
        return Meta(
            snapshot=self.name.id,
            host=self.name.host,
            job=self.name.job,
            started=_iso(self.started),
            finished=_iso(datetime.now(UTC)),
            generation=self.plan.keys.current,
            state=state,
            entries=self.progress.entries,
            content_bytes=summary.content_bytes,
            archive_bytes=summary.archive_bytes,
            manifest_bytes=manifest_bytes,
            layers=(self.name.id,),
            volumes=tuple(uploads.volumes),
            previous=self._previous(),
        )

    def _previous(self) -> str:
        """The newest snapshot that every store has which gets this one: a later look misses it there."""
        first, *others = [
            self.plan.known.get(lane.store.name, ()) for lane in self.lanes if lane.error is None
        ]
        return next((name for name in reversed(first) if all(name in other for other in others)), "")

    def _header(self) -> ManifestHeader:
        name = self.name
        return ManifestHeader(name.id, name.host, name.job, _iso(self.started), (name.id,))

    def _password(self) -> str:
        return self.plan.keys.archive_password(self.name.id, self.plan.keys.current)

    def _scratch(self) -> Path:
        scratch = self.plan.job.scratch
        if not scratch.is_dir():
            raise RunFailedError(f"{self.plan.job_name}: scratch: there is no folder {scratch}", "make it")
        return scratch


def _check_presence(lane: Lane, name: SnapshotName, meta: Meta) -> None:
    """Ask the store for each volume: there, of this size, with this MD5. Who may not ask is believed."""
    try:
        for key, volume in zip(name.volume_keys(len(meta.volumes)), meta.volumes, strict=True):
            if lane.error is not None:
                return
            info = lane.store.stat(key)
            if info is None or info.size != volume.size or (info.md5 and info.md5 != volume.md5.hex()):
                raise StoreError(f"{lane.store.name}: {key} is not what was sent there", permanent=True)
    except StoreError as error:
        if not error.denied:
            lane.drop_out(error)


def _view(file: IO[bytes]) -> memoryview:
    """A file's content without reading it into memory."""
    return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds")
