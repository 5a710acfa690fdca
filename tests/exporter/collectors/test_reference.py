"""The reference pages say what the collectors give, and name every collector of node_exporter."""

import re
import subprocess
from pathlib import Path

import pytest

from docs.reference.node_exporter import served_metrics
from exporter.collectors import COLLECTORS
from exporter.not_served import NOT_SERVED

# Names in the queries of node_exporter's own mixin and of the dashboard Node Exporter Full, a line each.
ASKED_FOR = Path(__file__).with_name("dashboard_names.txt").read_text().split()
# What they ask for and a plain node_exporter does not have by default either.
ABSENT_THERE_TOO = {
    "node_interrupts_total",
    "node_kernel_hung_tasks",
    "node_netstat_Tcp_MaxConn",
    "node_tcp_connection_states",
}


def test_each_collector_of_node_exporter_is_served_or_has_a_reason():
    shown = subprocess.run(["prometheus-node-exporter", "--help"], capture_output=True, text=True)
    found = re.findall(
        r"--collector\.([a-z_]+) +Enable the \S+ collector\s+\(default:\s+(\w+)", shown.stdout + shown.stderr
    )
    theirs = {name: state == "enabled" for name, state in found}
    assert len(theirs) > 60
    assert theirs.keys() - COLLECTORS.keys() == NOT_SERVED.keys()
    assert {name: theirs[name] for name in NOT_SERVED} == {name: on for name, (on, _) in NOT_SERVED.items()}


@pytest.mark.parametrize("name", ASKED_FOR)
def test_metrics_used_by_rules_and_dashboards_are_served(name):
    served = {metric[0] for metrics in SERVED.values() for metric in metrics}
    # Which fields meminfo has and which parts a sensor has is for the kernel to say.
    assert name in served or name in ABSENT_THERE_TOO or name.startswith(("node_memory_", "node_hwmon_"))


SERVED = served_metrics()


def test_every_collector_has_metrics_on_the_page():
    assert [name for name, metrics in SERVED.items() if not metrics and name != "timex"] == []
