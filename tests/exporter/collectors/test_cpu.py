"""The time of CPUs: counters that step back, CPUs that come and go, machines that tell little of them."""

import os
from collections.abc import Callable
from typing import Any

import pytest

from exporter.collectors.cpu import ProcessorTime
from exporter.collectors.options import Options

TICKS = os.sysconf("SC_CLK_TCK")
CPUS = "sys/devices/system/cpu"


def times(host, *cpus, file="proc/stat"):
    lines = [f"cpu{number} {' '.join(map(str, columns))}" for number, columns in cpus]
    host.write(file, "\n".join(["cpu  1 1 1 1", *lines, "intr 1", "cpu9 1 1 1 1", ""]))


@pytest.fixture
def seconds(host: Any, figures: Any) -> Callable[..., Any]:
    """``seconds(columns)``: what one collector tells of CPU 0's modes after each reading."""
    collector = ProcessorTime(host.roots, Options())

    def read(*columns):
        times(host, (0, columns))
        return {key[1]: value for key, value in figures(collector)["node_cpu_seconds_total"].items()}

    return read


def test_ticks_are_served_as_seconds_of_each_mode_with_guests_separate(host, figures):
    times(host, (0, [100 * TICKS * n for n in range(1, 11)]), (3, [TICKS, 0, 0, 0]))
    found = figures(ProcessorTime(host.roots, Options()))
    modes = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
    told = {("0", mode): 100 * (n + 1) for n, mode in enumerate(modes)}
    assert found["node_cpu_seconds_total"] == told | {
        ("3", mode): value for mode, value in zip(modes, (1, 0, 0, 0), strict=False)
    }
    assert found["node_cpu_guest_seconds_total"] == {("0", "user"): 900, ("0", "nice"): 1000}
    times(host, (0, range(10)))
    without = figures(ProcessorTime(host.roots, Options(cpu_guest=False)))
    assert without["node_cpu_guest_seconds_total"] == {}


def test_a_counter_that_shrinks_a_little_keeps_its_value_and_the_others_continue(seconds):
    seconds(10 * TICKS, 0, 0, 50 * TICKS, 7 * TICKS)
    assert seconds(11 * TICKS, 0, 0, 50 * TICKS - 300, 6 * TICKS) == {
        "user": 11,
        "nice": 0,
        "system": 0,
        "idle": 50,
        "iowait": 7,
    }


def test_a_cpu_that_was_removed_and_came_back_starts_from_zero(seconds):
    seconds(10 * TICKS, 0, 0, 50 * TICKS, 7 * TICKS)
    assert seconds(1 * TICKS, 0, 0, 50 * TICKS - 301, 0) == {
        "user": 1,
        "nice": 0,
        "system": 0,
        "idle": 50 - 301 / TICKS,
        "iowait": 0,
    }


def test_a_cpu_that_is_added_later_is_reported_from_then_on(host, figures):
    collector = ProcessorTime(host.roots, Options())
    times(host, (0, [TICKS] * 4))
    figures(collector)
    times(host, (0, [2 * TICKS] * 4), (1, [TICKS] * 4))
    found = figures(collector)["node_cpu_seconds_total"]
    assert (found["0", "user"], found["1", "user"]) == (2, 1)


def test_a_cpu_without_topology_files_lacks_only_its_throttles(host, figures):
    """So in many containers and virtual machines."""
    times(host, (0, [TICKS] * 4), (1, [TICKS] * 4))
    host.write(f"{CPUS}/cpu1/topology/physical_package_id", "0\n")
    host.write(f"{CPUS}/cpu1/topology/core_id", "5\n")
    host.write(f"{CPUS}/cpu1/thermal_throttle/core_throttle_count", "7\n")
    host.write(f"{CPUS}/cpu1/thermal_throttle/package_throttle_count", "8\n")
    found = figures(ProcessorTime(host.roots, Options()))
    assert len(found["node_cpu_seconds_total"]) == 8
    assert found["node_cpu_core_throttles_total"] == {("5", "0"): 7}
    assert found["node_cpu_package_throttles_total"] == {("0",): 8}
    assert found["node_cpu_online"] == {}


def test_two_threads_of_a_core_count_its_throttles_once(host, figures):
    times(host, (0, [TICKS] * 4), (1, [TICKS] * 4))
    for cpu, count in ((0, 3), (1, 4)):
        host.write(f"{CPUS}/cpu{cpu}/topology/physical_package_id", "0\n")
        host.write(f"{CPUS}/cpu{cpu}/topology/core_id", "0\n")
        host.write(f"{CPUS}/cpu{cpu}/thermal_throttle/core_throttle_count", f"{count}\n")
    found = figures(ProcessorTime(host.roots, Options()))
    assert found["node_cpu_core_throttles_total"] == {("0", "0"): 3}
    assert found["node_cpu_package_throttles_total"] == {}


def test_offline_and_isolated_cpus_are_reported(host, figures):
    times(host, (0, [TICKS] * 4))
    host.write(f"{CPUS}/isolated", "2-3,5\n")
    for cpu, state in enumerate("101"):
        host.write(f"{CPUS}/cpu{cpu}/online", f"{state}\n")
    host.write(f"{CPUS}/cpufreq/online", "1\n")
    found = figures(ProcessorTime(host.roots, Options()))
    assert found["node_cpu_isolated"] == {("2",): 1, ("3",): 1, ("5",): 1}
    assert found["node_cpu_online"] == {("0",): 1, ("1",): 0, ("2",): 1}


def test_a_cpu_of_too_few_numbers_is_left_out_at_every_scrape(host, figures):
    times(host, (0, [TICKS] * 4), (1, [TICKS] * 3), (2, [TICKS] * 4))
    collector = ProcessorTime(host.roots, Options())
    for _ in range(2):
        assert {cpu for cpu, _ in figures(collector)["node_cpu_seconds_total"]} == {"0", "2"}


def test_throttles_missing_for_one_core_are_served_for_the_others(host, figures):
    times(host, *((cpu, [TICKS] * 4) for cpu in range(3)))
    for cpu in range(3):
        host.write(f"{CPUS}/cpu{cpu}/topology/physical_package_id", "0\n")
        host.write(f"{CPUS}/cpu{cpu}/topology/core_id", f"{cpu}\n")
        host.write(f"{CPUS}/cpu{cpu}/thermal_throttle/core_throttle_count", f"{cpu + 5}\n")
    collector = ProcessorTime(host.roots, Options())
    figures(collector)
    for cpu in (0, 1):
        (host.folder / f"{CPUS}/cpu{cpu}/thermal_throttle/core_throttle_count").unlink()
    (host.folder / f"{CPUS}/cpu1/thermal_throttle/core_throttle_count").mkdir()  # cannot be read
    assert figures(collector)["node_cpu_core_throttles_total"] == {("2", "0"): 7}
    assert collector.skipped.count == 1
