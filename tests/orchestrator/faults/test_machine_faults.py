"""Not the store but the machine: full disks, hosts and databases gone, wrong clocks, two runs at once."""

import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from lab.databases import MariaDB
from lab.mounts import memory_file_system
from lab.patience import patient
from lab.processes import wait_until
from lab.sshd import Sshd

Site = Any
Swift = Any
ClearLine = Callable[..., str]
Apart = Callable[..., Any]
TreeOf = Callable[[Path], dict[bytes, tuple[Any, ...]]]


def stored(site: Site, name: str = "*") -> list[Path]:
    return [path for path in site.disk.rglob(name) if path.is_file()]


@pytest.fixture
def tiny_scratch(small: Site, tmp_path: Path) -> Iterator[Path]:
    """A scratch folder of 64 KiB."""
    if os.geteuid():
        pytest.skip("only root can mount a small file system")
    with memory_file_system(tmp_path / "tiny", "64k") as place:
        small.job["scratch"] = str(place)
        yield place


def test_a_full_scratch_folder_at_the_manifest(
    small: Site, tiny_scratch: Path, clear_line: ClearLine
) -> None:
    for number in range(1500):
        (small.www / f"{number}").write_bytes(os.urandom(8))
    clear_line(small.leitstand("run", "site"), "No space left on device")
    assert stored(small) == []
    (row,) = small.leitstand("status", "--json").json()
    assert row["problem"] == "No space left on device"
    small.job["scratch"] = str(small.folder / "scratch")
    small.good("run", "site")


def test_a_full_scratch_folder_at_a_database(small: Site, tiny_scratch: Path, clear_line: ClearLine) -> None:
    database = small.folder / "guestbook.sqlite"
    small.job["sources"].append({"sqlite": str(database), "memory_limit": "1KiB"})
    with database.open("ab") as file:
        file.truncate(database.stat().st_size)
    subprocess.run(["sqlite3", str(database), "CREATE TABLE big AS SELECT randomblob(200000)"], check=True)
    clear_line(small.leitstand("run", "site"), "guestbook.sqlite")
    assert stored(small) == []


@pytest.fixture
def remote(small: Site, tmp_path: Path) -> Iterator[Sshd]:
    """The site's host is read over SSH."""
    with Sshd(tmp_path / "sshd") as sshd:
        small.document["hosts"]["here"]["ssh"] = {
            "user": sshd.user,
            "port": sshd.port,
            "identity_file": str(sshd.identity),
            "known_hosts_file": str(sshd.known_hosts),
        }
        yield sshd


def end_sessions(server: int) -> None:
    """Kill what serves sshd's connections, each a process and its monitor."""
    for process in psutil.Process(server).children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # it ended when its monitor did
            if process.name().startswith("sshd"):
                process.kill()


@pytest.mark.parametrize("source", ["files", "command"])
def test_an_ssh_host_gone_in_the_middle(small: Site, remote: Sshd, source: str, tree: TreeOf) -> None:
    if source == "files":
        (small.www / "large").write_bytes(os.urandom(20_000_000))
        # Should all of it be here before the host goes, it goes during this one.
        small.job["sources"].append({"command": ["sleep", "600"], "name": "waits"})
    else:
        endless = "head -c 20000000 /dev/urandom; exec sleep 600"
        small.job["sources"] = [{"command": ["sh", "-c", endless], "name": "stream"}]
    with small.start("run", "site") as run:
        wait_until(lambda: stored(small, "vol.zip.*"), "the first volume", pause=0.01)
        assert remote.server.process is not None
        while run.poll() is None:  # one that begins just now, too
            end_sessions(remote.server.process.pid)
            time.sleep(0.05)
        _, errors = run.communicate(timeout=patient(120))
    assert run.returncode == 3, errors
    lines = [line for line in errors.splitlines() if not line.startswith("  hint") and " INFO " not in line]
    assert len(lines) == 1, errors
    assert "here" in lines[0], "the host is named"
    assert stored(small) == []
    small.job["sources"] = [{"files": str(small.www)}]
    (small.www / "large").unlink(missing_ok=True)
    small.good("run", "site")
    small.good("restore", "site", "--target", small.folder / "out")
    assert tree(small.restored(small.folder / "out")) == tree(small.www)


@pytest.mark.slow
def test_a_database_gone_in_the_middle(small: Site, tmp_path: Path) -> None:
    with MariaDB(tmp_path / "mariadb") as server:
        server.execute(
            "CREATE DATABASE website; USE website; CREATE TABLE big (id INT PRIMARY KEY, data BLOB);"
            " INSERT INTO big SELECT seq, RANDOM_BYTES(1000) FROM seq_1_to_60000"
        )
        small.job["sources"] = [{"mysql": "website", "defaults_file": str(server.defaults_file)}]
        with small.start("run", "site") as run:
            wait_until(lambda: stored(small, "vol.zip.*"), "the first volume", pause=0.01)
            server.server.kill()
            _, errors = run.communicate(timeout=patient(120))
        assert run.returncode == 3, errors
        # The log warns as well: the password file lies in a folder of the server's user.
        lines = [
            each for each in errors.splitlines() if not each.startswith("  hint") and "WARNING" not in each
        ]
        assert len(lines) == 1, errors
        assert "mysql/website" in lines[0]
        assert stored(small) == []


def test_two_runs_at_once_are_one_run_and_one_clear_line(small: Site, clear_line: ClearLine) -> None:
    os.mkfifo(small.folder / "gate")
    small.job["sources"].append({"command": ["cat", str(small.folder / "gate")], "name": "waits"})
    with small.start("run", "site") as first:
        lock = small.folder / "state" / "locks" / "site.lock"
        wait_until(lambda: lock.exists() and "process" in lock.read_text(), "the lock of the first run")
        clear_line(small.leitstand("run", "site"), "another run is under way", f"process {first.pid}")
        with (small.folder / "gate").open("w") as gate:
            gate.write("go on")
        assert first.wait(120) == 0, first.communicate()
    assert len(small.snapshots()) == 1


def shifted(shift: str) -> tuple[str, ...]:
    assert shutil.which("faketime"), "this test needs faketime: see the packages in ./check"
    return ("faketime", "--exclude-monotonic", "-f", shift)


@pytest.mark.slow
@pytest.mark.parametrize("shift", ["-1h", "+30d"])
def test_a_wrong_clock_costs_no_snapshot(small: Site, apart: Apart, tree: TreeOf, shift: str) -> None:
    """Runs before, during and after: each is whole, the last one is the newest, and prune keeps it."""
    small.job["keep"] = {"last": 1, "grace": "1s"}
    small.good("run", "site")
    during = apart(small, "run", "site", within=shifted(shift))
    assert during.status == 0, during.stderr
    (small.www / "index.html").write_text("<h1>Danach</h1>")
    small.good("run", "site")
    (after,) = small.good("list", "site", "--json").json()[-1:]
    assert abs(time.time() - (small.www / "index.html").stat().st_mtime) < 60
    assert len(small.snapshots()) == 3
    assert after["snapshot"] != during.stdout.split()[3]
    for snapshot in small.snapshots():
        small.good("verify", "site", "--snapshot", snapshot)
    apart(small, "prune", "site", within=shifted(shift))
    wait_until(
        lambda: small.leitstand("prune", "site").status == 0 and len(small.snapshots()) == 1, "the grace time"
    )
    small.good("restore", "site", "--target", small.folder / "out")
    assert tree(small.restored(small.folder / "out")) == tree(small.www), "the newest is the last one made"


def test_a_wrong_clock_is_named_when_swift_refuses_it(
    small: Site, swift: Swift, apart: Apart, clear_line: ClearLine
) -> None:
    small.document["stores"]["swift"] = swift.settings(prefix=f"clock/{small.folder.name}", tries=2)
    small.job["stores"] = ["swift"]
    small.good("run", "site")
    before = small.snapshots("swift")
    ran = apart(small, "run", "site", within=shifted("-1h"))
    clear_line(ran, "swift", "RequestTimeTooSkewed")
    assert "this machine's clock is wrong" in ran.stderr
    assert small.snapshots("swift") == before
    told = apart(small, "doctor", "site", within=shifted("-5m"))
    assert told.status == 1, told.stdout
    assert re.search(
        r"warning site: store swift: its clock is \+(29\d|30\d) s from this machine's", told.stdout
    )
