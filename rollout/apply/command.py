"""What `leitstand apply` does between its options and its last line."""

import getpass
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from leitstand.errors import LeitstandError, UsageError
from leitstand.exported_keys import is_exported
from leitstand.files import write_atomically
from leitstand.settings.config import load_document
from leitstand.settings.hosts import KNOWN_HOSTS
from leitstand.settings.words import did_you_mean
from rollout.apply.deployments import Deployment, Deployments, Outcome
from rollout.apply.engine import Report, Rollout, Wishes
from rollout.apply.host_keys import Place, fingerprint, new_keys, pin, pinned, scan
from rollout.apply.metrics import write_metrics
from rollout.apply.plan import CA, PACKAGES, Plan, make_plan, own_prometheus, package_version, write_plan
from rollout.apply.proof import Runs
from rollout.apply.shown import Shown
from rollout.authority import ensure_certificates

Confirm = Callable[[str], bool]


@dataclass(frozen=True)
class Request:
    """What was asked for on the command line."""

    config: Path
    release: str
    wishes: Wishes


def apply(request: Request, deployments: Deployments, shown: Shown, confirm: Confirm) -> Report:
    """Roll leitstand.yml out. Raises LeitstandError when nothing was changed."""
    plan = make_plan(load_document(request.config), request.release)
    _known(request.wishes.hosts, plan)
    with deployments.locked(_by(), _now()):
        _pin_host_keys(plan, shown, confirm)
        if not request.wishes.dry_run:
            ensure_certificates(CA, _addresses(plan), datetime.now(UTC))
        previous = _of_hosts(deployments)
        deployment = deployments.new()
        write_plan(plan, deployment, request.config)
        rollout = Rollout(
            deployment,
            previous,
            plan.roles,
            plan.wanted,
            plan.monitoring,
            plan.leitstand,
            request.wishes,
            own_prometheus(),
            shown,
        )
        return _run(rollout, deployments, request.release)


def replay(release: str, wishes: Wishes, deployments: Deployments, shown: Shown) -> Report:
    """Roll the last good deployment of an earlier release out again, with its own roles and packages."""
    with deployments.locked(_by(), _now()):
        earlier = deployments.last_good(release)
        outcome = earlier.outcome() if earlier else None
        if earlier is None or outcome is None:
            found = sorted(
                {done.release for one in deployments.all() if (done := one.outcome()) and done.good}
            )
            raise UsageError(
                f"no good deployment of release {release} is kept on this host",
                f"kept: {', '.join(found) or 'none'}",
            )
        wanted = {host: Runs(release, hashed) for host, hashed in outcome.configurations.items()}
        deployment = deployments.again(earlier)
        roles, leitstand = deployment.roles()
        rollout = Rollout(
            deployment,
            _of_hosts(deployments),
            roles,
            wanted,
            outcome.monitoring,
            leitstand,
            wishes,
            own_prometheus(),
            shown,
        )
        return _run(rollout, deployments, release)


def _of_hosts(deployments: Deployments) -> dict[str, Deployment]:
    """Host → what it goes back to if this roll-out fails there."""
    return {host: deployment for host, (deployment, _) in deployments.last_of_hosts().items()}


def _run(rollout: Rollout, deployments: Deployments, release: str) -> Report:
    if not rollout.wishes.dry_run:
        write_metrics(deployments, rollout.deployment)  # so that a run that is killed counts as failed
    report = rollout.run()
    if rollout.wishes.dry_run:
        rollout.deployment.remove()
        return report
    report.warnings += not_exported(rollout.deployment.keys_files)
    configurations = {host: runs.configuration for host, runs in rollout.wanted.items()}
    left = {*report.problems, *report.untouched}
    rollout.deployment.end(
        Outcome(
            good=report.good,
            release=release,
            configurations=configurations,
            problems=report.problems,
            by=_by(),
            ended=_now(),
            stopped=report.stopped,
            done=[host for host in rollout.chosen if host not in left],
            monitoring=rollout.loads,
            without_gate=rollout.wishes.without_gate,
        )
    )
    deployments.clean_up()
    report.warnings += write_metrics(deployments, rollout.deployment)
    return report


def not_exported(keys_files: Iterable[Path]) -> Iterator[str]:
    """A warning for each file of master keys of which the recovery kit was not printed yet."""
    for path in keys_files:
        if path.exists() and not is_exported(path):
            yield (
                f"{path}: without these keys no backup can be restored; run"
                " 'leitstand backup keys export --out kit.txt' and keep that off this machine"
            )


def _known(hosts: Iterable[str], plan: Plan) -> None:
    for host in hosts:
        if host not in plan.roles:
            raise UsageError(f"there is no host '{host}' with roles", did_you_mean(host, list(plan.roles)))


def _addresses(plan: Plan) -> dict[str, str]:
    return {host: str(variables["leitstand_address"]) for host, variables in plan.inventory.hosts.items()}


def _pin_host_keys(plan: Plan, shown: Shown, confirm: Confirm) -> None:
    """Pin the keys of hosts that are new, once a person has seen their fingerprints."""
    places: Mapping[str, Place] = {
        host: Place(str(variables["ansible_host"]), int(variables["ansible_port"]))
        for host, variables in plan.inventory.hosts.items()
        if variables["ansible_connection"] == "ssh"
    }
    new = new_keys(places, scan(places), pinned(KNOWN_HOSTS))
    if not new:
        return
    shown.line("new hosts; compare with `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` on each:")
    for host, key in new.items():
        shown.line(f"  {host}  {fingerprint(key)}")
    if not confirm("Are these their keys?"):
        raise LeitstandError("the keys of new hosts were not accepted", "nothing was changed")
    pin(KNOWN_HOSTS, places, new)


def _by() -> str:
    return os.environ.get("SUDO_USER") or getpass.getuser()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def collect_packages(release: str, folders: Iterable[Path], target: Path = PACKAGES) -> None:
    """Copy a release's packages from ``folders`` to the folder that hosts get them from."""
    target.mkdir(parents=True, exist_ok=True)
    for folder in folders:
        for package in sorted(folder.glob(f"leitstand*_{package_version(release)}+*.deb")):
            if not (target / package.name).exists():
                write_atomically(target / package.name, package.read_bytes())
