"""Kernels that are older, or were started otherwise, than the one under the tests."""

import errno

import pytest

from exporter.collectors.arrays import parse_arrays
from exporter.collectors.memory import MemoryInformation, Pressure
from exporter.collectors.scheduler import Frequencies, SchedulerStatistics
from exporter.files import Files
from exporter.roots import NoData
from exporter.skipped import Skipped


class Refusing(Files):
    """Files that are there and answer every read with this error."""

    error = 0

    def attribute(self, path):
        raise OSError(self.error, "refused", path)


@pytest.mark.parametrize(("error", "expected"), [(errno.EOPNOTSUPP, NoData), (errno.EIO, OSError)])
def test_a_kernel_started_without_pressure_stall_information_is_no_failure(host, error, expected):
    roots = host.roots
    files = roots.__dict__["proc_files"] = Refusing(roots.proc)
    files.error = error
    with pytest.raises(expected):
        Pressure(roots).collect()


def test_an_array_called_broken_since_linux_6_3_is_reported_and_its_neighbour_unaffected():
    healthy, broken, other = parse_arrays(
        "Personalities : [raid1] [raid0]\n"
        "md0 : active raid1 sda1[0] sdb1[1]\n      104320 blocks super 1.2 [2/2] [UU]\n\n"
        "md1 : broken (read-only) raid1 sdc1[0]\n      10 blocks super 1.2 [2/1] [U_]\n\n"
        "md2 : unheard-of raid0 sdd1[0]\n      20 blocks super 1.2\n\n"
        "md3 : active raid0 sde1[0]\n      30 blocks super 1.2\n",
        Skipped(),
    )
    assert (healthy.blocks, other.blocks) == (104320, 30)
    assert (broken.state, broken.required, broken.active) == ("broken", 2, 1)


def test_a_kernel_without_scheduler_statistics_is_no_failure(host):
    with pytest.raises(NoData):
        SchedulerStatistics(host.roots).collect()


def test_memory_in_a_unit_that_is_not_known_is_left_out(host, figures):
    host.write("proc/meminfo", "MemTotal: 8 kB\nNew: 3 MB\nLonger: 3 kB more\nHugePages_Total: 2\n")
    collector = MemoryInformation(host.roots)
    assert figures(collector) == {
        "node_memory_MemTotal_bytes": {(): 8192},
        "node_memory_HugePages_Total": {(): 2},
    }
    assert collector.skipped.count == 2


def test_cpus_without_frequencies_leave_those_of_the_others(host, figures):
    for cpu in range(4):
        host.write(f"sys/devices/system/cpu/cpu{cpu}/online", "1\n")
    for cpu in (1, 3):
        host.write(f"sys/devices/system/cpu/cpu{cpu}/cpufreq/scaling_cur_freq", "1200000\n")
    found = figures(Frequencies(host.roots))["node_cpu_scaling_frequency_hertz"]
    assert found == {("1",): 1.2e9, ("3",): 1.2e9}
