"""From leitstand.yml to what the commands work with: jobs, opened stores, keys."""

import difflib
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from leitstand.errors import UsageError
from leitstand.settings.config import load_document, read
from leitstand.settings.fleet import Fleet
from orchestrator.config.settings import BackupSettings, Job
from orchestrator.repository.keys import KeyRing
from orchestrator.state.facts import read_facts
from orchestrator.state.keeper import FactsKeeper
from orchestrator.stores import Store, open_store
from orchestrator.stores.limit import credit_file


@dataclass(frozen=True)
class Context:
    """The configuration of this fleet as the orchestrator needs it."""

    settings: BackupSettings
    fleet: Fleet

    @classmethod
    def load(cls, path: Path) -> "Context":
        """Read leitstand.yml. Raises ConfigError."""
        document = load_document(path)
        return cls(read(document, BackupSettings), read(document, Fleet))

    def job(self, name: str) -> Job:
        """A job by its name. Raises UsageError naming the jobs there are."""
        jobs = self.settings.backups
        if name in jobs:
            return jobs[name]
        close = difflib.get_close_matches(name, jobs, n=1)
        known = ", ".join(sorted(jobs)) or "none is configured"
        hint = f"did you mean '{close[0]}'?" if close else f"jobs: {known}"
        raise UsageError(f"there is no backup job '{name}'", hint)

    def job_names(self, name: str | None) -> list[str]:
        """The job named, or all of them. Raises UsageError for an unknown one."""
        if name is None:
            return sorted(self.settings.backups)
        self.job(name)
        return [name]

    @contextmanager
    def stores(self, job: Job, only: str | None = None) -> Iterator[list[Store]]:
        """The job's stores, opened. Raises UsageError for one that the job does not use."""
        if only is not None and only not in job.stores:
            raise UsageError(f"this job has no store '{only}'", f"its stores: {', '.join(job.stores)}")
        opened: list[Store] = []
        try:
            for name in job.stores:
                if only in (None, name):
                    opened.append(self._open(name))
            yield opened
        finally:
            for store in opened:
                store.close()

    def folders(self, job: Job) -> list[Path]:
        """The job's stores that are folders of this machine."""
        return list(self.settings.folders(job).values())

    def _open(self, name: str) -> Store:
        settings = self.settings.stores[name]
        credit = credit_file(self.state / "limits", name) if settings.upload_limit else None
        return open_store(name, settings, is_new=not self._knows(name), credit=credit)

    def _knows(self, store: str) -> bool:
        """Whether any job has put a snapshot into a store."""
        jobs = read_facts(self.state, self.settings.backups).values()
        return any(store in stores and stores[store].last_success for stores in jobs)

    def facts(self) -> FactsKeeper:
        paths = self.fleet.paths
        return FactsKeeper(paths.state, paths.metrics, self.settings.backups, self.fleet.site.zone)

    @property
    def state(self) -> Path:
        """The folder for locks, facts and caches."""
        return self.fleet.paths.state

    def require_reach(self, job: Job) -> None:
        """Raises UsageError when the job's host is another machine that is not read over SSH.

        Its paths would be read on this machine instead.
        """
        host = self.fleet.hosts[job.host]
        if host.ssh is None and job.host not in _own_names() and not is_own_address(host.address):
            raise UsageError(
                f"host '{job.host}' ({host.address}) is another machine",
                f"give it an 'ssh:' section, or run this command on {job.host}",
            )


def keys_of(job: Job) -> KeyRing:
    """The job's master keys. Raises KeysError."""
    if job.keys_file is not None:
        return KeyRing.load(job.keys_file)
    return KeyRing.from_command(job.keys_command or [])


def is_own_address(address: str) -> bool:
    """Whether an address or name is one of this machine: only then a socket can be bound to it."""
    try:
        found = socket.getaddrinfo(address, 0, type=socket.SOCK_DGRAM)
    except OSError:
        return False
    return any(_can_bind(family, target) for family, _, _, _, target in found)


def _can_bind(family: int, target: Sequence[object]) -> bool:
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(tuple(target))
        except OSError:
            return False
    return True


def _own_names() -> set[str]:
    name = socket.gethostname().lower()
    return {name, name.partition(".")[0]}
