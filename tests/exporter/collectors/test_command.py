"""``leitstand exporter`` as users start it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from exporter.collectors.options import Options, flag
from lab.patience import patient
from lab.processes import wait_until

COMMAND = [sys.executable, "-m", "leitstand", "exporter"]


@pytest.fixture(scope="module")
def exporter(ours: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("textfile")
    (folder / "backup.prom").write_text("leitstand_backup_age_seconds 1\n")
    with ours(f"--collector.textfile.directory={folder}") as running:
        yield running


def test_the_page_is_clean_except_for_names_we_did_not_choose(exporter):
    page = exporter.get()
    lint = subprocess.run(["promtool", "check", "metrics"], input=page.encode(), capture_output=True)
    complaints = (lint.stdout + lint.stderr).decode().splitlines()
    assert [line for line in complaints if not line.startswith("node_")] == []
    assert "parse" not in " ".join(complaints)


def test_live_figures_textfiles_and_the_exporters_own_cost_are_on_one_page(exporter, page_of):
    page = page_of(exporter.get())
    assert 0 <= time.time() - page["process_start_time_seconds", ()] < 3600
    names = {name for name, _ in page}
    assert {"node_load1", "leitstand_backup_age_seconds", "leitstand_exporter_build_info"} <= names
    assert {
        "process_cpu_seconds_total",
        "process_resident_memory_bytes",
        "process_start_time_seconds",
    } <= names


def test_no_collector_fails_on_this_machine(exporter, page_of):
    page = page_of(exporter.get())
    assert [
        labels for (name, labels), value in page.items() if name.endswith("_success") and value != 1
    ] == []


def test_a_single_collector_can_be_selected(exporter, page_of):
    names = {name for name, _ in page_of(exporter.get("/metrics?collect[]=loadavg"))}
    assert {name for name in names if not name.startswith("node_scrape")} == {
        "node_load1",
        "node_load5",
        "node_load15",
    }


def test_collectors_are_switched_on_and_off_by_name(ours, page_of):
    options = (
        "--collector.disable-defaults",
        "--collector.loadavg",
        "--collector.stat",
        "--no-collector.stat",
    )
    with ours(*options) as running:
        page = page_of(running.get())
    assert [labels for name, labels in page if name == "node_scrape_collector_success"] == [
        (("collector", "loadavg"),)
    ]


def test_beside_a_node_exporter_no_name_starts_with_node(ours, page_of, tmp_path):
    (tmp_path / "backup.prom").write_text("leitstand_backup_age_seconds 1\nnode_reboot_required 1\n")
    with ours("--no-node-metrics", f"--collector.textfile.directory={tmp_path}") as running:
        page = page_of(running.get())
    assert [name for name, _ in page if name.startswith("node_")] == []
    assert page["leitstand_backup_age_seconds", ()] == 1
    assert page["leitstand_scrape_collector_success", (("collector", "textfile"),)] == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_on_a_signal(ours, number):
    with ours("--collector.disable-defaults") as running:
        running.process.send_signal(number)
        assert running.process.wait(60) == 0


@pytest.mark.parametrize(
    ("option", "words"),
    [
        (
            "--collector.netdev.device-exclude=(",
            "--collector.netdev.device-exclude: not a regular expression",
        ),
        (
            "--collector.filesystem.mount-timeout=soon",
            "--collector.filesystem.mount-timeout: 'soon' is not a duration",
        ),
        ("--web.listen-address=nowhere:x", "nowhere:x"),
        ("--web.telemetry-path=/inventory", "--web.telemetry-path: '/inventory' cannot be"),
        ("--web.systemd-socket", "no socket came from systemd"),
        ("--collector.wify", "No such option '--collector.wify'"),
    ],
)
def test_a_wrong_option_is_one_line_and_exit_code_2(option, words):
    finished = subprocess.run([*COMMAND, option], capture_output=True, text=True, timeout=patient(120))
    assert finished.returncode == 2
    assert words in finished.stderr
    assert "Traceback" not in finished.stderr


def test_a_command_line_of_node_exporter_that_leaves_collectors_out_is_taken(ours, page_of):
    options = (
        "--no-collector.wifi",
        "--no-collector.zfs",
        "--collector.disable-defaults",
        "--collector.loadavg",
    )
    with ours(*options, "--web.max-requests=10", "--log.level=warn", "--log.format=logfmt") as running:
        assert page_of(running.get())["node_load1", ()] >= 0


def test_an_unknown_collector_is_refused():
    finished = subprocess.run(
        [*COMMAND, "--collector.nonsense"], capture_output=True, text=True, timeout=patient(120)
    )
    assert finished.returncode == 2
    assert "--collector.nonsense" in finished.stderr


def test_the_help_explains_each_option_and_shows_an_example():
    finished = subprocess.run([*COMMAND, "--help"], capture_output=True, text=True, timeout=patient(120))
    assert finished.returncode == 0
    assert "leitstand exporter --web.listen-address 127.0.0.1:9815" in finished.stdout
    assert all(flag(entry.name) in finished.stdout for entry in fields(Options))


def test_sources_of_the_inventory_and_watched_packages_are_chosen_by_name(ours, page_of):
    options = (
        "--collector.disable-defaults",
        "--inventory.disable-defaults",
        "--inventory.dpkg",
        "--inventory.web",
        "--no-inventory.web",
        "--no-inventory.watch-usual",
        "--inventory.watch=dp?g",
        "--inventory.watch=base-*",
    )
    with ours(*options) as running:
        wait_until(lambda: "leitstand_inventory_info" in running.get(), "the first inventory")
        page = page_of(running.get())
    sources = [labels for name, labels in page if name == "leitstand_inventory_source_success"]
    assert sources == [(("source", "dpkg"),)]
    watched = {dict(labels)["name"] for name, labels in page if name == "leitstand_watched_package_info"}
    assert {"dpkg", "base-files"} <= watched
    assert all(name == "dpkg" or name.startswith("base-") for name in watched)


def test_an_exporter_without_any_inventory_is_reported_as_such(ours):
    with ours("--collector.disable-defaults", "--inventory.disable-defaults") as running:
        assert '"package":[]' in running.get("/inventory").replace("\n", "")


# A file system whose server never answers: nobody reads what the kernel asks by /dev/fuse. It stands in the
# exporter's own name space alone, which is shown in place of the first process's.
DEAD_MOUNT = """
import ctypes, os, sys
place, *command = sys.argv[1:]
server = os.open("/dev/fuse", os.O_RDWR)
os.set_inheritable(server, True)
options = f"fd={server},rootmode=40000,user_id=0,group_id=0".encode()
libc = ctypes.CDLL(None, use_errno=True)
made = libc.mount(b"server:/dead", place.encode(), b"fuse.nfs", 0, options)
MS_BIND = 4096
if made or libc.mount(b"/proc/self/mountinfo", b"/proc/1/mountinfo", None, MS_BIND, None):
    sys.exit(os.strerror(ctypes.get_errno()))
os.execv(command[0], command)
"""


@pytest.mark.skipif(
    os.geteuid() != 0 or not os.access("/dev/fuse", os.W_OK), reason="a mount needs root and FUSE"
)
def test_a_mount_whose_server_is_dead_costs_its_own_figures_and_its_time_once(ours, page_of, tmp_path):
    unshared = ("unshare", "--mount", "--propagation", "private")
    options = ("--collector.disable-defaults", "--collector.filesystem", "--collector.loadavg")
    prefix = (*unshared, sys.executable, "-c", DEAD_MOUNT, str(tmp_path))
    with ours(*options, "--collector.filesystem.mount-timeout=500ms", prefix=prefix) as running:
        pages = [page_of(running.get()) for _ in range(3)]
        tasks = Path(f"/proc/{running.process.pid}/task")
        threads = len(list(tasks.iterdir()))
        later = [page_of(running.get()) for _ in range(10)]
        # The server may begin a thread more; not one for each scrape.
        assert len(list(tasks.iterdir())) < threads + 10
        running.process.terminate()
        assert running.process.wait(60) == 0
    dead = (("device", "server:/dead"), ("fstype", "fuse.nfs"), ("mountpoint", str(tmp_path)))
    for page in (*pages, *later):
        error = ("device_error", "mountpoint timeout")
        assert page["node_filesystem_device_error", tuple(sorted((*dead, error)))] == 1
        assert ("node_filesystem_size_bytes", dead) not in page
        assert any(name == "node_filesystem_size_bytes" for name, _ in page)
        assert page["node_load1", ()] >= 0
    # Its time was waited for at most once; later scrapes leave it out, and other things may slow down some.
    duration = ("node_scrape_collector_duration_seconds", (("collector", "filesystem"),))
    assert min(page[duration] for page in later) < 0.5


def test_a_web_configuration_guards_the_page(ours, tmp_path):
    """The server's own tests have the details; here only that the option reaches it."""
    (tmp_path / "web.yml").write_text("http_server_config:\n  headers:\n    X-Frame-Options: deny\n")
    with ours("--collector.disable-defaults", f"--web.config.file={tmp_path}/web.yml") as running:
        assert "leitstand_exporter_web_config_valid 1" in running.get()
