"""Seconds each CPU spent in each mode: /proc/stat."""

import os
from collections.abc import Iterable

from exporter.collectors.collector import Roots
from leitstand.exposition import Family

# The columns of a cpu line, in the kernel's order (fs/proc/stat.c); guest times follow.
_MODES = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
_GUEST_MODES = ("user", "nice")
_IDLE = 3
_LEAST_COLUMNS = 4


class ProcessorTime:
    """node_cpu_seconds_total and node_cpu_guest_seconds_total."""

    def __init__(self, roots: Roots) -> None:
        self._files = roots.proc_files
        self._ticks = os.sysconf("SC_CLK_TCK")
        self._last: dict[str, list[int]] = {}

    def collect(self) -> Iterable[Family]:
        times = parse_times(self._files.read("stat"))
        self._last = {cpu: _without_steps_back(self._last.get(cpu), now) for cpu, now in times.items()}
        seconds = Family("node_cpu_seconds_total", "counter", "Time spent in each mode.", ("cpu", "mode"))
        guest = Family(
            "node_cpu_guest_seconds_total", "counter", "Time spent running guests.", ("cpu", "mode")
        )
        ticks = self._ticks
        for cpu, values in self._last.items():
            for mode, value in zip(_MODES, values, strict=False):
                seconds.samples.append(((cpu, mode), value / ticks))
            for mode, value in zip(_GUEST_MODES, values[len(_MODES) :], strict=False):
                guest.samples.append(((cpu, mode), value / ticks))
        return seconds, guest


def parse_times(content: bytes) -> dict[str, list[int]]:
    """Clock ticks per CPU and column: ``{"0": [user, nice, system, idle, …], …}``."""
    times = {}
    for line in content.splitlines():
        if not line.startswith(b"cpu"):
            break  # the cpu lines are the first
        name, *columns = line.split()
        if name != b"cpu":
            if len(columns) < _LEAST_COLUMNS:
                raise ValueError(f"too few columns: {line[:80]!r}")
            times[str(int(name[3:]))] = [int(column) for column in columns]
    if not times:
        raise ValueError("no line about a CPU")
    return times


def _without_steps_back(last: list[int] | None, now: list[int]) -> list[int]:
    """The kernel's idle and iowait may shrink a little between two readings; a counter must not.

    If idle shrinks by more than a few seconds, the CPU was taken away and came back: then it starts anew.
    """
    if last is None or len(last) != len(now) or last[_IDLE] - now[_IDLE] > _RESET_TICKS:
        return now
    return [max(before, after) for before, after in zip(last, now, strict=True)]


_RESET_TICKS = 300  # 3 s at the usual 100 ticks a second
