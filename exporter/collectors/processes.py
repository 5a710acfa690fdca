"""Processes and threads by state: /proc/<pid>/stat. Off by default: a file is read for each of them."""

from collections import Counter
from collections.abc import Iterable

from exporter.collectors.collector import Roots, gauge
from leitstand.exposition import Family


class Processes:
    """node_processes_*."""

    def __init__(self, roots: Roots) -> None:
        self._files = roots.proc_files

    def collect(self) -> Iterable[Family]:
        states: Counter[str] = Counter()
        thread_states: Counter[str] = Counter()
        threads = 0
        for pid in filter(str.isdigit, self._files.names(".")):
            try:
                state, count = parse_process(self._files.attribute(f"{pid}/stat"))
                others = self._thread_states(pid) if count > 1 else []
            except (FileNotFoundError, ProcessLookupError):
                continue  # it ended meanwhile
            states[state] += 1
            threads += count
            thread_states.update([state, *others])
        limits = [int(self._files.attribute(f"sys/kernel/{name}")) for name in ("pid_max", "threads-max")]
        yield gauge("node_processes_max_processes", "Processes that can be.", limits[0])
        yield gauge("node_processes_max_threads", "Threads that can be.", limits[1])
        yield gauge("node_processes_pids", "Processes that are.", states.total())
        yield gauge("node_processes_threads", "Threads that are.", threads)
        yield _by_state("node_processes_state", "Processes in each state.", "state", states)
        yield _by_state(
            "node_processes_threads_state", "Threads in each state.", "thread_state", thread_states
        )

    def _thread_states(self, pid: str) -> list[str]:
        states = []
        for thread in self._files.names(f"{pid}/task"):
            if thread != pid:
                try:
                    states.append(parse_process(self._files.attribute(f"{pid}/task/{thread}/stat"))[0])
                except (FileNotFoundError, ProcessLookupError):
                    continue
        return states


def _by_state(name: str, explanation: str, label: str, counts: Counter[str]) -> Family:
    return Family(
        name, "gauge", explanation, (label,), [((state,), count) for state, count in counts.items()]
    )


_STATE, _THREADS = 0, 17  # counted behind the name, which may hold anything, parentheses too


def parse_process(content: bytes) -> tuple[str, int]:
    """The state's letter and the number of threads."""
    fields = content.rpartition(b")")[2].split()
    state = fields[_STATE].decode("ascii")
    if not state.isalpha():
        raise ValueError(f"not a state: {state[:20]!r}")
    return state, int(fields[_THREADS])
