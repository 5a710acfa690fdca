"""The admin's programs around a run: before it, always after it, and when it failed."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from leitstand.errors import LeitstandError
from leitstand.process import ProcessError
from orchestrator.config.settings import Hooks
from orchestrator.sources.ssh import Transport

_log = logging.getLogger(__name__)
When = Literal["before", "after", "failure"]
State = Literal["running", "complete", "partial", "failed", "interrupted"]
# Each hook's possible states. A forced command allows just these, so nothing else may vary.
STATES: Mapping[When, tuple[State, ...]] = {
    "before": ("running",),
    "failure": ("failed", "interrupted"),
    "after": ("complete", "partial", "failed", "interrupted"),
}


class HookError(LeitstandError):
    """A hook failed before anything was read."""


@dataclass(frozen=True)
class RunHooks:
    job: str
    host: str
    settings: Hooks
    transport: Transport

    def before(self) -> None:
        """All hooks of this kind, in order. Raises HookError at the first that fails."""
        for argv in self.settings.before:
            problem = self._run("before", argv, "running")
            if problem:
                raise HookError(f"{self.job}: hook before: {problem}", "nothing was read; see hooks.before")

    def end(self, state: State) -> list[str]:
        """Hooks for a failure, if it is one, then those that clean up; each runs even if others failed.

        What went wrong, a line each.
        """
        kinds: tuple[When, ...] = ("failure", "after") if state in STATES["failure"] else ("after",)
        return [
            f"hook {when}: {problem}"
            for when in kinds
            for argv in getattr(self.settings, when)
            if (problem := self._run(when, argv, state))
        ]

    def commands(self) -> Iterator[tuple[Sequence[str], dict[str, str]]]:
        """Every call that may happen, with its environment: what a forced command has to allow."""
        for when, states in STATES.items():
            for argv in getattr(self.settings, when):
                yield from ((argv, self._environment(when, state)) for state in states)

    def _environment(self, when: When, state: State) -> dict[str, str]:
        return {
            "LEITSTAND_JOB": self.job,
            "LEITSTAND_HOST": self.host,
            "LEITSTAND_HOOK": when,
            "LEITSTAND_STATE": state,
        }

    def _run(self, when: When, argv: Sequence[str], state: State) -> str:
        """Run one; what went wrong, or nothing."""
        _log.debug("%s: hook %s: %s", self.job, when, argv[0])
        seconds = self.settings.timeout.total_seconds()
        try:
            finished = self.transport.run(
                argv, timeout=seconds, env=self._environment(when, state), keep_output=False
            )
        except ProcessError as error:
            return error.message
        if not finished.status:
            return ""
        hint = self.transport.hint(finished)
        why = f"{finished.last_words}; {hint}" if hint else finished.last_words
        return f"{argv[0]} on {self.transport.name} failed: {why}"
