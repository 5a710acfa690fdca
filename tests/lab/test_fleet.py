"""The lab's hosts: whether they are real, apart from each other, and gone afterwards."""

from collections.abc import Iterator

import pytest

from lab.fleet import Fleet, debian_base, fleet_impossible

IMPOSSIBLE = fleet_impossible()
pytestmark = [pytest.mark.slow, pytest.mark.skipif(IMPOSSIBLE is not None, reason=str(IMPOSSIBLE))]
NAMES = ("leitstand", "web1", "web2")


@pytest.fixture(scope="module")
def fleet() -> Iterator[Fleet]:
    with Fleet(debian_base(), NAMES) as fleet:
        yield fleet


def test_three_hosts_run_systemd_and_answer_over_ssh(fleet: Fleet) -> None:
    for name in NAMES:
        assert fleet[name].ssh("hostname").stdout.strip() == name
        assert fleet[name].run(["systemctl", "is-system-running"]).stdout.strip() == "running"


def test_no_two_hosts_share_keys_or_machine_ids(fleet: Fleet) -> None:
    for path in ("/etc/machine-id", "/etc/ssh/ssh_host_ed25519_key.pub"):
        assert len({fleet[name].run(["cat", path]).stdout for name in NAMES}) == len(NAMES)
    assert not list(fleet["web1"].root.glob("etc/ssh/ssh_host_rsa*")), "not those of the base"


def test_a_power_cut_ends_every_process_of_one_host_and_keeps_its_disk(fleet: Fleet) -> None:
    host, other = fleet["web1"], fleet["web2"].leader
    host.run(["sh", "-c", "echo kept >/root/note; setsid sleep 1000 >/dev/null 2>&1 &"])
    sleeping = host.run(["pgrep", "-f", "sleep 1000"]).stdout
    assert sleeping
    host.cut_power()
    assert (host.state(), (host.root / "root/note").read_text()) == ("off", "kept\n")
    host.boot()
    assert host.ssh("cat", "note").stdout == "kept\n"
    assert not host.run(["pgrep", "-f", "sleep 1000"], check=False).stdout
    assert fleet["web2"].leader == other, "the other host has not noticed"


def test_hosts_reach_each_other_by_name_over_both_protocols(fleet: Fleet) -> None:
    for address in ("web2", fleet["web2"].address, fleet["web2"].address6):
        greeting = fleet["web1"].run(["bash", "-c", f"head -c 8 </dev/tcp/{address}/22"]).stdout
        assert greeting == "SSH-2.0-"


def test_a_pulled_cable_cuts_off_one_host(fleet: Fleet) -> None:
    fleet.link_down(fleet["web1"])
    try:
        assert fleet["web1"].ssh("true", check=False).returncode == 255
        assert fleet["web2"].ssh("true", check=False).returncode == 0
        assert fleet["web1"].state() == "running"
    finally:
        fleet.link_up(fleet["web1"])
    fleet["web1"].wait()
