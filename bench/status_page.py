"""The status page under load: ready-made pages, 304, and rendering by Flask per request, for comparison.

    .venv/bin/python -m bench.status_page [--seconds 5] [--connections 50] [--workers 2]

Prints requests per second and CPU time of the server per request. Client (wrk if installed, else a small one
in this process) and server share the machine: requests per second are a lower bound, CPU per request is the
robust figure. A free core serves 1,000,000 / microseconds requests a second.
"""

import argparse
import functools
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

from flask import Flask

from leitstand.settings.fleet import Fleet
from status_page import ready
from status_page.config import StatusPage
from status_page.days import today, window
from status_page.plan import Plan, make_plan
from status_page.rendering import bundle, environment
from status_page.round import Memory, snapshot
from status_page.server import serve
from status_page.snapshot import DayRow
from status_page.states import Observation
from status_page.texts import texts
from status_page.views import page_view

TICKS = os.sysconf("SC_CLK_TCK")
SERVICES = 8


def make_site(folder: Path) -> tuple[Plan, Memory]:
    """A site of 8 services with 90 days each, one of them with disturbances now and then."""
    services = {
        f"service-{n}": {"name": f"Service {n}", "url": "https://www.example.org/"} for n in range(SERVICES)
    }
    site = {"name": "Bench", "languages": ["de", "en"], "time_zone": "Europe/Berlin"}
    plan = make_plan(
        Fleet.model_validate({"site": site, "services": services}),
        StatusPage.model_validate({"folder": str(folder)}),
    )
    memory = Memory(locations=2)
    for number, name in enumerate(services):
        memory.observations[name] = Observation("up", time.time())
        for index, day in enumerate(window(today(time.time(), Fleet().site.zone))):
            down = 600 if index % 9 == number else 0
            row = DayRow(day.isoformat(), 86_400 - down, 0, down)
            memory.days.setdefault(name, {})[row.date] = row
    return plan, memory


def render_per_request(plan: Plan, memory: Memory) -> Flask:
    """The work that ready-made pages save: snapshot, view and template on each request."""
    app = Flask("bench", root_path=str(Path.cwd()))

    @app.get("/de/")
    def page() -> str:
        view = page_view(snapshot(plan, memory, time.time()), "de")
        return environment().get_template("page.html").render(page=view, _=texts("de").gettext)

    return app


def ready_pages(plan: Plan) -> Callable[..., object]:
    from status_page.app import build_application

    return build_application(plan, plan.folder)


def start(build: Callable[[], object], workers: int) -> tuple[int, int]:
    """Serve in a child process; its id and port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    child = os.fork()
    if not child:
        serve(build, "127.0.0.1", port, workers, lambda _: None)
        os._exit(0)
    for _ in range(200):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/de/", timeout=2).close()
            return child, port
        except OSError:
            time.sleep(0.05)
    raise SystemExit("the server does not answer")


def workers_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def cpu_seconds(pids: list[int]) -> float:
    """User and system time of processes."""
    fields = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in pids]
    return sum(int(field[11]) + int(field[12]) for field in fields) / TICKS


def memory_megabytes(pids: list[int]) -> float:
    """Proportional set size: shared pages are counted once."""
    texts = [Path(f"/proc/{pid}/smaps_rollup").read_text() for pid in pids]
    return sum(int(re.search(r"^Pss:\s+(\d+)", text, re.M)[1]) for text in texts) / 1024  # type: ignore[index]


def wrk(url: str, seconds: int, connections: int, headers: dict[str, str]) -> tuple[int, str]:
    """Requests done and the 99th percentile."""
    argv = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", url]
    argv += [part for name, value in headers.items() for part in ("-H", f"{name}: {value}")]
    text = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    if "Non-2xx or 3xx responses" in text:
        raise SystemExit(f"{url} answered with errors:\n{text}")
    done = re.search(r"(\d+) requests in", text)
    latency = re.search(r"99%\s+(\S+)", text)
    return int(done[1]) if done else 0, latency[1] if latency else "?"


def small_client(url: str, seconds: int, connections: int, headers: dict[str, str]) -> tuple[int, str]:
    """Requests done by threads with one connection each; no percentile."""
    host, _, path = url.removeprefix("http://").partition("/")
    address, port = host.split(":")
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    request = f"GET /{path} HTTP/1.1\r\nHost: {host}\r\n{lines}\r\n".encode()
    done, end = [], time.monotonic() + seconds

    def work() -> None:
        count = 0
        with socket.create_connection((address, int(port))) as connection:
            while time.monotonic() < end:
                connection.sendall(request)
                received = connection.recv(65_536)
                head, _, body = received.partition(b"\r\n\r\n")
                length = re.search(rb"content-length: (\d+)", head)
                missing = int(length[1]) - len(body) if length else 0
                while missing > 0:
                    missing -= len(connection.recv(65_536))
                count += 1
        done.append(count)

    threads = [threading.Thread(target=work) for _ in range(min(connections, 16))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(done), "-"


def measure(
    name: str, build: Callable[[], object], headers: dict[str, str], options: argparse.Namespace
) -> None:
    """One line of the table."""
    child, port = start(build, options.workers)
    try:
        url = f"http://127.0.0.1:{port}/de/"
        pids = workers_of(child)
        if "If-None-Match" in headers:
            asked = urllib.request.Request(url, headers={"Accept-Encoding": "gzip"})
            with urllib.request.urlopen(asked) as answer:
                headers = {**headers, "If-None-Match": answer.headers["ETag"]}
        load = wrk if shutil.which("wrk") else small_client
        before = cpu_seconds(pids)
        done, percentile = load(url, options.seconds, options.connections, headers)
        cost = (cpu_seconds(pids) - before) / max(done, 1) * 1_000_000
        memory = memory_megabytes([child, *pids])
        print(
            f"| {name} | {done / options.seconds:,.0f} | {cost:,.0f} | {percentile} | {memory:,.0f} |",
            flush=True,
        )
    finally:
        os.kill(child, signal.SIGTERM)
        os.waitpid(child, 0)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--connections", type=int, default=50)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        plan, memory = make_site(Path(name))
        begin = time.process_time()
        made = bundle(snapshot(plan, memory, time.time()))
        ready.publish(plan.folder, made)
        spent = (time.process_time() - begin) * 1000
        page = ready.load(plan.folder).variants["fresh"]["/de/"]  # type: ignore[union-attr]
        size = f"page {len(page.document.body):,} bytes, {len(page.zipped):,} as gzip"
        print(f"{size}; all pages of a round {spent:.0f} ms CPU")
        print("| what | requests/s | CPU µs/request | p99 | MB |\n|---|---|---|---|---|", flush=True)
        prepared = functools.partial(ready_pages, plan)
        rendered = functools.partial(render_per_request, plan, memory)
        # Long enough that no measurement sees a stale page.
        for label, build, headers in (
            ("ready page, gzip", prepared, {"Accept-Encoding": "gzip"}),
            ("ready page, 304", prepared, {"Accept-Encoding": "gzip", "If-None-Match": ""}),
            ("rendered by Flask per request", rendered, {}),
        ):
            ready.publish(plan.folder, bundle(snapshot(plan, refreshed(memory), time.time())))
            measure(label, build, headers, options)


def refreshed(memory: Memory) -> Memory:
    memory.observations = {name: Observation("up", time.time()) for name in memory.observations}
    return memory


if __name__ == "__main__":
    sys.exit(main())
