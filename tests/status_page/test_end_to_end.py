"""Real Prometheus, real commands, real granian: what a visitor sees."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from lab.patience import patient

FAST = {"interval": "1s", "fresh_for": "4s", "unknown_after": "8s"}


@pytest.fixture
def config(tmp_path: Path, configuration: Any) -> Callable[..., Any]:
    """Write a leitstand.yml: ``config(prometheus=URL, …)``."""

    def write(**page):
        path = tmp_path / "leitstand.yml"
        content = configuration(tmp_path, **{**FAST, **page})
        path.write_text(yaml.safe_dump({**content, "probing": {"interval": "1s"}}))
        return path

    return write


def status_json(get, url):
    return json.loads(get(f"{url}/api/v1/status.json").body)


def state(get, url, service="website"):
    return {entry["id"]: entry["state"] for entry in status_json(get, url)["services"]}.get(service)


def shown(get, url, service="website"):
    """The state, or nothing while the workers do not listen yet: the address is printed a moment before."""
    try:
        return state(get, url, service)
    except OSError:
        return None


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):  # the latter when it ends while it is being read
        return False


@pytest.fixture
def page(monitored: Any, config: Any, command: Any, get: Any, wait: Any) -> tuple[str, Any]:
    """Collector and two workers on a real Prometheus; the page says that all is up."""
    monitored.probes.website = monitored.probes.mail = 1
    path = str(config(prometheus=monitored.url))
    collector = command("collect", "--config", path)
    url = command("serve", "--config", path, "--listen", "127.0.0.1:0", "--workers", "2").url
    wait(lambda: shown(get, url) == "up" and shown(get, url, "mail") == "up", 90, "up")
    return url, collector


def says(get, wait, url, *texts, age=0):
    """The first answer that holds all texts, of a measurement that is so many seconds old or older.

    The workers take up a new page within a moment of each other; on a busy machine one may be stale a while.
    """

    def matching():
        answer = get(url)
        told = all(text in answer.text for text in texts)
        return answer if told and int(answer.headers.get("measurement-age", 0)) >= age else None

    return wait(matching, 90, texts)


def test_up_then_down_then_unknown_then_up_again(monitored, page, get, wait):
    url, _ = page
    told = ("Alle Dienste sind verfügbar", "von einem Standort")
    german = says(get, wait, f"{url}/de/", *told).text
    assert "<span>Verfügbar</span>" in german
    assert "canary" not in german

    monitored.probes.website = 0
    down = says(get, wait, f"{url}/en/", "Website is down", "ongoing")
    assert int(down.headers["measurement-age"]) <= 10
    wait(lambda: state(get, url, "mail") == "up")

    monitored.probes.website = None
    says(get, wait, f"{url}/de/", "zu einem fehlen aktuelle Daten", "Zuletzt ausgefallen")
    monitored.probes.website = 1
    says(get, wait, f"{url}/de/", "Alle Dienste sind verfügbar")


@pytest.mark.slow
def test_the_page_works_without_prometheus_and_without_its_collector(monitored, page, get, wait):
    url, collector = page
    monitored.stop()
    alone = says(get, wait, f"{url}/en/", "We cannot check right now.", age=8)
    assert alone.status == 200
    assert "Last known state:" in alone.text
    wait(lambda: not (now := status_json(get, url))["stale"] and now["locations"] == 0, 60, "no location")
    monitored.start()
    says(get, wait, f"{url}/en/", "All services are available")

    collector.process.kill()
    wait(lambda: status_json(get, url)["stale"], 60, "the stale page")
    wait(lambda: state(get, url) == "unknown")
    assert "Last known: available" in says(get, wait, f"{url}/en/", "We cannot check right now.").text


def test_granian_answers_as_the_application_means_it(config, command, get):
    path = str(config())
    url = command("serve", "--config", path, "--listen", "127.0.0.1:0", "--workers", "1").url
    page = retry(lambda: get(f"{url}/en/", Accept_Encoding="gzip"))
    assert page.headers["content-encoding"] == "gzip"
    assert page.headers["server"] == ""
    assert "granian" not in str(page.headers).lower()
    assert get(f"{url}/en/", Accept_Encoding="gzip", If_None_Match=page.headers["etag"]).status == 304
    head = get(f"{url}/en/", method="HEAD")
    assert head.body == b""
    assert int(head.headers["content-length"]) > 1000
    assert get(f"{url}/-/healthy").text == "healthy\n"
    assert get(f"{url}/no/such").status == 404


def retry(request, seconds=60):
    """The address is printed a moment before the workers listen."""
    deadline = time.monotonic() + patient(seconds)
    while True:
        try:
            return request()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def test_the_address_is_printed_once_clients_can_connect(config, command, get):
    served = command("serve", "--config", str(config()), "--listen", "127.0.0.1:0", "--workers", "2")
    assert get(f"{served.url}/-/healthy").status == 200


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serve_ends_cleanly_and_leaves_no_worker(config, command, get, wait, number):
    served = command("serve", "--config", str(config()), "--listen", "127.0.0.1:0", "--workers", "2")
    retry(lambda: get(f"{served.url}/-/healthy"))
    workers = wait(lambda: len(served.children()) >= 2 and served.children())
    served.process.send_signal(number)
    assert served.process.wait(60) == 0
    wait(lambda: not any(alive(pid) for pid in workers), 60, "the workers to end")


def test_a_killed_serve_leaves_no_worker(config, command, get, wait):
    served = command("serve", "--config", str(config()), "--listen", "127.0.0.1:0", "--workers", "2")
    retry(lambda: get(f"{served.url}/-/healthy"))
    workers = wait(lambda: len(served.children()) >= 2 and served.children())
    served.process.kill()
    wait(lambda: not any(alive(pid) for pid in workers), 60, "the workers to end")
    wait(lambda: is_free(int(served.url.rpartition(":")[2])), 60, "the port to be free")


def is_free(port):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def test_a_worker_that_dies_is_replaced(config, command, get, wait):
    served = command("serve", "--config", str(config()), "--listen", "127.0.0.1:0", "--workers", "1")
    retry(lambda: get(f"{served.url}/-/healthy"))
    [worker] = wait(lambda: served.children())
    os.kill(worker, signal.SIGKILL)
    wait(lambda: served.children() not in ([], [worker]), 60, "another worker")
    assert retry(lambda: get(f"{served.url}/-/healthy")).status == 200


def test_an_address_that_is_taken_is_one_clear_line(config):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        done = run("serve", "--config", str(config()), "--listen", listen)
    assert done.returncode == 3
    assert f"cannot listen on {listen}: Address already in use" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("listen", ["8080", "127.0.0.1", "127.0.0.1:99999", "a b:1"])
def test_an_invalid_address_is_a_usage_error(config, listen):
    done = run("serve", "--config", str(config()), "--listen", listen)
    assert (done.returncode, "is written as" in done.stderr) == (2, True)


def test_collect_once_writes_the_pages_and_reports_failures(config, tmp_path):
    done = run("collect", "--config", str(config(prometheus="http://127.0.0.1:9")), "--once")
    assert done.returncode == 1
    assert "Prometheus does not answer" in done.stderr
    assert "2 services written to" in done.stdout
    assert (tmp_path / "state" / "status-page" / "current" / "fresh" / "de" / "index.html").exists()


def test_collect_ends_on_sigterm(config, command):
    collector = command("collect", "--config", str(config(prometheus="http://127.0.0.1:9")))
    assert collector.first_line.startswith("collecting 2 services")
    collector.process.send_signal(signal.SIGTERM)
    assert collector.process.wait(60) == 0


def test_a_maintenance_is_shown_once_it_is_written_and_a_broken_file_changes_nothing(
    config, command, tmp_path, wait
):
    path = config(prometheus="http://127.0.0.1:9", interval="1s")
    before = path.read_text()
    command("collect", "--config", str(path))
    status = tmp_path / "state/status-page/current/fresh/api/v1/status.json"
    wait(status.exists)
    work = {"services": ["mail"], "start": "2020-01-01T00:00:00Z", "end": "2120-01-01T00:00:00Z", "text": "x"}
    path.write_text(yaml.safe_dump({**yaml.safe_load(before), "maintenance": {"disks": work}}))

    def shown():
        return {entry["id"]: entry["state"] for entry in json.loads(status.read_text())["services"]}

    wait(lambda: shown() == {"website": "unknown", "mail": "maintenance"}, 60, "the maintenance")
    path.write_text("maintenance: [")
    written = status.resolve()
    wait(lambda: status.resolve() != written, 60, "another round")
    assert shown()["mail"] == "maintenance"
    path.write_text(before)
    wait(lambda: shown()["mail"] == "unknown", 60, "the end of the maintenance")


@pytest.mark.parametrize("arguments", [[], ["collect"], ["serve"]])
def test_help_shows_an_example(arguments):
    done = run(*arguments, "--help")
    assert done.returncode == 0
    assert "Example: leitstand status-page" in done.stdout


def run(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "leitstand", "status-page", *arguments],
        capture_output=True,
        text=True,
        timeout=patient(60),
        check=False,
    )
