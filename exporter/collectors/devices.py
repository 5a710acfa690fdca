"""Single devices that say a few words in sysfs: NVMe controllers and watchdogs."""

from collections.abc import Iterable

from exporter.collectors.collector import Roots
from exporter.collectors.hardware import folders
from exporter.skipped import Skipped
from leitstand.exposition import Family


class NvmeControllers:
    """node_nvme_info: /sys/class/nvme (drivers/nvme/host/sysfs.c)."""

    def __init__(self, roots: Roots) -> None:
        self._files = roots.sys_files
        self.skipped = Skipped()

    def collect(self) -> Iterable[Family]:
        labels = ("device", "firmware_revision", "model", "serial", "state")
        family = Family("node_nvme_info", "gauge", "What the controller says of itself.", labels)
        self.skipped.each("nvme", folders(self._files, "class/nvme"), lambda name: self._read(name, family))
        return [family]

    def _read(self, device: str, family: Family) -> None:
        with self._files.folder(f"class/nvme/{device}", self.skipped) as folder:
            family.add(1, device, *map(folder.text, ("firmware_rev", "model", "serial", "state")))


# File, metric and explanation.
_FIGURES = (
    ("access_cs0", "access_cs0", "Whether the machine starts from its second chip: the watchdog had to act."),
    (
        "bootstatus",
        "bootstatus",
        "Why the machine was started, in bits of watchdog-api.rst; 32 is the watchdog.",
    ),
    ("fw_version", "fw_version", "Version of its firmware."),
    ("nowayout", "nowayout", "Whether it cannot be stopped once it runs."),
    ("pretimeout", "pretimeout_seconds", "How long before the reset it warns."),
    ("timeleft", "timeleft_seconds", "How long until it resets the machine."),
    ("timeout", "timeout_seconds", "How long it waits for a sign of life."),
)
_WORDS = ("options", "identity", "state", "status", "pretimeout_governor")


class Watchdogs:
    """node_watchdog_*: Documentation/ABI/testing/sysfs-class-watchdog."""

    def __init__(self, roots: Roots) -> None:
        self._files = roots.sys_files
        self.skipped = Skipped()

    def collect(self) -> Iterable[Family]:
        information = Family("node_watchdog_info", "gauge", "What it says of itself.", ("name", *_WORDS))
        families = [
            Family(f"node_watchdog_{name}", "gauge", explanation, ("name",))
            for _, name, explanation in _FIGURES
        ]
        names = folders(self._files, "class/watchdog")
        self.skipped.each("watchdog", names, lambda name: self._read(name, information, families))
        return information, *families

    def _read(self, name: str, information: Family, families: Iterable[Family]) -> None:
        with self._files.folder(f"class/watchdog/{name}", self.skipped) as folder:
            information.add(1, name, *map(folder.text, _WORDS))
            for (file, _, _), family in zip(_FIGURES, families, strict=True):
                if (value := folder.number(file)) is not None:
                    family.add(value, name)
