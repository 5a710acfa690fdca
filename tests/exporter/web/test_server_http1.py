"""The request parser and the writer of answers, as pure functions."""

import string

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from exporter.web.http1 import BadRequestError, Request, Response, parse_head, split_head, write_response

MAXIMUM = 2000
TOKEN = st.text(string.ascii_letters + string.digits + "!#$%&'*+-.^_`|~", min_size=1, max_size=20)
VALUE = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=40).map(str.strip)
PATH = st.text(string.ascii_letters + string.digits + "/-._~", max_size=40).map(lambda text: "/" + text)


def parsed(data: bytes) -> Request | int | None:
    """A request, the status of its refusal, or None while it is not whole."""
    try:
        parts = split_head(data, MAXIMUM)
        return parse_head(parts[0]) if parts else None
    except BadRequestError as error:
        return error.response.status


@settings(derandomize=True, max_examples=300, deadline=None)
@given(st.binary(max_size=3000))
@example(b"\r\n" * 1500)
@example(b"GET / HTTP/1.1\r\nHost: \xff\r\n\r\n")
@example(b"GET http://[ HTTP/1.1\r\nHost: a\r\n\r\n")
def test_any_bytes_are_a_request_or_refused_or_not_whole(data: bytes) -> None:
    result = parsed(data)
    assert result is None or isinstance(result, Request) or result in (400, 413, 431, 505)


@settings(derandomize=True, max_examples=200, deadline=None)
@given(st.data())
def test_a_changed_byte_in_a_request_never_escapes_the_parser(data: st.DataObject) -> None:
    good = bytearray(b"GET /metrics?a=b HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
    good[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    result = parsed(bytes(good))
    assert result is None or isinstance(result, Request) or result in (400, 413, 505)


@settings(derandomize=True, max_examples=200, deadline=None)
@given(TOKEN, PATH, st.dictionaries(TOKEN.map(str.lower), VALUE, max_size=6), st.sampled_from(["\r\n", "\n"]))
def test_a_well_formed_request_is_read_as_it_was_written(
    method: str, path: str, headers: dict[str, str], line_break: str
) -> None:
    headers = {**headers, "host": "x", "content-length": "0"}
    lines = [f"{method} {path}?q=1 HTTP/1.1", *(f"{name}:{value}" for name, value in headers.items()), "", ""]
    result = parsed(line_break.join(lines).encode())
    assert isinstance(result, Request)
    assert (result.method, result.path, result.query) == (method, path, "q=1")
    assert result.headers == headers


def test_a_request_that_is_shown_shows_no_password() -> None:
    result = parsed(b"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Basic dXNlcjpzZWNyZXQ=\r\n\r\n")
    assert isinstance(result, Request)
    assert result.headers["authorization"] == "Basic dXNlcjpzZWNyZXQ="
    assert "dXNlcjpzZWNyZXQ=" not in repr(result)


@settings(derandomize=True, max_examples=100, deadline=None)
@given(st.integers(0, 3 * MAXIMUM))
def test_a_head_never_grows_beyond_the_limit(length: int) -> None:
    data = b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * length
    result = parsed(data + b"\r\n\r\n")
    assert (result == 431) == (len(data) > MAXIMUM)
    assert (parsed(data) == 431) == (len(data) > MAXIMUM)


def test_bytes_after_a_head_are_left_for_the_next_request() -> None:
    assert split_head(b"\r\nGET / HTTP/1.0\r\n\r\nrest", MAXIMUM) == (b"GET / HTTP/1.0", b"rest")
    assert split_head(b"GET / HTTP/1.0\r\n\r", MAXIMUM) is None


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        ("/a%20b%C3%A4", "/a bä", ""),
        ("/a?x=%2F#fragment", "/a", "x=%2F"),
        ("/%ff", "/�", ""),
        ("http://host:1/a?b", "/a", "b"),
        ("http://host", "/", ""),
        ("*", "*", ""),
        ("//evil/x", "//evil/x", ""),
    ],
)
def test_targets(target: str, path: str, query: str) -> None:
    request = parse_head(f"GET {target} HTTP/1.0".encode())
    assert (request.path, request.query) == (path, query)


@pytest.mark.parametrize(
    ("head", "keeps"),
    [
        ("GET / HTTP/1.1\nHost: a", True),
        ("GET / HTTP/1.1\nHost: a\nConnection: keep-alive, Close", False),
        ("GET / HTTP/1.0", False),
        ("GET / HTTP/1.0\nConnection: Keep-Alive", True),
        ("GET / HTTP/1.1\nHost: a\nContent-Length: 5", False),
        ("GET / HTTP/1.1\nHost: a\nTransfer-Encoding: chunked", False),
    ],
)
def test_when_the_connection_is_kept(head: str, keeps: bool) -> None:
    assert parse_head(head.encode()).keeps_alive is keeps


@settings(derandomize=True, max_examples=50, deadline=None)
@given(st.sampled_from([200, 304, 401, 404, 503]), st.binary(max_size=100), st.booleans(), st.booleans())
def test_an_answer_has_one_head_and_its_body(
    status: int, body: bytes, head_only: bool, keep_alive: bool
) -> None:
    written = write_response(Response(status, body), head_only=head_only, keep_alive=keep_alive)
    head, _, rest = written.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert rest == (b"" if head_only or status == 304 else body)
    assert (b"\r\nConnection: close" in head) is not keep_alive
    assert (b"\r\nContent-Length: %d" % len(body) in head) is (status != 304)
