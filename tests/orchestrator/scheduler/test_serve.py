"""``leitstand backup serve`` as a process: runs what is due, tells of it, takes changes up, stops cleanly."""

import json
import os
import re
import signal
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from lab.patience import patient
from lab.processes import wait_until
from leitstand.errors import UsageError
from orchestrator.scheduler import metrics_server
from orchestrator.scheduler.metrics_server import MetricsServer, parse_listen

Site = Any
DAYS_AGO = time.time() - 3 * 86400


def make_due(site: Site, *names: str) -> None:
    """As if the service had first seen these tasks three days ago and had been down since."""
    folder = site.folder / "state" / "backup"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "agenda").write_text(json.dumps({"done": {}, "seen": dict.fromkeys(names, DAYS_AGO)}))


class Serving:
    """A running service: its log and its metrics."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process, self.lines = process, list[str]()
        self.reader = threading.Thread(target=self._read)
        self.reader.start()
        wait_until(lambda: "serving metrics on" in self.log, "the service to begin")
        (self.url,) = re.findall(r"http://\S+", self.log)

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line)

    @property
    def log(self) -> str:
        return "".join(self.lines)

    def metrics(self) -> str:
        with urllib.request.urlopen(self.url, timeout=patient(60)) as answer:
            text: str = answer.read().decode()
        return text

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        status = self.process.wait(120)
        self.reader.join(60)
        return status


@contextmanager
def serving(site: Site) -> Iterator[Serving]:
    with site.start("serve", "--listen", "127.0.0.1:0") as process:
        found = Serving(process)
        try:
            yield found
        finally:
            process.kill()
            found.reader.join(60)


def test_what_is_due_is_done_and_told(on_swift: Site) -> None:
    far = datetime.now(UTC) + timedelta(hours=12)  # whatever the time of day, nothing comes due meanwhile
    on_swift.job["schedule"] = f"daily {far:%H:%M}"
    on_swift.job["verify"] = {"schedule": f"daily {far:%H:%M}"}
    make_due(on_swift, "site/run")
    with serving(on_swift) as service:
        wait_until(lambda: 'leitstand_backup_ended_total{backup="site"' in service.metrics(), "a run")
        text = service.metrics()
        assert 'leitstand_backup_ended_total{backup="site",host="here",action="run",result="good"} 1' in text
        assert 'leitstand_backup_running{backup="site",host="here",action="run"} 0' in text
        pattern = r'next_run_timestamp_seconds\{backup="site",host="here",action="(\w+)"\} ([\d.]+)'
        following = dict(re.findall(pattern, text))
        assert all(time.time() < float(when) < time.time() + 90_000 for when in following.values())
        assert set(following) == {"run", "verify"}
        lint = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True)
        assert lint.returncode == 0, lint.stdout + lint.stderr
        assert service.stop() == 0
        assert "site/run: starts" in service.log
        assert "site/run: ended with status 0" in service.log
    assert len(on_swift.snapshots("swift")) == len(on_swift.snapshots("disk")) == 1
    assert "disk" in on_swift.good("status").stdout


def test_a_changed_configuration_is_used_and_one_with_errors_is_not(site: Site) -> None:
    with serving(site) as service:
        good = site.config.read_text()
        site.config.write_text(good + "nonsense: {}\n")
        wait_until(lambda: "leitstand_backup_config_good 0" in service.metrics(), "the error to be seen")
        assert "unknown section" in service.log
        assert 'backup="site",host="here",action="run"' in service.metrics(), "the last good one is in use"
        site.document["backups"]["other"] = {**site.job, "schedule": "weekly"}
        site.write()
        wait_until(lambda: 'backup="other",host="here",action="run"' in service.metrics(), "the new job")
        assert "leitstand_backup_config_good 1" in service.metrics()
        textfile = site.folder / "metrics" / "leitstand_backup.prom"
        interval = 'leitstand_backup_interval_seconds{backup="other",host="here",store="disk"} 604800'
        assert interval in textfile.read_text(), "a job that never ran is missed"
        del site.document["backups"]["other"]
        site.write()
        wait_until(lambda: 'backup="other"' not in service.metrics(), "the job to be gone")
        assert 'backup="other"' not in textfile.read_text()


def test_a_stop_breaks_a_run_off_cleanly_and_it_is_due_again(site: Site) -> None:
    gate, log = site.folder / "gate", site.folder / "log"
    os.mkfifo(gate)
    site.job["sources"] = [{"command": ["cat", str(gate)], "name": "waits"}]
    site.job["hooks"] = {"after": [["sh", "-c", f"echo $LEITSTAND_STATE >> {log}"]]}
    make_due(site, "site/run")
    with serving(site) as service, gate.open("w"):
        wait_until(
            lambda: 'running{backup="site",host="here",action="run"} 1' in service.metrics(), "the run"
        )
        assert "leitstand_backup_running_since_timestamp_seconds" in service.metrics()
        assert service.stop() == 0
    assert log.read_text() == "interrupted\n"
    assert list(site.disk.rglob("*")) == []
    assert json.loads((site.folder / "state" / "backup" / "agenda").read_text())["done"] == {}


def test_a_failed_run_is_told_and_tried_again(site: Site) -> None:
    site.job["sources"] = [{"command": ["sh", "-c", "echo the database is away >&2; false"], "name": "x"}]
    make_due(site, "site/run")
    with serving(site) as service:
        wait_until(lambda: 'result="failed"} 1' in service.metrics(), "the failure")
        pattern = r'next_run_timestamp_seconds\{backup="site",host="here",action="run"\} ([\d.]+)'
        (following,) = re.findall(pattern, service.metrics())
        assert 250 < float(following) - time.time() < 310
        assert "the database is away" in service.log


@pytest.fixture
def server() -> Iterator[MetricsServer]:
    server = MetricsServer(("127.0.0.1", 0), lambda: "leitstand_backup_queue_length 0\n")
    server.start()
    yield server
    server.stop()


def ask(server: MetricsServer, path: str = "/metrics") -> int:
    try:
        with urllib.request.urlopen(
            f"http://127.0.0.1:{server.server_address[1]}{path}", timeout=patient(60)
        ) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def test_only_metrics_are_served(server: MetricsServer) -> None:
    assert [ask(server, path) for path in ("/metrics", "/metrics?x", "/", "/etc/passwd")] == [
        200,
        200,
        404,
        404,
    ]


def test_silent_and_slow_clients_keep_nobody_out(
    server: MetricsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics_server, "CLIENT_SECONDS", 0.5)
    address = ("127.0.0.1", int(server.server_address[1]))
    clients = [socket.create_connection(address) for _ in range(metrics_server.MOST_CLIENTS * 2)]
    clients[0].sendall(b"GET /met")
    wait_until(lambda: _answers(server), "an answer once the silent ones are hung up on")
    for client in clients:
        client.close()


def _answers(server: MetricsServer) -> bool:
    try:
        return ask(server) == 200
    except OSError:
        return False


def test_a_port_that_is_taken_is_one_clear_line(server: MetricsServer, site: Site) -> None:
    ran = site.leitstand("serve", "--listen", f"127.0.0.1:{server.server_address[1]}")
    assert ran.status == 2
    assert "Address already in use" in ran.errors[-1]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("127.0.0.1:9", ("127.0.0.1", 9)),
        (":9", ("127.0.0.1", 9)),
        ("[::1]:9", ("::1", 9)),
        ("0.0.0.0:0", ("0.0.0.0", 0)),
    ],
)
def test_addresses_to_listen_on(text: str, expected: tuple[str, int]) -> None:
    assert parse_listen(text) == expected


@pytest.mark.parametrize("text", ["", "9", "host", "host:", "::1:9", "host:99999", "host:x", "host:²"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="listen"):
        parse_listen(text)
