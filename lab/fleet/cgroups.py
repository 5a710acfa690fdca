"""A cgroup per host: without one, all would share nspawn's ``/payload`` and kill each other's services."""

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

from lab.processes import wait_until

# Of cgroup v1, those that nspawn or a test uses.
WANTED = {"name=systemd", "memory", "pids", "cpuacct"}


def hierarchies(mountinfo: str) -> Iterator[Path]:
    """Where the hierarchies are mounted: the one of cgroup v2, and those of v1 that we use."""
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        kind, _, options = right.split(" ", 2)
        if kind == "cgroup2" or (kind == "cgroup" and WANTED & set(options.split(","))):
            yield Path(left.split()[4])


def make(name: str) -> list[Path]:
    """Make the cgroup in every hierarchy."""
    found = [folder / name for folder in hierarchies(Path("/proc/self/mountinfo").read_text())]
    for folder in found:
        folder.mkdir(exist_ok=True)
    return found


def kill(name: str) -> None:
    """Kill all that runs in the cgroup, and what it starts meanwhile."""
    wait_until(lambda: not _killed(name), f"the processes in {name} to end", 10)


def _killed(name: str) -> list[int]:
    """What still ran there; it was sent SIGKILL."""
    found = []
    for folder in hierarchies(Path("/proc/self/mountinfo").read_text()):
        for processes in (folder / name).rglob("cgroup.procs"):
            with suppress(OSError):  # has ended, and its cgroup with it
                found += [int(pid) for pid in processes.read_text().split()]
    for pid in set(found):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return found


def remove(pattern: str) -> None:
    """Remove the cgroups with these names, and those below. What ran in them must have ended."""
    for folder in hierarchies(Path("/proc/self/mountinfo").read_text()):
        for top in folder.glob(pattern):
            for each in (*sorted((path for path in top.rglob("*") if path.is_dir()), reverse=True), top):
                wait_until(partial(_removed, each), f"the cgroup {each} to be empty", 10)


def _removed(folder: Path) -> bool:
    try:
        folder.rmdir()
    except FileNotFoundError:
        return True
    except OSError:  # a process in it is about to end
        return False
    return True
