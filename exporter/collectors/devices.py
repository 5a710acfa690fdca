"""Devices with a few attributes in sysfs: NVMe controllers and watchdogs."""

import re
from collections.abc import Iterable

from prometheus_client.registry import Collector

from exporter.collectors.hardware import folders
from exporter.exposition import Family
from exporter.roots import Roots
from exporter.skipped import Skipped

_NAMESPACE = re.compile(r"nvme\d+n(\d+)")
_NAMESPACE_SIZES = (
    ("capacity", "its capacity"),
    ("size", "its size, the same value"),
    ("used", "bytes in use"),
    ("logical_block_size", "the size of a logical block"),
)


class NvmeControllers(Collector):
    """node_nvme_*: /sys/class/nvme (drivers/nvme/host/sysfs.c)."""

    def __init__(self, roots: Roots) -> None:
        self._files = roots.sys_files
        self.skipped = Skipped()

    def collect(self) -> Iterable[Family]:
        labels = ("device", "firmware_revision", "model", "serial", "state", "cntlid")
        family = Family(
            "node_nvme_info", "gauge", "Model, serial number, firmware and state of the controller.", labels
        )
        names = folders(self._files, "class/nvme")
        found = self.skipped.each("nvme", names, lambda name: self._read(name, family))
        namespaces = ((device, name) for device, names in found for name in names)
        return family, *self._namespaces(namespaces)

    def _read(self, device: str, family: Family) -> tuple[str, list[re.Match[str]]]:
        """The controller, and its namespaces."""
        with self._files.folder(f"class/nvme/{device}", self.skipped) as folder:
            family.add(1, device, *map(folder.text, ("firmware_rev", "model", "serial", "state", "cntlid")))
            return device, list(filter(None, map(_NAMESPACE.fullmatch, folder.names())))

    def _namespaces(self, places: Iterable[tuple[str, re.Match[str]]]) -> Iterable[Family]:
        labels = ("device", "nsid")
        explanation = "State of the path to the namespace."
        states = Family("node_nvme_namespace_info", "gauge", explanation, (*labels, "ana_state"))
        sizes = {
            name: Family(f"node_nvme_namespace_{name}_bytes", "gauge", f"Namespace: {explanation}.", labels)
            for name, explanation in _NAMESPACE_SIZES
        }

        def read(place: tuple[str, re.Match[str]]) -> None:
            device, match = place
            with self._files.folder(f"class/nvme/{device}/{match[0]}", self.skipped) as folder:
                states.add(1, device, match[1], folder.text("ana_state") or "unknown")
                size, used = folder.number("size"), folder.number("nuse")
                block = folder.number("queue/logical_block_size") or 0
            for name, value in (
                ("capacity", size),
                ("size", size),
                ("used", used),
                ("logical_block_size", 1),
            ):
                if block and value is not None:
                    sizes[name].add(value * block, device, match[1])

        self.skipped.each("nvme namespaces", places, read)
        return states, *sizes.values()


# File, metric and explanation.
_FIGURES = (
    (
        "access_cs0",
        "access_cs0",
        "Whether the machine booted from its second chip, after the watchdog had fired.",
    ),
    (
        "bootstatus",
        "bootstatus",
        "Reasons of the last boot, as bits of watchdog-api.rst; 32 is the watchdog.",
    ),
    ("fw_version", "fw_version", "Firmware version."),
    ("nowayout", "nowayout", "Whether it cannot be stopped once started."),
    ("pretimeout", "pretimeout_seconds", "Time from the warning to the reset."),
    ("timeleft", "timeleft_seconds", "Time left until it resets the machine."),
    ("timeout", "timeout_seconds", "Time without a keep-alive after which it fires."),
)
_WORDS = ("options", "identity", "state", "status", "pretimeout_governor")


class Watchdogs(Collector):
    """node_watchdog_*: Documentation/ABI/testing/sysfs-class-watchdog."""

    def __init__(self, roots: Roots) -> None:
        self._files = roots.sys_files
        self.skipped = Skipped()

    def collect(self) -> Iterable[Family]:
        names = folders(self._files, "class/watchdog")
        information = Family(
            "node_watchdog_info", "gauge", "Identity and state of the watchdog.", ("name", *_WORDS)
        )
        families = [
            Family(f"node_watchdog_{name}", "gauge", explanation, ("name",))
            for _, name, explanation in _FIGURES
        ]
        self.skipped.each("watchdog", names, lambda name: self._read(name, information, families))
        return information, *families

    def _read(self, name: str, information: Family, families: Iterable[Family]) -> None:
        with self._files.folder(f"class/watchdog/{name}", self.skipped) as folder:
            information.add(1, name, *map(folder.text, _WORDS))
            for (file, _, _), family in zip(_FIGURES, families, strict=True):
                if (value := folder.number(file)) is not None:
                    family.add(value, name)
