"""The packages on a bare Debian 12 with systemd and no network: installed, upgraded, taken back, purged."""

import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lab.fleet import Fleet, Host, debian_base, fleet_impossible
from lab.packages import as_release, built_packages, package
from lab.processes import LabError, wait_until

IMPOSSIBLE = fleet_impossible()
pytestmark = [pytest.mark.slow, pytest.mark.skipif(IMPOSSIBLE is not None, reason=str(IMPOSSIBLE))]
APT = ["apt-get", "-q", "-y", "--no-install-recommends", "--allow-downgrades", "-o", "Dpkg::Use-Pty=0"]
EXPORTER = "leitstand-exporter.service"
OLDER, OLDEST = "0.0.9", "0.0.8"
# Requests the metrics until it is stopped; prints one line per answer: the release, or the error.
SCRAPES = """\
import pathlib, re, time, urllib.request
while not pathlib.Path("/run/enough").exists():
    try:
        text = urllib.request.urlopen("http://127.0.0.1:9815/metrics", timeout=60).read().decode()
        line = re.search(r'leitstand_exporter_build_info\\{.*?version="(.*?)"', text)[1]
    except Exception as error:
        line = repr(error)
    with open("/run/scrapes", "a") as file:
        file.write(line + "\\n")
    time.sleep(0.1)
"""


@pytest.fixture(scope="module")
def fleet() -> Iterator[Fleet]:
    with Fleet(debian_base(), ["web1"]) as fleet:
        fleet["web1"].run(["apt-get", "-q", "update"])
        yield fleet


@pytest.fixture(scope="module")
def built() -> Path:
    try:
        return built_packages("debian12")
    except LabError as error:
        pytest.skip(str(error))


@pytest.fixture
def web1(fleet: Fleet) -> Iterator[Host]:
    """The host, without the packages before and after each test."""
    host = fleet["web1"]
    host.run(["mkdir", "-p", "/root/debs"])
    yield host
    host.run(
        ["dpkg", "--purge", "leitstand", "leitstand-exporter"]
    )  # apt refuses a name that it does not know
    host.run(["sh", "-c", "rm -rf /root/debs /etc/leitstand /var/lib/leitstand /run/enough /run/scrapes"])


def put(host: Host, deb: Path) -> str:
    """Copy a package to the host; its path there."""
    shutil.copyfile(deb, host.root / "root/debs" / deb.name)
    return f"/root/debs/{deb.name}"


def install(host: Host, deb: Path) -> str:
    return host.run([*APT, "install", put(host, deb)], seconds=300).stdout


def shown(host: Host, command: str) -> str:
    return host.run(["sh", "-c", command], check=False).stdout.strip()


def release(deb: Path) -> str:
    return deb.name.split("_")[1].partition("+deb12")[0].replace("~dev", ".dev")


def starts(host: Host) -> int:
    host.run(["journalctl", "--sync"])
    return int(shown(host, f"journalctl -o cat -u {EXPORTER} | grep -c ^Started"))


def everything(host: Host) -> set[str]:
    """All files, but not what dpkg and apt write about any package."""
    places = "-path /proc -o -path /sys -o -path /run -o -path /tmp -o -path /dev -o -path /root/debs"
    records = "-path /var/lib/dpkg -o -path '/var/lib/apt' -o -path /var/cache/apt -o -path /var/log"
    found = shown(host, rf"find / \( {places} -o {records} \) -prune -o -print")
    passing = re.compile(r"/var/tmp/systemd-private|/etc/systemd/system/\w+\.target\.wants$")
    return {name for name in found.splitlines() if not passing.match(name)}


def test_a_bare_host_serves_figures_on_loopback_alone_as_soon_as_it_has_the_package(
    fleet: Fleet, web1: Host, built: Path
) -> None:
    deb = package("leitstand-exporter", built)
    install(web1, deb)
    assert shown(web1, "leitstand --version").startswith(f"leitstand, version {release(deb)}, commit ")
    assert int(shown(web1, "curl -sf http://127.0.0.1:9815/metrics | grep -c ^node_")) > 500
    inventory = "curl -sf http://127.0.0.1:9815/inventory"
    wait_until(lambda: shown(web1, inventory) != "", "the first inventory")
    assert json.loads(shown(web1, inventory))["items"]["package"]
    assert 9815 not in fleet.outsider().open_ports(web1.address)
    assert shown(web1, f"systemctl is-enabled {EXPORTER}") == "enabled"
    web1.write("/etc/leitstand.yml", "hosts: {web1: {address: 127.0.0.1}}\n")
    for command in (["backup", "list"], ["check", "--config", "/etc/leitstand.yml"]):
        refused = web1.run(["leitstand", *command], check=False)
        assert refused.returncode == 3
        assert "is part of the Debian package 'leitstand'" in refused.stderr
    assert shown(web1, "systemctl --failed --no-legend") == ""
    (web1.root / "etc/systemd/system/leitstand-exporter.socket.d").mkdir()
    web1.write(
        "/etc/systemd/system/leitstand-exporter.socket.d/address.conf",
        "[Socket]\nListenStream=\nListenStream=0.0.0.0:9815\n",
    )
    web1.run(["systemctl", "daemon-reload"])
    web1.run(["systemctl", "restart", "leitstand-exporter.socket", EXPORTER])
    assert 9815 in fleet.outsider().open_ports(web1.address)


def test_up_and_down_again_restarts_once_each_loses_no_scrape_and_keeps_the_data(
    web1: Host, built: Path, tmp_path: Path
) -> None:
    new = package("leitstand-exporter", built)
    old = as_release(new, OLDER, tmp_path)
    install(web1, old)
    web1.write("/root/scrapes.py", SCRAPES)
    web1.run(["systemd-run", "--unit=scrapes", "python3", "/root/scrapes.py"])
    wait_until(lambda: OLDER in shown(web1, "cat /run/scrapes"), "a first scrape")
    state = "/var/lib/leitstand-exporter/of-a-test"
    web1.write(state, "kept")
    before = starts(web1)
    for count, deb in enumerate((new, old, new), start=1):
        web1.run(["dpkg", "-i", put(web1, deb)])
        assert starts(web1) == before + count
        answers = len(shown(web1, "cat /run/scrapes").splitlines())
        wait_until(lambda: len(shown(web1, "cat /run/scrapes").splitlines()) > answers, "a scrape")  # noqa: B023
        assert release(deb) in shown(web1, "leitstand --version")
    web1.run(["touch", "/run/enough"])
    scrapes = shown(web1, "cat /run/scrapes").splitlines()
    seen = [each for number, each in enumerate(scrapes) if scrapes[:number][-1:] != [each]]
    assert seen == [OLDER, release(new), OLDER, release(new)]
    assert shown(web1, f"cat {state}") == "kept"


def test_the_last_three_releases_stay_and_one_goes_back_without_a_network(
    fleet: Fleet, web1: Host, built: Path, tmp_path: Path
) -> None:
    new = package("leitstand-exporter", built)
    olds = [as_release(new, version, tmp_path) for version in ("0.0.7", OLDEST, OLDER)]
    for deb in (*olds, new):
        install(web1, deb)
    kept = shown(web1, "ls /var/cache/leitstand/releases").splitlines()
    assert kept == sorted(path.name for path in (*olds[1:], new))
    fleet.link_down(web1)
    try:
        web1.run([*APT, "install", f"/var/cache/leitstand/releases/{olds[1].name}"])
        assert OLDEST in shown(web1, "leitstand --version")
        assert OLDEST in shown(web1, "curl -sf http://127.0.0.1:9815/metrics | grep build_info")
    finally:
        fleet.link_up(web1)
    assert shown(web1, "ls -A /var/cache/leitstand/releases").splitlines() == kept


def test_installing_again_changes_nothing(web1: Host, built: Path) -> None:
    deb = package("leitstand-exporter", built)
    install(web1, deb)
    written_later = {"/var/lib/leitstand-exporter/inventory.json"}
    before = everything(web1) | written_later
    web1.run(["dpkg", "-i", put(web1, deb)])
    install(web1, deb)
    assert everything(web1) | written_later == before


def test_a_unit_that_an_admin_disabled_stays_disabled(web1: Host, built: Path, tmp_path: Path) -> None:
    new = package("leitstand-exporter", built)
    install(web1, as_release(new, OLDER, tmp_path))
    web1.run(["systemctl", "disable", "--now", EXPORTER, "leitstand-exporter.socket"])
    install(web1, new)
    assert shown(web1, f"systemctl is-enabled {EXPORTER}") == "disabled"
    assert shown(web1, f"systemctl is-active {EXPORTER} leitstand-exporter.socket") == "inactive\ninactive"


def test_where_policy_forbids_it_nothing_is_started(web1: Host, built: Path) -> None:
    web1.write("/usr/sbin/policy-rc.d", "#!/bin/sh\nexit 101\n", 0o755)
    try:
        install(web1, package("leitstand-exporter", built))
        assert (
            shown(web1, f"systemctl is-active {EXPORTER} leitstand-exporter.socket") == "inactive\ninactive"
        )
    finally:
        web1.run(["rm", "/usr/sbin/policy-rc.d"])


def test_the_leitstand_host_has_everything_enables_nothing_and_keeps_keys_after_a_purge(
    web1: Host, built: Path
) -> None:
    install(web1, package("leitstand-exporter", built))
    web1.run([*APT, "install", "age", "ansible-core"], seconds=600)
    web1.run([*APT, "purge", "leitstand-exporter"])
    before, users = everything(web1), shown(web1, "getent passwd")
    install(web1, package("leitstand-exporter", built))
    install(web1, package("leitstand", built))  # takes over
    web1.run([*APT, "purge", "leitstand-exporter"])  # what is left of it is the other one's
    assert int(shown(web1, "curl -sf http://127.0.0.1:9815/metrics | grep -c ^node_")) > 500
    assert shown(web1, f"systemctl is-enabled {EXPORTER}") == "enabled"
    enabled = shown(
        web1, "systemctl list-unit-files --state=enabled --no-legend 'leitstand*' | cut -d' ' -f1"
    )
    assert set(enabled.split()) == {EXPORTER, "leitstand-exporter.socket"}
    for command in ("backup", "inventory", "status-page", "render", "exporter"):
        assert "Usage:" in shown(web1, f"leitstand {command} --help")
    web1.write("/etc/leitstand/leitstand.yml", "hosts: {web1: {address: 127.0.0.1}}\n")
    web1.write("/etc/leitstand/keys", "secret", 0o600)
    web1.run(["leitstand", "check"])
    for unit in ("status-page.socket", "inventory.timer"):
        web1.run(["systemctl", "enable", "--now", f"leitstand-{unit}"])
    for folder in ("status-page", "inventory", "metrics", "backup"):
        web1.run(["mkdir", "-p", f"/var/lib/leitstand/{folder}"])
    told = web1.run([*APT, "purge", "leitstand"]).stdout
    assert "kept: /etc/leitstand/keys" in told
    assert everything(web1) - before == {"/etc/leitstand", "/etc/leitstand/keys"}
    assert shown(web1, "getent passwd") == users
    assert "leitstand" not in shown(web1, "systemctl list-units --all --no-legend 'leitstand*'")


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def altered(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


@pytest.mark.parametrize("damage", [cut, altered])
def test_a_damaged_package_is_refused_and_the_old_release_goes_on(
    web1: Host, built: Path, tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    new = package("leitstand-exporter", built)
    install(web1, as_release(new, OLDER, tmp_path))
    (damaged := tmp_path / new.name).write_bytes(damage(new.read_bytes()))
    assert web1.run(["dpkg", "-i", put(web1, damaged)], check=False).returncode != 0
    assert_runs(web1, OLDER)
    web1.run(["dpkg", "-i", put(web1, new)])
    assert_runs(web1, release(new))


def assert_runs(host: Host, version: str) -> None:
    """The release on the disk is whole, and it is the one that answers."""
    assert shown(host, "dpkg --audit; dpkg --verify leitstand-exporter") == ""
    assert shown(host, "leitstand --version").startswith(f"leitstand, version {version},")
    figures = shown(host, "curl -sf http://127.0.0.1:9815/metrics")
    assert f'version="{version}"' in figures


def test_a_disk_that_fills_up_while_unpacking_leaves_the_old_release(
    web1: Host, built: Path, tmp_path: Path
) -> None:
    new = package("leitstand-exporter", built)
    web1.run(["mkdir", "-p", "/opt/leitstand"])
    web1.run(["mount", "-t", "tmpfs", "-o", "size=36m", "tmpfs", "/opt/leitstand"])
    try:
        install(web1, as_release(new, OLDER, tmp_path))
        full = web1.run(["dpkg", "-i", put(web1, new)], check=False)
        assert "No space left on device" in full.stderr
        assert_runs(web1, OLDER)
        web1.run(["mount", "-o", "remount,size=200m", "/opt/leitstand"])
        web1.run(["dpkg", "-i", put(web1, new)])
        assert_runs(web1, release(new))
    finally:
        web1.run(["dpkg", "--purge", "leitstand-exporter"])
        web1.run(["umount", "/opt/leitstand"])


@pytest.mark.parametrize("seen", ["Unpacking leitstand-exporter", "Setting up leitstand-exporter"])
def test_a_power_cut_in_an_update_is_mended_by_the_same_command(
    web1: Host, built: Path, tmp_path: Path, seen: str
) -> None:
    new = package("leitstand-exporter", built)
    install(web1, as_release(new, OLDER, tmp_path))
    file = put(web1, new)
    web1.run(["systemd-run", "-p", "StandardOutput=file:/root/dpkg.log", "dpkg", "-i", file])
    wait_until(lambda: seen in shown(web1, "cat /root/dpkg.log"), "dpkg")
    web1.cut_power()
    web1.boot()
    web1.run(["sh", "-c", f"dpkg --configure -a; dpkg -i {file}"])
    wait_until(lambda: shown(web1, "curl -sf http://127.0.0.1:9815/metrics") != "", "the exporter")
    assert_runs(web1, release(new))
