"""What each host should run, from the records of all roll-outs, and how the last one ended."""

from dataclasses import dataclass

from rollout.apply.deployments import Deployments
from rollout.apply.proof import Runs


@dataclass(frozen=True)
class Wanted:
    """What one host should run, and since when (UTC, for people)."""

    runs: Runs
    since: str


def wanted(deployments: Deployments) -> dict[str, Wanted]:
    """Host → what the newest roll-out that ended well on it wanted."""
    return {
        host: Wanted(Runs(outcome.release, outcome.configurations[host]), outcome.ended)
        for host, (_, outcome) in deployments.last_of_hosts().items()
    }
