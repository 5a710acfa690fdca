"""What `leitstand apply` does between its options and its last line."""

import getpass
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from leitstand.errors import LeitstandError, UsageError
from leitstand.exported_keys import is_exported
from leitstand.settings.config import load_document
from leitstand.settings.hosts import KNOWN_HOSTS
from leitstand.settings.words import did_you_mean
from rollout.apply.deployments import Deployment, Deployments, Outcome
from rollout.apply.engine import Report, Rollout, Wishes
from rollout.apply.host_keys import Place, fingerprint, new_keys, pin, pinned, scan
from rollout.apply.metrics import running, write_metrics
from rollout.apply.packages import keep, lay_out, new_packages
from rollout.apply.plan import CA, Places, Plan, make_plan, own_prometheus, write_plan
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
    packages: Sequence[Path] = ()  # folders in which packages of the release may be


def apply(request: Request, deployments: Deployments, shown: Shown, confirm: Confirm) -> Report:
    """Roll leitstand.yml out. Raises LeitstandError when nothing was changed."""
    plan = make_plan(load_document(request.config), request.release)
    _known(request.wishes.hosts, plan)
    with deployments.locked(run_by(), now_text()):
        packages = new_packages(request.release, request.packages)
        answers, keys = _new_host_keys(plan, shown, confirm)
        previous = _of_hosts(deployments)
        deployment = deployments.new()
        places = _places(deployment, dry_run=request.wishes.dry_run)
        ensure_certificates(places.authority, _addresses(plan), datetime.now(UTC))
        keep(packages, places.packages)
        pin(places.known_hosts, answers, keys, base=KNOWN_HOSTS)
        write_plan(plan, deployment, request.config, places)
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
    with deployments.locked(run_by(), now_text()):
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


def _places(deployment: Deployment, *, dry_run: bool) -> Places:
    """Where certificates, packages and host keys are kept; of a dry run copies, which end with it."""
    if not dry_run:
        return Places()
    folder = deployment.folder
    places = Places(folder / "ca", folder / "packages", folder / "known_hosts")
    if CA.exists():
        shutil.copytree(CA, places.authority)
    lay_out(places.packages)
    return places


def _of_hosts(deployments: Deployments) -> dict[str, Deployment]:
    """Host → what it goes back to if this roll-out fails there."""
    return {host: deployment for host, (deployment, _) in deployments.last_of_hosts().items()}


def _run(rollout: Rollout, deployments: Deployments, release: str) -> Report:
    if rollout.wishes.dry_run:
        try:
            return rollout.run()
        finally:
            rollout.deployment.remove()
    with running(deployments, rollout.deployment):
        report = rollout.run()
    report.warnings += not_exported(rollout.deployment.keys_files)
    configurations = {host: runs.configuration for host, runs in rollout.wanted.items()}
    left = {*report.problems, *report.untouched}
    rollout.deployment.end(
        Outcome(
            good=report.good,
            release=release,
            configurations=configurations,
            problems=report.problems,
            by=run_by(),
            ended=now_text(),
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


def _new_host_keys(plan: Plan, shown: Shown, confirm: Confirm) -> tuple[Mapping[str, Place], dict[str, str]]:
    """Where hosts answer, and the keys of new ones, of which a person has seen the fingerprints."""
    places: Mapping[str, Place] = {
        host: Place(str(variables["ansible_host"]), int(variables["ansible_port"]))
        for host, variables in plan.inventory.hosts.items()
        if variables["ansible_connection"] == "ssh"
    }
    new = new_keys(places, scan(places), pinned(KNOWN_HOSTS))
    if not new:
        return places, new
    shown.line("new hosts; compare with `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` on each:")
    for host, key in new.items():
        shown.line(f"  {host}  {fingerprint(key)}")
    if not confirm("Are these their keys?"):
        hint = "nothing was changed; on the leitstand host, in a terminal: leitstand apply"
        raise LeitstandError("the keys of new hosts were not accepted", hint)
    return places, new


def run_by() -> str:
    """Who started this, for the lock and the record."""
    return os.environ.get("SUDO_USER") or getpass.getuser()


def now_text() -> str:
    """When, for people."""
    return datetime.now(UTC).isoformat(timespec="seconds")
