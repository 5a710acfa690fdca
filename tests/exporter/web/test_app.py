"""Every path of the exporter, asked over HTTP."""

import gzip
import json
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from exporter.exposition import Family, Piece, Renderer, text_page
from exporter.inventory.inventory import InventorySnapshot
from exporter.web.app import App, deadline
from exporter.web.http1 import Request
from lab.patience import patient
from lab.processes import free_port

OPENMETRICS = {"Accept": "application/openmetrics-text; version=1.0.0"}
PACKAGES = Family("leitstand_package_info", "gauge", "An installed package.", ("name", "version"))
for number in range(100):
    PACKAGES.add(1, f"package-{number}", "1.0")
SERIES_PIECES = Renderer().pieces([PACKAGES])
SERIES = text_page(SERIES_PIECES)
DOCUMENT = json.dumps({"packages": ["package"] * 100}).encode()
SNAPSHOT = InventorySnapshot(
    series_pieces=SERIES_PIECES,
    series=SERIES,
    series_gzip=gzip.compress(SERIES),
    document=DOCUMENT,
    document_gzip=gzip.compress(DOCUMENT),
    etag="0123abcd",
)


class OneCounter:
    """A scraper of two collectors; remembers what it was asked for."""

    names = ("cpu", "load")

    def __init__(self) -> None:
        self.asked: list[tuple[float, list[str] | None]] = []

    def scrape(self, deadline_seconds: float, names: Collection[str] | None, form: str) -> list[Piece]:
        self.asked.append((deadline_seconds, None if names is None else sorted(names)))
        scrapes = Family("scrapes_total", "counter", "Scrapes so far.")
        scrapes.add(len(self.asked))
        return Renderer().pieces([scrapes])


class Shelf:
    """An inventory that has what was put there."""

    def __init__(self, snapshot: InventorySnapshot = SNAPSHOT) -> None:
        self.newest = snapshot

    def snapshot(self) -> InventorySnapshot:
        return self.newest


@pytest.fixture
def scraper() -> OneCounter:
    return OneCounter()


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


@pytest.fixture
def exporter(serve: Callable[..., Any], scraper: OneCounter, shelf: Shelf) -> Any:
    app = App(scraper, shelf, host="<web1>")
    running = serve(app)
    app.observe(running.server.status)
    return running


def test_metrics_are_text_that_promtool_accepts(exporter: Any) -> None:
    answer = exporter.get("/metrics")
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    families = {family.name: family for family in parse_text(answer.body.decode())}
    assert families["scrapes"].samples[0].value == 1
    assert families["leitstand_exporter_connections"].samples[0].value == 1
    checked = subprocess.run(
        ["promtool", "check", "metrics"], input=answer.body, capture_output=True, check=False
    )
    assert (checked.returncode, checked.stderr) == (0, b"")


def test_metrics_are_openmetrics_on_request(exporter: Any) -> None:
    answer = exporter.get("/metrics", OPENMETRICS)
    assert answer.headers["content-type"] == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    assert "accept" in answer.headers["vary"].lower()
    families = {family.name: family for family in parse_openmetrics(answer.body.decode())}
    assert families["scrapes"].type == "counter"
    assert families["scrapes"].samples[0].value == 1


@pytest.mark.parametrize("path", ["/metrics", "/metrics/inventory", "/inventory"])
@pytest.mark.parametrize("accept", [{}, OPENMETRICS])
def test_gzip_holds_the_same_page(
    exporter: Any, path: str, accept: dict[str, str], eventually: Callable[..., Any]
) -> None:
    plain = exporter.get(path, accept)
    eventually(lambda: not exporter.server.status().connections)  # the page counts them
    packed = exporter.get(path, {**accept, "Accept-Encoding": "gzip"})
    assert packed.headers["content-encoding"] == "gzip"
    assert len(packed.body) < len(plain.body)
    same = gzip.decompress(packed.body).replace(b"scrapes_total 2", b"scrapes_total 1")
    assert same == plain.body


def test_the_inventory_changes_in_every_form(exporter: Any, shelf: Shelf) -> None:
    before = exporter.get("/metrics/inventory", {**OPENMETRICS, "Accept-Encoding": "gzip"})
    pieces = Renderer().pieces([Family("new_info", "gauge", "New.", ("name",), [(("a",), 1)])])
    series = text_page(pieces)
    shelf.newest = InventorySnapshot(
        series_pieces=pieces, series=series, series_gzip=gzip.compress(series), document=b"{}", etag="2"
    )
    after = exporter.get("/metrics/inventory", OPENMETRICS)
    assert b"package-1" in gzip.decompress(before.body)
    assert after.body == (b'# HELP new_info New.\n# TYPE new_info gauge\nnew_info{name="a"} 1\n# EOF\n')


def test_an_unchanged_inventory_is_not_sent_again(exporter: Any) -> None:
    answer = exporter.get("/inventory")
    assert (answer.status, answer.body) == (200, DOCUMENT)
    assert answer.headers["content-type"] == "application/json"
    tag = answer.headers["etag"]
    assert tag == '"0123abcd"'
    for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        again = exporter.get("/inventory", {"If-None-Match": known})
        assert (again.status, again.body, again.headers["etag"]) == (304, b"", tag)
    assert exporter.get("/inventory", {"If-None-Match": '"other"'}).status == 200


def test_an_inventory_that_was_not_read_yet_is_not_an_empty_one(exporter: Any, shelf: Shelf) -> None:
    shelf.newest = InventorySnapshot()
    answer = exporter.get("/inventory", {"If-None-Match": '""'})
    assert (answer.status, answer.headers["retry-after"]) == (503, "5")
    assert exporter.get("/metrics/inventory").status == 200


def test_the_landing_page_links_to_everything_and_runs_nothing(exporter: Any) -> None:
    answer = exporter.get("/")
    page = answer.body.decode()
    assert answer.headers["content-type"].startswith("text/html")
    assert "&lt;web1&gt;" in page
    assert "<web1>" not in page
    assert "<script" not in page
    assert "script-src" not in answer.headers["content-security-policy"]
    for path in ("/metrics", "/metrics/inventory", "/inventory", "/-/healthy"):
        assert f'href="{path}"' in page
        assert exporter.get(path).status == 200


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/-/healthy", 200),
        ("/-/ready", 200),
        ("/metrics/", 404),
        ("/nothing", 404),
        ("/metrics/../metrics", 404),
    ],
)
def test_other_paths(exporter: Any, path: str, status: int) -> None:
    assert exporter.get(path).status == status


def test_head_has_the_same_header_as_get(exporter: Any) -> None:
    for path in ("/", "/inventory", "/metrics/inventory", "/-/healthy"):
        whole, head = exporter.get(path), exporter.get(path, method="HEAD")
        for headers in (whole.headers, head.headers):
            headers.pop("date")
        assert (head.status, head.body, head.headers) == (whole.status, b"", whole.headers)


def test_the_figures_at_the_root_leave_the_inventory_where_it_is(
    serve: Callable[..., Any], scraper: OneCounter
) -> None:
    running = serve(App(scraper, Shelf(), telemetry_path="/"))
    assert b"scrapes_total 1" in running.get("/").body
    assert running.get("/metrics/inventory").body == SERIES
    assert running.get("/inventory").body == DOCUMENT


def test_another_telemetry_path(serve: Callable[..., Any], scraper: OneCounter) -> None:
    running = serve(App(scraper, Shelf(), "/figures"))
    assert running.get("/figures").status == running.get("/figures/inventory").status == 200
    assert running.get("/metrics").status == 404
    assert b'href="/figures"' in running.get("/").body


def test_collectors_are_chosen_by_the_query(exporter: Any, scraper: OneCounter) -> None:
    for query in ("", "?collect[]=load", "?collect%5B%5D=load&collect[]=cpu", "?exclude[]=load", "?other=1"):
        assert exporter.get(f"/metrics{query}").status == 200
    assert [names for _, names in scraper.asked] == [None, ["load"], ["cpu", "load"], ["cpu"], None]
    # Only what was asked for: not the server's own figures either.
    assert b"leitstand_exporter" not in exporter.get("/metrics?collect[]=load").body


def test_a_collector_that_only_node_exporter_has_gives_nothing(exporter: Any, scraper: OneCounter) -> None:
    for query in ("collect[]=load&collect[]=xfs", "collect[]=xfs", "exclude[]=wifi"):
        assert exporter.get(f"/metrics?{query}").status == 200
    assert [names for _, names in scraper.asked] == [["load"], [], ["cpu", "load"]]


@pytest.mark.parametrize("query", ["collect[]=nothing", "exclude[]=nothing", "collect[]=cpu&exclude[]=load"])
def test_a_wrong_choice_of_collectors_is_a_400(exporter: Any, scraper: OneCounter, query: str) -> None:
    assert exporter.get(f"/metrics?{query}").status == 400
    assert scraper.asked == []


def test_too_many_parameters_are_a_400(exporter: Any) -> None:
    assert exporter.get("/metrics?" + "a&" * 1500).status == 400


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, 9.5),
        ("10", 9.5),
        ("30.0", 29.5),
        ("1", 0.5),
        ("0.8", 0.4),
        ("0.2", 0.1),
        ("0.001", 0.1),
        ("9999", 120),
        ("0", 9.5),
        ("-1", 9.5),
        ("nan", 9.5),
        ("inf", 9.5),
        ("soon", 9.5),
    ],
)
def test_the_deadline_is_what_prometheus_waits_less_half_a_second(header: str | None, seconds: float) -> None:
    headers = {} if header is None else {"x-prometheus-scrape-timeout-seconds": header}
    assert deadline(Request("GET", "/metrics", "", headers)) == seconds


PROMETHEUS = """\
scrape_configs:
  - job_name: leitstand
    scrape_interval: 300ms
    scrape_timeout: 300ms
    scheme: https
    tls_config: {{ca_file: {ca}, server_name: localhost}}
    basic_auth: {{username: prometheus, password: correct horse}}
    static_configs: [{{targets: ["127.0.0.1:{port}"]}}]
"""


@pytest.fixture
def prometheus(tmp_path: Path) -> Iterator[Callable[[str], Callable[[str], list[Any]]]]:
    """Start Debian's Prometheus; gives a function that queries it."""
    processes = []

    def start(config: str) -> Callable[[str], list[Any]]:
        path = tmp_path / "prometheus.yml"
        path.write_text(config)
        port = free_port()
        processes.append(
            subprocess.Popen(
                [
                    "prometheus",
                    f"--config.file={path}",
                    f"--storage.tsdb.path={tmp_path}/data",
                    f"--web.listen-address=127.0.0.1:{port}",
                ],
                stderr=subprocess.DEVNULL,
            )
        )

        def query(expression: str) -> list[Any]:
            url = f"http://127.0.0.1:{port}/api/v1/query?{urllib.parse.urlencode({'query': expression})}"
            try:
                with urllib.request.urlopen(url, timeout=patient(60)) as answer:
                    return json.load(answer)["data"]["result"]
            except OSError:
                return []

        return query

    yield start
    for process in processes:
        process.kill()
        process.wait()


def test_a_real_prometheus_scrapes_openmetrics_over_tls_with_a_password(
    serve: Callable[..., Any],
    scraper: OneCounter,
    prometheus: Callable[[str], Callable[[str], list[Any]]],
    eventually: Callable[..., Any],
    pki: Any,
    tls_config: str,
    users_config: str,
) -> None:
    accepted: list[str] = []
    app = App(scraper, Shelf())

    def handler(request: Request) -> Any:
        accepted.append(request.headers["accept"])
        return app(request)

    running = serve(handler, tls_config + users_config)
    query = prometheus(PROMETHEUS.format(ca=pki.ca, port=running.port))
    # On a busy machine, a scrape may come too late once in a while.
    assert eventually(lambda: query("scrapes_total >= 3"))
    assert eventually(lambda: query('up{job="leitstand"} == 1'))
    assert accepted[0].startswith("application/openmetrics-text")
    # The header gave the deadline, and one connection served all scrapes.
    assert scraper.asked[0][0] == pytest.approx(0.15)
    eventually(lambda: running.server.status().connections == 1)
    assert running.server.status().refused["password"] == 0
