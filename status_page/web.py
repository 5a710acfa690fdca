"""The thin WSGI layer: sends ready bytes by path, encoding and ETag; anything else goes to the Flask app.

It queries neither Prometheus nor SQLite. On each request it compares the age of the pages with the
clock, so that the page does not stay green when the collector is dead.
"""

import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from werkzeug.datastructures import Accept
from werkzeug.http import parse_accept_header

from status_page import ready
from status_page.ages import filled
from status_page.ready import Ready, ReadyError, Release, made_ready
from status_page.snapshot import Language

_LONGEST = 1000  # maximum characters of a header that are read
LOGGER = logging.getLogger(__name__)
Headers = list[tuple[str, str]]
StartResponse = Callable[..., Any]
Application = Callable[[dict[str, Any], StartResponse], Iterable[bytes]]

SECURITY_HEADERS: Headers = [
    (
        "Content-Security-Policy",
        "default-src 'none'; style-src 'self'; img-src 'self' data:; script-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    ("Strict-Transport-Security", "max-age=63072000"),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Permissions-Policy", "camera=(), microphone=(), geolocation=()"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    # granian names itself unless the field is given, and cannot leave it out (emmett-framework/granian#594).
    ("Server", ""),
]
SAME_ORIGIN: Headers = [("Cross-Origin-Resource-Policy", "same-origin")]
ANY_ORIGIN: Headers = [("Cross-Origin-Resource-Policy", "cross-origin"), ("Access-Control-Allow-Origin", "*")]
NOT_ALLOWED: Headers = [
    *SECURITY_HEADERS,
    *SAME_ORIGIN,
    ("Allow", "GET, HEAD"),
    ("Cache-Control", "no-store"),
    ("Content-Length", "0"),
]


@dataclass(frozen=True, slots=True)
class Answer:
    """One representation: everything but the age is fixed."""

    body: bytes
    etag: str
    headers: Headers


class CurrentRelease:
    """The release on disk, read again when the collector replaced it.

    One that cannot be read is logged once and the last valid one kept, which shows its age. While
    there is none, the result of ``fallback`` is served.
    """

    def __init__(self, folder: Path, fallback: Callable[[], Release]) -> None:
        self._folder, self._link = folder, str(folder / "current")
        self._release: Release | None = None
        self._fallback, self._target = fallback, ""
        self._lock = threading.Lock()

    def __call__(self) -> Release:
        """The newest release. The link is checked on each request, so all workers agree."""
        if self._lock.acquire(blocking=False):
            try:
                self._look()
                self._release = self._release or self._fallback()
            finally:
                self._lock.release()
        return self._release or self._fallback()

    def _look(self) -> None:
        try:
            target = os.readlink(self._link)  # noqa: PTH115 - on each request, without a path's costs
        except OSError:
            return
        if target == self._target:
            return
        try:
            self._release = ready.load(self._folder) or self._release
        except ReadyError as error:
            LOGGER.warning("%s", error)
        self._target = target


class ReadyPages:
    """The WSGI application. ``clock`` gives seconds since 1970."""

    def __init__(
        self,
        current: Callable[[], Release],
        languages: Sequence[Language],
        other: Application,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._current, self._languages, self._other, self._clock = current, tuple(languages), other, clock
        # Representations of the current release, built at the first request for each.
        self._answers: tuple[Release | None, str, dict[tuple[str, ...], Answer]] = (None, "", {})

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        method = environ["REQUEST_METHOD"]
        if method not in ("GET", "HEAD"):
            start_response("405 Method Not Allowed", NOT_ALLOWED)
            return [b""]
        release, now = self._current(), self._clock()
        path = environ["PATH_INFO"]
        negotiated = path == "/"
        if negotiated:
            path = f"/{best_language(environ.get('HTTP_ACCEPT_LANGUAGE', ''), self._languages)}/"
        answer = self._answer(
            release, path, accepts_gzip(environ.get("HTTP_ACCEPT_ENCODING", "")), negotiated, now
        )
        if answer is None:
            return self._other(environ, start_response)
        return _send(answer, environ, start_response, _age_headers(release, now))

    def _answer(
        self, release: Release, path: str, zipped: bool, negotiated: bool, now: float
    ) -> Answer | None:
        variant = release.variant(now)
        # A page that is not fresh shows its age, to the minute.
        minute = "" if variant == "fresh" else str(int(now // 60))
        known, when, answers = self._answers
        if known is not release or when != minute:
            answers = {}
            self._answers = (release, minute, answers)
        key = (path, variant, "gzip" if zipped else "", "/" if negotiated else "")
        answer = answers.get(key)
        if answer is None:
            found = release.variants["assets"].get(path) or release.variants[variant].get(path)
            if found is None:
                return None
            if minute:
                found = filled_at(found, now, release)
            answer = answers[key] = _representation(found, path, zipped, negotiated)
        return answer


def filled_at(found: Ready, now: float, release: Release) -> Ready:
    """A document with the time since the last measurement filled in."""
    text = found.document.body.decode()
    if "\ue000" not in text:
        return found
    seconds = max(0.0, now - (now if release.measured_at is None else release.measured_at))
    return made_ready(replace(found.document, body=filled(text, seconds, release.ages).encode()))


def _representation(found: Ready, path: str, zipped: bool, negotiated: bool) -> Answer:
    document = found.document
    etag = f'"{found.zipped_etag if zipped else found.etag}"'
    headers = [
        *SECURITY_HEADERS,
        *(ANY_ORIGIN if document.open else SAME_ORIGIN),
        ("Content-Type", document.content_type),
        ("Cache-Control", document.cache),
        ("Vary", "Accept-Encoding, Accept-Language" if negotiated else "Accept-Encoding"),
        ("ETag", etag),
    ]
    if document.language:
        headers.append(("Content-Language", document.language))
    if negotiated:
        headers.append(("Content-Location", path))
    if zipped:
        headers.append(("Content-Encoding", "gzip"))
    return Answer(found.zipped if zipped else document.body, etag, headers)


def _send(
    answer: Answer, environ: dict[str, Any], start_response: StartResponse, age: Headers
) -> Iterable[bytes]:
    asked = environ.get("HTTP_IF_NONE_MATCH")
    if asked and matches(asked, answer.etag):
        start_response("304 Not Modified", answer.headers + age)
        return [b""]
    start_response("200 OK", [*answer.headers, *age, ("Content-Length", str(len(answer.body)))])
    return [b"" if environ["REQUEST_METHOD"] == "HEAD" else answer.body]


def _age_headers(release: Release, now: float) -> Headers:
    """When the data of this answer was measured, and its age in seconds; empty without data."""
    if release.measured_at is None:
        return []
    measured = datetime.fromtimestamp(int(release.measured_at), UTC)
    return [
        ("Measurement-Time", measured.strftime("%Y-%m-%dT%H:%M:%SZ")),
        ("Measurement-Age", str(max(0, int(now - release.measured_at)))),
    ]


def matches(asked: str, etag: str) -> bool:
    """If-None-Match: any of a list, weak or strong, or ``*`` (RFC 9110, 13.1.2)."""
    return any(tag.strip().removeprefix("W/") in (etag, "*") for tag in asked.split(","))


@lru_cache(maxsize=1024)
def accepts_gzip(header: str) -> bool:
    """Whether an Accept-Encoding takes gzip (RFC 9110, 12.5.3): named or under ``*``, not with weight 0."""
    return parse_accept_header(header[:_LONGEST])["gzip"] > 0


@lru_cache(maxsize=1024)
def best_language(header: str, languages: tuple[Language, ...]) -> Language:
    """The language an Accept-Language prefers (``de-AT`` is German), or the site's first one."""
    tags = parse_accept_header(header[:_LONGEST])
    return max(languages, key=Accept((tag.split("-")[0], weight) for tag, weight in tags).quality)
