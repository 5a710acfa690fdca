"""The systemd units: hardened, valid, and hiding nothing from the figures."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.patience import patient
from lab.processes import free_port

UNITS = Path(__file__).parents[3] / "deploy/systemd"
SERVICE = UNITS / "leitstand-exporter.service"
SOCKET = UNITS / "leitstand-exporter.socket"
LEITSTAND = Path(sys.executable).parent / "leitstand"
needs_systemd = pytest.mark.skipif(
    not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed"
)
needs_sandbox = pytest.mark.skipif(
    os.geteuid() != 0 or not all(map(shutil.which, ("unshare", "setpriv"))),
    reason="a mount sandbox needs root",
)


def directives(path: Path) -> list[tuple[str, str]]:
    """The settings of a unit, in order, with continued lines joined."""
    text = path.read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and line[0] not in "#["]
    return [(name, value.strip()) for name, _, value in (line.partition("=") for line in lines)]


@needs_systemd
def test_the_service_scores_1_5_or_better(tmp_path: Path) -> None:
    # The threshold is in tenths; the exit code tells.
    assert passes_the_gate(SERVICE)
    weaker = tmp_path / SERVICE.name
    weaker.write_text(SERVICE.read_text().replace("PrivateDevices=yes\n", ""))
    assert not passes_the_gate(weaker)


def passes_the_gate(unit: Path) -> bool:
    argv = ["systemd-analyze", "security", "--offline=yes", "--no-pager", "--threshold=15", unit]
    return subprocess.run(argv, capture_output=True, check=False).returncode == 0


@needs_systemd
def test_systemd_finds_nothing_wrong_with_the_units(tmp_path: Path) -> None:
    for unit in (SERVICE, SOCKET):
        text = unit.read_text().replace("/opt/leitstand/bin/leitstand", "/bin/true")
        (tmp_path / unit.name).write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", tmp_path / SERVICE.name, tmp_path / SOCKET.name],
        capture_output=True,
        text=True,
        check=False,
    )
    ours = [line for line in done.stderr.splitlines() if "leitstand" in line]
    assert (done.returncode, ours) == (0, [])


@pytest.mark.parametrize(
    "trap",
    [
        "ProcSubset",
        "ProtectProc",
        "ProtectClock",
        "ProtectHostname",
        "ProtectKernelModules",
        "DynamicUser",
        "PrivateNetwork",
        "InaccessiblePaths",
        "TemporaryFileSystem",
        "RootDirectory",
    ],
)
def test_settings_that_would_blind_the_exporter_are_absent(trap: str) -> None:
    assert trap not in dict(directives(SERVICE))


def test_homes_and_what_is_mounted_below_temporary_folders_stay_visible() -> None:
    settings = dict(directives(SERVICE))
    assert settings["ProtectHome"] == "read-only"
    # systemd mounts these over the private ones.
    assert settings["BindReadOnlyPaths"].split() == ["/tmp", "/var/tmp"]


def call_sets() -> dict[str, set[str]]:
    """systemd's named sets of system calls, with what they include."""
    listing = subprocess.run(
        ["systemd-analyze", "--no-pager", "syscall-filter"], capture_output=True, text=True, check=True
    ).stdout
    raw: dict[str, set[str]] = {}
    for line in listing.splitlines():
        if line.startswith("@"):
            members = raw.setdefault(line.strip(), set())
        elif line.startswith(" ") and not line.strip().startswith("#"):
            members.add(line.strip())

    def expanded(name: str) -> set[str]:
        nested = [expanded(member) if member[0] == "@" else {member} for member in raw.get(name, ())]
        return set().union(*nested)

    return {name: expanded(name) for name in raw}


def refused_calls() -> set[str]:
    """What the service's SystemCallFilter= refuses, as systemd.exec(5) combines the lines."""
    sets = call_sets()
    allowed = set(sets["@default"])
    for value in (value for name, value in directives(SERVICE) if name == "SystemCallFilter"):
        names = value.removeprefix("~").split()
        calls = {call for name in names for call in sets.get(name, {name})}
        allowed = allowed - calls if value.startswith("~") else allowed | calls
    return set().union(*sets.values()) - allowed


@needs_systemd
def test_the_filter_lets_the_clock_be_read_and_nothing_be_set() -> None:
    refused = refused_calls()
    assert {"clock_settime", "settimeofday", "init_module", "mount", "ptrace", "reboot", "bpf"} <= refused
    assert (
        not {"adjtimex", "statfs", "openat2", "epoll_wait", "memfd_create", "prlimit64", "clone3"} & refused
    )


# The mount settings of the service, by hand: all read-only, a /dev of its own; no capability.
SANDBOX = """\
set -e
mount -t tmpfs tmpfs /mnt
mkdir /mnt/dev
for name in null zero random urandom; do
    touch /mnt/dev/$name
    mount --bind /dev/$name /mnt/dev/$name
done
mount --rbind /mnt/dev /dev
umount -l /mnt
while read -r _ _ _ _ point _; do
    mount -o remount,bind,ro "$point" 2>/dev/null || true
done </proc/self/mountinfo
exec setpriv --bounding-set=-all --inh-caps=-all --no-new-privs "$@"
"""


@pytest.fixture
def exporter(eventually: Callable[..., Any]) -> Iterator[Callable[..., Callable[[], str]]]:
    """Run the exporter, by ``prefix`` in a sandbox; gives what fetches its page of a whole inventory."""
    processes: list[subprocess.Popen[bytes]] = []

    def start(*prefix: str) -> Callable[[], str]:
        port = free_port()
        argv = [*prefix, str(LEITSTAND), "exporter", "--web.listen-address", f"127.0.0.1:{port}"]
        processes.append(subprocess.Popen(argv, stderr=subprocess.DEVNULL, start_new_session=True))
        return lambda: str(eventually(lambda: _complete_page(port), 300))

    yield start
    for process in processes:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _complete_page(port: int) -> str | None:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=patient(60)) as answer:
            page = answer.read().decode()
    except OSError:
        return None
    return page if "leitstand_inventory_info" in page else None


def series(page: str, pattern: str = "") -> list[str]:
    """Name and labels of every series whose line matches."""
    lines = [line for line in page.splitlines() if not line.startswith("#") and re.search(pattern, line)]
    return sorted(line.rpartition(" ")[0] for line in lines)


def values(page: str, pattern: str) -> list[str]:
    return sorted(line for line in page.splitlines() if re.search(pattern, line))


CHANGING = r"leitstand_inventory_info|leitstand_exporter_|leitstand_process|python_|process_"


@needs_sandbox
@pytest.mark.slow
def test_the_sandbox_of_the_service_hides_no_figure(exporter: Callable[..., Callable[[], str]]) -> None:
    look = exporter()
    outside = look()
    inside = exporter("unshare", "--mount", "--propagation", "private", "bash", "-c", SANDBOX, "sandbox")()
    stable = f"^(?!{CHANGING})"
    # What comes or goes meanwhile on a machine at work, such as a mount, is in one of the outer pages alone.
    later = look()
    before, after = set(series(outside, stable)), set(series(later, stable))
    found = set(series(inside, stable))
    assert (before & after) - found == set()
    assert found - (before | after) == set()
    constant = (
        r"^node_(filesystem_(size_bytes|files\{|readonly|device_error)|uname_info|memory_MemTotal|timex_sync)"
    )
    before, found, after = (set(values(page, constant)) for page in (outside, inside, later))
    assert before & after
    assert (before & after) - found == set()
    assert found - (before | after) == set()
    assert values(inside, r"^node_scrape_collector_success\{.*\} 0") == []
    assert values(inside, r"^leitstand_inventory_source_success\{.*\} 0") == []


def refusing(calls: set[str]) -> list[str]:
    """A command in front of another that makes these system calls fail as the filter does."""
    names = ",".join(f"?{name}" for name in sorted(calls))
    return ["strace", "-f", "-qq", "--seccomp-bpf", "-o", "/dev/null", f"--trace={names}",
            f"--inject={names}:error=EPERM"]  # fmt: skip


@needs_systemd
@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("strace"), reason="strace is not installed")
def test_the_system_calls_that_the_service_refuses_cost_no_figure(
    exporter: Callable[..., Callable[[], str]],
) -> None:
    page = exporter(*refusing(refused_calls()))()
    assert values(page, r"^node_timex_sync_status ")
    assert values(page, r"^node_filesystem_size_bytes")
    assert values(page, r"^node_scrape_collector_success\{.*\} 0") == []
    assert values(page, r"^leitstand_inventory_source_success\{.*\} 0") == []


@pytest.mark.skipif(not shutil.which("systemd-socket-activate"), reason="systemd is not installed")
def test_the_exporter_answers_on_the_socket_that_systemd_opened(eventually: Callable[..., Any]) -> None:
    port = free_port()
    argv = ["systemd-socket-activate", "-l", f"127.0.0.1:{port}", LEITSTAND, "exporter"]
    process = subprocess.Popen([*argv, "--web.listen-address", "systemd"], stderr=subprocess.DEVNULL)
    try:
        eventually(lambda: _status(port) == 200)
    finally:
        process.terminate()
        assert process.wait(60) == 0


def _status(port: int) -> int:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/-/healthy", timeout=patient(60)) as answer:
            return int(answer.status)
    except OSError:
        return 0


@pytest.mark.skipif(not shutil.which("systemd-socket-activate"), reason="systemd is not installed")
def test_the_exporter_answers_on_a_local_socket_that_systemd_opened(
    tmp_path: Path, eventually: Callable[..., Any]
) -> None:
    path = tmp_path / "exporter.sock"
    argv = ["systemd-socket-activate", "-l", path, LEITSTAND, "exporter", "--web.listen-address", "systemd"]
    process = subprocess.Popen(argv, stderr=subprocess.PIPE)
    try:
        with eventually(lambda: _connected(path)) as client:
            client.settimeout(60)
            client.sendall(b"GET /-/healthy HTTP/1.0\r\n\r\n")
            assert client.recv(65536).startswith(b"HTTP/1.1 200 ")
    finally:
        process.terminate()
        _, log = process.communicate(timeout=patient(60))
    assert process.returncode == 0
    assert f"listening on {path}" in log.decode()


def _connected(path: Path) -> socket.socket | None:
    """A client; none as long as nobody listens, which is a moment longer than the file is not there."""
    client = socket.socket(socket.AF_UNIX)
    try:
        client.connect(str(path))
    except OSError:
        client.close()
        return None
    return client


def test_without_a_socket_from_systemd_there_is_one_clear_line() -> None:
    done = subprocess.run(
        [LEITSTAND, "exporter", "--web.listen-address", "systemd"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.splitlines()[0] == "no socket came from systemd"


def test_a_broken_web_configuration_ends_the_start_with_its_key(tmp_path: Path) -> None:
    path = tmp_path / "web.yml"
    path.write_text("basic_auth_users:\n  admin: swordfish\n")
    done = subprocess.run(
        [LEITSTAND, "exporter", "--web.listen-address", "127.0.0.1:0", "--web.config.file", path],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith(f"{path}:2: basic_auth_users.admin: must be a bcrypt hash")
    assert "swordfish" not in done.stderr
    assert "Traceback" not in done.stderr
