"""Debian's node_exporter and ours, side by side: the same names, labels, types and values."""

import re
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

pytestmark = pytest.mark.alone  # what another test mounts or starts stands in one page and not in the other

# Ours has newer defaults than Debian's 1.5.0; both get the same here.
SAME = (
    r"--collector.diskstats.device-exclude=^(z?ram|loop|fd|(h|s|v|xv)d[a-z]|nvme\d+n\d+p)\d+$",
    "--collector.filesystem.mount-points-exclude=^/(dev|proc|sys)($|/)",
    "--collector.netdev.address-info",
    "--collector.processes",
)
# About the exporter itself, not the host.
THEIR_OWN = ("go_", "process_", "promhttp_", "node_exporter_build_info", "node_scrape_collector_")
# Names we have from releases after 1.5.0.
NEWER = re.compile(
    "node_softnet_(cpu_collision_total|received_rps_total|flow_limit_count_total|backlog_len)"
    "|node_filesystem_mount_info|node_netstat_TcpExt_TCP(OFOQueue|RcvQDrop)"
    "|node_(edac_channel|kernel_hung|watchdog)_.*|node_md_(degraded|raid_disks)"
    "|node_nvme_namespace_.*|node_hwmon_freq_freq_mhz|node_cpu_(online|frequency_avg_hertz)"
    "|node_cpu_scaling_governor|node_pressure_irq_stalled_seconds_total|node_os_support_end_timestamp_seconds"
)
# Series that come and go while the tests run: a process in state D, a neighbour.
FLEETING = re.compile("node_processes_(threads_)?state|node_arp_entries")
# Gauges of a machine that is at work.
RESTLESS = re.compile(
    "node_(processes_|procs_|load|filefd_allocated|memory_|sockstat_|entropy_available|disk_io_now|timex_|time_seconds"
    "|filesystem_(avail|free)_bytes|filesystem_files_free|netstat_Tcp_CurrEstab|nf_conntrack_entries$|udp_queues"
    "|hwmon_|thermal_|cpu_scaling_frequency_hertz|softnet_backlog)"
)
# Later releases leave these out, as netdev leaves out the device itself.
OF_THE_LOOPBACK = ("device", "lo")


TEXTFILE = r"""
# HELP demo_files_total Files, \\ and all.
# TYPE demo_files_total counter
demo_files_total{path="C:\\DIR\\",error="no such \"file\"\n"} 1.458255915e9
demo_files_total{path=""} 7

demo_untyped {label = "with blanks" , } +1e3
# TYPE demo_age_seconds gauge
demo_age_seconds -.5e-3
# TYPE demo_size_bytes histogram
demo_size_bytes_bucket{le="0.05"} 24054
demo_size_bytes_bucket{le="+Inf"} 144320
demo_size_bytes_sum 53423
demo_size_bytes_count 144320
# TYPE demo_time_seconds summary
demo_time_seconds{quantile="0.5"} 4773.2
demo_time_seconds_sum 1.7560473e+07
demo_time_seconds_count 2693
"""


NEWER_LABELS = {"rotational", "adminstate", "cntlid", "device_error"}


def is_label(pair):
    return pair[0] not in NEWER_LABELS and pair[1] != ""


def series(text):
    """``{(name, labels): (kind, value)}`` of all that is about the host, without labels of later releases.

    To Prometheus an empty label is none.
    """
    return {
        (sample.name, tuple(sorted(filter(is_label, sample.labels.items())))): (family.type, sample.value)
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if not sample.name.startswith((*THEIR_OWN, "leitstand_"))
    }


def close(left, right):
    return left == pytest.approx(right, rel=1e-9, abs=1e-9) or (left != left and right != right)


def between(before, value, after):
    """Whether time explains the value: it lies between theirs before and theirs after."""
    low, high = sorted((before, after))
    slack = 1e-9 * max(abs(low), abs(high), 1)
    return low - slack <= value <= high + slack


@pytest.fixture(scope="module")
def pages(ours: Any, theirs: Any, tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Any, Any, Any]]:
    """Theirs, ours, theirs: of one machine within a moment, and that several times."""
    textfiles = tmp_path_factory.mktemp("textfiles")
    (textfiles / "demo.prom").write_text(TEXTFILE)
    same = (*SAME, f"--collector.textfile.directory={textfiles}")
    with ours(*same) as mine, theirs(*same) as other:
        other.get(), mine.get()
        return [(series(other.get()), series(mine.get()), series(other.get())) for _ in range(4)]


def every_time(pages, judge):
    """What is wrong each time: a machine at work, its mounts and processes, may spoil one comparison."""
    found = [judge(*three) for three in pages]
    return {key: wrong for key, wrong in found[0].items() if all(key in other for other in found)}


def test_every_series_of_theirs_is_among_ours(pages):
    def missing(before, mine, after):
        keys = {key for key in before.keys() & after.keys() - mine.keys() if not FLEETING.match(key[0])}
        return {
            (name, labels): before[name, labels]
            for name, labels in keys
            if name != "node_network_address_info" or OF_THE_LOOPBACK not in labels
        }

    assert every_time(pages, missing) == {}


def test_ours_has_no_series_that_theirs_does_not_have_or_got_later(pages):
    def extra(before, mine, after):
        keys = {key for key in mine.keys() - before.keys() - after.keys() if not FLEETING.match(key[0])}
        # Of a file system that does not answer, newer releases still tell whether it is read-only.
        error = "node_filesystem_device_error"
        silent = {labels for (name, labels), (_, value) in mine.items() if name == error and value == 1}
        keys = {key for key in keys if not (key[0] == "node_filesystem_readonly" and key[1] in silent)}
        return {key: mine[key] for key in keys if not NEWER.fullmatch(key[0])}

    assert every_time(pages, extra) == {}


def test_a_textfile_is_served_as_by_node_exporter(pages):
    before, mine, _ = pages[-1]
    told = {key for key in before if key[0].startswith(("demo_", "node_textfile_"))}
    assert len(told) == 13
    assert {key: mine[key][0] for key in told} == {key: before[key][0] for key in told}
    assert not {key for key in told if not close(before[key][1], mine[key][1])}


def test_the_types_are_the_same(pages):
    before, mine, _ = pages[-1]
    differing = {
        key: (kind, mine[key][0]) for key, (kind, _) in before.items() if key in mine and mine[key][0] != kind
    }
    assert not differing


def test_constant_values_are_equal(pages):
    """Whatever has one value before and after ours was read must have it in ours."""

    def differing(before, mine, after):
        still = {key for key in before.keys() & after.keys() & mine.keys() if before[key][1] == after[key][1]}
        assert len(still) > 200
        different = {key for key in still if not close(before[key][1], mine[key][1])}
        # What goes up and down may leave its value and come back to it in between.
        return {key: (before[key], mine[key]) for key in different if not RESTLESS.match(key[0])}

    assert every_time(pages, differing) == {}


def test_counters_lie_between_those_of_node_exporter_before_and_after(pages):
    def outside(before, mine, after):
        shared = before.keys() & after.keys() & mine.keys()
        counters = {
            key: (before[key][1], mine[key][1], after[key][1])
            for key in shared
            if before[key][0] == "counter"
        }
        return {key: three for key, three in counters.items() if not between(*three)}

    assert every_time(pages, outside) == {}


def test_moving_values_are_close(pages):
    """Memory, space and the like: within a twentieth of theirs, or of the whole."""

    def far(before, mine, after):
        found = {}
        for key in before.keys() & after.keys() & mine.keys():
            low, high = sorted((before[key][1], after[key][1]))
            margin = 0.05 * max(abs(low), abs(high)) + 64 * 1024 * 1024 * key[0].endswith("_bytes") + 50
            if not low - margin <= mine[key][1] <= high + margin:
                found[key] = (low, mine[key][1], high)
        return found

    assert every_time(pages, far) == {}


# Options that are off by default, and one that is on.
FURTHER = (
    "--collector.cpu.info",
    "--collector.cpu.info.flags-include=^(aes|fpu|sse.*)$",
    "--collector.cpu.info.bugs-include=.",
    "--no-collector.cpu.guest",
    "--collector.stat.softirq",
    "--collector.netdev.enable-detailed-metrics",
    "--collector.netclass.ignore-invalid-speed",
    "--web.disable-exporter-metrics",
)


def test_options_that_are_off_by_default_give_the_same_series(ours, theirs):
    with ours(*SAME, *FURTHER) as mine, theirs(*SAME, *FURTHER) as other:
        text, page, left = mine.get(), series(mine.get()), series(other.get())
    chosen = re.compile("node_(cpu|network|softirqs)_.*")
    there = {key for key in left if chosen.fullmatch(key[0]) and OF_THE_LOOPBACK not in key[1]}
    here = {key for key in page if chosen.fullmatch(key[0]) and not NEWER.fullmatch(key[0])}
    assert there - here == set()
    assert {key for key in here - there if OF_THE_LOOPBACK not in key[1]} == set()
    assert {name for name, _ in here} >= {"node_cpu_info", "node_cpu_flag_info", "node_softirqs_total"}
    assert "process_cpu_seconds_total" not in text and "leitstand_exporter_build_info" in text


FROM_TREE = [
    "arp",
    "bonding",
    "conntrack",
    "cpu",
    "cpufreq",
    "diskstats",
    "dmi",
    "edac",
    "entropy",
    "filefd",
    "filesystem",
    "hwmon",
    "loadavg",
    "mdadm",
    "meminfo",
    "netclass",
    "netdev",
    "netstat",
    "nvme",
    "os",
    "powersupplyclass",
    "pressure",
    "schedstat",
    "sockstat",
    "softnet",
    "stat",
    "thermal_zone",
    "udp_queues",
    "vmstat",
]


# They ask the kernel for traffic unless told otherwise, and have an option of its own for udev's folder.
THEIRS_ONLY = "--path.udev.data={}/root/run/udev/data --no-collector.netdev.netlink"


def test_hardware_missing_on_this_machine_is_served_in_the_same_way(host, ours, theirs):
    """RAID, sensors, batteries, memory errors, throttling … from one tree of files for both."""
    host.write_tree(Path(__file__).with_name("hardware.tree"))
    (host.folder / "proc/self").symlink_to("1")
    (host.folder / "root/srv").mkdir()
    (host.folder / "sys/class/hwmon/hwmon0/device").symlink_to("../../../devices/platform/coretemp.0")
    roots = [f"--path.{name}fs={host.folder}/{name}" for name in ("proc", "sys", "root")]
    chosen = [*roots, "--collector.disable-defaults", *(f"--collector.{name}" for name in FROM_TREE)]
    with ours(*chosen) as mine, theirs(*chosen, *THEIRS_ONLY.format(host.folder).split()) as other:
        left, right = series(other.get()), series(mine.get())
    assert len(left) > 300
    assert left.keys() - right.keys() == set()
    extra = {name for name, _ in right.keys() - left.keys() if not NEWER.fullmatch(name)}
    # The first is not in the file that they read with that option, the second that of a newer kind of sensor.
    assert extra == {"node_network_receive_nohandler_total", "node_hwmon_sensor_label"}
    assert {key: (found, right[key]) for key, found in left.items() if found[0] != right[key][0]} == {}
    # The one thing in this tree that is real is the space of the disk it stands on.
    still = {key for key in left if not key[0].endswith(("_avail_bytes", "_free_bytes", "_files_free"))}
    assert {key: (left[key], right[key]) for key in still if not close(left[key][1], right[key][1])} == {}
