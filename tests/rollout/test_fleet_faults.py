"""Faults in a roll-out to real hosts: each is stopped, named, and costs nothing that ran."""

import json
import re
import shutil
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Event

import pytest

from lab import rollout_promises as promises
from lab.fleet import Host, fleet_impossible
from lab.packages import as_release, bad_release, package
from lab.patience import patient
from lab.processes import wait_until
from lab.rollout import PAGE, Bare, Document, configuration, processes
from lab.rollout_promises import NAMES, Scene, rolled_out_fleet

IMPOSSIBLE = fleet_impossible()
pytestmark = [pytest.mark.slow, pytest.mark.skipif(IMPOSSIBLE is not None, reason=str(IMPOSSIBLE))]
DEPLOYMENTS = "var/lib/leitstand/deployments"
RELEASES = "/var/cache/leitstand/releases"
GIVEN = "/root/release"  # where an admin puts the packages of a new release
ANSIBLE, APPLY = "ansible-playbook -i", "leitstand apply --config"
MOMENTS = (2.0, 5.0, 9.0, 14.0, 20.0)  # seconds after the start of a roll-out


@pytest.fixture(scope="module")
def rolled_out() -> Iterator[Scene]:
    with rolled_out_fleet(print) as (scene, first):
        first.require(0, 1)
        yield scene


@pytest.fixture
def scene(rolled_out: Scene) -> Scene:
    """Every test begins with the same leitstand.yml; what a test before rolled out may be another."""
    rolled_out.bare.configure(configuration(rolled_out.fleet))
    return rolled_out


def releases(scene: Scene) -> dict[str, str]:
    """The release that runs on each host that is up, as scraped last."""
    up = 'leitstand_exporter_build_info{job="host"} and on(instance) up{job="host"} == 1'
    return {labels["instance"]: labels["version"] for labels, _ in scene.bare.query(up)}


@contextmanager
def installed(bare: Bare, own: Path, other: Path) -> Iterator[None]:
    """The packages of a new release, as an admin gives them; afterwards the release that was there."""
    folder = bare.control.root / GIVEN.lstrip("/")
    folder.mkdir()
    shutil.copy(other, folder)
    bare.install(own)
    try:
        yield
    finally:
        bare.install()
        shutil.rmtree(folder, ignore_errors=True)


def exporters(scene: Scene, name: str) -> Document:
    """Another leitstand.yml, which says something new about every exporter: one more may reach it."""
    document = configuration(scene.fleet)
    document["deploy"]["allow"] = [name]
    return document


def found(host: Host, program: str) -> list[int]:
    """The processes of a program, found by its command line."""
    return [int(pid) for pid in host.run(["pgrep", "-f", program], check=False).stdout.split()]


def send(host: Host, number: signal.Signals, *pids: int) -> None:
    host.run(["kill", f"-{number.value}", *map(str, pids)], check=False)


def last_outcome(bare: Bare) -> Document:
    """What the newest deployment recorded about its end."""
    newest = max((bare.control.root / DEPLOYMENTS).glob("[0-9]*"))
    outcome: Document = json.loads((newest / "outcome.json").read_text())
    return outcome


def test_a_release_that_serves_nothing_is_stopped_at_the_first_host_and_taken_back(
    scene: Scene, tmp_path: Path
) -> None:
    bare, web2 = scene.bare, scene.fleet["web2"]
    before, good = processes(web2), releases(scene)["web1"]
    with installed(bare, *bad_release(bare.packages, "98.0", tmp_path)):
        applied = bare.apply("--host=web1", "--host=web2", f"--packages={GIVEN}").require(3)
    assert "the exporter does not answer" in applied.report["problems"]["web1"]
    assert applied.report["rolled_back"] == ["web1"]
    assert applied.report["untouched"] == ["web2"]
    assert processes(web2) == before
    promises.is_as_wanted(scene)
    assert releases(scene) == dict.fromkeys(NAMES, good)


def test_a_package_that_is_cut_or_has_no_room_leaves_the_host_as_it_was(scene: Scene, tmp_path: Path) -> None:
    bare, web1 = scene.bare, scene.fleet["web1"]
    good = releases(scene)["web1"]
    exporter = as_release(package("leitstand-exporter", bare.packages), "97.0", tmp_path)
    own = as_release(package("leitstand", bare.packages), "97.0", tmp_path)
    with installed(bare, own, exporter):
        web1.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", RELEASES])
        no_room = bare.apply("--host=web1", f"--packages={GIVEN}").require(3)
        web1.run(["umount", RELEASES])
        kept = bare.control.root / RELEASES.lstrip("/") / exporter.name
        kept.write_bytes(kept.read_bytes()[: kept.stat().st_size // 2])
        shutil.rmtree(bare.control.root / GIVEN.lstrip("/"))
        cut = bare.apply("--host=web1").require(3)
        kept.unlink()
    assert re.search("space|room", no_room.report["problems"]["web1"]), no_room
    assert "web1" in cut.report["problems"], cut
    assert cut.report["rolled_back"] == ["web1"]
    promises.is_as_wanted(scene)
    assert releases(scene)["web1"] == good


def test_an_upgrade_and_the_way_back_keep_all_data_and_cost_one_scrape_at_most(
    scene: Scene, tmp_path: Path
) -> None:
    bare = scene.bare
    bare.leitstand("backup", "run", "website")
    snapshots = bare.leitstand("backup", "list", "website", "--json").stdout
    ((_, first),) = bare.query('min_over_time(timestamp(up{instance="web1",job="host"})[1h:15s])')
    good = releases(scene)["web1"]
    own = as_release(package("leitstand", bare.packages), "99.0", tmp_path)
    other = as_release(package("leitstand-exporter", bare.packages), "99.0", tmp_path)
    start = time.monotonic()
    with page_is_asked(scene) as failed:
        with installed(bare, own, other):
            bare.apply(f"--packages={GIVEN}").require(0, 1)
            promises.is_as_wanted(scene)
            assert releases(scene) == dict.fromkeys(NAMES, "99.0")
            bare.apply(f"--release={good}", "--without-gate=the way back").require(0, 1)
        promises.is_as_wanted(scene)
        assert releases(scene) == dict.fromkeys(NAMES, good)
    window = f"[{time.monotonic() - start:.0f}s]"
    expression = f'count_over_time(up{{job="host"}}{window}) - sum_over_time(up{{job="host"}}{window})'
    missed = {labels["instance"]: value for labels, value in bare.query(expression)}
    assert all(value <= 2 for value in missed.values()), f"one for each way: {missed}"
    assert failed == []
    ((_, still),) = bare.query('min_over_time(timestamp(up{instance="web1",job="host"})[1h:15s])')
    assert still <= first, "what Prometheus measured before"
    assert bare.leitstand("backup", "list", "website", "--json").stdout == snapshots


@contextmanager
def page_is_asked(scene: Scene) -> Iterator[list[str]]:
    """Ask for the page all the time; what it answered other than 200."""
    failed: list[str] = []
    enough = Event()
    argv = ["curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", "-m", "10"]
    place = f"{PAGE}:443:{scene.bare.control.address}"
    argv += ["--cacert", str(scene.bare.authority), "--resolve", place, f"https://{PAGE}/"]
    stranger = scene.fleet.outsider()

    def ask() -> None:
        while not enough.wait(0.2):
            done = stranger.run(argv, check=False)
            if done.stdout != "200":
                failed.append(f"{done.stdout} {done.stderr}".strip())

    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(ask)
        try:
            yield failed
        finally:
            enough.set()
        asking.result()


def test_a_roll_out_that_was_killed_at_any_moment_is_finished_by_the_next(scene: Scene) -> None:
    bare = scene.bare
    for number, moment in enumerate(MOMENTS):
        bare.configure(exporters(scene, f"10.77.0.{100 + number}"))
        with bare.start() as started:
            time.sleep(moment)
            send(bare.control, signal.SIGKILL, *found(bare.control, APPLY))
            started.wait(patient(20))
        wait_until(lambda: not found(bare.control, ANSIBLE), "Ansible to end with it")
    bare.apply().require(0, 1)
    promises.is_as_wanted(scene)
    promises.is_measured(scene)


def test_ansible_that_is_killed_is_named_recorded_and_taken_back(scene: Scene) -> None:
    bare = scene.bare
    bare.configure(exporters(scene, "10.77.0.99"))
    with bare.start("--host=web1") as started:
        wait_until(lambda: found(bare.control, "ansible/site.yml"), "Ansible to begin to change the host")
        send(bare.control, signal.SIGKILL, *found(bare.control, "ansible/site.yml"))
        _, said = started.communicate(timeout=patient(300))
    assert started.returncode == 3
    assert "web1: back to deployment" in said
    assert "Ansible did not finish on web1" in last_outcome(bare)["problems"]["web1"]
    promises.is_as_wanted(scene)


def test_a_second_roll_out_is_refused_and_ctrl_c_ends_the_first_with_one_line(scene: Scene) -> None:
    bare = scene.bare
    with bare.start("--host=web1") as first:
        wait_until(lambda: found(bare.control, ANSIBLE), "Ansible to start")
        second = bare.apply("--host=web1").require(3)
        send(bare.control, signal.SIGINT, *found(bare.control, APPLY))
        _, said = first.communicate(timeout=patient(20))
    assert re.search(r"another roll-out is running: root, since 20\S+, process \d+", second.errors)
    assert first.returncode == 130
    assert said.splitlines()[-1] == "interrupted"
    assert "Traceback" not in said
    assert not found(bare.control, ANSIBLE)


def test_a_configuration_that_check_refuses_touches_nothing(scene: Scene) -> None:
    bare = scene.bare
    document = configuration(scene.fleet)
    document["hosts"]["web1"]["roles"] = ["wachted"]
    bare.configure(document)
    before, runs = etc(bare.control), bare.processes()
    refused = bare.apply().require(2)
    assert refused.errors.startswith("/root/leitstand.yml:16: hosts.web1.roles[0]: must be")
    assert (etc(bare.control), bare.processes()) == (before, runs)


def etc(host: Host) -> str:
    """The hash of every file of the configuration."""
    find = ["find", "/etc", "-xdev", "-type", "f", "-exec", "sha256sum", "{}", "+"]
    return "".join(sorted(host.run(find).stdout.splitlines(keepends=True)))


@pytest.mark.parametrize("way", ["hangs", "is down"])
def test_without_prometheus_nothing_is_known_and_nothing_is_changed(scene: Scene, way: str) -> None:
    bare = scene.bare
    bare.configure(exporters(scene, "10.77.0.98"))
    before = {line for line in bare.processes() if " Id=prometheus.service" not in line}
    stop = ["kill", "--signal=SIGSTOP"] if way == "hangs" else ["stop"]
    bare.control.run(["systemctl", *stop, "prometheus.service"])
    try:
        stopped = bare.apply("--host=web1").require(3)
    finally:
        back = ["kill", "--signal=SIGCONT"] if way == "hangs" else ["start"]
        bare.control.run(["systemctl", *back, "prometheus.service"])
    assert "the state of the fleet is unknown" in stopped.report["stopped"]
    assert stopped.report["untouched"] == ["web1"]
    assert {line for line in bare.processes() if " Id=prometheus.service" not in line} == before
    promises.is_as_wanted(scene)
