"""The application as granian runs it, called directly: what is sent for which request, at which time."""
# ruff: noqa: RUF001 - the page's words hold dashes

import gzip
import io
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from status_page import ready
from status_page.app import build_application, create_app
from status_page.rendering import Document, bundle
from status_page.round import Memory, snapshot
from status_page.states import Observation
from status_page.web import CurrentRelease, ReadyPages, accepts_gzip, best_language

NOW = 1_791_201_780.0
EXPECTED_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self' data:; "
    "script-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Strict-Transport-Security": "max-age=63072000",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Cross-Origin-Opener-Policy": "same-origin",
}


@dataclass
class Site:
    """Pages of one snapshot, asked at any time."""

    application: ReadyPages
    now: float = NOW

    def get(self, path, method="GET", **headers):
        environ = {
            "REQUEST_METHOD": method,
            "PATH_INFO": path,
            "QUERY_STRING": "",
            "SERVER_NAME": "localhost",
            "SERVER_PORT": "80",
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(),
            **{f"HTTP_{name.upper()}": value for name, value in headers.items()},
        }
        got = []
        body = b"".join(
            self.application(environ, lambda status, fields, *_: got.extend((status, dict(fields))))
        )
        return int(got[0][:3]), got[1], body

    def text(self, path, **headers):
        return self.get(path, **headers)[2].decode()


@pytest.fixture
def site(plan: Any) -> Callable[..., Any]:
    """``site(website="up", …)``: pages written at NOW; services that are not named were never measured."""

    def make(made=None, age=5, **states):
        made = made or plan()
        seen = {name: Observation(state, NOW - age) for name, state in states.items()}
        release = ready.release(bundle(snapshot(made, Memory(observations=seen, locations=1), NOW)))
        result = Site(None)
        result.application = ReadyPages(
            lambda: release,
            made.languages,
            create_app(made, lambda: release).wsgi_app,
            clock=lambda: result.now,
        )
        return result

    return make


@pytest.mark.parametrize(
    "path", ["/", "/de/", "/api/v1/status.json", "/de/feed.xml", "/-/healthy", "/nothing", "/../x"]
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_every_answer_has_the_security_headers_and_no_cookie(site, path, method):
    _, headers, _ = site(website="up").get(path, method)
    assert {name: headers.get(name) for name in EXPECTED_HEADERS} == EXPECTED_HEADERS
    assert headers["Server"] == ""
    assert "Set-Cookie" not in headers
    open_paths = ("/api/v1/status.json", "/de/feed.xml")
    policy = "cross-origin" if path in open_paths and method == "GET" else "same-origin"
    assert headers["Cross-Origin-Resource-Policy"] == policy


def test_the_state_is_shown_in_both_languages_and_as_json(site):
    page = site(website="down", mail="up")
    assert "<h1>Webseite ist ausgefallen</h1>" in page.text("/de/")
    assert "<h1>Website is down</h1>" in page.text("/en/")
    assert "<span>Ausgefallen</span>" in page.text("/de/")
    content = json.loads(page.text("/api/v1/status.json"))
    assert {entry["id"]: entry["state"] for entry in content["services"]} == {"website": "down", "mail": "up"}
    assert (content["state"], content["age_seconds"], content["stale"]) == ("down", 5, False)
    assert content["measured_at"] == "2026-10-05T14:02:55+02:00"


def test_the_age_of_the_measurement_is_in_every_answer(site):
    page = site(website="up", mail="up")
    page.now = NOW + 7
    for path in ("/de/", "/api/v1/status.json", "/en/badge/mail.svg"):
        _, headers, _ = page.get(path)
        assert (headers["Measurement-Age"], headers["Measurement-Time"]) == ("12", "2026-10-05T12:02:55Z")
    assert '<time datetime="2026-10-05T14:02:55+02:00">5. Oktober 2026, 14:02 Uhr (MESZ)</time>' in page.text(
        "/de/"
    )


def test_a_dead_collector_makes_the_page_stale(site):
    page = site(website="up", mail="down")
    page.now = NOW + 59
    assert "Mail is down" in page.text("/en/")
    page.now = NOW + 12 * 60
    text = page.text("/de/")
    assert "<h1>Wir können den Stand gerade nicht prüfen.</h1>" in text
    assert "Letzter bekannter Stand: 5. Oktober, 14:02 Uhr (vor 12 Minuten)" in text
    assert "Zuletzt verfügbar" in text
    assert "<span>Verfügbar</span>" not in text
    page.now = NOW + 13 * 60
    assert "vor 13 Minuten" in page.text("/de/")
    content = json.loads(page.text("/api/v1/status.json"))
    assert {entry["state"] for entry in content["services"]} == {"unknown"}
    assert (content["stale"], content["state"], content["age_seconds"]) == (True, "unknown", 785)
    assert "Unknown" in page.text("/en/badge/website.svg")


def test_stale_pages_asked_in_turn_are_each_filled_in_once_a_minute(site, monkeypatch):
    page = site(website="up", mail="down")
    compressed = []
    real = Document.compressed
    monkeypatch.setattr(Document, "compressed", lambda self: compressed.append(self.language) or real(self))
    page.now = NOW + 720
    for _ in range(5):
        for path in ("/de/", "/en/"):
            page.get(path, accept_encoding="gzip")
    assert compressed == ["de", "en"]
    page.now += 60
    assert "vor 13 Minuten" in page.text("/de/")


def test_after_a_day_even_the_last_known_state_is_hidden(site):
    page = site(website="up", mail="up")
    page.now = NOW + 86_400
    text = page.text("/en/")
    assert "We cannot check right now." in text
    assert "vailable" not in re.sub(
        r"<svg.*?</svg>|<details.*?</details>|<p class=.scale.*?</p>", "", text, flags=re.S
    )
    assert json.loads(page.text("/api/v1/status.json"))["services"][0]["last_known"] is None


@pytest.mark.parametrize("age", [0, 100, 86_400, 864_000])
def test_no_page_of_any_age_shows_the_marks_of_what_is_filled_in(site, age):
    page = site(website="up", mail="down")
    page.now = NOW + age
    for path in ("/de/", "/en/", "/api/v1/status.json", "/de/feed.xml", "/en/badge/mail.svg"):
        assert not re.search("[\ue000-\uf8ff]", page.text(path)), path
    assert json.loads(page.text("/api/v1/status.json"))["age_seconds"] == age + 5


def test_links_that_leave_the_page_begin_with_the_sites_address(site, plan):
    made = plan(site={"name": "Team", "languages": ["en"], "url": "https://status.example.org/"})
    text, feed = (site(made, website="up").text(path) for path in ("/en/", "/en/feed.xml"))
    assert '<link rel="canonical" href="https://status.example.org/en/">' in text
    assert '<meta property="og:url" content="https://status.example.org/en/">' in text
    assert 'href="https://status.example.org/en/feed.xml"' in feed
    assert "canonical" not in site(website="up").text("/en/")


def test_a_page_written_without_any_measurement_is_unknown(site):
    page = site()
    assert "Unbekannt – keine aktuellen Daten" in page.text("/de/")
    assert "There is no measurement yet" in page.text("/en/")
    assert "Measurement-Age" not in page.get("/de/")[1]
    page.now = NOW + 3_600
    assert json.loads(page.text("/api/v1/status.json"))["age_seconds"] is None


def test_no_services_at_all_is_unknown(site, plan):
    page = site(plan(services={}))
    assert "Unbekannt – keine aktuellen Daten" in page.text("/de/")
    assert json.loads(page.text("/api/v1/status.json"))["state"] == "unknown"


def test_old_measurements_are_remarked_then_unknown(site):
    assert "Letzte Messung vor 1 Minute" in site(website="up", mail="up", age=100).text("/de/")
    text = site(website="up", mail="up", age=600).text("/en/")
    assert "Unknown – no current data" in text
    assert "Last known state: 13:53 (10 minutes ago)" in text
    assert "Available" not in text


def test_an_unchanged_page_costs_no_body(site):
    page = site(website="up")
    for encoding in ("gzip", ""):
        _, headers, _ = page.get("/de/", accept_encoding=encoding)
        tag = headers["ETag"]
        for asked in (tag, f'"other", W/{tag}', "*"):
            status, again, body = page.get("/de/", accept_encoding=encoding, if_none_match=asked)
            assert (status, body, again["ETag"]) == (304, b"", tag)
            assert again["Cache-Control"] == headers["Cache-Control"]
            assert "Content-Length" not in again
        assert page.get("/de/", accept_encoding=encoding, if_none_match='"other"')[0] == 200


def test_each_encoding_has_its_own_tag_and_the_same_content(site):
    page = site(website="up")
    _, plain, body = page.get("/de/")
    _, zipped, packed = page.get("/de/", accept_encoding="br, gzip;q=0.5")
    assert gzip.decompress(packed) == body
    assert zipped["Content-Encoding"] == "gzip"
    assert "Content-Encoding" not in plain
    assert plain["ETag"] != zipped["ETag"]
    assert plain["Vary"] == zipped["Vary"] == "Accept-Encoding"
    assert int(zipped["Content-Length"]) == len(packed)


def test_a_head_request_returns_the_length_without_the_body(site):
    page = site(website="up")
    status, headers, body = page.get("/de/", "HEAD")
    assert (status, body) == (200, b"")
    assert int(headers["Content-Length"]) == len(page.text("/de/").encode())


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("", "de"), ("de-AT,de;q=0.9,en;q=0.8", "de"), ("en-GB", "en"), ("fr, en;q=0.3", "en"), ("fr", "de"),
        ("de;q=0, *", "en"), ("en;q=nonsense, de;q=0.1", "de"), (",;=,", "de"),
    ],
)  # fmt: skip
def test_the_root_speaks_the_visitors_language(site, header, language):
    assert best_language(header, ("de", "en")) == language
    _, headers, body = site(website="up").get("/", accept_language=header)
    assert headers["Content-Language"] == language
    assert headers["Content-Location"] == f"/{language}/"
    assert headers["Vary"] == "Accept-Encoding, Accept-Language"
    assert f'<html lang="{language}">'.encode() in body


@pytest.mark.parametrize(
    ("header", "accepted"),
    [
        ("gzip", True),
        ("*", True),
        ("GZIP;q=1.0", True),
        ("gzip;q=0", False),
        ("gzip;q=0, *", False),
        ("br", False),
    ],
)
def test_gzip_is_sent_to_those_who_take_it(header, accepted):
    assert accepts_gzip(header) is accepted


def test_a_language_the_site_does_not_have_is_not_there(site, plan):
    one = plan(site={"name": "Team", "languages": ["en"], "time_zone": "UTC"})
    page = site(one, website="up")
    assert page.get("/de/")[0] == 404
    assert "Content-Language" in page.get("/", accept_language="de")[1]


def test_errors_are_constant_and_other_methods_refused(site):
    page = site(website="up")
    status, _, body = page.get("/de/<script>alert(1)</script>")
    assert (status, b"script" in body) == (404, False)
    for path in ("/de/", "/api/v1/status.json", "/-/healthy", "/nothing"):
        status, headers, body = page.get(path, "POST")
        assert (status, headers["Allow"], body) == (405, "GET, HEAD", b"")
        assert headers["Cache-Control"] == "no-store"
    assert page.get("/-/healthy")[2] == b"healthy\n"


def test_a_visitor_who_leaves_out_the_slash_is_sent_to_the_page(site):
    page = site(website="up")
    status, headers, _ = page.get("/de")
    assert (status, headers["Location"]) == (308, "/de/")
    assert page.get("/fr")[0] == 404


def test_everything_a_page_refers_to_is_served_and_cached_permanently(site):
    page = site(website="up", mail="down")
    references = set(re.findall(r'(?:href|src)="([^"#]+)"', page.text("/de/")))
    assert any(path.endswith(".css") for path in references)
    for path in references:
        status, headers, _ = page.get(path)
        assert status == 200, path
        if path.startswith("/static/"):
            assert headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert not any("://" in path for path in references)


def test_names_are_plain_text_in_every_place(site, plan):
    evil = "\"'><script>alert(1)</script><!--]]>&amp;\ue000de\ue001"
    services = {
        "website": {"name": evil, "url": "https://example.org/", "group": evil},
        "mail": {"name": "Mail", "url": "https://example.org/"},
    }
    made = plan(services=services, site={"name": evil, "languages": ["de", "en"], "time_zone": "UTC"})
    page = site(made, website="down", mail="up")
    for now in (NOW, NOW + 3_600):
        page.now = now
        for path in ("/de/", "/en/", "/de/feed.xml", "/en/badge/website.svg"):
            text = page.text(path)
            assert "<script>alert" not in text
            assert "\ue000" not in text
        assert json.loads(page.text("/api/v1/status.json"))["services"][0]["name"]["de"].startswith(
            "\"'><script>"
        )


def test_workers_take_up_what_the_collector_wrote(plan, tmp_path):
    made = plan({"folder": str(tmp_path)})
    empty = ready.release(bundle(snapshot(made, Memory(), NOW)))
    current = CurrentRelease(tmp_path, lambda: empty)
    assert current() is empty
    for state in ("up", "down"):
        told = snapshot(made, Memory(observations={"mail": Observation(state, NOW)}), NOW)
        ready.publish(tmp_path, bundle(told))
        fresh = CurrentRelease(tmp_path, lambda: empty)()
        assert (
            json.loads(fresh.variants["fresh"]["/api/v1/status.json"].document.body)["services"][1]["state"]
            == state
        )
    assert len(list((tmp_path / "releases").iterdir())) == 2


def test_a_running_worker_notices_a_new_release(plan, tmp_path, wait):
    made = plan({"folder": str(tmp_path)})
    empty = ready.release(bundle(snapshot(made, Memory(), NOW)))
    current = CurrentRelease(tmp_path, lambda: empty)
    assert current() is empty
    ready.publish(tmp_path, bundle(snapshot(made, Memory(), NOW + 15)))
    wait(lambda: current() is not empty)


def test_a_file_cut_short_is_never_served(plan, tmp_path):
    made = plan({"folder": str(tmp_path)})
    empty = ready.release(bundle(snapshot(made, Memory(), NOW)))
    ready.publish(tmp_path, bundle(snapshot(made, Memory(), NOW)))
    page = tmp_path / "current" / "fresh" / "de" / "index.html"
    page.write_bytes(page.read_bytes()[:100])
    with pytest.raises(ready.ReadyError):
        ready.load(tmp_path)
    assert CurrentRelease(tmp_path, lambda: empty)() is empty


def test_before_the_first_round_the_page_shows_all_as_unknown(plan, tmp_path):
    made = plan({"folder": str(tmp_path / "nothing-here")})
    site = Site(build_application(made, made.folder))
    status, _, body = site.get("/de/")
    assert status == 200
    assert "Unbekannt – keine aktuellen Daten".encode() in body


def test_nothing_on_disk_is_replaced_when_the_disk_is_full(plan, tmp_path):
    made = plan({"folder": str(tmp_path / "state")})
    ready.publish(made.folder, bundle(snapshot(made, Memory(), NOW)))
    before = (made.folder / "current").readlink()
    (made.folder / "releases").rename(tmp_path / "aside")
    (made.folder / "releases").write_text("a file where a folder must be")
    with pytest.raises(ready.ReadyError):
        ready.publish(made.folder, bundle(snapshot(made, Memory(), NOW)))
    assert (made.folder / "current").readlink() == before
