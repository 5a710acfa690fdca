"""Properties of network devices: over rtnetlink the same as from files."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from exporter.collectors import netclass
from exporter.collectors.options import Options
from exporter.roots import Roots

# The same folder under another name: a copied tree is read from its files.
FILES = Roots(sys=Path("/proc/self/root/sys"))
# Ports of a bridge are promiscuous; a tunnel has no address; a device without its peer is lowerlayerdown.
NETWORK = """
set -e
mount -t sysfs none /sys
ip -batch - <<END
link set lo up
link add br0 type bridge
link add port type veth peer name peer
link set port master br0
link set br0 up
link set port up
link set peer up
link set port mode dormant
link set port state dormant
link set peer group 7 mtu 1400 txqueuelen 77
link set peer allmulticast on
link add half type veth peer name off
link set half up
link set half promisc on
link set off address 02:00:00:00:00:07
tuntap add tunnel mode tun
link set tunnel up
END
ip link set peer alias '  an "alias" ü '
exec "$@"
"""
PRINT = """
import json
from exporter.collectors.netclass import NetworkDevices
from exporter.collectors.options import Options
from exporter.roots import Roots
from pathlib import Path

def figures(roots):
    families = NetworkDevices(roots, Options()).collect()
    return [[family.full_name, *labels, value] for family in families for labels, value in family.rows]

print(json.dumps([figures(Roots()), figures(Roots(sys=Path("/proc/self/root/sys")))]))
"""


@pytest.mark.skipif(
    os.geteuid() != 0 or not all(map(shutil.which, ("unshare", "ip"))),
    reason="a network of its own needs root",
)
def test_devices_of_all_kinds_have_the_figures_of_their_files() -> None:
    apart = ["unshare", "--net", "--mount", "bash", "-c", NETWORK, "bash", sys.executable, "-c", PRINT]
    done = subprocess.run(apart, capture_output=True, text=True, check=True)
    over_netlink, from_files = json.loads(done.stdout)
    assert over_netlink == from_files
    states = {row[1]: row[-3] for row in over_netlink if row[0] == "node_network_info"}
    assert states["port"] == "dormant" and states["half"] == "lowerlayerdown" and states["off"] == "down"
    numbers = {tuple(row[:2]): row[-1] for row in over_netlink}
    assert numbers["node_network_flags", "port"] & 0x100 and numbers["node_network_flags", "peer"] & 0x200
    assert ("node_network_carrier", "off") not in numbers


@pytest.mark.parametrize("answer", [b"", None])
def test_files_are_read_where_the_kernel_does_not_answer(answer, figures, monkeypatch) -> None:
    def refuse() -> bytes:
        if answer is None:
            raise PermissionError
        return answer

    expected = figures(netclass.NetworkDevices(FILES, Options()))
    monkeypatch.setattr(netclass, "dump_links", refuse)
    assert figures(netclass.NetworkDevices(Roots(), Options())) == expected != {}
