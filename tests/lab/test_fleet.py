"""The lab's hosts: whether they are real, apart from each other, and gone afterwards."""

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from lab.fleet import Fleet, Host, debian_base, fleet_impossible
from lab.fleet.base import CACHE
from lab.patience import patient
from lab.processes import LabError, wait_until

IMPOSSIBLE = fleet_impossible()
pytestmark = [pytest.mark.slow, pytest.mark.skipif(IMPOSSIBLE is not None, reason=str(IMPOSSIBLE))]
NAMES = ("leitstand", "web1", "web2")
REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def fleet() -> Iterator[Fleet]:
    with Fleet(debian_base(), NAMES) as fleet:
        yield fleet


@pytest.mark.parametrize(
    "without_rights", [["unshare", "--map-root-user"], ["setpriv", "--bounding-set", "-sys_admin"]]
)
def test_root_without_rights_learns_why_there_is_no_fleet(without_rights: list[str]) -> None:
    ask = [sys.executable, "-c", "from lab.fleet import fleet_impossible; print(fleet_impossible())"]
    told = subprocess.check_output([*without_rights, *ask], cwd=REPOSITORY, text=True)
    assert re.match("a fleet of hosts is not allowed here: .*not permitted", told)


def greeting(host: Host, address: str, port: int = 22) -> str:
    """The first bytes that a server sends to a host."""
    return host.run(
        ["timeout", "5", "bash", "-c", f"head -c 8 </dev/tcp/{address}/{port}"], check=False
    ).stdout


def test_three_hosts_run_systemd_and_answer_over_ssh(fleet: Fleet) -> None:
    for name in NAMES:
        assert fleet[name].ssh("hostname").stdout.strip() == name
        assert fleet[name].run(["systemctl", "is-system-running"]).stdout.strip() == "running"
        assert fleet[name].ssh("sudo -u admin sudo -n id -u").stdout.strip() == "0"
        fleet[name].ssh("ip link add v0 type veth && ip link delete v0")  # rights over its own network


def test_many_small_hosts_run_sshd_alone() -> None:
    with Fleet(debian_base(), ("a", "b"), small=True) as fleet:
        assert fleet["b"].ssh("cat /proc/1/comm").stdout == "(sd-stubinit)\n"
    with (
        pytest.raises(LabError, match=r"is enough for \d+ hosts, not 9999; raise it"),
        Fleet(debian_base(), "x" * 9999),
    ):
        pass


def test_no_two_hosts_share_keys_or_machine_ids(fleet: Fleet) -> None:
    for path in ("/etc/machine-id", "/etc/ssh/ssh_host_ed25519_key.pub"):
        assert len({fleet[name].run(["cat", path]).stdout for name in NAMES}) == len(NAMES)
    assert not list(fleet["web1"].root.glob("etc/ssh/ssh_host_rsa*")), "not those of the base"


def test_a_power_cut_ends_every_process_of_one_host_and_keeps_its_disk(fleet: Fleet) -> None:
    host, other = fleet["web1"], fleet["web2"].leader
    host.run(["sh", "-c", "echo kept >/root/note; setsid sleep 1000 >/dev/null 2>&1 &"])
    assert host.run(["pgrep", "-x", "sleep"]).stdout
    host.cut_power()
    assert (host.state(), (host.root / "root/note").read_text()) == ("off", "kept\n")
    host.boot()
    assert host.ssh("cat", "note").stdout == "kept\n"
    assert not host.run(["pgrep", "-x", "sleep"], check=False).stdout
    assert fleet["web2"].leader == other, "the other host has not noticed"


def test_power_can_be_cut_while_a_host_boots(fleet: Fleet) -> None:
    host = fleet.add("web10", boot=False)
    for pause in (0.0, 0.05, 0.2, 0.5):
        host.boot(wait=False)
        time.sleep(pause)  # the moment is what is tested
        host.cut_power()
        assert (host.is_on, host.state()) == (False, "off")
    host.boot()
    fleet.replace("web1").cut_power()
    assert host.state() == "running", "a host whose name begins with that of the lost one"
    fleet["web1"].boot()
    host.shut_down()


def test_a_host_reboots_by_itself(fleet: Fleet) -> None:
    host = fleet["web1"]
    before = host.run(["cat", "/proc/sys/kernel/random/boot_id"]).stdout
    host.run(["systemctl", "reboot"], check=False)
    wait_until(lambda: host.state() in ("off", "starting", "stopping"), "the host to go down")
    host.wait()
    assert host.run(["cat", "/proc/sys/kernel/random/boot_id"]).stdout != before


def test_hosts_reach_each_other_by_name_and_over_both_protocols(fleet: Fleet) -> None:
    other = fleet["web2"]
    fleet.alias("www.example.test", other)
    for address in ("web2", "web2.fleet.test", "www.example.test", other.address, other.address6):
        assert greeting(fleet["web1"], address) == "SSH-2.0-"


def test_hosts_learn_at_once_that_there_is_no_internet(fleet: Fleet) -> None:
    for url, status in (("nowhere.example.org", 6), ("192.0.2.1", 7), ("[2001:db8::1]", 7)):
        assert fleet["web1"].run(["curl", "-s", "-m", "60", url], check=False).returncode == status, (
            "28: in vain"
        )
    assert "default via 10.77.0.1" in fleet["web1"].run(["ip", "route"]).stdout


def test_a_pulled_cable_cuts_off_one_host(fleet: Fleet) -> None:
    fleet.link_down(fleet["web1"])
    try:
        assert fleet["web1"].ssh("true", check=False).returncode == 255
        assert fleet["web2"].ssh("true", check=False).returncode == 0
        assert fleet["web1"].state() == "running"
    finally:
        fleet.link_up(fleet["web1"])
    fleet["web1"].wait()


def test_an_outsider_sees_the_open_ports_alone(fleet: Fleet) -> None:
    host = fleet["web1"]
    for port, address in (("8001", "127.0.0.1"), ("8002", "::"), ("8003", "::")):
        host.run(["systemd-run", f"--unit=port-{port}", "python3", "-m", "http.server", "-b", address, port])
    wait_until(lambda: host.run(["ss", "-Htln"]).stdout.count(":800") == 3, "the servers")
    network = ["nsenter", f"--target={host.leader}", "--net"]
    rules = "table inet lab { chain in { type filter hook input priority 0; tcp dport 8003 drop; }; }"
    subprocess.run([*network, "nft", rules], check=True)
    try:
        for address in (host.address, host.address6):
            assert fleet.outsider().open_ports(address) == [22, 8002]
    finally:
        subprocess.run([*network, "nft", "flush", "ruleset"], check=True)
        host.run(["systemctl", "stop", "port-*"])


def test_a_host_installs_packages_without_the_internet(fleet: Fleet) -> None:
    host = fleet["web2"]
    host.run(["apt-get", "-q", "update"])
    host.run(["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qy", "install", "nginx-light"])
    assert fleet.run(["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "http://web2/"]).stdout == "200"


def test_a_lost_host_comes_back_empty_with_its_addresses_and_other_keys(fleet: Fleet) -> None:
    lost = fleet["web2"]
    lost.write("/root/note", "lost")
    host = fleet.replace("web2")
    assert not (host.root / "root/note").exists()
    assert (host.address, host.address6) == (lost.address, lost.address6)
    assert host.public_key not in ("", fleet["web1"].public_key)
    assert host.ssh("hostname").stdout == "web2\n", "its new key is known"


def test_hosts_reach_an_object_store_and_a_mail_server(fleet: Fleet) -> None:
    mail = "import smtplib; smtplib.SMTP('lab.fleet.test').sendmail('a@x.test', 'b@x.test', 'Subject: hello')"
    with fleet.swift() as swift, fleet.mail_sink() as sink:
        fleet["web1"].run(["python3", "-c", mail])
        assert "Subject: hello" in sink.mails()[0]
        assert swift.ca_file is not None
        fleet["web1"].write("/root/ca.pem", swift.ca_file.read_text())
        seen = ["curl", "-s", "--cacert", "/root/ca.pem", f"{swift.endpoint}/healthcheck"]
        assert fleet["web1"].run(seen).stdout == "OK"
        sink.server.stop()
        assert greeting(fleet["web1"], "lab.fleet.test", 25) == ""


def machine() -> dict[str, object]:
    """What a fleet could leave behind."""
    interfaces = json.loads(subprocess.check_output(["ip", "-json", "link"]))
    return {
        "mounts": sum("leitstand-lab" in line for line in Path("/proc/mounts").read_text().splitlines()),
        "interfaces": {each["ifname"] for each in interfaces},
        "namespaces": subprocess.check_output(["ip", "netns", "list"]),
    }


def left(name: str) -> list[Path]:
    """Files and cgroups of a fleet."""
    return [*CACHE.glob(f"fleets/{name}*"), *Path("/sys/fs/cgroup").glob(f"**/leitstand-fleet-{name}*")]


@pytest.mark.parametrize("way", [signal.SIGINT, signal.SIGKILL])
def test_nothing_is_left_of_a_fleet_however_its_owner_ends(fleet: Fleet, way: signal.Signals) -> None:
    """Beside another, which does not notice."""
    before = machine()
    with subprocess.Popen(
        ["env", "--default-signal", sys.executable, "-m", "lab.fleet", "up", "web9"],
        cwd=REPOSITORY,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    ) as owner:
        assert owner.stdout is not None
        assert any("Ctrl-C ends" in line for line in owner.stdout)
        assert left(f"{owner.pid}-"), "what is looked for"
        inside = subprocess.run(
            [sys.executable, "-m", "lab.fleet", "shell", "web9"],
            cwd=REPOSITORY,
            input="cat /etc/hostname",
            capture_output=True,
            text=True,
            check=True,
        )
        assert inside.stdout.splitlines()[-1] == "web9"
        assert fleet["web1"].ssh("hostname").stdout == "web1\n", "each has its own network"
        processes = psutil.Process(owner.pid).children(recursive=True)
        assert "systemd" in {process.name() for process in processes}
        owner.send_signal(way)
        owner.wait(patient(20))
    assert not psutil.wait_procs(processes, patient(10))[1], "all have ended"
    assert machine() == before
    if way == signal.SIGKILL:
        with Fleet(debian_base(), []):
            pass
    assert not left(f"{owner.pid}-")
    assert fleet["web1"].state() == "running"
