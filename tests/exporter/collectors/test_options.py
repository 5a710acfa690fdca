"""What options add to the figures, and take from them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from exporter.collectors import COLLECTORS
from exporter.collectors.options import Options
from exporter.roots import Roots

LISTING = Path(__file__).with_name("hardware.tree")


@pytest.fixture
def told(host: Any, figures: Any) -> Callable[..., Any]:
    """What a collector gives of the host with all hardware: ``told("cpu", cpu_guest=False)``."""
    host.write_tree(LISTING)

    def tell(name, roots=None, **options):
        return figures(COLLECTORS[name].build(roots or host.roots, Options(**options)))

    return tell


def test_the_details_of_a_cpu_are_served_when_enabled(told):
    assert not any("info" in name for name in told("cpu"))
    found = told("cpu", cpu_info_bugs_include="_v1$")
    full = ("0", "0", "0", "GenuineIntel", "6", "142", "A CPU at 1.70 GHz", "0xb4", "10", "8192 KB")
    sparse = ("0", "1", "1", "GenuineIntel", "", "", "A CPU at 1.70 GHz", "", "", "")
    assert found["node_cpu_info"] == {full: 1, sparse: 1}
    assert found["node_cpu_bug_info"] == {("spectre_v1",): 1}
    assert "node_cpu_flag_info" not in found


def test_a_cpu_with_damaged_lines_affects_no_other(host, told):
    content = (host.folder / "proc/cpuinfo").read_text()
    host.write("proc/cpuinfo", content.replace("processor\t: 0", "processor\t: ???"))
    found = told("cpu", cpu_info=True)
    assert [labels[2] for labels in found["node_cpu_info"]] == ["1"]
    assert found["node_cpu_seconds_total"]
    (host.folder / "proc/cpuinfo").unlink()
    assert told("cpu", cpu_info=True)["node_cpu_seconds_total"]


def test_times_of_guests_can_be_left_out(told):
    assert told("cpu")["node_cpu_guest_seconds_total"]
    assert not told("cpu", cpu_guest=False)["node_cpu_guest_seconds_total"]


def test_cpus_that_can_be_switched_off_say_whether_they_are(told):
    assert told("cpu")["node_cpu_online"] == {("0",): 1, ("1",): 0}


def test_software_interrupts_are_counted_by_kind_when_asked_for(told):
    assert "node_softirqs_total" not in told("stat")
    found = told("stat", stat_softirq=True)["node_softirqs_total"]
    assert (found["hi",], found["net_rx",], found["rcu",], len(found)) == (250191, 211099, 508444, 10)


def test_power_supplies_are_left_out_by_name(told):
    found = told("powersupplyclass", powersupply_ignored_supplies="^BAT")
    assert {labels[0] for labels in found["node_power_supply_info"]} == {"AC"}


def test_sensors_are_chosen_by_chip_and_name(told):
    everything = told("hwmon")
    assert everything["node_hwmon_freq_freq_mhz"] == {("nct6779", "sclk"): 214}
    chosen = told("hwmon", hwmon_sensor_include="nct6779;fan1$")
    assert {labels[1] for name, found in chosen.items() if "chip_names" not in name for labels in found} == {
        "fan1"
    }
    left = told("hwmon", hwmon_sensor_exclude="nct6779;fan1$")
    assert "node_hwmon_fan_rpm" in everything and "node_hwmon_fan_rpm" not in left


def test_of_two_clocks_of_one_label_the_first_counts(host):
    for number in (1, 2):
        host.write(f"sys/class/hwmon/hwmon0/freq{number}_input", f"{number}000000\n")
        host.write(f"sys/class/hwmon/hwmon0/freq{number}_label", "sclk\n")
    collector = COLLECTORS["hwmon"].build(host.roots, Options())
    families = {family.full_name: family.rows for family in collector.collect()}
    assert families["node_hwmon_freq_freq_mhz"] == [(("hwmon0", "sclk"), 1)]
    assert collector.skipped.count == 1


def test_a_device_that_does_not_know_its_speed_can_be_left_out(host, told):
    host.write("sys/class/net/eth1/speed", "-1\n")
    assert told("netclass")["node_network_speed_bytes"]["eth1",] == -125000
    assert ("eth1",) not in told("netclass", netclass_ignore_invalid_speed=True)["node_network_speed_bytes"]


@pytest.mark.parametrize(("flags", "state"), [("0x1003", "up"), ("0x1002", "down"), ("", "unknown")])
def test_whether_a_device_is_switched_on_is_a_label(host, told, flags, state):
    host.write("sys/class/net/eth0/flags", flags)
    labels = {labels[0]: labels[-1] for labels in told("netclass")["node_network_info"]}
    assert labels["eth0"] == state


def test_the_alias_of_a_device_is_a_label_of_its_traffic_when_asked_for(told):
    found = told("netdev", netdev_label_ifalias=True)
    assert ("eth0", "uplink") in found["node_network_receive_bytes_total"]


def test_each_kind_of_network_error_is_served_when_enabled(host, told):
    for number, name in enumerate(("rx_crc_errors", "tx_window_errors", "collisions")):
        host.write(f"sys/class/net/eth0/statistics/{name}", f"{number + 7}\n")
    found = told("netdev", netdev_enable_detailed_metrics=True)
    assert found["node_network_receive_crc_errors_total"] == {("eth0",): 7}
    assert found["node_network_transmit_window_errors_total"] == {("eth0",): 8}
    assert found["node_network_collisions_total"] == {("eth0",): 9}
    assert "node_network_receive_errs_total" not in found


def test_udevs_database_may_be_elsewhere(host, told):
    host.write("elsewhere/b8:0", "E:ID_MODEL=Odd\n")
    roots = Roots(host.folder / "proc", host.folder / "sys", host.folder / "root", host.folder / "elsewhere")
    models = {labels[0]: labels[3] for labels in told("diskstats", roots)["node_disk_info"]}
    assert models["sda"] == "Odd" and models["dm-0"] == ""


def test_rotating_disks_are_distinguished_from_others(told):
    turning = {labels[0]: labels[-1] for labels in told("diskstats")["node_disk_info"]}
    assert (turning["sda"], turning["nvme0n1"]) == ("1", "0")


def test_namespaces_of_nvme_have_their_sizes(host, told):
    found = told("nvme")
    assert found["node_nvme_namespace_info"] == {("nvme0", "1", "optimized"): 1}
    assert found["node_nvme_namespace_capacity_bytes"]["nvme0", "1"] == 1.6e13
    assert found["node_nvme_namespace_used_bytes"]["nvme0", "1"] == 2e12
    (host.folder / "sys/class/nvme/nvme0/nvme0n1/nuse").unlink()  # not there before Linux 6.8
    found = told("nvme")
    assert found["node_nvme_namespace_used_bytes"] == {}
    assert found["node_nvme_namespace_size_bytes"]["nvme0", "1"] == 1.6e13


def test_an_array_without_redundancy_lacks_no_disk(told):
    found = told("mdadm")
    assert found["node_md_degraded"] == {("md0",): 1, ("md5",): 0}
    assert found["node_md_raid_disks"] == {("md0",): 2, ("md5",): 2}


def test_the_average_frequency_of_a_cpu_is_served(told):
    assert told("cpufreq")["node_cpu_frequency_avg_hertz"] == {("0",): 1_699_900_000}


def test_an_empty_folder_of_textfiles_counts_as_missing(told):
    assert set(told("textfile", textfile_directory=("",))) == {
        "node_textfile_mtime_seconds",
        "node_textfile_scrape_error",
    }
