"""The number of every sample that the hardware of hardware.tree gives, beside hardware.figures.

Right names are not enough: kilobytes reported as bytes would keep theirs. The test writes a missing file and
fails once; read the file, then commit it.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from exporter.collectors import COLLECTORS
from exporter.collectors.filesystem import FileSystems
from exporter.collectors.options import Options
from exporter.roots import NoData

TREE = Path(__file__).with_name("hardware.tree")
FIGURES = Path(__file__).with_name("hardware.figures")
# They ask the kernel of this machine, or a service that is no file.
LIVE = {"filesystem", "own", "systemd", "textfile", "time", "timex", "uname"}


def lines(host: Any) -> Iterator[str]:
    options = Options()
    for name, entry in COLLECTORS.items():
        if name in LIVE:
            continue
        try:
            metrics = list(entry.build(host.roots, options).collect())
        except NoData:
            continue
        for metric in metrics:
            for sample in metric.samples:
                labels = ",".join(f'{key}="{value}"' for key, value in sorted(sample.labels.items()))
                yield f"{sample.name}{{{labels}}} {float(sample.value)!r}"


def test_every_number_of_the_hardware_is_as_it_was_read(host: Any) -> None:
    host.write_tree(TREE)
    (host.folder / "proc/self").symlink_to("1")
    (host.folder / "root/srv").mkdir()
    (host.folder / "sys/class/hwmon/hwmon0/device").symlink_to("../../../devices/platform/coretemp.0")
    found = "\n".join(sorted(lines(host))) + "\n"
    if not FIGURES.exists():
        FIGURES.write_text(found)
        pytest.fail(f"{FIGURES} was missing and is written: read it")
    assert found == FIGURES.read_text()


def test_the_space_of_a_file_system_is_counted_in_its_blocks_and_its_free_space_in_what_root_keeps(
    host: Any, figures: Any
) -> None:
    space = os.statvfs_result((4096, 512, 1000, 400, 300, 70, 60, 50, 0, 255))
    (host.folder / "root/srv").mkdir()
    host.write("proc/1/mountinfo", "1 1 8:1 / /srv rw shared:1 - ext4 /dev/sda1 rw\n")
    found = figures(FileSystems(host.roots, Options(), lambda _: space))
    labels = ("/dev/sda1", "ext4", "/srv")
    assert {name: samples[labels] for name, samples in found.items() if labels in samples} == {
        "node_filesystem_size_bytes": 512_000,
        "node_filesystem_free_bytes": 204_800,
        "node_filesystem_avail_bytes": 153_600,
        "node_filesystem_files": 70,
        "node_filesystem_files_free": 60,
        "node_filesystem_readonly": 0,
        "node_filesystem_device_error": 0,
    }


def test_a_scrape_leaves_no_file_open(host: Any) -> None:
    host.write_tree(TREE)
    collectors = [
        entry.build(host.roots, Options()) for name, entry in COLLECTORS.items() if name not in LIVE
    ]

    def scraped() -> int:
        for collector in collectors:
            with suppress(NoData):
                list(collector.collect())
        return len(list(Path("/proc/self/fd").iterdir()))

    assert scraped() == scraped()
