"""One roll-out: preflight, batches with a gate after each, roll-back if one fails, proof of what runs."""

import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from leitstand.errors import LeitstandError
from leitstand.prometheus import Prometheus, PrometheusError
from rollout.ansible_run import HostResult, Playbook, play
from rollout.apply.deployments import Deployment
from rollout.apply.gate import Gate, Seen, look
from rollout.apply.order import Batch, batches
from rollout.apply.proof import LOADED, Runs, differences, what_runs
from rollout.apply.shown import Shown

_PROOF_SECONDS = 90.0  # a host that was restarted is scraped within one interval
_PAUSE = 2.0
_AWAY = "see 'journalctl -u prometheus', or go on with --without-gate REASON"


@dataclass(frozen=True)
class Wishes:
    """What the person who starts it wants; no hosts means all."""

    hosts: Collection[str] = ()
    without_gate: str = ""
    dry_run: bool = False


@dataclass
class Report:
    """What came out: changed tasks, problems and diffs per host; ``stopped`` says why the rest was left."""

    changed: dict[str, list[str]] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)
    diffs: dict[str, list[str]] = field(default_factory=dict)
    rolled_back: list[str] = field(default_factory=list)
    untouched: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    stopped: str = ""

    @property
    def good(self) -> bool:
        """Whether every host is as wanted."""
        return not self.problems and not self.stopped

    def take(self, results: Mapping[str, HostResult]) -> dict[str, str]:
        """Add the results of a playbook; returns the problems of it, one line per host."""
        for host, result in results.items():
            if result.changed:
                self.changed.setdefault(host, []).extend(result.changed)
            self.warnings += [f"{host}: {text}" for text in result.warnings]
            if result.diffs:
                self.diffs.setdefault(host, []).extend(result.diffs)
        problems = {host: result.problems[0] for host, result in results.items() if not result.good}
        self.problems.update(problems)
        return problems


@dataclass
class Rollout:
    """A roll-out of one deployment; ``previous`` has what each host of a failed batch goes back to."""

    deployment: Deployment
    previous: Mapping[str, Deployment]
    roles: Mapping[str, Sequence[str]]
    wanted: Mapping[str, Runs]
    loads: str  # hash of what Prometheus loads; empty if that is not known
    leitstand: str
    wishes: Wishes
    prometheus: Prometheus
    shown: Shown
    report: Report = field(default_factory=Report)

    @property
    def chosen(self) -> list[str]:
        """The hosts that it is about, in the order of leitstand.yml."""
        return [host for host in self.roles if host in (self.wishes.hosts or self.roles)]

    def run(self) -> Report:
        """Do it."""
        hosts = self._preflight(self.chosen)
        if not self.report.stopped:
            before = self._before()
        if self.report.stopped:
            self.report.untouched = hosts
            return self.report
        ran = self._ran()
        waiting = self._batches(hosts, ran)
        for number, batch in enumerate(waiting):
            self.shown.line(f"{', '.join(batch.hosts)} ({batch.why})")
            if not self._change(batch, before, ran):
                self.report.untouched = [host for later in waiting[number + 1 :] for host in later.hosts]
                return self.report
        if not self.wishes.dry_run:
            self._prove(hosts)
        if not before.scraped and not self.wishes.dry_run:
            self._warn_of_alerts()
        return self.report

    def _preflight(self, hosts: list[str]) -> list[str]:
        """The hosts that can be changed; the others are problems. Stops without the leitstand host."""
        self.shown.line("preflight: which hosts answer, disk space, clocks")
        self.report.take(self._play("preflight.yml", hosts, dry_run=False))
        self.report.changed.clear()
        if self.leitstand in self.report.problems:
            self.report.stopped = "the leitstand host itself is not ready"
        return [host for host in hosts if host not in self.report.problems]

    def _before(self) -> Seen:
        """What is good before; nothing on a first roll-out. Stops if it is unknown and was not always."""
        try:
            return look(self.prometheus)
        except PrometheusError as error:
            if self.previous and not self.wishes.without_gate and not self.wishes.dry_run:
                self.report.stopped = f"the state of the fleet is unknown: {error.message}; {_AWAY}"
            return Seen()

    def _warn_of_alerts(self) -> None:
        """Nothing was measured before, so an alert is no reason to stop; but it is there."""
        with suppress(PrometheusError):
            alerts = look(self.prometheus).alerts
            self.report.warnings += [f"the alert {alert} fires" for alert in sorted(alerts)]

    def _ran(self) -> Mapping[str, Runs]:
        """What each host runs before anything is changed, as far as it is known."""
        try:
            return what_runs(self.prometheus)
        except PrometheusError:
            return {}

    def _batches(self, hosts: Collection[str], ran: Mapping[str, Runs]) -> list[Batch]:
        """Hosts that already run what they should come last, together: little will change there."""
        others = [host for host in hosts if host != self.leitstand]
        settled = tuple(host for host in others if ran.get(host) == self.wanted[host])
        roles = {host: self.roles[host] for host in hosts if host not in settled}
        if self.wishes.dry_run:
            return [Batch(tuple(hosts), "dry run")]
        last = [Batch(settled, "as wanted already")] if settled else []
        return batches(roles, self.deployment.share) + last

    def _change(self, batch: Batch, before: Seen, ran: Mapping[str, Runs]) -> bool:
        """Change one batch; False if it failed and was rolled back."""
        results = self._play("site.yml", batch.hosts, dry_run=self.wishes.dry_run)
        if problems := self.report.take(results):
            host, problem = next(iter(problems.items()))
            return self._roll_back(batch, f"{host}: {problem}")
        changed = [host for host in batch.hosts if results[host].changed]
        if not changed or self.wishes.dry_run or self.wishes.without_gate:
            return True
        self.shown.line(f"gate: watching {', '.join(changed)}")
        try:
            restarted = [host for host in changed if ran.get(host) != self.wanted[host]]
            verdict = Gate(self.prometheus, before, changed, restarted).wait()
        except PrometheusError as error:
            return self._roll_back(batch, error.message)
        return verdict.open or self._roll_back(batch, "; ".join(verdict.reasons))

    def _roll_back(self, batch: Batch, why: str) -> bool:
        """Replay on each host of a batch what it had before; always False."""
        self.report.stopped = why
        if self.wishes.dry_run:
            return False
        for host in batch.hosts:
            self.report.problems.setdefault(host, why)
        back = {host: self.previous[host] for host in batch.hosts if host in self.previous}
        if not back:
            self.shown.line(f"failed: {why}; there is no earlier deployment to go back to")
        for deployment in dict.fromkeys(back.values()):
            hosts = [host for host, before in back.items() if before == deployment]
            self.shown.line(f"failed: {why}; {', '.join(hosts)}: back to deployment {deployment.number}")
            self._go_back(deployment, hosts)
        return False

    def _go_back(self, deployment: Deployment, hosts: Sequence[str]) -> None:
        for host, result in self._results(_playbook(deployment, "site.yml", hosts)).items():
            if result.good:
                self.report.rolled_back.append(host)
            else:
                self.report.problems[host] += f"; and going back failed: {result.problems[0]}"

    def _prove(self, hosts: Collection[str]) -> None:
        """Wait until what runs is what was wanted on ``hosts``; the rest are problems."""
        wanted = {host: self.wanted[host] for host in hosts}
        end = time.monotonic() + _PROOF_SECONDS
        while True:
            left = self._unlike(wanted)
            if not left or time.monotonic() > end:
                self.report.problems.update(left)
                return
            time.sleep(_PAUSE)

    def _unlike(self, wanted: Mapping[str, Runs]) -> dict[str, str]:
        try:
            found = dict(differences(wanted, what_runs(self.prometheus)))
            if self.leitstand in wanted and self._loaded() != self.loads != "":
                found.setdefault(self.leitstand, "Prometheus has not loaded its configuration")
            return found
        except PrometheusError as error:
            return dict.fromkeys(wanted, f"what it runs is unknown: {error.message}")

    def _loaded(self) -> str:
        """The hash in the rules that Prometheus has loaded."""
        return self.prometheus.rule_label(LOADED, "configuration")

    def _play(self, name: str, hosts: Sequence[str], *, dry_run: bool) -> dict[str, HostResult]:
        return self._results(_playbook(self.deployment, name, hosts, dry_run=dry_run))

    def _results(self, playbook: Playbook) -> dict[str, HostResult]:
        """The result of each host; if Ansible itself does not work, that is the problem of all of them."""
        try:
            return play(playbook, self.shown)
        except LeitstandError as error:
            return {host: HostResult(problems=[error.message]) for host in playbook.hosts}


def _playbook(deployment: Deployment, name: str, hosts: Sequence[str], *, dry_run: bool = False) -> Playbook:
    return Playbook(deployment.ansible, name, deployment.inventory, hosts, dry_run)
