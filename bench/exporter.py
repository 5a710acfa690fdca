"""The exporter beside node_exporter, in one run: CPU and time per scrape, memory, growth.

    .venv/bin/python bench/exporter.py              # a table on standard output, some minutes
    .venv/bin/python bench/exporter.py --quick      # fewer scrapes, to check that it runs
    .venv/bin/python bench/exporter.py --node-exporter PATH    # in place of Debian's, such as the newest

CPU is user and system time of the process, from /proc/<pid>/stat; a scrape is one GET on a connection of its
own. The two alternate, run by run, so that a busy moment of the machine affects both. Figures are medians of
the runs.
"""

import argparse
import os
import re
import shutil
import signal
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from exporter_trees import tree_of_interfaces, tree_of_mounts, tree_of_sites

# As set in deploy/systemd/leitstand-exporter.service.
ENVIRONMENT = {"MALLOC_ARENA_MAX": "1", "MALLOC_TRIM_THRESHOLD_": "65536"}
TICKS = os.sysconf("SC_CLK_TCK")
# Collectors that node_exporter has on by default and we lack: off there, so that both do the same work.
NOT_OURS = [
    "bcache",
    "bcachefs",
    "btrfs",
    "dmmultipath",
    "fibrechannel",
    "infiniband",
    "ipvs",
    "nfs",
    "nfsd",
    "rapl",
    "tapestats",
    "xfs",
    "zfs",
    "systemd",
]
SLIM = ["cpu", "meminfo", "loadavg", "filesystem", "diskstats", "netdev", "vmstat", "uname", "os"]
MOUNTS = "^/(dev|proc|run/credentials/.+|sys|var/lib/docker/.+|var/lib/containers/storage/.+)($|/)"


@dataclass
class Exporter:
    """A running exporter and its measurements."""

    name: str
    pid: int
    port: int
    cpu: list[float] = field(default_factory=list)  # seconds per scrape, one per run
    p50: list[float] = field(default_factory=list)  # seconds, one per run
    size: int = 0
    headers: str = ""

    def ticks(self) -> int:
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])

    def memory(self) -> tuple[float, float, float]:
        """In MiB: resident, proportional (shared pages divided among their users) and unique set."""
        rows = [line.split() for line in Path(f"/proc/{self.pid}/smaps_rollup").read_text().splitlines()[1:]]
        sizes = {row[0]: int(row[1]) / 1024 for row in rows}
        return sizes["Rss:"], sizes["Pss:"], sizes["Private_Clean:"] + sizes["Private_Dirty:"]

    def scrape(self) -> int:
        with socket.create_connection(("127.0.0.1", self.port), timeout=30) as sock:
            request = f"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{self.headers}\r\n"
            sock.sendall(request.encode())
            size = 0
            while chunk := sock.recv(1 << 20):
                size += len(chunk)
        return size

    def run(self, scrapes: int) -> None:
        times = []
        before = self.ticks()
        for _ in range(scrapes):
            start = time.perf_counter()
            self.size = self.scrape()
            times.append(time.perf_counter() - start)
        self.cpu.append((self.ticks() - before) / TICKS / scrapes)
        self.p50.append(statistics.median(times))


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@contextmanager
def running(name: str, argv: list[str], port: int) -> Iterator[Exporter]:
    environment = {**os.environ, **ENVIRONMENT}
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
    try:
        exporter = Exporter(name, process.pid, port)
        wait_for(exporter)
        yield exporter
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(10)


def wait_for(exporter: Exporter) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            exporter.scrape()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise SystemExit(f"{exporter.name} does not answer")


@contextmanager
def ours(*options: str) -> Iterator[Exporter]:
    port = free_port()
    argv = [sys.executable, "-m", "leitstand", "exporter", "--web.listen-address", f"127.0.0.1:{port}"]
    # The inventory looks once, at the start: here the scrape is measured, below what the inventory adds to
    # it.
    with running("leitstand", [*argv, "--inventory.interval", "86400", *options], port) as exporter:
        time.sleep(3)
        yield exporter


@contextmanager
def rival(program: str, *options: str) -> Iterator[Exporter]:
    port = free_port()
    argv = [
        program,
        f"--web.listen-address=127.0.0.1:{port}",
        f"--collector.filesystem.mount-points-exclude={MOUNTS}",
    ]
    with running("node_exporter", [*argv, *options], port) as exporter:
        yield exporter


def without_what_we_lack(program: str) -> list[str]:
    """The program, without the collectors that we do not have."""
    known = subprocess.run([program, "--help"], capture_output=True, text=True, check=False)
    switches = re.findall(r"--(?:\[no-\])?collector\.([a-z_]+)\s", known.stdout + known.stderr)
    return [program, *(f"--no-collector.{name}" for name in NOT_OURS if name in switches)]


def take_turns(exporters: list[Exporter], runs: int, scrapes: int) -> None:
    for exporter in exporters:
        exporter.run(20)
        exporter.cpu.clear()
        exporter.p50.clear()
    for _ in range(runs):
        for exporter in exporters:
            exporter.run(scrapes)


# As sent by Prometheus 2.42.
PROMETHEUS = (
    "Accept: application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1\r\nAccept-Encoding: gzip\r\n"
)


def side_by_side(
    title: str, our: list[str], their: list[str], runs: int, scrapes: int, headers: str = ""
) -> None:
    """Print a table; ``their`` begins with the program."""
    with ours(*our) as mine, rival(*their) as theirs:
        mine.headers = theirs.headers = headers
        take_turns([mine, theirs], runs, scrapes)
        print(f"\n### {title}: {runs} runs of {scrapes} scrapes\n")
        print("| | bytes | CPU ms/scrape (min) | p50 ms (best) | RSS MiB | PSS | USS |")
        print("|---|---|---|---|---|---|---|")
        for one in (mine, theirs):
            cpu, p50 = [value * 1000 for value in one.cpu], [value * 1000 for value in one.p50]
            print(
                f"| {one.name} | {one.size} | {statistics.median(cpu):.2f} ({min(cpu):.2f}) "
                f"| {statistics.median(p50):.2f} ({min(p50):.2f}) "
                + "".join(f"| {size:.1f} " for size in one.memory())
                + "|"
            )
        sizes = zip(mine.memory(), theirs.memory(), strict=True)
        print(
            f"| ratio | {mine.size / theirs.size:.2f} | {ratio(mine.cpu, theirs.cpu)} "
            f"| {ratio(mine.p50, theirs.p50)} "
            + "".join(f"| {our / their:.2f} " for our, their in sizes)
            + "|",
            flush=True,
        )


def ratio(mine: list[float], theirs: list[float]) -> str:
    return f"{statistics.median(mine) / statistics.median(theirs):.2f} ({min(mine) / min(theirs):.2f})"


def packages_page(count: int) -> str:
    return "".join(
        f"Package: package-{number}\nStatus: install ok installed\nArchitecture: amd64\n"
        f"Version: 1.{number}-1\n\n"
        for number in range(count)
    )


def added_by_packages(folder: Path, runs: int, scrapes: int) -> None:
    """Two exporters that only differ in the number of packages in their root."""
    roots = []
    for count in (0, 2500):
        root = folder / f"root-{count}"
        (root / "var/lib/dpkg").mkdir(parents=True)
        (root / "etc").mkdir()
        shutil.copy("/etc/os-release", root / "etc/os-release")
        (root / "var/lib/dpkg/status").write_text(packages_page(count))
        roots.append(str(root))
    with ours("--path.rootfs", roots[0]) as without, ours("--path.rootfs", roots[1]) as many:
        take_turns([without, many], runs, scrapes)
        print("\n### 2,500 packages, unchanged since the last scrape\n")
        print("| packages | CPU ms/scrape (min) | p50 ms (best) |\n|---|---|---|")
        for words, one in (("none", without), ("2,500", many)):
            cpu, p50 = [value * 1000 for value in one.cpu], [value * 1000 for value in one.p50]
            print(
                f"| {words} | {statistics.median(cpu):.2f} ({min(cpu):.2f}) "
                f"| {statistics.median(p50):.2f} ({min(p50):.2f}) |"
            )
        added = 1000 * (statistics.median(many.cpu) - statistics.median(without.cpu))
        print(f"\nAdded CPU per scrape, medians: {added:+.3f} ms", flush=True)


def inventory_of_sites(root: Path) -> float:
    """CPU seconds of the inventory's pass over the web servers, as its worker does it after a change."""
    from exporter.inventory.order import Order
    from exporter.inventory.part import render_part, to_wire
    from exporter.inventory.worker import look
    from exporter.roots import Roots

    times = []
    for _ in range(5):
        start = time.process_time()
        to_wire(render_part(look("web", Order(["web"], Roots(root=root), [])), []))
        times.append(time.process_time() - start)
    return statistics.median(times)


def units_of_systemd(count: int) -> float:
    """CPU seconds to read the answer to ListUnits and write the page, without the bus itself."""
    from exporter.collectors.options import Options
    from exporter.collectors.systemd import SystemdUnits, parse_units
    from exporter.exposition import Renderer
    from exporter.roots import Roots

    body = bytearray(8)
    for number in range(count):
        body += b"\0" * (-len(body) % 8)
        for text in (
            f"unit-{number}.service",
            "A unit",
            "loaded",
            "active",
            "running",
            "",
            f"/unit/{number}",
        ):
            body += b"\0" * (-len(body) % 4) + struct.pack("<I", len(text)) + text.encode() + b"\0"
        body += b"\0" * (-len(body) % 4) + bytes(4)
        for text in ("", "/"):
            body += b"\0" * (-len(body) % 4) + struct.pack("<I", len(text)) + text.encode() + b"\0"
    answer = struct.pack("<I", len(body) - 8) + bytes(body[4:])
    collector, renderer = SystemdUnits(Roots(), Options()), Renderer()
    times = []
    for _ in range(30):
        start = time.process_time()
        renderer.pieces([collector._states(parse_units(answer, collector.skipped))])
        times.append(time.process_time() - start)
    return statistics.median(times)


def growth(folder: Path, program: str, runs: int, scrapes: int) -> None:
    sys.path[0] = str(Path(__file__).parents[1])  # otherwise this file would hide the package of its name
    print("\n### Growth: CPU ms per scrape, the collector concerned alone\n")
    print("| what | number | leitstand | node_exporter |\n|---|---|---|---|")
    trees: list[tuple[str, Callable[[Path, int], list[str]], list[str]]] = [
        ("mounts", tree_of_mounts, []),
        ("interfaces", tree_of_interfaces, ["--no-collector.netdev.netlink"]),
    ]
    for what, make, further in trees:
        for count in (10, 100, 1000):
            options = make(folder, count)
            with ours(*options) as mine, rival(program, *options, *further) as theirs:
                take_turns([mine, theirs], runs, scrapes)
                figures = [1000 * statistics.median(one.cpu) for one in (mine, theirs)]
            print(f"| {what} | {count:,} | {figures[0]:.2f} | {figures[1]:.2f} |", flush=True)
    for count in (10, 100, 1000):
        print(
            f"| units of systemd, without the bus | {count:,} | {1000 * units_of_systemd(count):.2f} | |",
            flush=True,
        )
    for count in (10, 100, 1000):
        with ours(*tree_of_sites(folder, count)) as mine:
            take_turns([mine], runs, scrapes)
            cpu = 1000 * statistics.median(mine.cpu)
            print(f"| virtual hosts, whole page | {count:,} | {cpu:.2f} | has none |", flush=True)
        cpu = 1000 * inventory_of_sites(folder / f"sites-{count}")
        print(f"| virtual hosts, one pass of the inventory | {count:,} | {cpu:.1f} | has none |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--node-exporter", metavar="PATH", default="prometheus-node-exporter")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", choices=["default", "prometheus", "slim", "packages", "growth"])
    arguments = parser.parse_args()
    runs, scrapes = (3, 60) if arguments.quick else (7, 300)

    def wanted(part: str) -> bool:
        return arguments.only in (None, part)

    program = arguments.node_exporter
    if wanted("default"):
        side_by_side("Default collectors", [], without_what_we_lack(program), runs, scrapes)
    if wanted("prometheus"):
        title = "Default collectors, OpenMetrics and gzip"
        side_by_side(title, [], without_what_we_lack(program), runs, scrapes, PROMETHEUS)
    if wanted("slim"):
        on = [
            "--collector.disable-defaults",
            *(f"--collector.{name}" for name in SLIM),
            "--collector.vmstat.fields=.*",
        ]
        side_by_side("Nine collectors", on, [program, *on], runs, scrapes)
    with tempfile.TemporaryDirectory() as name:
        if wanted("packages"):
            added_by_packages(Path(name), runs, scrapes)
        if wanted("growth"):
            growth(Path(name), program, 3, 60 if not arguments.quick else 20)


if __name__ == "__main__":
    main()
