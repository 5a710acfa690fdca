"""Properties of network devices: /sys/class/net (Documentation/ABI/testing/sysfs-class-net).

Most of them come over rtnetlink on a running system: that takes a quarter less CPU than reading the files.
"""

import contextlib
from collections.abc import Iterable
from pathlib import Path

from prometheus_client.registry import Collector

from exporter.collectors.options import Options, pattern
from exporter.exposition import Family, Kind
from exporter.files import Folder
from exporter.netlink import Link, dump_links, parse_links
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
# Attributes IFLA_* (linux/if_link.h) and the files that hold the same.
_ATTRIBUTES = (
    *((4, "mtu"), (13, "tx_queue_len"), (17, "link_mode"), (27, "netdev_group"), (35, "carrier_changes")),
    *((47, "carrier_up_count"), (48, "carrier_down_count")),
)
_ADDRESS, _BROADCAST, _LINK, _OPERSTATE = 1, 2, 5, 16
_ALIAS, _PROMISCUITY, _CARRIER, _ALLMULTI = 20, 30, 33, 61
_STATES = ("unknown", "notpresent", "down", "lowerlayerdown", "testing", "dormant", "up")  # RFC 2863
_UP, _PROMISCUOUS, _ALL_MULTICAST, _DORMANT = 0x1, 0x100, 0x200, 0x20000  # IFF_* (linux/if.h)
_OF_THE_MOMENT = _PROMISCUOUS | _ALL_MULTICAST | _DORMANT | 0x40 | 0x10000  # running, lower layer up

Properties = tuple[dict[str, str], dict[str, int | None]]


class NetworkDevices(Collector):
    """node_network_info, node_network_up and the device's numbers."""

    def __init__(self, roots: Roots, options: Options) -> None:
        self._files = roots.sys_files
        self._is_running_kernel = roots.sys == Path("/sys")
        self._ignored = pattern(options, "netclass_ignored_devices")
        self._without_invalid = options.netclass_ignore_invalid_speed
        self.skipped = Skipped()

    def collect(self) -> Iterable[Family]:
        explanation = "Text properties of the network device; the value is always 1."
        labels = ("device", *_TEXTS, "adminstate")
        information = Family("node_network_info", "gauge", explanation, labels)
        up = Family("node_network_up", "gauge", "Whether operstate is up.", ("device",))
        families = {
            file: Family(f"node_network_{name}", kind, f"Network device property {file}.", ("device",))
            for file, name, kind in _NUMBERS
        }
        known = self._from_kernel()
        for device in self._files.names("class/net"):
            if self._ignored.search(device):
                continue
            try:
                folder = self._files.folder(f"class/net/{device}", self.skipped)
            except OSError:
                continue  # bonding_masters is a file; or the device went away meanwhile
            texts, numbers = known.get(device) or ({}, {})
            with folder:
                self._complete(folder, texts, numbers)
            information.add(1, device, *map(texts.__getitem__, _TEXTS), _admin_state(numbers["flags"]))
            up.add(int(texts["operstate"] == "up"), device)
            for file, family in families.items():
                if (value := numbers[file]) is not None:
                    family.rows.append(((device,), value))
        return information, up, *families.values()

    def _from_kernel(self) -> dict[str, Properties]:
        if self._is_running_kernel:
            with contextlib.suppress(OSError):  # a sandbox may refuse the socket
                links = parse_links(dump_links())
                return {name: (link_texts(link), link_numbers(link)) for name, link in links}
        return {}

    def _complete(self, folder: Folder, texts: dict[str, str], numbers: dict[str, int | None]) -> None:
        for name in _TEXTS:
            if name not in texts:
                texts[name] = folder.text(name)
        for file, _, _ in _NUMBERS:
            if file not in numbers:
                numbers[file] = folder.number(file)
        if (speed := numbers["speed"]) is not None:
            is_left_out = speed < 0 and self._without_invalid
            numbers["speed"] = None if is_left_out else speed * _BYTES_PER_MEGABIT


def link_texts(link: Link) -> dict[str, str]:
    """What the files named by the keys hold; empty where the kernel answers EINVAL."""
    has = link.attributes
    state = link.number(_OPERSTATE)
    return {
        "address": has.get(_ADDRESS, b"").hex(":"),
        "broadcast": has.get(_BROADCAST, b"").hex(":"),
        "ifalias": has.get(_ALIAS, b"").rstrip(b"\0").strip().decode("utf-8", "replace"),
        "operstate": _STATES[state] if state < len(_STATES) else "",
        **({} if link.flags & _UP else {"duplex": ""}),
    }


def link_numbers(link: Link) -> dict[str, int | None]:
    """What the files named by the keys hold; None where the kernel answers EINVAL."""
    has = link.attributes
    found: dict[str, int | None] = {
        file: link.number(attribute) for attribute, file in _ATTRIBUTES if attribute in has
    }
    found |= {"type": link.kind, "ifindex": link.ifindex, "carrier": link.number(_CARRIER)}
    found["iflink"] = link.number(_LINK) if _LINK in has else link.ifindex
    found["dormant"] = int(link.flags & _DORMANT > 0)
    if not link.flags & _UP:
        found |= {"carrier": None, "dormant": None, "speed": None}
    if has.keys() >= {_PROMISCUITY, _ALLMULTI}:  # the latter since Linux 6.0
        # A port of a bridge is promiscuous by its counter and in the file, but not by its flags here.
        promiscuous, all_multicast = link.number(_PROMISCUITY) > 0, link.number(_ALLMULTI) > 0
        own = link.flags & ~_OF_THE_MOMENT
        found["flags"] = own | _PROMISCUOUS * promiscuous | _ALL_MULTICAST * all_multicast
    return found


def _admin_state(flags: int | None) -> str:
    """Whether the administrator has the device switched on: IFF_UP of netdevice(7)."""
    if flags is None:
        return "unknown"
    return "up" if flags & 1 else "down"
