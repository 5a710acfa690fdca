"""Processes and threads by state: /proc/<pid>/stat. Disabled by default: it reads a file per process."""

from collections import Counter
from collections.abc import Iterable

from prometheus_client.registry import Collector

from exporter.collectors.collector import gauge
from exporter.exposition import Family
from exporter.roots import Roots
from exporter.skipped import Skipped

_LIMITS = (
    ("pid_max", "max_processes", "Maximum number of processes."),
    ("threads-max", "max_threads", "Maximum number of threads."),
)


class Processes(Collector):
    """node_processes_*."""

    def __init__(self, roots: Roots) -> None:
        self._files = roots.proc_files
        self.skipped = Skipped()

    def collect(self) -> Iterable[Family]:
        states: Counter[str] = Counter()
        thread_states: Counter[str] = Counter()
        threads = 0
        processes = filter(str.isdigit, self._files.names("."))
        for own, count, others in filter(None, self.skipped.each("processes", processes, self._process)):
            states[own] += 1
            threads += count
            thread_states.update([own, *others])
        yield from self.skipped.each("limits of processes", _LIMITS, self._limit)
        yield gauge("node_processes_pids", "Number of processes.", states.total())
        yield gauge("node_processes_threads", "Number of threads.", threads)
        yield _by_state("node_processes_state", "Processes in each state.", "state", states)
        yield _by_state(
            "node_processes_threads_state", "Threads in each state.", "thread_state", thread_states
        )

    def _limit(self, entry: tuple[str, str, str]) -> Family:
        file, name, explanation = entry
        return gauge(f"node_processes_{name}", explanation, int(self._files.attribute(f"sys/kernel/{file}")))

    def _process(self, pid: str) -> tuple[str, int, list[str]] | None:
        """A process's state, its number of threads, and the states of the others; None if it has ended."""
        try:
            state, count = parse_process(self._files.attribute(f"{pid}/stat"))
            threads = self._files.names(f"{pid}/task") if count > 1 else []
        except (FileNotFoundError, ProcessLookupError):
            return None
        others = [f"{pid}/task/{thread}" for thread in threads if thread != pid]
        return state, count, list(filter(None, self.skipped.each("threads", others, self._thread)))

    def _thread(self, place: str) -> str:
        try:
            return parse_process(self._files.attribute(f"{place}/stat"))[0]
        except (FileNotFoundError, ProcessLookupError):
            return ""


def _by_state(name: str, explanation: str, label: str, counts: Counter[str]) -> Family:
    return Family(
        name, "gauge", explanation, (label,), [((state,), count) for state, count in counts.items()]
    )


_STATE, _THREADS = 0, 17  # counted from the end of the name, which may contain anything, even parentheses


def parse_process(content: bytes) -> tuple[str, int]:
    """The state's letter and the number of threads."""
    fields = content.rpartition(b")")[2].split()
    state = fields[_STATE].decode("ascii")
    if not state.isalpha():
        raise ValueError(f"not a state: {state[:20]!r}")
    return state, int(fields[_THREADS])
