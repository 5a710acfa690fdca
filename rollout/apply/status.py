"""``leitstand deploy status``: what each host runs beside what it should run."""

from dataclasses import dataclass
from typing import ClassVar

from leitstand.errors import LeitstandError
from leitstand.prometheus import Prometheus, PrometheusError
from rollout.apply.deployments import Deployments
from rollout.apply.proof import Runs, what_runs
from rollout.apply.wanted import Wanted, wanted


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


def fleet_rows(deployments: Deployments, prometheus: Prometheus) -> list[Row]:
    """A row per host that was rolled out to. Raises LeitstandError without one."""
    wants = wanted(deployments)
    if not wants:
        raise LeitstandError("nothing was rolled out from this host yet", "run: leitstand apply")
    try:
        runs = what_runs(prometheus)
    except PrometheusError:
        runs = {}
    return [_row(host, want, runs.get(host, Runs())) for host, want in wants.items()]


def _row(host: str, want: Wanted, found: Runs) -> Row:
    as_wanted = found == want.runs
    state = "as wanted" if as_wanted else "differs" if found.known else "unknown"
    text = f"{want.runs.release} {want.runs.configuration}"
    return Row(host, found.release, found.configuration, text, want.since, state, as_wanted)
