"""Debian's node_exporter and ours, side by side: the same names, labels, types and values."""

import re

import pytest
from prometheus_client.parser import text_string_to_metric_families

# Ours has newer defaults than Debian's 1.5.0; both get the same here.
SAME = (
    r"--collector.diskstats.device-exclude=^(z?ram|loop|fd|(h|s|v|xv)d[a-z]|nvme\d+n\d+p)\d+$",
    "--collector.filesystem.mount-points-exclude=^/(dev|proc|sys)($|/)",
    "--collector.processes",
)
# About the exporter itself, not the host.
THEIR_OWN = ("go_", "process_", "promhttp_", "node_exporter_build_info", "node_scrape_collector_")
# Names we have from releases after 1.5.0.
NEWER = re.compile(
    "node_softnet_(cpu_collision_total|received_rps_total|flow_limit_count_total|backlog_len)"
    "|node_filesystem_mount_info|node_netstat_TcpExt_TCP(OFOQueue|RcvQDrop)"
    "|node_cpu_scaling_governor|node_pressure_irq_stalled_seconds_total|node_os_support_end_timestamp_seconds"
)
# Series that come and go while the tests run: a process in state D, a neighbour.
FLEETING = re.compile("node_processes_(threads_)?state|node_arp_entries")


def series(text):
    """``{(name, labels): (kind, value)}`` of all that is about the host.

    To Prometheus an empty label is none.
    """
    return {
        (sample.name, tuple(sorted(filter(all, sample.labels.items())))): (family.type, sample.value)
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
def pages(ours, theirs):
    """Theirs, ours, theirs: of one machine within a moment."""
    with ours(*SAME) as mine, theirs(*SAME) as other:
        other.get(), mine.get()
        for _ in range(3):
            found = series(other.get()), series(mine.get()), series(other.get())
        return found


def test_every_series_of_theirs_is_among_ours(pages):
    before, mine, after = pages
    missing = {key for key in before.keys() & after.keys() - mine.keys() if not FLEETING.match(key[0])}
    assert not missing


def test_ours_has_no_series_that_theirs_does_not_have_or_got_later(pages):
    before, mine, after = pages
    extra = {key for key in mine.keys() - before.keys() - after.keys() if not FLEETING.match(key[0])}
    assert {name for name, _ in extra if not NEWER.fullmatch(name)} == set()


def test_the_types_are_the_same(pages):
    before, mine, _ = pages
    differing = {
        key: (kind, mine[key][0]) for key, (kind, _) in before.items() if key in mine and mine[key][0] != kind
    }
    assert not differing


def test_what_stands_still_is_equal(pages):
    """Whatever has one value before and after ours was read must have it in ours."""
    before, mine, after = pages
    still = {key for key in before.keys() & after.keys() & mine.keys() if before[key][1] == after[key][1]}
    assert len(still) > 200
    differing = {
        key: (before[key][1], mine[key][1]) for key in still if not close(before[key][1], mine[key][1])
    }
    # A gauge may leave its value and come back to it in between.
    gauges = {key for key in differing if before[key][0] != "counter"}
    assert not differing.keys() - gauges
    assert len(gauges) <= 5, differing


def test_what_counts_lies_between_theirs_before_and_after(pages):
    before, mine, after = pages
    counters = [key for key in before.keys() & after.keys() & mine.keys() if before[key][0] == "counter"]
    outside = {
        key: (before[key][1], mine[key][1], after[key][1])
        for key in counters
        if not between(before[key][1], mine[key][1], after[key][1])
    }
    assert not outside


def test_what_moves_is_near(pages):
    """Memory, space and the like: within a twentieth of theirs, or of the whole."""
    before, mine, after = pages
    far = {}
    for key in before.keys() & after.keys() & mine.keys():
        low, high = sorted((before[key][1], after[key][1]))
        margin = 0.05 * max(abs(low), abs(high)) + 64 * 1024 * 1024 * key[0].endswith("_bytes") + 50
        if not low - margin <= mine[key][1] <= high + margin:
            far[key] = (low, mine[key][1], high)
    assert not far


TREE = {
    "proc/mdstat": (
        "Personalities : [raid1] [raid6] [raid5] [raid4]\n"
        "md0 : active raid1 sdb1[1] sda1[0]\n      1048576 blocks super 1.2 [2/2] [UU]\n\n"
        "md1 : active raid5 sdd1[4](F) sdc1[2] sdb1[1] sda1[0] sde1[5](S)\n"
        "      2930281216 blocks level 5, 64k chunk, algorithm 2 [4/3] [UUU_]\n"
        "      [==>..................]  recovery = 12.6% (123456/976760405) finish=127.5min speed=33440K/sec\n\n"
        "md2 : active raid1 sdb2[1] sda2[0]\n      1000 blocks super 1.2 [2/2] [UU]\n"
        "      [=>...................]  resync = 5.0% (50/1000) finish=1.0min speed=100K/sec\n\n"
        "md3 : active raid1 sdb3[1] sda3[0]\n      2000 blocks super 1.2 [2/2] [UU]\n"
        "      [=>...................]  check = 5.0% (100/2000) finish=1.0min speed=100K/sec\n\n"
        "md4 : inactive sda4[0](S)\n      20953088 blocks super 1.2\n\n"
        "md5 : active raid0 sdb5[1] sda5[0]\n      4000 blocks super 1.2 512k chunks\n\n"
        "unused devices: <none>\n"
    ),
    "proc/schedstat": (
        "version 15\ntimestamp 15819019232\n"
        "cpu0 498494191 0 3533438552 2553969831 3853684107 2465731542 2045936778163 343796328169361 4767485306\n"
        "domain0 00000000,00000003 212499247 210112015\n"
        "cpu1 518377256 0 4155211005 2778589869 10466382 2867629021 1904686152592 364107263788241 5145567945\n"
    ),
    "proc/diskstats": (
        "   8       0 sda 25354637 34367663 1003346126 18492372 28444756 11134226 505697032 63877960 0 9653880"
        " 82621804\n"
        "   8       1 sda1 250 0 2000 36 0 0 0 0 0 36 36\n"
        " 259       0 nvme0n1 47114 4 4643973 21650 1078320 43950 39451633 1011053 0 222766 1032546 1 2 3 4 5 6\n"
    ),
    "proc/net/sockstat": (
        "sockets: used 229\nTCP: inuse 4 orphan 0 tw 4 alloc 17 mem 1\nUDP: inuse 0 mem 0\nUDPLITE: inuse 0\n"
        "RAW: inuse 0\nFRAG: inuse 0 memory 0\n"
    ),
    "proc/net/sockstat6": "TCP6: inuse 17\nUDP6: inuse 9\nUDPLITE6: inuse 0\nRAW6: inuse 1\nFRAG6: inuse 0 memory 0\n",
    "proc/net/softnet_stat": (
        "00015c73 00020e76 00000769 00000000 00000000 00000000 00000000 00000000 00000000 00000000\n"
        "01663fb2 00000000 00010e09 00000000 00000000 00000000 00000000 00000000 00000000 00000000\n"
    ),
    "proc/sys/net/netfilter/nf_conntrack_count": "123\n",
    "proc/sys/net/netfilter/nf_conntrack_max": "65536\n",
    "proc/net/stat/nf_conntrack": (
        "entries  searched found new invalid ignore delete delete_list insert insert_failed drop early_drop"
        " icmp_error  expect_new expect_create expect_delete search_restart\n"
        "00000021  00000000 00000003 00000000 00000588 00016c1c 00000000 00000000 00000000 00000001 00000002"
        " 00000000 00000000  00000000 00000000 00000000 00000004\n"
        "00000021  00000000 0000000a 00000000 00000588 00016c1c 00000000 00000000 00000000 00000001 00000002"
        " 00000000 00000000  00000000 00000000 00000000 00000004\n"
    ),
    "proc/pressure/cpu": "some avg10=0.00 avg60=0.00 avg300=0.00 total=14036781\n",
    "proc/pressure/io": (
        "some avg10=0.10 avg60=2.00 avg300=3.85 total=15\nfull avg10=0.20 avg60=3.00 avg300=4.95 total=25\n"
    ),
    "proc/pressure/memory": (
        "some avg10=0.10 avg60=2.00 avg300=3.85 total=159229614\n"
        "full avg10=0.20 avg60=3.00 avg300=4.95 total=9229614\n"
    ),
    "sys/devices/system/edac/mc/mc0/ce_count": "1\n",
    "sys/devices/system/edac/mc/mc0/ce_noinfo_count": "2\n",
    "sys/devices/system/edac/mc/mc0/ue_count": "5\n",
    "sys/devices/system/edac/mc/mc0/ue_noinfo_count": "6\n",
    "sys/devices/system/edac/mc/mc0/csrow0/ce_count": "3\n",
    "sys/devices/system/edac/mc/mc0/csrow0/ue_count": "4\n",
    "sys/class/dmi/id/bios_vendor": "SeaBIOS\n",
    "sys/class/dmi/id/product_name": "KVM Server\n",
    "sys/class/dmi/id/sys_vendor": 'The "Vendor"\n',
    "sys/class/net/bonding_masters": "bond0\n",
    "sys/class/net/bond0/bonding/slaves": "eth0 eth1\n",
    "sys/class/net/bond0/lower_eth0/bonding_slave/mii_status": "up\n",
    "sys/class/net/bond0/lower_eth1/bonding_slave/mii_status": "down\n",
    "sys/devices/system/clocksource/clocksource0/available_clocksource": "tsc hpet acpi_pm\n",
    "sys/devices/system/clocksource/clocksource0/current_clocksource": "tsc\n",
    "sys/class/thermal/thermal_zone0/type": "x86_pkg_temp\n",
    "sys/class/thermal/thermal_zone0/temp": "49925\n",
    "sys/class/thermal/thermal_zone0/policy": "step_wise\n",
    "sys/class/thermal/thermal_zone0/mode": "enabled\n",
    "sys/class/thermal/thermal_zone0/passive": "0\n",
    "sys/class/thermal/cooling_device0/type": "Processor\n",
    "sys/class/thermal/cooling_device0/cur_state": "0\n",
    "sys/class/thermal/cooling_device0/max_state": "3\n",
    "sys/class/power_supply/AC/type": "Mains\n",
    "sys/class/power_supply/AC/online": "0\n",
    "sys/class/power_supply/BAT0/type": "Battery\n",
    "sys/class/power_supply/BAT0/capacity": "81\n",
    "sys/class/power_supply/BAT0/capacity_level": "Normal\n",
    "sys/class/power_supply/BAT0/cycle_count": "0\n",
    "sys/class/power_supply/BAT0/energy_full": "45070000\n",
    "sys/class/power_supply/BAT0/energy_now": "36580000\n",
    "sys/class/power_supply/BAT0/voltage_now": "11750000\n",
    "sys/class/power_supply/BAT0/temp": "315\n",
    "sys/class/hwmon/hwmon0/name": "coretemp\n",
    "sys/class/hwmon/hwmon0/temp1_input": "55000\n",
    "sys/class/hwmon/hwmon0/temp1_label": "Package id 0\n",
    "sys/class/hwmon/hwmon0/temp1_crit": "84000\n",
    "sys/class/hwmon/hwmon0/temp1_crit_alarm": "0\n",
    "sys/class/hwmon/hwmon0/temp1_type": "4\n",
    "sys/class/hwmon/hwmon1/name": "nct6779\n",
    "sys/class/hwmon/hwmon1/fan1_input": "1098\n",
    "sys/class/hwmon/hwmon1/fan1_min": "0\n",
    "sys/class/hwmon/hwmon1/fan1_alarm": "0\n",
    "sys/class/hwmon/hwmon1/fan1_beep": "1\n",
    "sys/class/hwmon/hwmon1/fan1_pulses": "2\n",
    "sys/class/hwmon/hwmon1/in0_input": "792\n",
    "sys/class/hwmon/hwmon1/in0_max": "1744\n",
    "sys/class/hwmon/hwmon1/pwm1": "255\n",
    "sys/class/hwmon/hwmon1/pwm1_enable": "2\n",
    "sys/class/hwmon/hwmon1/curr1_input": "1500\n",
    "sys/class/hwmon/hwmon1/power1_average": "35000000\n",
    "sys/class/hwmon/hwmon1/power1_average_interval": "1000\n",
    "sys/class/hwmon/hwmon1/power1_accuracy": "500000\n",
    "sys/class/hwmon/hwmon1/energy1_input": "1234567\n",
    "sys/class/hwmon/hwmon1/humidity1_input": "420000\n",
    "sys/class/hwmon/hwmon1/intrusion0_alarm": "1\n",
    "sys/class/hwmon/hwmon1/intrusion0_beep": "0\n",
    "sys/class/hwmon/hwmon1/update_interval": "2000\n",
    "sys/class/hwmon/hwmon1/beep_enable": "1\n",
    "sys/class/hwmon/hwmon1/vrm": "90\n",
    "sys/class/hwmon/hwmon1/temp7_input": "broken\n",
    "sys/devices/platform/coretemp.0/uevent": "\n",
    **{
        f"sys/devices/system/cpu/cpu{cpu}/{path}": value
        for cpu in (0, 1)
        for path, value in {
            "topology/physical_package_id": "0\n",
            "topology/core_id": f"{cpu}\n",
            "thermal_throttle/core_throttle_count": f"{5 + cpu}\n",
            "thermal_throttle/package_throttle_count": "30\n",
            "cpufreq/scaling_cur_freq": "1699981\n",
            "cpufreq/scaling_max_freq": "3700000\n",
            "cpufreq/scaling_min_freq": "800000\n",
            "cpufreq/cpuinfo_max_freq": "3700000\n",
            "cpufreq/cpuinfo_min_freq": "800000\n",
            "cpufreq/related_cpus": f"{cpu}\n",
            "cpufreq/scaling_available_governors": "performance powersave\n",
            "cpufreq/scaling_driver": "intel_pstate\n",
            "cpufreq/scaling_governor": "powersave\n",
            "cpufreq/scaling_setspeed": "<unsupported>\n",
        }.items()
    },
    "proc/stat": (
        "cpu  301854 612 111922 8979004 3552 2 3944 0 0 0\n"
        "cpu0 44490 19 21045 1087069 220 1 3410 1 2 3\ncpu1 47869 23 16474 1110787 591 0 46 4 5 6\n"
        "intr 8885917 17 0 0\nctxt 38014093\nbtime 1418183276\nprocesses 26442\nprocs_running 2\nprocs_blocked 1\n"
        "softirq 5057579 250191 1481983 1647 211099 186066 0 1783454 622196 12499 508444\n"
    ),
    "proc/loadavg": "0.02 0.04 0.05 1/497 11947\n",
    "proc/sys/fs/file-nr": "1024\t0\t1631329\n",
    "proc/net/arp": (
        "IP address       HW type     Flags       HW address            Mask     Device\n"
        "192.168.1.1      0x1         0x2         cc:aa:dd:ee:aa:bb     *        eth0\n"
        "192.168.1.2      0x1         0x2         bb:cc:dd:ee:ff:aa     *        eth0\n"
        "192.168.1.3      0x1         0x2         aa:bb:cc:dd:ee:ff     *        eth1\n"
    ),
    "proc/net/udp": (
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
        "    0: 00000000:0016 00000000:0000 0A 00000015:00000001 00:00000000 00000000     0        0 2740 1 a 100\n"
        "    1: 00000000:0017 00000000:0000 0A 00000000:00000010 00:00000000 00000000     0        0 2741 1 b 100\n"
    ),
}
FROM_TREE = [
    "arp",
    "bonding",
    "conntrack",
    "cpu",
    "cpufreq",
    "diskstats",
    "dmi",
    "edac",
    "filefd",
    "hwmon",
    "loadavg",
    "mdadm",
    "powersupplyclass",
    "pressure",
    "schedstat",
    "sockstat",
    "softnet",
    "stat",
    "thermal_zone",
    "udp_queues",
]


def test_hardware_this_machine_does_not_have_is_told_alike(host, ours, theirs):
    """RAID, sensors, batteries, memory errors, throttling … from one tree of files for both."""
    host.write_all(TREE)
    (host.folder / "proc/self").mkdir()
    (host.folder / "sys/class/hwmon/hwmon0/device").symlink_to("../../../devices/platform/coretemp.0")
    roots = [f"--path.{name}fs={host.folder}/{name}" for name in ("proc", "sys")]
    chosen = [*roots, "--collector.disable-defaults", *(f"--collector.{name}" for name in FROM_TREE)]
    with ours(*chosen) as mine, theirs(*chosen, "--path.udev.data=/nowhere") as other:
        left, right = series(other.get()), series(mine.get())
    assert len(left) > 190
    assert left.keys() - right.keys() == set()
    assert {name for name, _ in right.keys() - left.keys() if not NEWER.fullmatch(name)} == set()
    assert {key: (found, right[key]) for key, found in left.items() if found[0] != right[key][0]} == {}
    assert {
        key: (found, right[key]) for key, found in left.items() if not close(found[1], right[key][1])
    } == {}
