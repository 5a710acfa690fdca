"""The facts of each job in each store: a small JSON file per job on this host.

A cache for `status` and for Prometheus: whether a snapshot is there and good, the store alone knows.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from leitstand.errors import LeitstandError
from orchestrator.config.settings import Job


@dataclass(frozen=True)
class StoreFacts:
    """One job in one store. Times are seconds since 1970, 0 for never; ``verified`` has one per level.

    ``proven`` has the time of the newest snapshot that a level found good, at any time. ``problem`` is
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
    forgotten: Sequence[str] = ()  # a person wants them deleted, regardless of `keep`
    known: Mapping[str, str] = field(default_factory=dict)
    held: Sequence[str] = ()  # a person wants them kept, regardless of `keep`
    bucket: str = ""  # that they were in; another one is another store
    lost: Mapping[str, str] = field(default_factory=dict)
    doubtful: Mapping[str, str] = field(default_factory=dict)

    @property
    def problems(self) -> str:
        """All of them in one line; empty when all is good."""
        found = [f"{level}: {what}" for level, what in sorted(self.unproven.items())]
        named = set(self.unproven.values())
        found += [f"{name}: {what}" for name, what in sorted(self.damaged.items()) if what not in named]
        found += [f"{name}: {what}" for name, what in sorted(self.doubtful.items())]
        return "; ".join([each for each in (self.problem, *self.lost.values(), *found) if each])


Facts = dict[str, dict[str, StoreFacts]]  # job -> store -> facts


def in_a_line(error: Exception) -> str:
    """The line of the status about an error that ended a run or a proof."""
    if isinstance(error, LeitstandError):
        return error.message
    if isinstance(error, OSError):
        place = f"{error.filename}: " if error.filename else ""
        return f"{place}{error.strerror or error}"
    return f"internal error: {type(error).__name__}"


def folder_of(state: Path) -> Path:
    return state / "backup"


def read_facts(state: Path, jobs: Mapping[str, Job]) -> Facts:
    """The facts of the configured jobs and stores; empty ones where nothing is known."""
    return {
        name: {s: f for s, f in read_job(state, name).items() if s in job.stores}
        for name, job in jobs.items()
    }


def read_job(state: Path, job: str) -> dict[str, StoreFacts]:
    """The facts of one job, by store; also of stores that it does not use any more."""
    known = {each.name for each in fields(StoreFacts)}
    try:
        data: dict[str, dict[str, Any]] = json.loads((folder_of(state) / f"{job}.json").read_text())
        return {
            store: StoreFacts(**{name: value for name, value in facts.items() if name in known})
            for store, facts in data.items()
        }
    except (OSError, ValueError, AttributeError, TypeError):
        return {}  # a cache: what cannot be read is not known


def only(texts: Mapping[str, str], keys: Collection[str]) -> dict[str, str]:
    return {key: text for key, text in texts.items() if key in keys}


def last_good_run(job: Job, facts: Mapping[str, StoreFacts]) -> float:
    """When the last run began that every store of the job has; 0 for never."""
    began = [each.last_success and each.last_success - each.duration_seconds for each in facts.values()]
    return min(began) if set(facts) >= set(job.stores) else 0.0
