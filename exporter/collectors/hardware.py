"""The machine: firmware's words (DMI), memory errors (EDAC), power, and SELinux' state."""

import re
from collections.abc import Iterable

from exporter.collectors.collector import NoData, Roots, gauge
from exporter.collectors.files import Files, Folder
from leitstand.exposition import Family

_DMI = (
    *("bios_date", "bios_release", "bios_vendor", "bios_version"),
    *("board_asset_tag", "board_name", "board_serial", "board_vendor", "board_version"),
    *("chassis_asset_tag", "chassis_serial", "chassis_vendor", "chassis_version"),
    *("product_family", "product_name", "product_serial", "product_sku", "product_uuid", "product_version"),
    "sys_vendor",
)


def folders(files: Files, path: str) -> list[str]:
    """The names in a folder. Raises NoData when there is no such folder."""
    try:
        return files.names(path)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NoData(f"no {path}") from error


class Firmware:
    """node_dmi_info: what may be read of it. Serial numbers are for root only."""

    def __init__(self, roots: Roots) -> None:
        self._files = roots.sys_files

    def collect(self) -> Iterable[Family]:
        names = folders(self._files, "class/dmi/id")
        found: dict[str, str] = {}
        for name in _DMI:
            if name in names:
                try:
                    value = self._files.attribute(f"class/dmi/id/{name}")
                except OSError:
                    continue
                found["system_vendor" if name == "sys_vendor" else name] = value.decode("utf-8", "replace")
        labels = tuple(sorted(found))
        values = tuple([found[label] for label in labels])
        return [Family("node_dmi_info", "gauge", "What the firmware says.", labels, [(values, 1)])]


_CONTROLLER = re.compile(r"mc(\d+)")
_ROW = re.compile(r"csrow(\d+)")
_CHANNEL = re.compile(r"ch(\d+)_ce_count")
Pair = tuple[Family, Family]  # correctable, uncorrectable


class MemoryErrors:
    """node_edac_*: Documentation/driver-api/edac.rst."""

    def __init__(self, roots: Roots) -> None:
        self._files = roots.sys_files

    def collect(self) -> Iterable[Family]:
        base = "devices/system/edac/mc"
        totals = _pair("", ("controller",), "memory errors")
        rows = _pair("csrow_", ("controller", "csrow"), "memory errors of a row")
        labels = ("controller", "csrow", "channel", "dimm_label")
        channels = _pair("channel_", labels, "memory errors of a channel")
        for controller in folders(self._files, base):
            if match := _CONTROLLER.fullmatch(controller):
                self._count(f"{base}/{controller}", match[1], totals, rows)
                for name in self._files.names(f"{base}/{controller}"):
                    if row := _ROW.fullmatch(name):
                        self._count_row(f"{base}/{controller}/{name}", (match[1], row[1]), rows, channels)
        return *totals, *rows, *channels

    def _count(self, place: str, controller: str, totals: Pair, rows: Pair) -> None:
        for letter, total, row in zip("cu", totals, rows, strict=True):
            total.add(int(self._files.attribute(f"{place}/{letter}e_count")), controller)
            row.add(int(self._files.attribute(f"{place}/{letter}e_noinfo_count")), controller, "unknown")

    def _count_row(self, place: str, labels: tuple[str, str], rows: Pair, channels: Pair) -> None:
        with self._files.folder(place) as folder:
            for letter, row in zip("cu", rows, strict=True):
                row.add(int(folder.attribute(f"{letter}e_count")), *labels)
            for name in folder.names():
                if match := _CHANNEL.fullmatch(name):
                    _count_channel(folder, match[1], labels, channels)


def _count_channel(folder: Folder, number: str, labels: tuple[str, str], channels: Pair) -> None:
    module = _module(folder.text(f"ch{number}_dimm_label"))
    for letter, channel in zip("cu", channels, strict=True):
        if (value := folder.number(f"ch{number}_{letter}e_count")) is not None:
            channel.add(value, *labels, number, module)


def _module(label: str) -> str:
    """The module's name as node_exporter writes it: ``mc#0csrow#1channel#0`` as ``mc0_csrow1_channel0``."""
    return label.replace("#", "").replace("csrow", "_csrow").replace("channel", "_channel") or "unknown"


def _pair(prefix: str, labels: tuple[str, ...], words: str) -> Pair:
    return (
        Family(f"node_edac_{prefix}correctable_errors_total", "counter", f"Correctable {words}.", labels),
        Family(f"node_edac_{prefix}uncorrectable_errors_total", "counter", f"Uncorrectable {words}.", labels),
    )


_SELINUX_MODES = {"enforcing": 1, "permissive": 0}


class SecurityModule:
    """node_selinux_*: whether SELinux is on, and what it does."""

    def __init__(self, roots: Roots) -> None:
        self._sys, self._root = roots.sys_files, roots.root_files

    def collect(self) -> Iterable[Family]:
        try:
            current = int(self._sys.attribute("fs/selinux/enforce"))
        except FileNotFoundError:
            yield gauge("node_selinux_enabled", "Whether SELinux is on.", 0)
            return
        yield gauge("node_selinux_enabled", "Whether SELinux is on.", 1)
        yield gauge(
            "node_selinux_config_mode", "Configured mode: 1 enforcing, 0 permissive.", self._configured()
        )
        yield gauge("node_selinux_current_mode", "Mode in force: 1 enforcing, 0 permissive.", current)

    def _configured(self) -> int:
        try:
            content = self._root.read("etc/selinux/config", 65536)
        except OSError:
            return -1
        return parse_selinux(content)


def parse_selinux(content: bytes) -> int:
    """1 for enforcing, 0 for permissive, -1 for anything else."""
    for line in content.decode("utf-8", "replace").splitlines():
        key, _, value = line.partition("=")
        if key.strip() == "SELINUX":
            return _SELINUX_MODES.get(value.strip().lower(), -1)
    return -1
