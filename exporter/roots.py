"""Where a host's files are, and how a collector or source reports that the host has nothing for it."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from exporter.files import Files


class NoData(Exception):  # noqa: N818 - an answer, not an error
    """The host has nothing of this kind (no such hardware, module or service): not a failure."""


@dataclass(frozen=True)
class Roots:
    """Where the kernel's files and the host's own files are; other places in tests and containers.

    ``udev`` is udev's database, if it is not ``run/udev/data`` below ``root``.
    """

    proc: Path = Path("/proc")
    sys: Path = Path("/sys")
    root: Path = Path("/")
    udev: Path | None = None

    @cached_property
    def proc_files(self) -> Files:
        return Files(self.proc)

    @cached_property
    def sys_files(self) -> Files:
        return Files(self.sys)

    @cached_property
    def root_files(self) -> Files:
        return Files(self.root)
