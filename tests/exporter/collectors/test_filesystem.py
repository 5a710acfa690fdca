"""Mounted file systems, healthy, broken and dead."""

import os
import threading
import time
from dataclasses import replace

import pytest

from exporter.collectors.filesystem import FileSystems
from exporter.collectors.mounts import parse_mounts
from exporter.collectors.options import Options
from exporter.skipped import Skipped
from lab.patience import patient
from leitstand.errors import UsageError

LINE = "{number} 1 8:{number} / {point} {options} shared:1 - {kind} {device} {super_options}\n"


def mounted(host, *mounts):
    lines = []
    for number, (device, kind, point, *rest) in enumerate(mounts):
        options, super_options = rest or ("rw,relatime", "rw")
        lines.append(
            LINE.format(
                number=number,
                point=point,
                kind=kind,
                device=device,
                options=options,
                super_options=super_options,
            )
        )
    host.write("proc/1/mountinfo", "".join(lines))


@pytest.fixture
def options() -> Options:
    return Options(filesystem_mount_timeout="30s")


def test_sizes_are_those_of_the_kernel(host, options, figures, tmp_path):
    (host.folder / "root/data").mkdir()
    mounted(host, ("/dev/sda1", "ext4", "/data"))
    found = figures(FileSystems(host.roots, options))
    space = os.statvfs(tmp_path)
    labels = ("/dev/sda1", "ext4", "/data")
    assert found["node_filesystem_size_bytes"][labels] == space.f_frsize * space.f_blocks
    assert found["node_filesystem_files"][labels] == space.f_files
    assert found["node_filesystem_device_error"][labels] == 0
    assert found["node_filesystem_readonly"][labels] == 0


def test_a_mount_point_that_is_not_utf_8_is_still_queried(host, options, figures):
    (host.folder / "root" / os.fsdecode(b"f\xfcr")).mkdir()
    line = LINE.format(
        number=1, point="/POINT", kind="cifs", device="//server/x", options="rw", super_options="rw"
    )
    host.write("proc/1/mountinfo", line.encode().replace(b"POINT", b"f\xfcr"))
    found = figures(FileSystems(host.roots, options))
    labels = ("//server/x", "cifs", "/f\N{REPLACEMENT CHARACTER}r")
    assert found["node_filesystem_device_error"] == {labels: 0}
    assert found["node_filesystem_size_bytes"][labels] > 0


def test_kernel_and_container_mounts_are_left_out_by_default(host, options, figures):
    (host.folder / "root/srv").mkdir()
    mounted(
        host,
        ("proc", "proc", "/proc"),
        ("cgroup2", "cgroup2", "/sys/fs/cgroup"),
        ("overlay", "overlay", "/var/lib/docker/overlay2/x/merged"),
        ("/dev/sdb", "xfs", "/var/lib/docker/volumes/x"),
        ("/dev/loop0", "squashfs", "/snap/core"),
        ("/dev/sda1", "ext4", "/srv"),
    )
    assert list(figures(FileSystems(host.roots, options))["node_filesystem_readonly"]) == [
        ("/dev/sda1", "ext4", "/srv")
    ]


def test_an_include_takes_the_place_of_the_default_exclude(host, options, figures):
    (host.folder / "root/dev/shm").mkdir(parents=True)
    mounted(host, ("tmpfs", "tmpfs", "/dev/shm"), ("/dev/sda1", "ext4", "/srv"))
    chosen = replace(options, filesystem_mount_points_include="^/dev/shm$")
    found = figures(FileSystems(host.roots, chosen))["node_filesystem_readonly"]
    assert list(found) == [("tmpfs", "tmpfs", "/dev/shm")]


def test_include_and_exclude_together_are_refused(host, options):
    chosen = replace(options, filesystem_fs_types_include="ext4", filesystem_fs_types_exclude="xfs")
    with pytest.raises(UsageError, match=r"--collector\.filesystem\.fs-types-include"):
        FileSystems(host.roots, chosen)


@pytest.mark.parametrize(("mount", "super_block"), [("ro", "rw"), ("rw", "ro"), ("rw", "rw,emergency_ro")])
def test_read_only_mounts_and_file_systems_are_reported(host, options, figures, mount, super_block):
    (host.folder / "root/srv").mkdir()
    mounted(host, ("/dev/sda1", "ext4", "/srv", mount, super_block))
    found = figures(FileSystems(host.roots, options))
    assert found["node_filesystem_readonly"]["/dev/sda1", "ext4", "/srv"] == 1


def test_a_mount_that_answers_with_an_error_is_reported_without_a_size(host, options, figures, caplog):
    mounted(host, ("/dev/sda1", "ext4", "/gone"))
    collector = FileSystems(host.roots, options)
    found = [figures(collector) for _ in range(3)][-1]
    assert caplog.text.count("the usage of file system /gone cannot be read: [Errno 2] No such file") == 1
    assert found["node_filesystem_device_error"] == {
        ("/dev/sda1", "ext4", "/gone", "no such file or directory"): 1
    }
    assert list(found["node_filesystem_readonly"]) == [
        ("/dev/sda1", "ext4", "/gone", "no such file or directory")
    ]
    assert found["node_filesystem_size_bytes"] == {}
    (host.folder / "root/gone").mkdir()
    assert figures(collector)["node_filesystem_size_bytes"]
    (host.folder / "root/gone").rmdir()
    figures(collector)
    assert caplog.text.count("the usage of file system /gone") == 2, "it is another failure"


@pytest.mark.parametrize(("device", "kind"), [("server:/{}", "nfs4"), ("//server/{}", "cifs")])
def test_a_dead_server_costs_its_own_mounts_and_one_thread(host, options, figures, device, kind):
    """Ten mounts of a dead server; a disk and other servers beside it are measured at every scrape."""
    done = threading.Event()

    def measure(path):
        if "/nfs" in path:
            done.wait()
        return os.statvfs("/")

    dead = [(device.format(number), kind, f"/nfs/{number}") for number in range(10)]
    good = ("/dev/sda1", "ext4", "/srv"), ("//nas/share", "cifs", "/share"), ("lxcfs", "fuse.lxcfs", "/fuse")
    mounted(host, *dead[:5], *good, *dead[5:])
    collector = FileSystems(host.roots, replace(options, filesystem_mount_timeout="2s"), measure)
    before = threading.active_count()
    start = time.monotonic()
    for _ in range(20):
        found = figures(collector)
        assert found["node_filesystem_size_bytes"].keys() == set(good)
        assert sum(found["node_filesystem_device_error"].values()) == 10
    assert time.monotonic() - start < patient(30), "waited for at each scrape, it would have been 40 s"
    # One that hangs, and one of each kind for those that answer.
    assert threading.active_count() - before <= 3
    done.set()


LOCAL = [
    *(("/dev/sda1", "ext4", "/srv"), ("/dev/sdb", "btrfs", "/data"), ("tmpfs", "tmpfs", "/scratch")),
    *(("ramfs", "ramfs", "/ram"), ("tank/home", "zfs", "/home"), ("bcachefs-by-label", "btrfs", "/more")),
]
SERVERS = [("nas:/x", "nfs4", "/x"), ("//nas/share", "cifs", "/share"), ("sshfs#host", "fuse.sshfs", "/far")]


@pytest.mark.parametrize(
    ("dead", "good"),
    [
        ([(f"server{number}:/x", "nfs4", f"/dead/{number}") for number in range(10)], LOCAL),
        ([(f"/dev/sd{number}", "ext4", f"/dead/{number}") for number in range(10)], SERVERS),
        ([("rclone", "fuse.rclone", "/dead")], [("rclone", "fuse.rclone", "/alive"), *SERVERS, *LOCAL]),
    ],
    ids=["servers", "disks", "clouds"],
)
def test_more_dead_servers_than_threads_cost_no_disk_and_dead_disks_no_server(
    host, options, figures, dead, good
):
    done = threading.Event()

    def measure(path):
        if "/dead" in path:
            done.wait()
        return os.statvfs("/")

    mounted(host, *dead, *good)
    collector = FileSystems(host.roots, replace(options, filesystem_mount_timeout="2s"), measure)
    for _ in range(2):
        assert figures(collector)["node_filesystem_size_bytes"].keys() == set(good)
    done.set()


def test_a_mount_that_fails_leaves_the_others_of_its_server_alone(host, options, figures, caplog):
    def measure(path):
        if path.endswith("stale"):
            raise OSError(116, "Stale file handle")
        return os.statvfs("/")

    mounted(host, *((f"[2001:db8::1]:/{name}", "nfs4", f"/{name}") for name in ("one", "stale", "two")))
    found = figures(FileSystems(host.roots, options, measure))["node_filesystem_device_error"]
    assert {(point, error): value for (_, _, point, error), value in found.items()} == {
        ("/one", ""): 0,
        ("/stale", "stale file handle"): 1,
        ("/two", ""): 0,
    }
    assert "the usage of file system /stale cannot be read: [Errno 116] Stale file handle" in caplog.text


def test_a_server_that_comes_back_is_measured_again(host, options, figures):
    done = threading.Event()

    def measure(_):
        done.wait()
        return os.statvfs("/")

    mounted(host, ("server:/x", "nfs4", "/nfs"))
    collector = FileSystems(host.roots, replace(options, filesystem_mount_timeout="300ms"), measure)
    assert not figures(collector)["node_filesystem_size_bytes"]
    done.set()
    deadline = time.monotonic() + patient(60)
    while not figures(collector)["node_filesystem_size_bytes"]:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_blanks_and_backslashes_in_a_mount_point_are_read_back():
    (mount,) = parse_mounts(b"1 1 8:1 / /srv/a\\040b\\011c\\134d rw - ext4 /dev/sd\\040a rw\n", Skipped())
    assert mount.point == "/srv/a b\tc\\d"
    assert mount.device == "/dev/sd a"


def test_the_mount_on_top_hides_the_one_below(host, options, figures):
    (host.folder / "root/srv").mkdir()
    mounted(
        host, ("/dev/sda1", "ext4", "/srv", "ro", "rw"), ("/dev/sda1", "ext4", "/srv", "rw,relatime", "rw")
    )
    found = figures(FileSystems(host.roots, options))
    assert found["node_filesystem_readonly"] == {("/dev/sda1", "ext4", "/srv"): 0}


def test_a_container_that_sees_only_its_own_mounts_reports_those_of_the_host(host, options, figures):
    root = host.roots.root
    (root / "srv").mkdir()
    mounted(host, ("/dev/sda1", "ext4", str(root)), ("/dev/sdb1", "ext4", f"{root}/srv"))
    found = figures(FileSystems(host.roots, options))
    assert list(found["node_filesystem_size_bytes"]) == [
        ("/dev/sda1", "ext4", "/"),
        ("/dev/sdb1", "ext4", "/srv"),
    ]
    assert set(found["node_filesystem_device_error"].values()) == {0}
    (root / f"{root}-2".removeprefix("/")).mkdir(parents=True)
    mounted(host, ("/dev/sda1", "ext4", f"{root}-2"))
    assert list(figures(FileSystems(host.roots, options))["node_filesystem_readonly"]) == [
        ("/dev/sda1", "ext4", f"{root}-2")
    ]


def test_without_rights_on_the_first_process_the_own_mounts_are_shown(host, options, figures):
    mounted(host, ("/dev/sda1", "ext4", "/srv"))
    (host.folder / "proc/1").rename(host.folder / "proc/self")
    assert len(figures(FileSystems(host.roots, options))["node_filesystem_readonly"]) == 1
