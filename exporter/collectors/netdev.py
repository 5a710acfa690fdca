"""Traffic of network devices: /proc/net/dev (net/core/net-procfs.c)."""

import socket
from collections.abc import Iterable
from ipaddress import ip_address

from exporter.collectors.collector import Roots
from exporter.collectors.options import Options, selection
from exporter.netlink import dump_addresses, parse_addresses
from exporter.skipped import Skipped
from leitstand.exposition import Family, Sample

# The columns in the kernel's order, as node_exporter names them.
_COLUMNS = (
    *("receive_bytes", "receive_packets", "receive_errs", "receive_drop"),
    *("receive_fifo", "receive_frame", "receive_compressed", "receive_multicast"),
    *("transmit_bytes", "transmit_packets", "transmit_errs", "transmit_drop"),
    *("transmit_fifo", "transmit_colls", "transmit_carrier", "transmit_compressed"),
)
_HEADER_LINES = 2


class NetworkTraffic:
    """node_network_receive_* and node_network_transmit_*."""

    def __init__(self, roots: Roots, options: Options) -> None:
        self._files, self._sys = roots.proc_files, roots.sys_files
        self._selection = selection(options, "netdev_device")
        self._with_addresses = options.netdev_address_info
        self.skipped = Skipped()

    def collect(self) -> Iterable[Family]:
        devices = {
            device: columns
            for device, columns in parse_devices(self._files.read("net/dev"), self.skipped).items()
            if self._selection.takes(device)
        }
        for index, name in enumerate(_COLUMNS):
            samples: list[Sample] = [((device,), columns[index]) for device, columns in devices.items()]
            explanation = f"Network device statistic {name}."
            yield Family(f"node_network_{name}_total", "counter", explanation, ("device",), samples)
        yield self._without_handler(list(devices))
        if self._with_addresses:
            yield self._addresses()

    def _without_handler(self, devices: list[str]) -> Family:
        # /proc/net/dev has no column for it; the kernel shows it in sysfs alone.
        family = Family(
            "node_network_receive_nohandler_total", "counter", "Packets that nobody wanted.", ("device",)
        )
        for device in devices:
            try:
                value = int(self._sys.attribute(f"class/net/{device}/statistics/rx_nohandler"))
            except (OSError, ValueError):
                continue  # the device went away meanwhile, or the kernel is older than 4.6
            family.samples.append(((device,), value))
        return family

    def _addresses(self) -> Family:
        """Asked of the kernel itself: no file has the IPv4 ones."""
        family = Family(
            "node_network_address_info",
            "gauge",
            "An address of a device.",
            ("address", "device", "netmask", "scope"),
        )
        names = dict(socket.if_nameindex())
        for address in parse_addresses(dump_addresses()):
            device = names.get(address.index, "")
            if device and self._selection.takes(device):
                family.add(1, address.address, device, str(address.prefix), _scope(address.address))
        return family


def _scope(address: str) -> str:
    number = ip_address(address)
    return "link-local" if number.is_loopback or number.is_link_local else "global"


def parse_devices(content: bytes, skipped: Skipped) -> dict[str, list[int]]:
    """The sixteen columns of each device."""
    lines = content.splitlines()[_HEADER_LINES:]
    return skipped.unique("net/dev", skipped.each("net/dev", lines, _parse_device))


def _parse_device(line: bytes) -> tuple[str, list[int]]:
    # A name may hold anything but blanks and slashes, colons too.
    name, separator, rest = line.rpartition(b":")
    columns = [int(column) for column in rest.split()]
    if not separator or len(columns) != len(_COLUMNS):
        raise ValueError(f"not a line of net/dev: {line[:80]!r}")
    return name.strip().decode("utf-8", "replace"), columns
