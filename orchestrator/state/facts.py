"""What is known of each job in each store: a small JSON file per job on this host, and the metrics made of
it.

A cache for `status` and for Prometheus: whether a snapshot is there and good, the store alone knows.
"""

import fcntl
import json
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime, tzinfo
from functools import partial
from pathlib import Path
from typing import Any

from leitstand.errors import LeitstandError
from leitstand.files import make_private_folder, make_public_folder, write_atomically
from leitstand.textfile import write_textfile
from orchestrator.config.settings import Job
from orchestrator.config.tasks import plans
from orchestrator.state.metrics import families

_log = logging.getLogger(__name__)
TEXTFILE = "leitstand_backup.prom"


@dataclass(frozen=True)
class StoreFacts:
    """One job in one store. Times are seconds since 1970, 0 for never; ``verified`` has one per level.

    ``proven`` has the time of the newest snapshot that a level found good, whenever that was. ``problem`` is
    the last run's, ``unproven`` what a level's last proof found, until it finds all good; ``damaged`` what is
    wrong with a snapshot, by its name, until that one is read back good, or is gone.
    ``drilled`` is the severity of the last drill's verdict on the newest snapshot.
    ``released`` are the snapshots that `prune --force` let go, ``denied`` the tasks that the store's
    credentials may not do, as one with --if-allowed found.
    ``pruned`` are those that the last prune left; None: there was none. ``known`` are those that were proven
    to be there, in the order in which they were made or found, with their state; ``lost`` says of those that
    should still be there that they are gone, ``doubtful`` why those that are there are not proven any more.
    """

    last_run: float = 0
    last_run_success: bool = False
    last_success: float = 0
    last_snapshot: str = ""
    duration_seconds: float = 0
    stored_bytes: int = 0
    uploaded_bytes: int = 0
    source_bytes: int = 0
    files: int = 0
    new: int | None = None  # of the files, against the run before; unknown without one on this host
    changed: int | None = None
    gone: int | None = None
    warnings: int = 0
    shrunk: int = 0  # sources that held far less than before
    snapshots: int | None = None  # unknown where these credentials may not list
    oldest: float = 0
    verified: Mapping[str, float] = field(default_factory=dict)
    proven: Mapping[str, float] = field(default_factory=dict)
    problem: str = ""
    unproven: Mapping[str, str] = field(default_factory=dict)
    damaged: Mapping[str, str] = field(default_factory=dict)
    drilled: int | None = None
    released: Sequence[str] = ()
    denied: Sequence[str] = ()
    pruned: Sequence[str] | None = None
    forgotten: Sequence[str] = ()  # a person wants them deleted, whatever `keep` says
    known: Mapping[str, str] = field(default_factory=dict)
    held: Sequence[str] = ()  # a person wants them kept, whatever `keep` says
    bucket: str = ""  # that they were in; another one is another store
    lost: Mapping[str, str] = field(default_factory=dict)
    doubtful: Mapping[str, str] = field(default_factory=dict)

    @property
    def problems(self) -> str:
        """All of them in one line; empty when all is good."""
        found = [f"{level}: {what}" for level, what in sorted(self.unproven.items())]
        told = set(self.unproven.values())
        found += [f"{name}: {what}" for name, what in sorted(self.damaged.items()) if what not in told]
        found += [f"{name}: {what}" for name, what in sorted(self.doubtful.items())]
        return "; ".join([each for each in (self.problem, *self.lost.values(), *found) if each])


Facts = dict[str, dict[str, StoreFacts]]  # job -> store -> facts


def in_a_line(error: Exception) -> str:
    """What the status says of an error that ended a run or a proof."""
    if isinstance(error, LeitstandError):
        return error.message
    if isinstance(error, OSError):
        place = f"{error.filename}: " if error.filename else ""
        return f"{place}{error.strerror or error}"
    return f"internal error: {type(error).__name__}"


def _with(key: str, what: str) -> Callable[[Mapping[str, str]], dict[str, str]]:
    more = {key: what} if what else {}
    return lambda each: {**{name: text for name, text in each.items() if name != key}, **more}


def kept_of(keys: Iterable[str]) -> Callable[[Mapping[str, str]], dict[str, str]]:
    """A change for `FactsKeeper.update` that leaves these keys only."""
    kept = set(keys)
    return lambda each: {name: what for name, what in each.items() if name in kept}


def _folder(state: Path) -> Path:
    return state / "backup"


def read_facts(state: Path, jobs: Mapping[str, Job]) -> Facts:
    """The facts of the configured jobs and stores; empty ones where nothing is known."""
    return {
        name: {s: f for s, f in _read_job(state, name).items() if s in job.stores}
        for name, job in jobs.items()
    }


def _read_job(state: Path, job: str) -> dict[str, StoreFacts]:
    known = {each.name for each in fields(StoreFacts)}
    try:
        data: dict[str, dict[str, Any]] = json.loads((_folder(state) / f"{job}.json").read_text())
        return {
            store: StoreFacts(**{name: value for name, value in facts.items() if name in known})
            for store, facts in data.items()
        }
    except (OSError, ValueError, AttributeError, TypeError):
        return {}  # a cache: what cannot be read is not known


@dataclass(frozen=True)
class FactsKeeper:
    """Writes facts and, after each change, the textfile with the metrics of all jobs."""

    state: Path
    metrics: Path
    jobs: Mapping[str, Job]
    zone: tzinfo = UTC

    def update(self, job: str, store: str, **changes: Any) -> None:
        """Change some facts. What cannot be written is logged: a backup must not fail because of its metrics.

        A change that is a function is given the fact as it is.
        """
        self._write(partial(self._change, job, store, changes))

    def _change(self, job: str, store: str, changes: Mapping[str, Any]) -> None:
        facts = _read_job(self.state, job)
        before = facts.get(store, StoreFacts())
        new = {
            name: each(getattr(before, name)) if callable(each) else each for name, each in changes.items()
        }
        facts[store] = replace(before, **new)
        text = json.dumps({name: asdict(each) for name, each in facts.items()}, indent=1)
        write_atomically(_folder(self.state) / f"{job}.json", text, mode=0o600)

    def verified(self, job: str, store: str, level: str, moment: float) -> None:
        """Note that all was found good at this level, of the newest snapshot or of a share of all."""
        self.update(job, store, verified=lambda each: {**each, level: moment}, unproven=_with(level, ""))

    def proven(self, job: str, store: str, level: str, made: float) -> None:
        """Note that a snapshot, made then, was found good at this level."""
        self.update(job, store, proven=lambda each: {**each, level: max(made, each.get(level, 0.0))})

    def denied(self, job: str, store: str, action: str) -> None:
        """Note that these credentials may not do a task: that is no problem, and proves nothing."""
        levels = ("full", "share", "spot") if action == "verify" else (action,)
        clear = {"unproven": lambda each: {level: each[level] for level in each if level not in levels}}
        self.update(job, store, denied=lambda each: sorted({*each, action}), **clear)

    def allowed(self, job: str, store: str, action: str) -> None:
        """Note that a task could be done with these credentials."""
        if action in self.of(job, store).denied:
            self.update(job, store, denied=lambda each: [other for other in each if other != action])

    def not_verified(self, job: str, store: str, level: str, what: str) -> None:
        """Note what a proof at this level, or a prune, found wrong; an empty text: nothing is."""
        self.update(job, store, unproven=_with(level, what))

    def damaged(self, job: str, store: str, snapshot: str, what: str) -> None:
        """Note what is wrong with a snapshot; an empty text: nothing is."""
        self.update(job, store, damaged=_with(snapshot, what))

    def of(self, job: str, store: str) -> StoreFacts:
        """What is known of a job in a store; empty facts when nothing is."""
        return read_facts(self.state, self.jobs).get(job, {}).get(store, StoreFacts())

    def publish(self) -> None:
        """Write the metrics again: of jobs that never ran as well, and none of jobs that are gone."""
        self._write(lambda: None)

    def _write(self, change: Callable[[], None]) -> None:
        try:
            with self.locked():
                change()
                self._publish()
        except (OSError, LeitstandError) as error:
            _log.warning("the metrics of backups could not be written: %s", error)

    def _publish(self) -> None:
        now = datetime.now(self.zone)
        facts = read_facts(self.state, self.jobs)
        drilled = {
            job for job, stores in facts.items() if any("drill" in each.verified for each in stores.values())
        }
        starts = {
            task: start
            for task, plan in plans(self.jobs).items()
            if (start := plan.after(now, again=plan.first is not None and task.job in drilled))
        }
        make_public_folder(self.metrics)
        texts = families(facts, self.jobs, starts)
        write_textfile(self.metrics / TEXTFILE, texts)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes of this host from changing what is known. Raises OSError."""
        make_private_folder(_folder(self.state))
        descriptor = os.open(_folder(self.state) / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)
