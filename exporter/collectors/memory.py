"""Memory: /proc/meminfo, /proc/vmstat and /proc/pressure."""

import errno
import re
from collections.abc import Iterable

from exporter.collectors.collector import NoData, Roots, counter, gauge
from exporter.collectors.options import Options, pattern
from leitstand.exposition import Family

_KIBIBYTE = 1024


class MemoryInformation:
    """/proc/meminfo, every line of it, in bytes where the kernel gives kB."""

    def __init__(self, roots: Roots) -> None:
        self._files = roots.proc_files
        self._named: dict[bytes, tuple[str, str]] = {}

    def collect(self) -> Iterable[Family]:
        for key, value in parse_memory(self._files.read("meminfo")):
            name, explanation = self._named.get(key) or self._name(key)
            yield gauge(name, explanation, value)

    def _name(self, key: bytes) -> tuple[str, str]:
        word = key.decode("ascii", "replace")
        self._named[key] = named = (
            f"node_memory_{word}",
            f"Field {word.removesuffix('_bytes')} of /proc/meminfo.",
        )
        return named


_MEMORY_KEY = re.compile(rb"^([A-Za-z_][\w]*)(?:\(([\w]+)\))?:$", re.ASCII)
_MEMORY_NAMES_LIMIT = 1000


def parse_memory(content: bytes) -> list[tuple[bytes, int]]:
    """Each line as metric suffix and value: ``Active(anon): 12 kB`` is ``(b"Active_anon_bytes", 12288)``."""
    found = []
    for line in content.splitlines():
        parts = line.split()
        if not parts:
            continue
        key = _memory_key(parts[0])
        if len(parts) == 2:
            found.append((key, int(parts[1])))
        elif len(parts) == 3 and parts[2] == b"kB":
            found.append((key + b"_bytes", int(parts[1]) * _KIBIBYTE))
        else:
            raise ValueError(f"not a line of meminfo: {line[:80]!r}")
    if len(found) > _MEMORY_NAMES_LIMIT or len({key for key, _ in found}) < len(found):
        raise ValueError("meminfo names a field twice, or has too many")
    return found


def _memory_key(word: bytes) -> bytes:
    if word[:-1].isalnum() and word.endswith(b":"):
        return word[:-1]
    match = _MEMORY_KEY.match(word)
    if match is None:
        raise ValueError(f"not a field of meminfo: {word[:80]!r}")
    return match[1] if match[2] is None else b"%s_%s" % (match[1], match[2])


class VirtualMemory:
    """Chosen fields of /proc/vmstat."""

    def __init__(self, roots: Roots, options: Options) -> None:
        self._files = roots.proc_files
        self._fields = pattern(options, "vmstat_fields")
        self._wanted: dict[bytes, bool] = {}

    def collect(self) -> Iterable[Family]:
        content = self._files.read("vmstat")
        for line in content.splitlines():
            key, _, value = line.partition(b" ")
            wanted = self._wanted.get(key)
            if wanted is None:
                wanted = self._wants(key)
            if wanted:
                word = key.decode()
                name, explanation = f"node_vmstat_{word}", f"Field {word} of /proc/vmstat."
                yield Family(name, "untyped", explanation, (), [((), int(value))])

    def _wants(self, key: bytes) -> bool:
        if len(self._wanted) > _MEMORY_NAMES_LIMIT:
            raise ValueError("vmstat has too many fields")
        word = key.decode("ascii", "replace")
        wanted = self._wanted[key] = word.isidentifier() and self._fields.search(word) is not None
        return wanted


# File, then for each line's first word: metric and explanation. Source: Documentation/accounting/psi.rst.
_PRESSURE = (
    ("cpu", {b"some": ("cpu_waiting", "Time in which a task waited for a CPU.")}),
    (
        "io",
        {
            b"some": ("io_waiting", "Time in which a task waited for I/O."),
            b"full": ("io_stalled", "Time in which all tasks waited for I/O."),
        },
    ),
    (
        "memory",
        {
            b"some": ("memory_waiting", "Time in which a task waited for memory."),
            b"full": ("memory_stalled", "Time in which all tasks waited for memory."),
        },
    ),
    ("irq", {b"full": ("irq_stalled", "Time in which interrupts held up all tasks.")}),
)
_MICROSECONDS = 1_000_000
# irq is there since Linux 6.1 only; before 5.6 a kernel started without psi=1 has files that refuse.
_NO_PRESSURE = (errno.ENOENT, errno.ENOTDIR, errno.EOPNOTSUPP)


class Pressure:
    """/proc/pressure: how long tasks waited."""

    def __init__(self, roots: Roots) -> None:
        self._files = roots.proc_files

    def collect(self) -> Iterable[Family]:
        families: list[Family] = []
        for file, metrics in _PRESSURE:
            try:
                totals = parse_pressure(self._files.attribute(f"pressure/{file}"))
            except OSError as error:
                if error.errno not in _NO_PRESSURE:
                    raise
                continue
            for word, (name, explanation) in metrics.items():
                if word in totals:
                    value = totals[word] / _MICROSECONDS
                    families.append(counter(f"node_pressure_{name}_seconds_total", explanation, value))
        if not families:
            raise NoData("the kernel keeps no pressure stall information")
        return families


def parse_pressure(content: bytes) -> dict[bytes, int]:
    """Microseconds per kind: ``{b"some": 12, b"full": 3}``."""
    totals = {}
    for line in content.splitlines():
        kind, _, rest = line.partition(b" ")
        totals[kind] = int(rest.rpartition(b"total=")[2])
    return totals
