"""Properties of network devices: /sys/class/net (Documentation/ABI/testing/sysfs-class-net)."""

from collections.abc import Iterable

from prometheus_client.registry import Collector

from exporter.collectors.options import Options, pattern
from exporter.exposition import Family, Kind
from exporter.files import Folder
from exporter.roots import Roots
from exporter.skipped import Skipped

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


class NetworkDevices(Collector):
    """node_network_info, node_network_up and the device's numbers."""

    def __init__(self, roots: Roots, options: Options) -> None:
        self._files = roots.sys_files
        self._ignored = pattern(options, "netclass_ignored_devices")
        self._without_invalid = options.netclass_ignore_invalid_speed
        self.skipped = Skipped()

    def collect(self) -> Iterable[Family]:
        explanation = "What the device says of itself in words."
        labels = ("device", *_TEXTS, "adminstate")
        information = Family("node_network_info", "gauge", explanation, labels)
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
                texts = [folder.text(name) for name in _TEXTS]
                found = self._numbers(folder)
            information.add(1, device, *texts, _admin_state(found.get("flags")))
            up.add(int(texts[-1] == "up"), device)
            for (file, _, _), family in zip(_NUMBERS, numbers, strict=True):
                if file in found:
                    family.rows.append(((device,), found[file]))
        return information, up, *numbers

    def _numbers(self, folder: Folder) -> dict[str, int]:
        # A device that is down has no carrier and one without a cable no speed: the kernel answers EINVAL.
        found = {}
        for file, _, _ in _NUMBERS:
            if (value := folder.number(file)) is not None:
                found[file] = value
        if "speed" in found:
            found["speed"] *= _BYTES_PER_MEGABIT
            if found["speed"] < 0 and self._without_invalid:
                del found["speed"]
        return found


def _admin_state(flags: int | None) -> str:
    """Whether the administrator has the device switched on: IFF_UP of netdevice(7)."""
    if flags is None:
        return "unknown"
    return "up" if flags & 1 else "down"
