"""The machine: firmware data (DMI), memory errors (EDAC), and the state of SELinux."""

import contextlib
import re
from collections.abc import Iterable
from functools import partial

from prometheus_client.registry import Collector

from exporter.collectors.collector import gauge
from exporter.exposition import Family
from exporter.files import Files, Folder
from exporter.roots import NoData, Roots
from exporter.skipped import Skipped

_DMI = (
    *("bios_date", "bios_release", "bios_vendor", "bios_version"),
    *("board_asset_tag", "board_name", "board_serial", "board_vendor", "board_version"),
    *("chassis_asset_tag", "chassis_serial", "chassis_vendor", "chassis_version"),
    *("product_family", "product_name", "product_serial", "product_sku", "product_uuid", "product_version"),
    "sys_vendor",
)


def folders(files: Files, path: str) -> list[str]:
    """The names in a folder. Raises NoData if it is empty or does not exist."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        if names := files.names(path):
            return names
    raise NoData(f"no {path}")


class Firmware(Collector):
    """node_dmi_info: what we may read. Serial numbers are readable only by root."""

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
        return [Family("node_dmi_info", "gauge", "Hardware data from the firmware.", labels, [(values, 1)])]


_EDAC = "devices/system/edac/mc"
_CONTROLLER = re.compile(r"mc(\d+)")
_ROW = re.compile(r"csrow(\d+)")
_CHANNEL = re.compile(r"ch(\d+)_ce_count")
Pair = tuple[Family, Family]  # correctable, uncorrectable


class MemoryErrors(Collector):
    """node_edac_*: Documentation/driver-api/edac.rst."""

    def __init__(self, roots: Roots) -> None:
        self._files = roots.sys_files
        self.skipped = Skipped()

    def collect(self) -> Iterable[Family]:
        totals = _pair("", ("controller",), "memory errors")
        rows = _pair("csrow_", ("controller", "csrow"), "memory errors of a row")
        labels = ("controller", "csrow", "channel", "dimm_label")
        channels = _pair("channel_", labels, "memory errors of a channel")
        controllers = filter(None, map(_CONTROLLER.fullmatch, folders(self._files, _EDAC)))
        found = self.skipped.each("edac", controllers, partial(self._count, totals, rows))
        of_all = ((controller, row) for controller, names in found for row in names)
        self.skipped.each("edac", of_all, partial(self._count_row, rows, channels))
        return *totals, *rows, *channels

    def _count(self, totals: Pair, rows: Pair, controller: re.Match[str]) -> tuple[str, list[re.Match[str]]]:
        """The controller's number, and the names of its rows."""
        with self._files.folder(f"{_EDAC}/{controller[0]}", self.skipped) as folder:
            _add(folder, "{}e_count", totals, controller[1])
            _add(folder, "{}e_noinfo_count", rows, controller[1], "unknown")
            return controller[1], list(filter(None, map(_ROW.fullmatch, folder.names())))

    def _count_row(self, rows: Pair, channels: Pair, place: tuple[str, re.Match[str]]) -> None:
        controller, row = place
        labels = controller, row[1]
        with self._files.folder(f"{_EDAC}/mc{controller}/{row[0]}", self.skipped) as folder:
            _add(folder, "{}e_count", rows, *labels)
            for channel in filter(None, map(_CHANNEL.fullmatch, folder.names())):
                module = _module(folder.text(f"ch{channel[1]}_dimm_label"))
                _add(folder, f"ch{channel[1]}_{{}}e_count", channels, *labels, channel[1], module)


def _add(folder: Folder, file: str, families: Pair, *labels: str) -> None:
    """The counts of correctable and uncorrectable errors; not every driver has all of them."""
    for letter, family in zip("cu", families, strict=True):
        if (value := folder.number(file.format(letter))) is not None:
            family.add(value, *labels)


def _module(label: str) -> str:
    """The module's name as node_exporter writes it: ``mc#0csrow#1channel#0`` as ``mc0_csrow1_channel0``."""
    return label.replace("#", "").replace("csrow", "_csrow").replace("channel", "_channel") or "unknown"


def _pair(prefix: str, labels: tuple[str, ...], words: str) -> Pair:
    return (
        Family(f"node_edac_{prefix}correctable_errors_total", "counter", f"Correctable {words}.", labels),
        Family(f"node_edac_{prefix}uncorrectable_errors_total", "counter", f"Uncorrectable {words}.", labels),
    )


_SELINUX_MODES = {"enforcing": 1, "permissive": 0}


class SecurityModule(Collector):
    """node_selinux_*: whether SELinux is enabled, and its mode."""

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
