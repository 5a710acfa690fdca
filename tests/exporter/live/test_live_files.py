"""Files are read whole, bounded, and never from outside their root."""

import os
import socket

import pytest

from exporter.collectors.files import Files
from exporter.tree import TooLarge, Tree


@pytest.fixture(params=["openat2", "without openat2"])
def files(request, host):
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


def test_a_fifo_and_a_socket_hold_nobody(files, host):
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
