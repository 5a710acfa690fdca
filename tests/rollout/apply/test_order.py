"""The order of a roll-out: first ones first, small batches, never all pages at once."""

import math

from hypothesis import given
from hypothesis import strategies as st

from rollout.apply.order import LEITSTAND, PAGE, Batch, batches

ROLES = st.lists(st.sampled_from(["watched", "status_page"]), unique=True, min_size=1)


@st.composite
def fleets(draw: st.DrawFn) -> dict[str, list[str]]:
    """Hosts with roles; one is the leitstand host, at any place of the file."""
    names = draw(st.lists(st.text("abcdef", min_size=1), unique=True, min_size=1, max_size=30))
    fleet = {name: draw(ROLES) for name in names}
    fleet[draw(st.sampled_from(names))] = [LEITSTAND, *draw(ROLES)]
    return fleet


@given(fleets(), st.floats(0.01, 1))
def test_every_host_is_changed_once_in_small_batches_and_never_two_pages_at_once(
    fleet: dict[str, list[str]], share: float
) -> None:
    order = batches(fleet, share)
    assert sorted(host for batch in order for host in batch.hosts) == sorted(fleet)
    assert LEITSTAND in fleet[order[0].hosts[0]], "it comes first"
    most = max(1, math.floor(len(fleet) * share))
    for batch in order:
        assert 1 <= len(batch.hosts) <= most
        assert sum(PAGE in fleet[host] for host in batch.hosts) <= 1


@given(fleets(), st.floats(0.01, 1))
def test_no_batch_of_several_hosts_tries_a_role_for_the_first_time(
    fleet: dict[str, list[str]], share: float
) -> None:
    tried: set[str] = set()
    for batch in batches(fleet, share):
        if len(batch.hosts) > 1:
            assert {role for host in batch.hosts for role in fleet[host]} <= tried
        others = [host for host in batch.hosts if LEITSTAND not in fleet[host]]  # it has a package of its own
        tried.update(role for host in others for role in fleet[host])


def test_hosts_keep_the_order_of_the_file() -> None:
    roles = {
        "web1": ["watched"], "control": [LEITSTAND, "watched"], "page": [PAGE, "watched"],
        "web2": ["watched"], "web3": ["watched"], "web4": ["watched"],
    }  # fmt: skip
    assert batches(roles, 0.4) == [
        Batch(("control",), "the leitstand host"),
        Batch(("web1",), "the first host with watched"),
        Batch(("page",), "the first host with status_page"),
        Batch(("web2", "web3"), "of the rest"),
        Batch(("web4",), "of the rest"),
    ]
