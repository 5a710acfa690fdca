"""Traffic of network devices: /proc/net/dev (net/core/net-procfs.c)."""

import socket
from collections.abc import Iterable, Mapping
from ipaddress import ip_address

from prometheus_client.registry import Collector

from exporter.collectors.options import Options, selection
from exporter.exposition import Family, Row
from exporter.netlink import dump_addresses, parse_addresses
from exporter.roots import Roots
from exporter.skipped import Skipped

# The columns in the kernel's order, as node_exporter names them.
_COLUMNS = (
    *("receive_bytes", "receive_packets", "receive_errs", "receive_drop"),
    *("receive_fifo", "receive_frame", "receive_compressed", "receive_multicast"),
    *("transmit_bytes", "transmit_packets", "transmit_errs", "transmit_drop"),
    *("transmit_fifo", "transmit_colls", "transmit_carrier", "transmit_compressed"),
)
_HEADER_LINES = 2
# Each kind of error separately, in sysfs (Documentation/ABI/testing/sysfs-class-net-statistics).
_DETAILS = (
    *("rx_packets", "tx_packets", "rx_bytes", "tx_bytes", "rx_errors", "tx_errors"),
    *("rx_dropped", "tx_dropped"),
    *("multicast", "collisions", "rx_length_errors", "rx_over_errors", "rx_crc_errors", "rx_frame_errors"),
    *("rx_fifo_errors", "rx_missed_errors", "tx_aborted_errors", "tx_carrier_errors", "tx_fifo_errors"),
    *("tx_heartbeat_errors", "tx_window_errors", "rx_compressed", "tx_compressed", "rx_nohandler"),
)


class NetworkTraffic(Collector):
    """node_network_receive_* and node_network_transmit_*."""

    def __init__(self, roots: Roots, options: Options) -> None:
        self._files, self._sys = roots.proc_files, roots.sys_files
        self._selection = selection(options, "netdev_device")
        self._with_addresses = options.netdev_address_info
        self._with_details = options.netdev_enable_detailed_metrics
        self._with_alias = options.netdev_label_ifalias
        self.skipped = Skipped()

    def collect(self) -> Iterable[Family]:
        devices = {
            device: columns
            for device, columns in parse_devices(self._files.read("net/dev"), self.skipped).items()
            if self._selection.takes(device)
        }
        names = ("device", "ifalias") if self._with_alias else ("device",)
        labels = {device: self._labels(device) for device in devices}
        if self._with_details:
            yield from self._details(labels, names)
        else:
            for index, name in enumerate(_COLUMNS):
                samples: list[Row] = [(labels[device], columns[index]) for device, columns in devices.items()]
                yield _family(name, names, samples)
            # /proc/net/dev has no column for it; only sysfs has it.
            yield _family("receive_nohandler", names, self._statistic("rx_nohandler", labels))
        if self._with_addresses:
            yield self._addresses()

    def _labels(self, device: str) -> tuple[str, ...]:
        if not self._with_alias:
            return (device,)
        try:
            alias = self._sys.attribute(f"class/net/{device}/ifalias").decode("utf-8", "replace")
        except OSError:
            alias = ""
        return device, alias

    def _details(self, labels: Mapping[str, tuple[str, ...]], names: tuple[str, ...]) -> Iterable[Family]:
        for file in _DETAILS:
            name = file.replace("rx_", "receive_").replace("tx_", "transmit_")
            yield _family(name, names, self._statistic(file, labels))

    def _statistic(self, file: str, labels: Mapping[str, tuple[str, ...]]) -> list[Row]:
        samples: list[Row] = []
        for device, values in labels.items():
            try:
                samples.append((values, int(self._sys.attribute(f"class/net/{device}/statistics/{file}"))))
            except OSError:
                continue  # the device went away meanwhile, or the kernel is too old
            except ValueError as error:
                self.skipped.add("net statistics", error)
        return samples

    def _addresses(self) -> Family:
        """From rtnetlink: no file has the IPv4 addresses."""
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


def _family(name: str, labels: tuple[str, ...], samples: list[Row]) -> Family:
    explanation = f"Network device statistic {name}."
    return Family(f"node_network_{name}_total", "counter", explanation, labels, samples)


def _scope(address: str) -> str:
    number = ip_address(address)
    return "link-local" if number.is_loopback or number.is_link_local else "global"


def parse_devices(content: bytes, skipped: Skipped) -> dict[str, list[int]]:
    """The sixteen columns of each device."""
    lines = content.splitlines()[_HEADER_LINES:]
    return skipped.unique("net/dev", skipped.each("net/dev", lines, _parse_device))


def _parse_device(line: bytes) -> tuple[str, list[int]]:
    # A name may contain anything but spaces and slashes, even colons.
    name, separator, rest = line.rpartition(b":")
    columns = [int(column) for column in rest.split()]
    if not separator or len(columns) != len(_COLUMNS):
        raise ValueError(f"not a line of net/dev: {line[:80]!r}")
    return name.strip().decode("utf-8", "replace"), columns
