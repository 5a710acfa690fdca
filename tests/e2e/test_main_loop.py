"""The main job on the running stack: measured, scraped, alerted on, backed up, told to the public."""

import time

import pytest

from lab.incident import find_mail, play_incident
from lab.patience import patient
from lab.processes import fetch, wait_until
from lab.promises import PROMISES, Check, backup_runs, page_shows, page_state
from lab.stack import Stack

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def saved(stack: Stack) -> Stack:
    """The stack with a first backup: some promises are about one, in whatever order they are checked."""
    backup_runs(stack)
    return stack


@pytest.mark.parametrize(("what", "check"), [(what, check) for what, _, check in PROMISES])
def test_the_demo_keeps_its_promise(saved: Stack, what: str, check: Check) -> None:
    assert check(saved), what


def test_an_outage_is_seen_by_the_public_and_mailed_to_the_admin(
    stack: Stack, capsys: pytest.CaptureFixture[str]
) -> None:
    told: list[str] = []
    assert play_incident(stack, told.append) == 0
    assert any("Ausgefallen / Down" in line for line in told)
    assert "website" in capsys.readouterr().out, "the mail names the service"


def test_an_exporter_that_is_killed_is_mailed_as_a_host_that_is_down(stack: Stack) -> None:
    stack.servers["exporter"].kill()
    wait_until(lambda: find_mail(stack, "FIRING", "HostDown"), "the HostDown mail", 180, 0.2)
    stack.start_exporter()
    wait_until(lambda: find_mail(stack, "RESOLVED", "HostDown"), "the HostDown resolved mail", 180, 0.2)
    assert "web1" in (find_mail(stack, "FIRING", "HostDown") or "")


def test_nothing_is_reported_as_over_while_prometheus_is_away(stack: Stack) -> None:
    firing = 'count(ALERTS{alertname="HostDown", alertstate="firing"})'
    before = ends_of_host_down(stack)
    stack.servers["exporter"].kill()
    wait_until(lambda: stack.query(firing), "HostDown to fire", 180, 0.2)
    stack.servers["prometheus"].kill()
    time.sleep(5 * 60 / stack.speed)  # the time itself is the fault: five minutes of operation
    stack.servers["prometheus"].start()
    wait_until(lambda: stack.query(firing), "HostDown to fire again", 180, 0.2)
    assert ends_of_host_down(stack) == before
    stack.start_exporter()
    wait_until(lambda: ends_of_host_down(stack) > before, "the end of HostDown", 180, 0.2)


def ends_of_host_down(stack: Stack) -> int:
    return sum("Subject: [RESOLVED] HostDown" in mail for mail in stack.mails())


def test_the_page_works_without_prometheus_and_shows_the_age_of_its_data(stack: Stack) -> None:
    page_shows(stack, "website", "up")
    stack.servers["prometheus"].stop()
    wait_until(lambda: page_state(stack, "website") == "unknown", "the page to turn to unknown", 240, 0.2)
    # It is written a moment after the JSON; and what was measured last turns last.
    page = stack.url("page", "/en/")
    wait_until(lambda: "Available" not in fetch(page)[1], "the page in English to call nothing available")
    status, body = fetch(page, timeout=patient(60))
    assert status == 200
    assert "Unknown" in body
    assert "<time" in body
    stack.servers["prometheus"].start()
    page_shows(stack, "website", "up", seconds=120)
