"""A whole roll-out, with programs in the places of Ansible and Prometheus that do what a test says."""

import json
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from leitstand.prometheus import Sample
from rollout.apply import engine, gate
from rollout.apply.deployments import Deployment, Deployments, Outcome
from rollout.apply.engine import Report, Rollout, Wishes
from rollout.apply.proof import Runs
from rollout.apply.shown import Shown
from tests.rollout.apply.standin import INTERVAL, Fleet

ROLES = {"control": ["leitstand", "watched"], "web1": ["watched"], "web2": ["watched"], "web3": ["watched"]}
HOSTS = tuple(ROLES)
# Each line of what it did is "NUMBER PLAYBOOK HOSTS"; "fate" has what becomes of "NUMBER PLAYBOOK HOST".
ANSIBLE = """\
#!{python}
import json, pathlib, sys
folder, inventory = pathlib.Path({folder!r}), pathlib.Path(sys.argv[2])
hosts, playbook = sys.argv[sys.argv.index("--limit") + 1].split(","), pathlib.Path(sys.argv[-1]).name
number = int(inventory.parent.name)
fate, runs = (json.loads((folder / name).read_text()) for name in ("fate", "runs"))
with (folder / "calls").open("a") as calls:
    print(number, playbook, ",".join(hosts), file=calls)
for host in hosts:
    status = fate.get(f"{{number}} {{playbook}} {{host}}", "changed" if playbook == "site.yml" else "ok")
    if status == "dies":
        sys.exit("ERROR! no more memory")
    message = f"{{host}} {{status}}"
    print(json.dumps({{"host": host, "task": "t", "status": status, "message": message}}), flush=True)
    print(json.dumps({{"host": host, "kind": "recap"}}), flush=True)
    if playbook == "site.yml" and status == "changed":
        runs[host] = f"release{{number}}"
(folder / "runs").write_text(json.dumps(runs))
"""


@dataclass
class Answers(Fleet):
    """A Prometheus that has scraped all hosts anew whenever it is asked."""

    runs: Callable[[], Mapping[str, str]] = dict

    def vector(self, expression: str, at: float | None = None) -> list[Sample]:
        """What runs, and what the gate asks for."""
        self.sleep(INTERVAL)
        found = super().vector(expression, at)
        if "_info{" not in expression:
            return found
        names = {"version": "version", "configuration": "configuration"}
        return [
            Sample({"instance": host, **dict.fromkeys(names, release)}, self.clock())
            for host, release in self.runs().items()
        ]

    def rule_label(self, rule: str, label: str) -> str:
        """Prometheus has loaded everything."""
        return ""


@dataclass
class Scene:
    """Deployment 1 ended well on all hosts; deployment 2 is to be rolled out."""

    folder: Path
    deployments: Deployments
    prometheus: Answers
    rollout: Rollout = field(init=False)

    def deployment(self) -> Deployment:
        new = self.deployments.new()
        hosts = {host: {"leitstand_roles": roles} for host, roles in ROLES.items()}
        variables = {"leitstand_max_parallel": "50%"}
        new.inventory.write_text(json.dumps({"all": {"hosts": hosts, "vars": variables}}))
        return new

    def ended(self, hosts: tuple[str, ...] = HOSTS, *, good: bool = True) -> None:
        new = self.deployment()
        release = f"release{new.number}"
        new.end(
            Outcome(good, release, dict.fromkeys(HOSTS, release), {}, "anna", "2026-11-30", done=[*hosts])
        )

    def run(self, fate: Mapping[str, str] | None = None, **wishes: object) -> Report:
        (self.folder / "fate").write_text(json.dumps(fate or {}))
        new = self.deployment()
        release = f"release{new.number}"
        previous = {host: one for host, (one, _) in self.deployments.last_of_hosts().items()}
        self.rollout = Rollout(
            new,
            previous,
            ROLES,
            dict.fromkeys(HOSTS, Runs(release, release)),
            "",
            "control",
            Wishes(**wishes),  # type: ignore[arg-type]
            self.prometheus,
            Shown(),
        )
        return self.rollout.run()

    def calls(self) -> list[str]:
        return (self.folder / "calls").read_text().splitlines()

    def runs(self) -> dict[str, str]:
        found: dict[str, str] = json.loads((self.folder / "runs").read_text())
        return found


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    for module in (engine, gate):
        monkeypatch.setattr(module, "_PAUSE", 0.001)
    monkeypatch.setattr(engine, "_PROOF_SECONDS", 0.05)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    program = tmp_path / "ansible-playbook"
    program.touch(0o755)
    program.write_text(ANSIBLE.format(python=sys.executable, folder=str(tmp_path)))
    (tmp_path / "runs").write_text(json.dumps(dict.fromkeys(HOSTS, "release1")))
    (tmp_path / "deployments").mkdir()
    scene = Scene(tmp_path, Deployments(tmp_path / "deployments"), Answers())
    scene.prometheus.up = dict.fromkeys(HOSTS, lambda _: True)
    scene.prometheus.runs = scene.runs
    scene.ended()
    return scene


def test_the_leitstand_host_and_one_host_come_first_and_all_run_the_new_release(scene: Scene) -> None:
    report = scene.run()
    assert report.good, report
    assert scene.calls() == [
        "2 preflight.yml control,web1,web2,web3",
        "2 site.yml control",
        "2 site.yml web1",
        "2 site.yml web2,web3",
    ]
    assert scene.runs() == dict.fromkeys(HOSTS, "release2")


def test_a_host_that_fails_goes_back_and_the_rest_is_left(scene: Scene) -> None:
    report = scene.run({"2 site.yml web1": "failed"})
    assert scene.calls()[2:] == ["2 site.yml web1", "1 site.yml web1"]
    assert report.problems == {"web1": "t: web1 failed"}
    assert report.rolled_back == ["web1"]
    assert report.untouched == ["web2", "web3"]
    assert report.stopped == "web1: t: web1 failed"


def test_each_host_goes_back_to_what_it_had_itself(scene: Scene) -> None:
    scene.ended(("web2",))
    scene.ended(("control", "web3"), good=False)
    report = scene.run({"4 site.yml web2": "failed"}, hosts=("web2", "web3"))
    assert scene.calls()[1:] == ["4 site.yml web2", "2 site.yml web2"]
    assert report.rolled_back == ["web2"]
    report = scene.run({"5 site.yml web3": "failed", "5 site.yml web2": "ok"}, hosts=("web3",))
    assert scene.calls()[-1] == "3 site.yml web3", "it failed elsewhere, but was good on this host"


def test_a_new_host_has_nothing_to_go_back_to(scene: Scene) -> None:
    scene.ended(("control", "web1", "web2"))
    (scene.deployments.all()[0].folder / "outcome.json").unlink()
    report = scene.run({"3 site.yml web3": "failed"}, hosts=("web3",))
    assert scene.calls()[-1] == "3 site.yml web3"
    assert report.problems == {"web3": "t: web3 failed"}
    assert report.rolled_back == []


@pytest.mark.parametrize("playbook", ["preflight.yml", "site.yml"])
def test_ansible_that_does_not_work_is_a_problem_of_its_hosts_and_ends_the_roll_out(
    scene: Scene, playbook: str
) -> None:
    report = scene.run({f"2 {playbook} control": "dies"})
    assert not report.good
    assert "Ansible did not finish on control" in report.stopped + report.problems["control"]
    assert "no more memory" in report.problems["control"]
    assert set(report.untouched) == set(HOSTS) - set(report.problems)
    assert report.rolled_back == (["control"] if playbook == "site.yml" else [])


def test_ansible_that_does_not_work_while_going_back_is_named_too(scene: Scene) -> None:
    report = scene.run({"2 site.yml web1": "failed", "1 site.yml web1": "dies"})
    assert "web1 failed; and going back failed: Ansible did not finish" in report.problems["web1"]
    assert report.rolled_back == []


def test_a_host_that_does_not_answer_is_left_out_and_named(scene: Scene) -> None:
    report = scene.run({"2 preflight.yml web1": "unreachable"})
    assert report.problems == {"web1": "web1 unreachable"}
    assert scene.calls()[1:] == ["2 site.yml control", "2 site.yml web2", "2 site.yml web3"]
    assert scene.runs()["web1"] == "release1"


def test_without_the_leitstand_host_nothing_is_changed(scene: Scene) -> None:
    report = scene.run({"2 preflight.yml control": "failed"})
    assert report.stopped == "the leitstand host itself is not ready"
    assert report.untouched == ["web1", "web2", "web3"]
    assert len(scene.calls()) == 1


def test_without_prometheus_the_state_is_unknown_and_nothing_is_changed(scene: Scene) -> None:
    scene.prometheus.answers = lambda _: False
    report = scene.run()
    assert "the state of the fleet is unknown" in report.stopped
    assert "--without-gate" in report.stopped
    assert report.untouched == list(HOSTS)
    assert len(scene.calls()) == 1


def test_without_the_gate_what_runs_must_still_be_proven(scene: Scene) -> None:
    report = scene.run({"2 site.yml web3": "ok"}, without_gate="it is being repaired")
    assert report.problems == {"web3": "runs release release1, not release2"}


def test_a_host_that_gets_worse_goes_back_with_its_batch(scene: Scene) -> None:
    scene.prometheus.alerts = lambda _: ["DiskFull"] if scene.runs()["web2"] == "release2" else []
    report = scene.run()
    assert "the alert DiskFull fires since" in report.stopped
    assert scene.calls()[-1] == "1 site.yml web2,web3"
    assert report.rolled_back == ["web2", "web3"]
    assert scene.runs()["web1"] == "release2"


def test_a_dry_run_asks_ansible_to_change_nothing_and_goes_nowhere_back(scene: Scene) -> None:
    report = scene.run({"2 site.yml web1": "failed"}, dry_run=True)
    assert scene.calls()[1:] == ["2 site.yml control,web1,web2,web3"]
    assert report.problems == {"web1": "t: web1 failed"}
    assert report.rolled_back == []
