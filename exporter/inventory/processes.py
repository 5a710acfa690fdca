"""What the sources need to know of running processes."""

import re
from collections.abc import Iterator
from pathlib import Path

MAXIMUM_PROCESSES = 20_000


def process_folders(proc: Path) -> Iterator[Path]:
    """/proc/<pid> of every process, up to a cap."""
    names = sorted((entry.name for entry in proc.iterdir() if entry.name.isdigit()), key=int)
    for name in names[:MAXIMUM_PROCESSES]:
        yield proc / name


def program(folder: Path) -> str:
    """The short name of a process, empty when it is gone."""
    try:
        return (folder / "comm").read_text(errors="replace").strip()
    except OSError:
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
