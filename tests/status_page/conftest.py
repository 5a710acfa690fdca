"""A fleet, a Prometheus that lies or hangs, a real one fed by a tiny exporter, the real commands."""

import contextlib
import json
import os
import signal
import socketserver
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
import yaml

from lab.patience import patient
from lab.processes import fetch, free_port
from lab.shorten import shorten_folder
from leitstand.settings.fleet import Fleet
from status_page.config import StatusPageSettings
from status_page.plan import Plan, make_plan

REPOSITORY = Path(__file__).parents[2]
SPEED = 15  # rules and scrapes of 15 s become ones of 1 s


def wait_for(condition: Callable[[], Any], seconds: float = 60, what: str = "the condition") -> Any:
    deadline = time.monotonic() + patient(seconds)
    while time.monotonic() < deadline:
        if result := condition():
            return result
        time.sleep(0.05)
    raise AssertionError(f"waited {seconds} s in vain for {what}")


@pytest.fixture(scope="session")
def wait() -> Callable[..., Any]:
    return wait_for


@pytest.fixture(scope="session")
def configuration() -> Callable[..., dict[str, Any]]:
    def make(folder: Path, /, **page: Any) -> dict[str, Any]:
        return {
            "site": {
                "name": {"de": "Rennteam", "en": "Racing team"},
                "languages": ["de", "en"],
                "time_zone": "Europe/Berlin",
            },
            "hosts": {"canary-host-7": {"address": "canary-address.internal.example"}},
            "services": {
                "website": {
                    "name": {"de": "Webseite", "en": "Website"},
                    "url": "https://canary-url.internal.example/canary-path",
                    "expect": "canary-expect",
                    "hosts": ["canary-host-7"],
                },
                "mail": {"name": "Mail", "url": "https://mail.example.org/"},
                "canary-private": {"name": "canary-name", "url": "https://x.example.org/", "public": False},
            },
            "status_page": page,
            "paths": {"state": str(folder / "state"), "metrics": str(folder / "metrics")},
        }

    return make


@pytest.fixture
def plan(tmp_path: Path, configuration: Callable[..., dict[str, Any]]) -> Callable[..., Plan]:
    """A plan of a fleet of two public services; sections can be replaced."""

    def make(page: dict[str, Any] | None = None, **sections: Any) -> Plan:
        content = {**configuration(tmp_path, **(page or {})), **sections}
        settings = StatusPageSettings.model_validate({"status_page": content.pop("status_page")})
        return make_plan(Fleet.model_validate(content), settings.status_page)

    return make


class _Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    allow_reuse_address = True
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is part of these tests."""


@contextlib.contextmanager
def _serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    with _Server(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


@dataclass
class Liar:
    """A server in Prometheus' place. ``answer`` is given a path and writes to the client."""

    url: str = ""
    answer: Callable[[BaseHTTPRequestHandler], None] = lambda _: None
    asked: list[str] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)

    def says(self, body: bytes, status: int = 200) -> None:
        def answer(handler: BaseHTTPRequestHandler) -> None:
            handler.send_response(status)
            handler.send_header("Content-Length", str(len(body)))
            handler.end_headers()
            handler.wfile.write(body)

        self.answer = answer

    def vectors(self, by_query: dict[str, list[tuple[dict[str, str], str]]]) -> None:
        """Answer each query whose text holds a key with its samples, any other with none."""

        def answer(handler: BaseHTTPRequestHandler) -> None:
            query = urllib.request.unquote(handler.path).replace("+", " ")  # type: ignore[attr-defined]
            found = next((samples for key, samples in by_query.items() if key in query), [])
            result = [{"metric": labels, "value": [time.time(), value]} for labels, value in found]
            body = json.dumps({"status": "success", "data": {"resultType": "vector", "result": result}})
            handler.send_response(200)
            handler.end_headers()
            handler.wfile.write(body.encode())

        self.answer = answer


@pytest.fixture
def liar() -> Iterator[Liar]:
    instance = Liar()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            instance.asked.append(self.path)
            instance.answer(self)

        def log_message(self, *_: object) -> None: ...

    with _serving(Handler) as url:
        instance.url = url
        yield instance
        instance.released.set()


@dataclass
class Probes:
    """What the tiny exporter says: probe_success by service, None to leave the series out."""

    website: int | None = 1
    mail: int | None = 1
    reachable: bool = True


@dataclass
class Monitored:
    """A real Prometheus with the project's status rules, 15 times faster."""

    url: str
    probes: Probes
    start: Callable[[], None]
    stop: Callable[[], None]


@pytest.fixture(scope="module")
def monitored(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Monitored]:
    folder = tmp_path_factory.mktemp("prometheus")
    probes = Probes()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            lines = ['probe_success{vantage="here4"} 1\n'] if self.path == "/canary" else _probe_lines(probes)
            self.send_response(200 if probes.reachable else 503)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.end_headers()
            self.wfile.write("".join(lines).encode())

        def log_message(self, *_: object) -> None: ...

    with _serving(Handler) as exporter:
        address = exporter.removeprefix("http://")
        _write_prometheus(folder, address)
        port = free_port()
        running: list[subprocess.Popen[bytes]] = []

        def start() -> None:
            running.append(_start_prometheus(folder, port))
            wait_for(lambda: fetch(f"http://127.0.0.1:{port}/-/ready")[0] == 200, what="Prometheus")

        def stop() -> None:
            while running:
                process = running.pop()
                process.terminate()
                process.wait(60)

        start()
        try:
            yield Monitored(f"http://127.0.0.1:{port}", probes, start, stop)
        finally:
            stop()


def _probe_lines(probes: Probes) -> list[str]:
    values = {"website": probes.website, "mail": probes.mail, "canary-private": 0, "canary-unlisted": 0}
    return [
        f'probe_success{{service="{name}",vantage="here4",target="canary-label"}} {value}\n'
        for name, value in values.items()
        if value is not None
    ]


def _write_prometheus(folder: Path, address: str) -> None:
    (folder / "rules").mkdir()
    rules = (REPOSITORY / "prometheus" / "rules" / "status.rules.yml").read_text()
    (folder / "rules" / "status.rules.yml").write_text(rules)

    def job(name: str, path: str) -> dict[str, Any]:
        return {"job_name": name, "metrics_path": path, "static_configs": [{"targets": [address]}]}

    content = {
        "global": {"scrape_interval": "15s", "scrape_timeout": "15s", "evaluation_interval": "15s"},
        "rule_files": ["rules/*.yml"],
        "scrape_configs": [job("probe", "/probe"), job("canary", "/canary")],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(content))
    shorten_folder(folder, SPEED)


def _start_prometheus(folder: Path, port: int) -> subprocess.Popen[bytes]:
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(
            [
                "prometheus",
                f"--config.file={folder}/prometheus.yml",
                f"--storage.tsdb.path={folder}/data",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=log,
            stderr=log,
        )


@dataclass(frozen=True)
class Got:
    """One answer; header names in small letters."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()


@pytest.fixture(scope="session")
def get() -> Callable[..., Got]:
    def request(url: str, method: str = "GET", **headers: str) -> Got:
        asked = urllib.request.Request(
            url, method=method, headers={name.replace("_", "-"): value for name, value in headers.items()}
        )
        try:
            with urllib.request.urlopen(asked, timeout=patient(30)) as answer:
                return Got(answer.status, {k.lower(): v for k, v in answer.headers.items()}, answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return Got(error.code, {k.lower(): v for k, v in error.headers.items()}, error.read())

    return request


@dataclass
class Command:
    """A running ``leitstand status-page …``."""

    process: subprocess.Popen[str]
    first_line: str

    @property
    def url(self) -> str:
        return self.first_line.split()[-1].rstrip("/")

    def children(self) -> list[int]:
        listing = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(pid) for pid in listing.split()]


@pytest.fixture
def command() -> Iterator[Callable[..., Command]]:
    """Start the real command; the first line it prints is waited for."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> Command:
        process = subprocess.Popen(
            [sys.executable, "-m", "leitstand", "status-page", *arguments],
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        started.append(process)
        assert process.stdout is not None
        return Command(process, process.stdout.readline().strip())

    yield start
    for process in started:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
        assert process.stdout is not None
        process.stdout.close()
