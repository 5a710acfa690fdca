"""``leitstand deploy status``: what each host runs beside what it should run."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

from leitstand.errors import LeitstandError
from rollout.apply.deployments import Deployments, Outcome
from rollout.apply.prometheus_api import Monitoring, NoAnswerError
from rollout.apply.proof import Runs, what_runs


@dataclass(frozen=True)
class Row:
    """One host."""

    COLUMNS: ClassVar = ("host", "release", "configuration", "wanted", "since", "state")

    host: str
    release: str
    configuration: str
    wanted: str
    since: str
    state: str
    as_wanted: bool

    def cells(self) -> list[str]:
        """The row of the table."""
        runs = [self.release or "unknown", self.configuration or "unknown"]
        return [self.host, *runs, self.wanted, self.since, self.state]


def fleet_rows(deployments: Deployments, monitoring: Monitoring | None = None) -> list[Row]:
    """A row per host of the last good deployment. Raises LeitstandError without one."""
    last = deployments.last_good()
    outcome = last.outcome() if last else None
    if outcome is None:
        raise LeitstandError("nothing was rolled out from this host yet", "run: leitstand apply")
    try:
        runs = what_runs(monitoring or Monitoring())
    except NoAnswerError:
        runs = {}
    return list(_rows(outcome, runs))


def _rows(outcome: Outcome, runs: Mapping[str, Runs]) -> Iterator[Row]:
    for host, configuration in outcome.configurations.items():
        found = runs.get(host, Runs())
        as_wanted = found == Runs(outcome.release, configuration)
        state = "as wanted" if as_wanted else "differs" if found.known else "unknown"
        wanted = f"{outcome.release} {configuration}"
        yield Row(host, found.release, found.configuration, wanted, outcome.ended, state, as_wanted)
