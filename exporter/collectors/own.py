"""What the exporter itself costs, by the names every Prometheus client uses."""

import os
import resource
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from exporter.collectors.collector import counter, gauge
from exporter.collectors.files import Files
from exporter.collectors.options import Options
from leitstand import __version__
from leitstand.exposition import Family
from leitstand.version import revision


class OwnProcess:
    """process_* and leitstand_exporter_build_info, of this very process, wherever the roots are."""

    def __init__(self, options: Options) -> None:
        self._with_process = options.own_process
        self._files = Files(Path("/proc/self"))
        self._page = os.sysconf("SC_PAGE_SIZE")
        # Not /proc/uptime: in a container of LXC that is the container's, and the stat's clock the host's.
        self._started = started_at(self._files.read("stat"), time.clock_gettime(time.CLOCK_BOOTTIME))
        version = "{}.{}.{}".format(*sys.version_info[:3])
        self._build = ((__version__, revision(), version), 1)

    def collect(self) -> Iterable[Family]:
        yield Family(
            "leitstand_exporter_build_info",
            "gauge",
            "The version that answers, the commit it was made from, and the version of its Python.",
            ("version", "revision", "python"),
            [self._build],
        )
        if self._with_process:
            yield from self._process()

    def _process(self) -> Iterable[Family]:
        pages = self._files.attribute("statm").split()
        open_files = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - thousands of names
        yield counter("process_cpu_seconds_total", "CPU time of the exporter.", time.process_time())
        yield gauge("process_max_fds", "Files the exporter may have open.", _limit(resource.RLIMIT_NOFILE))
        yield gauge("process_open_fds", "Files the exporter has open.", open_files)
        yield gauge("process_resident_memory_bytes", "Memory of the exporter.", int(pages[1]) * self._page)
        yield gauge(
            "process_virtual_memory_bytes", "Address space of the exporter.", int(pages[0]) * self._page
        )
        limit = _limit(resource.RLIMIT_AS)
        yield gauge("process_virtual_memory_max_bytes", "Address space it may have; -1: no limit.", limit)
        yield gauge("process_start_time_seconds", "When the exporter started, in Unix time.", self._started)


def _limit(number: int) -> int:
    return resource.getrlimit(number)[0]


def started_at(stat: bytes, uptime: float) -> float:
    """Unix time of the start of a process: field 22 of its stat, in clock ticks since boot, see proc(5).

    ``uptime`` are the seconds since boot.
    """
    ticks = int(stat.rpartition(b")")[2].split()[19])
    since_start = uptime - ticks / os.sysconf("SC_CLK_TCK")
    return round(time.time() - since_start, 2)
