"""Facts about running processes that several sources need."""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

import psutil

MAXIMUM_PROCESSES = 20_000


@contextlib.contextmanager
def procfs(proc: Path) -> Iterator[None]:
    """Have psutil look below ``proc``, which it knows as a setting of its module."""
    before = psutil.PROCFS_PATH
    psutil.PROCFS_PATH = str(proc)
    try:
        yield
    finally:
        psutil.PROCFS_PATH = before


def process_folders(proc: Path) -> Iterator[Path]:
    """/proc/<pid> of every process, up to a cap."""
    names = sorted((entry.name for entry in proc.iterdir() if entry.name.isdigit()), key=int)
    for name in names[:MAXIMUM_PROCESSES]:
        yield proc / name


def program(pid: int) -> str:
    """The name of a process, empty when it is gone.

    Whole, where its command line tells more than the 15 letters that the kernel keeps.
    """
    try:
        return psutil.Process(pid).name()
    except (psutil.Error, OSError, ValueError):
        return ""


def unit(folder: Path) -> str:
    """The systemd unit of a process, empty outside of any."""
    try:
        return parse_unit((folder / "cgroup").read_text(errors="replace"))
    except OSError:
        return ""


def parse_unit(text: str) -> str:
    """The innermost service or scope in a process's cgroup path; a user's session counts as such."""
    found = re.findall(r"/([^/\n]+\.(?:service|scope))(?=/|$)", text, re.MULTILINE)
    return str(found[-1]) if found else ""
