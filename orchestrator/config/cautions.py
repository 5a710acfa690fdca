"""Likely mistakes in the sections ``stores`` and ``backups``; `leitstand check` warns of them."""

from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path, PurePath

from leitstand.settings.cautions import faulty_files, named_files
from leitstand.settings.fleet import Fleet
from leitstand.settings.problems import Finding
from orchestrator.config.settings import BackupSettings, FilesSettings, Job, SqliteSettings
from orchestrator.config.tasks import Action, schedule_of

# The consequence of a task that is off, and an example schedule.
_OFF: Mapping[Action, tuple[str, str]] = {
    "verify": ("no snapshot is ever read back: damage in a store goes unnoticed", "daily 05:00"),
    "drill": ("no restore is ever tested: its snapshots are never proven", "monthly 1 06:00"),
    "prune": ("nothing is ever deleted: its stores fill up", "weekly sun 07:00"),
}
_ELSEWHERE = "ignore this if another machine does it"


def of_backups(fleet: Fleet, settings: BackupSettings) -> Iterator[Finding]:
    """Tasks that are off, keys in a bad place, stores on the disk they save, missing files."""
    files = [each for each in named_files(settings, ()) if not _is_of_another_host(fleet, settings, each[0])]
    yield from faulty_files(iter(files))
    for name, job in settings.backups.items():
        path = ("backups", name)
        yield from _tasks_that_are_off(path, name, job)
        yield from _keys_in_a_store(path, settings, job)
        host = fleet.hosts.get(job.host)
        if host is not None and host.ssh is None:
            yield from _keys_in_a_source(path, job)
            yield from _stores_beside_sources(path, settings, job)


def _is_of_another_host(fleet: Fleet, settings: BackupSettings, path: tuple[str | int, ...]) -> bool:
    """Whether a file that a source names is read on another machine, by the programs of its dump."""
    if path[0] != "backups" or path[2] != "sources":
        return False
    host = fleet.hosts.get(settings.backups[str(path[1])].host)
    return host is None or host.ssh is not None


def _tasks_that_are_off(path: tuple[str, ...], name: str, job: Job) -> Iterator[Finding]:
    if job.schedule is None and not any(schedule_of(name, job, action) for action in _OFF):
        yield (
            path,
            "has no schedule: it is run, verified, tested and pruned by hand only",
            "add 'schedule: …'",
        )
        return
    for action, (what, example) in _OFF.items():
        if schedule_of(name, job, action) is not None:
            continue
        if action == "prune" and job.keep.keeps_everything:
            yield (*path, "keep"), f"'keep' has no rule: {what}", "add 'keep: {daily: 7, weekly: 4}'"
        else:
            yield (
                (*path, action),
                f"'{action}' is off: {what}",
                f"add '{action}: {{schedule: {example}}}'; {_ELSEWHERE}",
            )


def _keys_in_a_store(path: tuple[str, ...], settings: BackupSettings, job: Job) -> Iterator[Finding]:
    for name, folder in settings.folders(job).items():
        if job.keys_file is not None and job.keys_file.is_relative_to(folder):
            what = f"is in the store '{name}': anyone with access to the store can read every snapshot in it"
            yield (*path, "keys_file"), what, "keep it elsewhere, such as /etc/leitstand/keys"


def _keys_in_a_source(path: tuple[str, ...], job: Job) -> Iterator[Finding]:
    for index, source in enumerate(job.sources):
        if isinstance(source, FilesSettings) and job.keys_file is not None and _saves(source, job.keys_file):
            what = f"saves the keys file {job.keys_file}: one opened snapshot would open all of them"
            hint = f"exclude: [{job.keys_file}]; the recovery kit brings the keys back, not a snapshot"
            yield (*path, "sources", index), what, hint


def _saves(source: FilesSettings, file: PurePath) -> bool:
    """Whether a file is in a source and no simple pattern leaves it out."""
    folder = PurePath(source.files)
    if not file.is_relative_to(folder) or (source.include and not _fits(source.include, folder, file)):
        return False
    return not _fits(source.exclude, folder, file)


def _fits(patterns: list[str], folder: PurePath, file: PurePath) -> bool:
    """Whether the file, or a folder that holds it, matches one of the patterns of `docs/backups.md`."""
    places = [each for each in (file, *file.parents) if each != folder and each.is_relative_to(folder)]
    return any(
        fnmatchcase(_named_by(pattern, each, folder), pattern.rstrip("/"))
        for pattern in patterns
        for each in places
    )


def _named_by(pattern: str, place: PurePath, folder: PurePath) -> str:
    if "/" not in pattern.rstrip("/"):
        return place.name
    return str(place if pattern.startswith("/") else place.relative_to(folder))


def _stores_beside_sources(path: tuple[str, ...], settings: BackupSettings, job: Job) -> Iterator[Finding]:
    """A finding when all of a job's stores are folders of the file system that a source is in."""
    folders = settings.folders(job)
    devices = {name: _device(folder) for name, folder in folders.items()}
    sources = {
        _device(Path(each.files if isinstance(each, FilesSettings) else each.sqlite))
        for each in job.sources
        if isinstance(each, FilesSettings | SqliteSettings)
    }
    if set(folders) == set(job.stores) and sources & {*devices.values()} - {None}:
        what = "every store is on the same disk as the data: one failure destroys both"
        yield (*path, "stores"), what, "add a store elsewhere: docs/backups.md, Stores"


def _device(place: Path) -> int | None:
    try:
        return place.stat().st_dev
    except OSError:
        return None
