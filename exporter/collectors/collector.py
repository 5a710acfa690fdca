"""What collectors share: where they read, and how they say that a host has nothing for them.

A collector is a ``prometheus_client.registry.Collector`` that is built once. Its ``collect`` runs at each
scrape, in any thread, once at a time, and yields metrics. It raises NoData, or anything else, which counts as
a failure. One that reads lists has ``skipped``, which counts the entries that it did not understand.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from exporter.collectors.files import Files
from exporter.exposition import Family
from exporter.skipped import Skipped


class NoData(Exception):  # noqa: N818 - an answer, not an error
    """The host has nothing of this kind (no such hardware, module or service): not a failure."""


@dataclass(frozen=True)
class Roots:
    """Where the kernel's files and the host's own files stand; tests and containers name other places.

    ``udev`` is udev's database, where it is not in ``run/udev/data`` below ``root``.
    """

    proc: Path = Path("/proc")
    sys: Path = Path("/sys")
    root: Path = Path("/")
    udev: Path | None = None

    @cached_property
    def proc_files(self) -> Files:
        """Files of procfs, see proc(5)."""
        return Files(self.proc)

    @cached_property
    def sys_files(self) -> Files:
        """Files of sysfs, see sysfs(5)."""
        return Files(self.sys)

    @cached_property
    def root_files(self) -> Files:
        """The host's own files, as ``/etc``."""
        return Files(self.root)


def unique(source: str, families: Iterable[Family], skipped: Skipped) -> Iterable[Family]:
    """The families; of two of one name the first, as of entries of a list."""
    return skipped.unique(source, ((family.full_name, family) for family in families)).values()


def gauge(name: str, documentation: str, value: float) -> Family:
    """A gauge of one sample without labels."""
    return Family(name, "gauge", documentation, (), [((), value)])


def counter(name: str, documentation: str, value: float) -> Family:
    """A counter of one sample without labels."""
    return Family(name, "counter", documentation, (), [((), value)])
