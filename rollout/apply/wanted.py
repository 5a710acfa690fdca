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
    """Host → what the newest roll-out that ended well on it wanted.

    A roll-out that failed counts for the hosts that it had finished: they run the new state, the others the
    old one. Hosts that are no longer in leitstand.yml are left out.
    """
    found: dict[str, Wanted] = {}
    outcomes = [outcome for one in reversed(deployments.all()) if (outcome := one.outcome())]
    hosts = outcomes[0].configurations.keys() if outcomes else ()
    for outcome in outcomes:
        for host in outcome.configurations if outcome.good else outcome.done:
            if host in hosts and host not in found:
                found[host] = Wanted(Runs(outcome.release, outcome.configurations[host]), outcome.ended)
    return found
