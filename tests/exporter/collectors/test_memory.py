"""What the exporter takes of a host's memory."""

import re
import subprocess
import sys
from pathlib import Path

UNIT = Path(__file__).parents[3] / "deploy" / "systemd" / "leitstand-exporter.service"
MOST = 1.2  # times node_exporter's; measured 1.07 beside Debian's, see bench/README.md
LEAN = "import sys, exporter.cli; assert 'ssl' not in sys.modules; "


def resident(pid: int) -> int:
    """The resident set in kB."""
    found = re.search(r"^VmRSS:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert found
    return int(found[1])


def test_it_takes_about_as_much_memory_as_node_exporter(ours, theirs):
    settings = [line.split("=", 1)[1] for line in UNIT.read_text().splitlines() if "=MALLOC" in line]
    environment = dict(word.split("=") for line in settings for word in line.split())
    with ours(environment=environment) as mine, theirs() as rival:
        for exporter in (mine, rival) * 30:
            exporter.get()
        assert resident(mine.process.pid) < MOST * resident(rival.process.pid)
        assert "libcrypto" not in Path(f"/proc/{mine.process.pid}/maps").read_text()


def test_a_collector_may_use_all_of_prometheus_client():
    code = "from prometheus_client import Gauge, start_http_server; import prometheus_client as whole; "
    code += "assert whole.Gauge is Gauge and set(whole.__all__) <= set(dir(whole)); whole.no_such_name"
    done = subprocess.run([sys.executable, "-c", LEAN + code], capture_output=True, text=True)
    words = "AttributeError: module 'prometheus_client' has no attribute 'no_such_name'"
    assert done.stderr.splitlines()[-1] == words
