"""Properties of network devices: /sys/class/net (Documentation/ABI/testing/sysfs-class-net)."""

from collections.abc import Iterable

from exporter.collectors.collector import Roots
from exporter.collectors.files import Folder
from exporter.collectors.options import Options, pattern
from exporter.skipped import Skipped
from leitstand.exposition import Family, Kind

# File, metric, kind.
_NUMBERS: tuple[tuple[str, str, Kind], ...] = (
    ("addr_assign_type", "address_assign_type", "gauge"),
    ("carrier", "carrier", "gauge"),
    ("carrier_changes", "carrier_changes_total", "counter"),
    ("carrier_down_count", "carrier_down_changes_total", "counter"),
    ("carrier_up_count", "carrier_up_changes_total", "counter"),
    ("dev_id", "device_id", "gauge"),
    ("dormant", "dormant", "gauge"),
    ("flags", "flags", "gauge"),
    ("ifindex", "iface_id", "gauge"),
    ("iflink", "iface_link", "gauge"),
    ("link_mode", "iface_link_mode", "gauge"),
    ("mtu", "mtu_bytes", "gauge"),
    ("name_assign_type", "name_assign_type", "gauge"),
    ("netdev_group", "net_dev_group", "gauge"),
    ("speed", "speed_bytes", "gauge"),
    ("tx_queue_len", "transmit_queue_length", "gauge"),
    ("type", "protocol_type", "gauge"),
)
_TEXTS = ("address", "broadcast", "duplex", "ifalias", "operstate")
_BYTES_PER_MEGABIT = 125_000


class NetworkDevices:
    """node_network_info, node_network_up and the device's numbers."""

    def __init__(self, roots: Roots, options: Options) -> None:
        self._files = roots.sys_files
        self._ignored = pattern(options, "netclass_ignored_devices")
        self.skipped = Skipped()

    def collect(self) -> Iterable[Family]:
        explanation = "What the device says of itself in words."
        information = Family("node_network_info", "gauge", explanation, ("device", *_TEXTS))
        up = Family("node_network_up", "gauge", "Whether operstate is up.", ("device",))
        numbers = [
            Family(f"node_network_{name}", kind, f"Network device property {file}.", ("device",))
            for file, name, kind in _NUMBERS
        ]
        for device in self._files.names("class/net"):
            if self._ignored.search(device):
                continue
            try:
                folder = self._files.folder(f"class/net/{device}", self.skipped)
            except OSError:
                continue  # bonding_masters is a file; or the device went away meanwhile
            with folder:
                _describe(folder, device, information, up)
                _count(folder, device, numbers)
        return information, up, *numbers


def _describe(folder: Folder, device: str, information: Family, up: Family) -> None:
    texts = tuple([folder.text(name) for name in _TEXTS])
    information.add(1, device, *texts)
    up.add(int(texts[-1] == "up"), device)


def _count(folder: Folder, device: str, numbers: Iterable[Family]) -> None:
    for (file, _, _), family in zip(_NUMBERS, numbers, strict=True):
        # A device that is down has no carrier and one without a cable no speed: the kernel answers EINVAL.
        if (value := folder.number(file)) is not None:
            family.samples.append(((device,), value * _BYTES_PER_MEGABIT if file == "speed" else value))
