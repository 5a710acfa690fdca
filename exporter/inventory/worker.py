"""The process that reads the host: takes its orders from standard input, answers on standard output.

Separate from the exporter, so that a hostile file, a dead mount or a runaway parser costs neither its memory
nor its scrapes. This process has one thread, so it may fork: each source runs in a child of its own with
limits on time, CPU and memory, and what happens there happens to that source alone.
"""

import contextlib
import json
import os
import resource
import select
import signal
import sys
import time
from pathlib import Path
from typing import NoReturn

from exporter.inventory import SOURCES
from exporter.inventory.order import Order
from exporter.inventory.part import render_part, to_wire
from exporter.inventory.readers import READERS
from exporter.inventory.source import ENDING_SECONDS, Context, Findings
from exporter.roots import NoData
from exporter.tree import Tree

MEMORY_LIMIT = 1024 * 1024 * 1024
ANSWER_LIMIT = 64 * 1024 * 1024
PARENT_CHECK_SECONDS = 0.25


def look(name: str, order: Order) -> Findings:
    """Run one source here and now. What is not on this host is an empty finding."""
    tree = Tree(order.roots.root)
    try:
        findings = READERS[name](Context(order.roots, tree, time.time()))
    except NoData:
        findings = Findings()
    findings.skip(tree.cut, "a folder with too many entries")
    return findings


def child(name: str, order: Order, answer: int) -> NoReturn:
    """Run one source and write ``part`` or ``error`` to the descriptor ``answer``; never returns."""
    limit = SOURCES[name].limit
    os.setsid()  # a program started by the source ends with it
    # Killed by the kernel without our help: the alarm's default action and the CPU limit need no cooperation.
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, limit + 1)
    # A sandbox may refuse to set limits; it has limits of its own then.
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CPU, (int(limit) + 1, int(limit) + 2))
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT, MEMORY_LIMIT))
    silence = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1):
        os.dup2(silence, descriptor)
    try:
        message = b"part\n" + to_wire(render_part(look(name, order), order.watch))
    except Exception as error:  # noqa: BLE001 - a source fails alone; the exporter logs it and says so in a metric
        message = f"error\n{type(error).__name__}: {error}".encode("utf-8", "replace")
    with contextlib.suppress(OSError), os.fdopen(answer, "wb") as pipe:
        pipe.write(message)
    os._exit(0)


def receive(pipe: int, deadline: float, exporter: int) -> bytes | None:
    """Everything until the writer closes; None if it takes too long, is too large or no one waits for it."""
    chunks: list[bytes] = []
    size = 0
    while size <= ANSWER_LIMIT:
        left = deadline - time.monotonic()
        ready, _, _ = select.select([pipe], [], [], min(max(0.0, left), PARENT_CHECK_SECONDS))
        if not ready:
            if left > 0 and os.getppid() == exporter:
                continue
            return None
        chunk = os.read(pipe, 1 << 20)
        if not chunk:
            return b"".join(chunks)
        chunks.append(chunk)
        size += len(chunk)
    return None


def end(pid: int) -> bool:
    """Kill a child and what it started; False when it stays, as only a process stuck in the kernel does."""
    for kill in (os.killpg, os.kill):
        with contextlib.suppress(ProcessLookupError):
            kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + ENDING_SECONDS
    while time.monotonic() < deadline:
        if os.waitpid(pid, os.WNOHANG)[0]:
            return True
        time.sleep(0.01)
    return False


def supervise(name: str, order: Order, exporter: int) -> dict[str, object]:
    """Run one source in a child and report its outcome, as one line of the answer."""
    started = time.monotonic()
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        child(name, order, writing)
    os.close(writing)
    answer = receive(reading, started + SOURCES[name].limit, exporter)
    os.close(reading)
    result: dict[str, object] = {"source": name, "duration": time.monotonic() - started}
    if not end(pid):
        result["stuck"] = pid
    kind, _, body = (answer or b"").partition(b"\n")
    if answer is None:
        result["error"] = f"took longer than {SOURCES[name].limit:g} s or answered too much"
    elif kind == b"part":
        result["part"] = body.decode()
    else:
        result["error"] = body.decode("utf-8", "replace") or "died: out of memory or CPU time"
    return result


def step_back() -> None:
    """Let scrapes go first, and the exporter outlive us when memory runs out; a sandbox may refuse either."""
    with contextlib.suppress(OSError):
        os.nice(10)
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


def main() -> None:
    """Carry out the order on standard input: one JSON line per source on standard output."""
    exporter = os.getppid()
    order = Order.from_wire(sys.stdin.buffer.read())
    # An orphan must end too; the exporter waits no longer than this.
    signal.alarm(int(sum(SOURCES[name].limit + ENDING_SECONDS for name in order.sources)) + 5)
    step_back()
    for name in order.sources:
        if os.getppid() != exporter:
            break  # the exporter was killed; no one reads our answer
        sys.stdout.write(json.dumps(supervise(name, order, exporter)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
