"""Changes of the facts, and the textfile that is written after each."""

import fcntl
import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, tzinfo
from pathlib import Path

from leitstand.errors import LeitstandError
from leitstand.files import make_private_folder, write_atomically
from orchestrator.config.settings import Job
from orchestrator.state.facts import StoreFacts, folder_of, read_facts, read_job

_log = logging.getLogger(__name__)
Change = Callable[[StoreFacts], StoreFacts]


@dataclass(frozen=True)
class FactsKeeper:
    """Writes facts and, after each change, the textfile with the metrics of all jobs.

    What cannot be written is logged: a backup must not fail because of its metrics.
    """

    state: Path
    metrics: Path
    jobs: Mapping[str, Job]
    zone: tzinfo = UTC

    def update(self, job: str, store: str, change: Change) -> None:
        """Replace the facts of a job in a store by what ``change`` makes of them."""
        self._write(lambda: self._change(job, store, change))

    def _change(self, job: str, store: str, change: Change) -> None:
        facts = read_job(self.state, job)
        facts[store] = change(facts.get(store, StoreFacts()))
        text = json.dumps({name: asdict(each) for name, each in facts.items()}, indent=1)
        write_atomically(folder_of(self.state) / f"{job}.json", text, mode=0o600)

    def verified(self, job: str, store: str, level: str, moment: float) -> None:
        """Note that all was found good at this level, of the newest snapshot or of a share of all."""

        def change(facts: StoreFacts) -> StoreFacts:
            unproven = _with(facts.unproven, level, "")
            return replace(facts, verified={**facts.verified, level: moment}, unproven=unproven)

        self.update(job, store, change)

    def proven(self, job: str, store: str, level: str, made: float) -> None:
        """Note that a snapshot, made then, was found good at this level."""

        def change(facts: StoreFacts) -> StoreFacts:
            newest = max(made, facts.proven.get(level, 0.0))
            return replace(facts, proven={**facts.proven, level: newest})

        self.update(job, store, change)

    def denied(self, job: str, store: str, action: str) -> None:
        """Note that these credentials may not do a task: that is no problem, and proves nothing."""
        levels = ("full", "share", "spot") if action == "verify" else (action,)

        def change(facts: StoreFacts) -> StoreFacts:
            unproven = {level: what for level, what in facts.unproven.items() if level not in levels}
            return replace(facts, denied=sorted({*facts.denied, action}), unproven=unproven)

        self.update(job, store, change)

    def allowed(self, job: str, store: str, action: str) -> None:
        """Note that a task could be done with these credentials."""
        if action in self.of(job, store).denied:
            self.update(
                job, store, lambda facts: replace(facts, denied=[a for a in facts.denied if a != action])
            )

    def not_verified(self, job: str, store: str, level: str, what: str) -> None:
        """Note what a proof at this level, or a prune, found wrong; an empty text: nothing is."""
        self.update(job, store, lambda facts: replace(facts, unproven=_with(facts.unproven, level, what)))

    def damaged(self, job: str, store: str, snapshot: str, what: str) -> None:
        """Note what is wrong with a snapshot; an empty text: nothing is."""
        self.update(job, store, lambda facts: replace(facts, damaged=_with(facts.damaged, snapshot, what)))

    def of(self, job: str, store: str) -> StoreFacts:
        """The facts of a job in a store; empty ones when nothing is known."""
        return read_facts(self.state, self.jobs).get(job, {}).get(store, StoreFacts())

    def publish(self) -> None:
        """Write the metrics again: of jobs that never ran as well, and none of jobs that are gone."""
        self._write(lambda: None)

    def _write(self, change: Callable[[], None]) -> None:
        # Only what changes something pays for prometheus_client: `status` and `list` do not.
        from orchestrator.state.metrics import write_metrics

        try:
            with self.locked():
                change()
                write_metrics(self.metrics, read_facts(self.state, self.jobs), self.jobs, self.zone)
        except (OSError, LeitstandError) as error:
            _log.warning("the metrics of backups could not be written: %s", error)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes of this host from changing what is known. Raises OSError."""
        make_private_folder(folder_of(self.state))
        descriptor = os.open(folder_of(self.state) / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def _with(texts: Mapping[str, str], key: str, text: str) -> dict[str, str]:
    """These texts with another one for ``key``; with none if it is empty."""
    others = {name: each for name, each in texts.items() if name != key}
    return {**others, key: text} if text else others
