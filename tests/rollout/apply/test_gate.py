"""The gate: open after three good scrapes, closed as soon as anything is worse, never open while unknown."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leitstand.prometheus import PrometheusError
from rollout.apply.gate import Gate, Seen, Verdict, look, worse
from tests.rollout.apply.standin import INTERVAL, Fleet

START = 1000.0


def verdict(fleet: Fleet, before: Seen | None = None) -> tuple[Verdict, float]:
    """What the gate says, and after how many seconds."""
    seen = look(fleet) if before is None else before
    found = Gate(fleet, seen, tuple(fleet.up), tuple(fleet.up), fleet.clock, fleet.sleep).wait()
    return found, fleet.clock() - START


def test_three_good_scrapes_of_each_host_open_it() -> None:
    found, seconds = verdict(Fleet(up={"web1": lambda _: True, "web2": lambda _: True}))
    assert found.open
    assert 2 * INTERVAL < seconds <= 3 * INTERVAL + 1


def test_a_host_that_runs_what_it_did_before_needs_one_scrape() -> None:
    fleet = Fleet(up={"web1": lambda _: True})
    assert Gate(fleet, look(fleet), ("web1",), (), fleet.clock, fleet.sleep).wait().open
    assert fleet.clock() - START <= INTERVAL + 1


def test_a_host_that_was_never_measured_needs_one_scrape() -> None:
    found, seconds = verdict(Fleet(up={"new": lambda now: now > START + 40}), before=Seen())
    assert found.open
    assert seconds < 40 + 2 * INTERVAL


def test_on_a_first_roll_out_an_alert_about_what_was_down_before_does_not_close_it() -> None:
    found, _ = verdict(Fleet(up={"new": lambda _: True}, alerts=lambda _: ["ServiceDown"]), before=Seen())
    assert found.open


def test_an_alert_about_a_host_that_is_new_does_not_close_it() -> None:
    down = frozenset({"HostDown: web9"})
    before, now = Seen(up={"web1": True}, scraped={"web1": 1.0}), Seen(alerts=down)
    assert list(worse(before, now, ("web9",))) == []
    assert list(worse(before, now, ("web1",))) == ["the alert HostDown: web9 fires since"]


def test_an_alert_about_what_was_down_before_may_come_late() -> None:
    before = Seen(
        up={"web1": False, "web2": True}, scraped={"web2": 1.0}, verdicts={"shop": 0.0, "page": 1.0}
    )
    for alert in ("HostDown: web1", "ServiceDown: shop"):
        now = Seen(alerts=frozenset({alert}), verdicts=before.verdicts)
        assert list(worse(before, now, ("web1", "web2"))) == []
    for alert in ("HostDown: web2", "ServiceDown: page", "DiskFull"):
        now = Seen(alerts=frozenset({alert}), verdicts=before.verdicts)
        assert list(worse(before, now, ("web1", "web2"))) == [f"the alert {alert} fires since"]


def test_one_missed_scrape_is_forgiven_and_two_are_not() -> None:
    one, _ = verdict(Fleet(up={"web1": lambda now: not START + 10 < now < START + 10 + INTERVAL}))
    assert one.open
    two, seconds = verdict(Fleet(up={"web1": lambda now: now <= START}))
    assert two.reasons == ("the host web1 does not answer Prometheus",)
    assert seconds <= 2 * INTERVAL + 1, "it says so at once"


def test_a_host_that_is_never_scraped_closes_it_at_the_deadline() -> None:
    fleet = Fleet(up={})
    gate = Gate(fleet, look(fleet), ("web1",), ("web1",), fleet.clock, fleet.sleep)
    assert gate.wait().reasons == ("the host web1 is not scraped",)


@pytest.mark.parametrize(
    ("fleet", "reason"),
    [
        (
            Fleet(up={"web1": lambda _: True}, alerts=lambda now: ["DiskFull"] if now > START else []),
            "the alert DiskFull fires since",
        ),
        (
            Fleet(up={"web1": lambda _: True}, verdicts=lambda now: {"shop": 1.0 if now <= START else 0.0}),
            "the service shop was up and is down",
        ),
        (
            Fleet(up={"web1": lambda _: True}, verdicts=lambda now: {"shop": 1.0} if now <= START else {}),
            "the service shop was up and is unknown",
        ),
        (
            Fleet(up={"web1": lambda _: True}, health=lambda now: {"web1": 0.0 if now <= START else 2.0}),
            "the host web1 was well and is critical",
        ),
    ],
)
def test_a_service_host_or_alert_that_got_worse_closes_it_at_once(fleet: Fleet, reason: str) -> None:
    found, seconds = verdict(fleet)
    assert found.reasons == (reason,)
    assert seconds <= 2


def test_no_answer_is_unknown_and_not_good() -> None:
    with pytest.raises(PrometheusError):
        verdict(Fleet(up={"web1": lambda _: True}, answers=lambda now: now < START + 5))


SEEN = st.builds(
    Seen,
    up=st.dictionaries(st.sampled_from("ab"), st.booleans()),
    health=st.dictionaries(st.sampled_from("ab"), st.sampled_from([0.0, 1.0, 2.0])),
    verdicts=st.dictionaries(st.sampled_from("xy"), st.sampled_from([0.0, 0.5, 1.0])),
    alerts=st.frozensets(st.sampled_from(["A", "B"])),
)


@given(SEEN)
def test_a_fault_that_was_there_before_does_not_close_it(seen: Seen) -> None:
    assert not list(worse(seen, seen, ("a", "b")))


@given(SEEN, SEEN)
def test_a_figure_that_was_never_measured_is_not_compared(before: Seen, now: Seen) -> None:
    known = {f"the service {service} " for service in before.verdicts}
    known |= {f"the host {host} " for host in before.health}
    known |= {"the alert "} if before.scraped else set()
    assert all(any(reason.startswith(start) for start in known) for reason in worse(before, now, ("a", "b")))
