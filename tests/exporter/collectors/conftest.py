"""A host made of files, what collectors say of it, and real exporters on free ports."""

import http.client
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from exporter.roots import Roots
from lab.patience import patient
from lab.processes import free_port

Labels = tuple[tuple[str, str], ...]
Page = dict[tuple[str, Labels], float]


@dataclass
class Host:
    """Trees for /proc, /sys and /; ``write`` takes a path such as ``proc/loadavg``."""

    folder: Path

    def __post_init__(self) -> None:
        for name in ("proc", "sys", "root"):
            (self.folder / name).mkdir(parents=True)

    @property
    def roots(self) -> Roots:
        return Roots(self.folder / "proc", self.folder / "sys", self.folder / "root")

    def write(self, path: str, content: str | bytes) -> Path:
        place = self.folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content.encode() if isinstance(content, str) else content)
        return place

    def write_tree(self, listing: Path) -> None:
        """Write the files of a listing: a line ``@ path`` before the lines of each."""
        for part in listing.read_text().split("@ ")[1:]:
            path, _, content = part.partition("\n")
            self.write(path, content)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path / "host")


def read_page(text: str) -> Page:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.fixture
def page_of() -> Callable[[str], Page]:
    return read_page


@pytest.fixture
def figures() -> Callable[[Collector], dict[str, dict[tuple[str, ...], float]]]:
    """What a collector gives: ``{name: {label values: number}}``."""

    def collect(collector: Collector) -> dict[str, dict[tuple[str, ...], float]]:
        return {family.full_name: dict(family.rows) for family in collector.collect()}

    return collect


@dataclass
class Running:
    """An exporter that answers on a port."""

    process: subprocess.Popen[bytes]
    port: int

    def get(self, path: str = "/metrics") -> str:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=patient(60))
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            body = response.read().decode()
            assert response.status == 200, body
            return body
        finally:
            connection.close()


@contextmanager
def running(argv: list[str], port: int, environment: dict[str, str] | None = None) -> Iterator[Running]:
    process = subprocess.Popen(
        argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, **(environment or {})}
    )
    exporter = Running(process, port)
    try:
        deadline = time.monotonic() + patient(120)
        while True:
            try:
                exporter.get()
                break
            except OSError:
                assert process.poll() is None and time.monotonic() < deadline, "it does not answer"
                time.sleep(0.05)
        yield exporter
    finally:
        process.terminate()
        process.wait(60)


def start_ours(*options: str, prefix: tuple[str, ...] = (), environment: dict[str, str] | None = None):
    port = free_port()
    argv = [
        *prefix,
        sys.executable,
        "-m",
        "leitstand",
        "exporter",
        "--web.listen-address",
        f"127.0.0.1:{port}",
    ]
    return running([*argv, *options], port, environment)


def start_theirs(*options: str):
    port = free_port()
    return running(["prometheus-node-exporter", f"--web.listen-address=127.0.0.1:{port}", *options], port)


@pytest.fixture(scope="session")
def ours() -> Callable[..., "contextmanager[Running]"]:
    """Starts our exporter: ``with ours("--no-collector.cpu") as exporter``."""
    return start_ours


@pytest.fixture(scope="session")
def theirs() -> Callable[..., "contextmanager[Running]"]:
    """Starts Debian's node_exporter."""
    return start_theirs
