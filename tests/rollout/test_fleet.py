"""The main promise, on real hosts: two commands and one file, and then every day again."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from lab import rollout_promises as promises
from lab.fleet import fleet_impossible
from lab.processes import wait_until
from lab.rollout import CONTROL, Applied, configuration
from lab.rollout_promises import NAMES, Scene, rolled_out_fleet

IMPOSSIBLE = fleet_impossible()
pytestmark = [pytest.mark.slow, pytest.mark.skipif(IMPOSSIBLE is not None, reason=str(IMPOSSIBLE))]


@dataclass(frozen=True)
class RolledOut(Scene):
    """``first`` is the first `leitstand apply`."""

    first: Applied


@pytest.fixture(scope="module")
def scene() -> Iterator[RolledOut]:
    with rolled_out_fleet(print) as (found, first):
        yield RolledOut(found.bare, found.sink, first)


def test_two_commands_and_one_file_set_up_bare_hosts(scene: RolledOut) -> None:
    assert scene.first.code in (0, 1), scene.first
    assert set(scene.first.report["changed"]) == set(NAMES)
    promises.is_as_wanted(scene)
    promises.is_measured(scene)
    for host in scene.fleet.hosts.values():
        assert host.run(["systemctl", "--failed", "--plain", "--no-legend"]).stdout == ""


def test_a_step_that_is_left_to_a_person_is_named(scene: RolledOut) -> None:
    assert [warning for warning in scene.first.report["warnings"] if "keys export" in warning]


def test_an_alert_mail_has_arrived(scene: RolledOut) -> None:
    promises.mail_arrives(scene)


def test_a_web_site_is_backed_up_its_restore_is_proven_and_timers_do_so_daily(scene: RolledOut) -> None:
    promises.backs_up(scene)
    argv = ["systemctl", "list-timers", "--plain", "--no-legend", "leitstand-*"]
    timers = scene.bare.control.run(argv).stdout
    for what in ("run-website", "prune", "verify", "drill", "inventory"):
        assert what in timers


def test_the_page_answers_over_tls(scene: RolledOut) -> None:
    promises.page_answers(scene)


def test_a_stranger_reaches_nothing_but_ssh_and_the_web_servers(scene: RolledOut) -> None:
    promises.shows_no_more(scene)


def test_a_second_time_nothing_is_changed_and_nothing_restarted(scene: RolledOut) -> None:
    before = scene.bare.processes()
    promises.changes_nothing(scene)
    assert scene.bare.processes() == before


def test_a_changed_interval_restarts_nothing_and_reloads_prometheus(scene: RolledOut) -> None:
    before = scene.bare.processes()
    scene.bare.configure({**configuration(scene.fleet), "probing": {"interval": "20s"}})
    applied = scene.bare.apply().require(0, 1)
    assert set(applied.report["changed"]) == {CONTROL}
    assert scene.bare.processes() == before
    loaded = scene.bare.control.run(["curl", "-sSf", "http://127.0.0.1:9090/api/v1/status/config"]).stdout
    assert "scrape_interval: 20s" in loaded
    promises.is_as_wanted(scene)


def test_a_host_without_power_is_named_and_rolled_out_to_later(scene: RolledOut) -> None:
    promises.names_the_lost(scene)


def test_another_ssh_host_key_is_refused_with_both_fingerprints(scene: RolledOut) -> None:
    before = scene.bare.processes()
    promises.refuses_another_key(scene)
    assert scene.bare.processes() == before


def test_after_a_reboot_all_is_back_without_a_manual_step(scene: RolledOut) -> None:
    before = {line.rpartition(" MainPID=")[0] for line in scene.bare.processes()}
    for host in scene.fleet.hosts.values():
        host.shut_down()
    scene.fleet.boot()

    def running() -> set[str]:
        return {line.rpartition(" MainPID=")[0] for line in scene.bare.processes()}

    wait_until(lambda: running() >= before, "every service to run again", pause=1)
    promises.is_measured(scene)
    promises.is_as_wanted(scene)
    promises.page_answers(scene)
    promises.shows_no_more(scene)
