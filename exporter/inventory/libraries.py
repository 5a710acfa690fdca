"""Services that still use libraries or programs which an update has replaced: they need a restart."""

import re
from pathlib import Path

from exporter.inventory.processes import process_folders, procfs, program, unit
from exporter.inventory.source import Context, Findings, Metric

MAXIMUM_MAPS = 16 * 1024 * 1024
# Executable mappings of system folders only: a deleted file of /tmp, /dev or /memfd is not an update.
_DELETED = re.compile(
    rb"^\S+ ..x. \S+ \S+ [1-9]\d* +(/(?:usr|lib|lib32|lib64|bin|sbin|opt)/.*) \(deleted\)$", re.MULTILINE
)


def read(context: Context) -> Findings:
    """One item per unit and program, with what is gone. Other users' processes need CAP_SYS_PTRACE."""
    findings = Findings()
    stale: dict[tuple[str, str], set[str]] = {}
    unreadable = 0
    for folder in process_folders(context.roots.proc):
        try:
            gone = parse_deleted(read_maps(folder / "maps"))
        except PermissionError:
            unreadable += 1
            continue
        except OSError:  # it ended meanwhile
            continue
        if gone:
            with procfs(context.roots.proc):
                name = program(int(folder.name))
            stale.setdefault((unit(folder), name), set()).update(gone)
    for (name, command), files in sorted(stale.items()):
        findings.add("stale_library", unit=name, program=command, files=sorted(files)[:50])
    findings.metrics += figures(len(stale), unreadable)
    return findings


def read_maps(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(MAXIMUM_MAPS)


def parse_deleted(maps: bytes) -> set[str]:
    """Paths of executable mappings whose file is gone, proc_pid_maps(5)."""
    return {path.decode("utf-8", "replace") for path in _DELETED.findall(maps)}


def figures(stale: int, unreadable: int) -> list[Metric]:
    """How many programs need a restart, and of how many that is not known."""
    services = Metric(
        "leitstand_stale_library_programs", "gauge", "Running programs that use files replaced by an update."
    )
    services.add(stale)
    hidden = Metric(
        "leitstand_unreadable_processes", "gauge", "Processes whose memory maps the exporter may not read."
    )
    hidden.add(unreadable)
    return [services, hidden]
