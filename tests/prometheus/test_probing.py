"""The rendered modules in a real blackbox_exporter, asking a real web server."""

import re
import subprocess
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from fleet_config.expected import Expected
from fleet_config.output import write_files
from fleet_config.prometheus import Addresses, prometheus_files
from lab.patience import patient
from lab.processes import free_port
from leitstand.settings.re2 import why_not_re2

ANSWERS = {
    "/good": (200, b"Willkommen"),
    "/wrong": (200, b"Apache default page"),
    "/gone": (404, b"Willkommen"),
}
FLEET = """
services:
  good: {{name: x, url: "{url}/good", expect: "Will.ommen"}}
  wrong-text: {{name: x, url: "{url}/wrong", expect: "Will.ommen"}}
  gone: {{name: x, url: "{url}/gone"}}
  gone-is-good: {{name: x, url: "{url}/gone", status: [404]}}
  follows: {{name: x, url: "{url}/moved", expect: Willkommen}}
  moved-is-good: {{name: x, url: "{url}/moved", status: [302]}}
  not-there: {{name: x, url: "http://127.0.0.1:9/"}}
probing: {{canaries: ["{url}/moved"]}}
"""
GOOD = {"good", "gone-is-good", "follows", "moved-is-good"}


class Site(BaseHTTPRequestHandler):
    def do_GET(self):
        status, body = ANSWERS.get(self.path, (302, b""))
        self.send_response(status)
        if status == 302:
            self.send_header("Location", "/good")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def site() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Site) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_probe_is_good_exactly_when_the_service_answers_as_it_should(site, fleet_from, room, tmp_path):
    fleet = fleet_from(FLEET.format(url=site))
    write_files(tmp_path, prometheus_files(fleet, Expected(), Addresses(), room))
    port = free_port()
    argv = ["prometheus-blackbox-exporter", f"--config.file={tmp_path}/blackbox.yml"]
    argv += [f"--web.listen-address=127.0.0.1:{port}", "--log.level=error"]
    with subprocess.Popen(argv) as prober:
        try:
            asked = {
                name: probe(port, f"service_{name}", service.url) for name, service in fleet.services.items()
            }
            canary = probe(port, "canary", fleet.probing.canaries[0])
        finally:
            prober.terminate()
    assert {name for name, good in asked.items() if good} == GOOD
    assert canary


class Endless(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        with suppress(OSError):
            while True:
                self.wfile.write(b"x" * (1 << 20))

    def log_message(self, *_):
        pass


def test_a_page_without_an_end_takes_no_memory_of_the_prober(fleet_from, room, tmp_path):
    with ThreadingHTTPServer(("127.0.0.1", 0), Endless) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/"
        fleet = fleet_from(f'services: {{endless: {{name: x, url: "{url}", expect: "x+y"}}}}')
        write_files(tmp_path, prometheus_files(fleet, Expected(), Addresses(), room))
        port = free_port()
        argv = ["prometheus-blackbox-exporter", f"--config.file={tmp_path}/blackbox.yml"]
        argv += [f"--web.listen-address=127.0.0.1:{port}", "--log.level=error"]
        with subprocess.Popen(argv) as prober:
            try:
                assert not probe(port, "service_endless", url)
                used = int(re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{prober.pid}/status").read_text())[1])
            finally:
                prober.terminate()
        server.shutdown()
    assert used < 200_000, "KiB"


PATTERNS = [
    *(
        "Willkommen",
        r"a\.b\d{2,5}\s*$",
        "(?i)welcome",
        "(?im-s:a|b)",
        r"[^\]a\-z]+",
        "[]a]",
        r"(?P<name>x)+?",
    ),
    *(
        r"\[a+\]\+",
        "[*+]+",
        r"\++",
        "a{2}",
        "a}+",
        r"\{1}+x",
        "x{1,1000}",
        r"\(\?=",
        "[(?=]",
        r"\x41\\1",
        "[{}]+?",
    ),
    *(
        "a(?=b)",
        "a(?!b)",
        "(?<=a)b",
        "(?<!a)b",
        r"(a)\1",
        "(?P<n>a)(?P=n)",
        "(?>a)b",
        "(?#note)a",
        "(a)?(?(1)b|c)",
    ),
    *(
        "a*+",
        "a++",
        "a?+",
        "a{1,2}+",
        r"\Aa\Z",
        "\\u00e9",
        r"\N{EM DASH}",
        "\\é",
        "[\\é]",
        r"[\b]",
        r"[\u00e9]",
    ),
    *("(?x)a b", "(?a)b", "(?iu)b", "x{1001}", "x{2,1001}"),
]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_pattern_is_refused_exactly_when_the_prober_would_refuse_it(pattern, run, tmp_path):
    re.compile(pattern)
    file = tmp_path / "blackbox.yml"
    quoted = pattern.replace("'", "''")
    file.write_text(
        f"modules: {{m: {{prober: http, http: {{fail_if_body_not_matches_regexp: ['{quoted}']}}}}}}",
        encoding="utf-8",
    )
    done = run("prometheus-blackbox-exporter", f"--config.file={file}", "--config.check")
    assert (why_not_re2(pattern) is None) == (done.returncode == 0), done.stdout


def test_a_repetition_that_go_would_take_for_plain_text_is_refused():
    assert why_not_re2("a{,3}") == "a repetition needs a lower bound; write {0,n}"


def probe(port: int, module: str, target: str) -> bool:
    query = urllib.parse.urlencode({"module": module, "target": target})
    page = fetch(f"http://127.0.0.1:{port}/probe?{query}")
    assert "probe_success" in page
    return "\nprobe_success 1\n" in page


def fetch(url: str, seconds: float = 60) -> str:
    deadline = time.monotonic() + patient(seconds)
    while True:
        try:
            with urllib.request.urlopen(url, timeout=patient(30)) as answer:
                return answer.read().decode()
        except OSError:
            assert time.monotonic() < deadline, "the prober did not start"
            time.sleep(0.02)
