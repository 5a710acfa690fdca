"""Files are read whole, bounded, and never from outside their root."""

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from exporter.files import Files
from exporter.tree import TooLarge, Tree


@pytest.fixture(params=["openat2", "without openat2"])
def files(request: pytest.FixtureRequest, host: Any) -> Files:
    found = Files(host.folder / "sys")
    if request.param == "without openat2":
        found._tree = Tree(host.folder / "sys")  # what it falls back to where the call is refused
    return found


def test_an_attribute_comes_without_its_newline_and_a_file_whole(files, host):
    host.write("sys/class/net/eth0/mtu", "1500\n")
    host.write("sys/big", b"x" * 300_000)
    assert files.attribute("class/net/eth0/mtu") == b"1500"
    assert len(files.read("big")) == 300_000
    assert files.names("class/net") == ["eth0"]
    assert files.exists("big") and not files.exists("small")


def test_a_link_inside_the_root_is_followed(files, host):
    host.write("sys/devices/pci0/eth0/mtu", "9000\n")
    (host.folder / "sys/class/net").mkdir(parents=True)
    (host.folder / "sys/class/net/eth0").symlink_to("../../devices/pci0/eth0")
    assert files.attribute("class/net/eth0/mtu") == b"9000"
    assert files.real("class/net/eth0") == "devices/pci0/eth0"


@pytest.mark.parametrize("target", ["{outside}", "../../secret", "../../../../../../../../{outside}"])
def test_no_link_leads_out_of_the_root(files, host, target):
    secret = host.write("secret", "the key\n")
    (host.folder / "sys/class").mkdir()
    (host.folder / "sys/class/link").symlink_to(target.format(outside=secret))
    with pytest.raises(OSError):
        files.attribute("class/link")
    with pytest.raises(OSError):
        files.read("../secret")


def test_a_folder_that_is_a_link_out_of_the_root_shows_nothing_of_outside(files, host):
    host.write("outside/name", "secret")
    (host.folder / "sys/class").mkdir()
    (host.folder / "sys/class/hwmon").symlink_to(host.folder / "outside")
    with pytest.raises(OSError):
        files.names("class/hwmon")


def test_no_link_in_an_open_folder_is_followed(files, host):
    secret = host.write("secret", "the key\n")
    (host.folder / "sys/eth0").mkdir()
    (host.folder / "sys/eth0/mtu").symlink_to(secret)
    with files.folder("eth0") as folder, pytest.raises(OSError):
        folder.attribute("mtu")


def test_a_fifo_and_a_socket_do_not_block_a_reader(files, host):
    os.mkfifo(host.folder / "sys/fifo")
    assert files.read("fifo") == b""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(host.folder / "sys/s"))
        with pytest.raises(OSError):
            files.read("s")


def test_a_file_larger_than_the_limit_is_refused(files, host):
    host.write("sys/stat", b"x" * 1001)
    assert len(files.read("stat", 1001)) == 1001
    with pytest.raises(TooLarge):
        files.read("stat", 1000)


def test_an_endless_file_ends_at_the_limit():
    with pytest.raises(TooLarge):
        Files("/dev").read("zero", 100_000)


@pytest.mark.skipif(not shutil.which("strace"), reason="strace is not installed")
@pytest.mark.parametrize("answer", ["ENOSYS", "EPERM"])
def test_where_a_sandbox_or_an_old_kernel_refuses_openat2_the_same_is_read(host, answer):
    host.write("sys/backup.prom", "leitstand_backup_age_seconds 1\n")
    program = f"""
from exporter.files import Files
from exporter.collectors.options import Options
from exporter.collectors.textfile import Textfiles
folder = {str(host.folder / "sys")!r}
print(Files(folder).names("."), Files(folder).attribute("backup.prom"))
print([family.name for family in Textfiles(Options(textfile_directory=(folder,))).collect()])
"""
    refusing = ["strace", "-f", "-qq", "-o", "/dev/null", "--trace=openat2"]
    argv = [*refusing, f"--inject=openat2:error={answer}", sys.executable, "-c", program]
    finished = subprocess.run(argv, capture_output=True, text=True, check=True)
    names, metrics = finished.stdout.splitlines()
    assert names == "['backup.prom'] b'leitstand_backup_age_seconds 1'"
    assert metrics.startswith("['leitstand_backup_age_seconds', 'node_textfile_mtime_seconds'")


def test_kernel_files_are_current_at_each_reading_and_gone_with_their_process():
    proc = Files(Path("/proc"))
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        place = f"{child.pid}/oom_score_adj"
        for adjustment in (b"300\n", b"400\n"):
            Path("/proc", place).write_bytes(adjustment)
            assert proc.read(place) == adjustment
        child.communicate()
        with pytest.raises((FileNotFoundError, ProcessLookupError)):
            proc.read(place)
