"""The parts of HTTP/1.1 that a scrape needs: parse one request head, write one response.

Pure: bytes in, values out; no socket. Source: RFC 9110 and RFC 9112. Stricter than those where leniency
helps only attackers (line folding, spaces before the colon, two different lengths).
"""

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import unquote, urlsplit

MAXIMUM_BODY = 64 * 1024  # bytes; bodies are not read, but a larger one is refused
METHODS = ("GET", "HEAD")
_DATE = "%a, %d %b %Y %H:%M:%S GMT"  # RFC 9110 5.6.7; in English, as no program of ours sets a locale

_END_OF_HEAD = re.compile(rb"\r?\n\r?\n")
_REQUEST_LINE = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+) ([!-~]+) HTTP/(\d)\.(\d)")
_HEADER_LINE = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*(.*)")
# A control byte in a value has no meaning; a carriage return there is an attempt to add a header.
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_LENGTH = re.compile(r"[0-9]{1,18}")
_ONCE = ("host", "content-length")


@dataclass(frozen=True)
class Request:
    """One request. ``path`` is percent-decoded, ``query`` as sent; header names are in lower case."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str] = field(repr=False)  # may contain a password
    client: str = ""
    version: tuple[int, int] = (1, 1)

    @property
    def has_body(self) -> bool:
        """Whether the request has a body."""
        return self.headers.get("content-length", "0") != "0" or "transfer-encoding" in self.headers

    @property
    def keeps_alive(self) -> bool:
        """Whether the client wants to, and can, send another request on this connection."""
        options = {option.strip().lower() for option in self.headers.get("connection", "").split(",")}
        if self.has_body or "close" in options:
            return False
        return self.version >= (1, 1) or "keep-alive" in options


@dataclass(frozen=True)
class Response:
    """One response. ``headers`` come in addition to type, length, date and connection."""

    status: int
    body: bytes = b""
    content_type: str = "text/plain; charset=utf-8"
    headers: tuple[tuple[str, str], ...] = ()


Handler = Callable[[Request], Response]


class BadRequestError(Exception):
    """An invalid HTTP request; ``response`` is the answer, and the connection ends."""

    def __init__(self, status: HTTPStatus, reason: str) -> None:
        super().__init__(reason)
        self.response = Response(status, f"{status.value} {status.phrase}: {reason}\n".encode())


def problem(status: int, reason: str = "", headers: tuple[tuple[str, str], ...] = ()) -> Response:
    """An error as one line of text: the status in words, and the reason."""
    words = HTTPStatus(status).phrase + (f": {reason}" if reason else "")
    return Response(status, f"{words}\n".encode(), headers=(("X-Content-Type-Options", "nosniff"), *headers))


def split_head(buffer: bytes, maximum: int) -> tuple[bytes, bytes] | None:
    """The first request's head and what follows it; None while the head is incomplete.

    Raises BadRequestError (431) if the head is longer than ``maximum`` bytes.
    """
    size = len(buffer)
    # RFC 9112 2.2: a server should ignore an empty line before the request.
    buffer = buffer.lstrip(b"\r\n")
    if buffer[:1] and not b"!" <= buffer[:1] <= b"~":
        # Not text (a TLS hello, a scanner): its head would never be complete.
        raise BadRequestError(HTTPStatus.BAD_REQUEST, "malformed request line")
    found = _END_OF_HEAD.search(buffer)
    if found is None and size <= maximum:
        return None
    if found is None or found.start() > maximum:
        raise BadRequestError(
            HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, f"more than {maximum} bytes of header"
        )
    return buffer[: found.start()], buffer[found.end() :]


def parse_head(head: bytes, client: str = "") -> Request:
    """The request of one head, as ``split_head`` gives it. Raises BadRequestError."""
    first, *lines = head.decode("latin-1").replace("\r\n", "\n").split("\n")
    method, target, version = _parse_request_line(first)
    headers = _parse_headers(lines)
    _check_host(headers, version)
    _check_body(headers)
    path, query = _split_target(target)
    return Request(method, path, query, headers, client, version)


def _parse_request_line(line: str) -> tuple[str, str, tuple[int, int]]:
    match = _REQUEST_LINE.fullmatch(line)
    if match is None:
        raise BadRequestError(HTTPStatus.BAD_REQUEST, "malformed request line")
    method, target, major, minor = match.groups()
    if major != "1":
        raise BadRequestError(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, f"HTTP/{major}.{minor}")
    return method, target, (int(major), int(minor))


def _parse_headers(lines: list[str]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for line in lines:
        match = _HEADER_LINE.fullmatch(line)
        if match is None or _CONTROL.search(match[2]):
            raise BadRequestError(HTTPStatus.BAD_REQUEST, "malformed header line")
        name, value = match[1].lower(), match[2].rstrip(" \t")
        if name in headers and name in _ONCE:
            raise BadRequestError(HTTPStatus.BAD_REQUEST, f"header {name} given twice")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


def _check_host(headers: Mapping[str, str], version: tuple[int, int]) -> None:
    if version >= (1, 1) and "host" not in headers:
        raise BadRequestError(HTTPStatus.BAD_REQUEST, "missing required Host header")


def _check_body(headers: Mapping[str, str]) -> None:
    length = headers.get("content-length", "0")
    if not _LENGTH.fullmatch(length):
        raise BadRequestError(HTTPStatus.BAD_REQUEST, "bad Content-Length")
    if int(length) > MAXIMUM_BODY:
        raise BadRequestError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"more than {MAXIMUM_BODY} bytes of body")


def _split_target(target: str) -> tuple[str, str]:
    """Path and query of ``/path?query``, ``http://host/path?query`` or ``*``."""
    if not target.startswith("/"):
        try:
            parts = urlsplit(target)
        except ValueError as error:
            raise BadRequestError(HTTPStatus.BAD_REQUEST, "malformed target") from error
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    path, _, query = target.partition("#")[0].partition("?")
    return unquote(path, errors="replace"), query


def write_response(response: Response, *, head_only: bool, keep_alive: bool) -> bytes:
    """The response as bytes; to HEAD, the header of the response to GET, without a body."""
    status = HTTPStatus(response.status)
    lines = [
        f"HTTP/1.1 {status.value} {status.phrase}",
        f"Date: {time.strftime(_DATE, time.gmtime())}",
        f"Content-Type: {response.content_type}",
        f"Content-Length: {len(response.body)}",
        *(f"{name}: {value}" for name, value in response.headers),
        *([] if keep_alive else ["Connection: close"]),
    ]
    if response.status == HTTPStatus.NOT_MODIFIED:
        # RFC 9110 8.6: a 304 with a length states the length of the corresponding 200, which is not 0.
        del lines[2:4]
    head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
    return head if head_only or response.status == HTTPStatus.NOT_MODIFIED else head + response.body
