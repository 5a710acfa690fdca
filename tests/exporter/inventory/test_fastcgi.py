import contextlib
import os
import select
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.inventory import fastcgi
from lab.patience import patient


def decoded(encoded: bytes) -> dict[str, str]:
    """Name-value pairs read back by the specification."""
    found, at = {}, 0
    while at < len(encoded):
        lengths = []
        for _ in range(2):
            wide = encoded[at] >> 7
            lengths.append(int.from_bytes(encoded[at : at + 4], "big") & 0x7FFFFFFF if wide else encoded[at])
            at += 4 if wide else 1
        name, value = encoded[at : at + lengths[0]], encoded[at + lengths[0] : at + sum(lengths)]
        found[name.decode()] = value.decode()
        at += sum(lengths)
    return found


@settings(max_examples=150, derandomize=True)
@given(st.dictionaries(st.text(max_size=200), st.text(max_size=400), max_size=4))
def test_parameters_of_any_length_can_be_read_back(values: dict[str, str]) -> None:
    assert decoded(fastcgi.parameters(values)) == values


@settings(max_examples=300, derandomize=True)
@given(st.binary(max_size=200))
def test_any_answer_is_understood_or_refused(data: bytes) -> None:
    try:
        answer = fastcgi.parse_answer(data)
    except fastcgi.FastCgiError:
        return
    assert answer is None or 0 <= answer[0] <= 999


def test_an_answer_is_put_together_from_its_records() -> None:
    data = b"".join(
        [
            fastcgi.record(fastcgi.STDOUT, b"Status: 404 Not Found\r\nX: y\r\n\r\nno"),
            fastcgi.record(7, b"a complaint"),
            fastcgi.record(fastcgi.STDOUT, b"thing"),
            fastcgi.record(fastcgi.END_REQUEST, bytes(8)),
        ]
    )
    assert fastcgi.parse_answer(data) == (404, b"nothing")
    for length in range(len(data)):
        assert fastcgi.parse_answer(data[:length]) is None


@pytest.fixture
def answering(tmp_path: Path) -> Callable[[bytes], str]:
    """A server on a Unix socket that sends some bytes to whoever asks; returns the socket's path."""

    def start(reply: bytes) -> str:
        folder = tmp_path / ("long" * 30)
        folder.mkdir()
        server = socket.socket(socket.AF_UNIX)
        # The path is longer than a socket's name may be, so it is bound from within.
        descriptor = folder.as_posix()
        link = Path("/tmp") / f"s{os.getpid()}-{id(server)}"
        link.symlink_to(descriptor)
        server.bind(f"{link}/s")
        link.unlink()
        server.listen()

        def serve() -> None:
            with server, server.accept()[0] as peer:
                peer.recv(65536)
                try:
                    peer.sendall(reply)
                except OSError:
                    return

        threading.Thread(target=serve, daemon=True).start()
        return f"{folder}/s"

    return start


@pytest.mark.parametrize("reply", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", fastcgi.record(6, b"half")])
def test_a_server_of_another_kind_is_an_error(answering: Callable[[bytes], str], reply: bytes) -> None:
    with pytest.raises(fastcgi.FastCgiError):
        fastcgi.get(answering(reply), "/status", timeout=patient(60))


def test_an_endless_answer_is_cut_off(answering: Callable[[bytes], str]) -> None:
    endless = fastcgi.record(fastcgi.STDOUT, b"x" * 65535) * 40
    with pytest.raises(fastcgi.FastCgiError, match="too large"):
        fastcgi.get(answering(endless), "/status", timeout=patient(60))


def test_an_answer_that_trickles_in_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        left = list(fastcgi.record(fastcgi.STDOUT, b"x" * 1000))

        def trickle() -> None:
            with server.accept()[0] as peer, contextlib.suppress(OSError):
                while left:
                    peer.sendall(bytes([left.pop(0)]))
                    # Wait a moment, or until the client is gone.
                    if select.select([peer], [], [], 0.005)[0] and not peer.recv(65536):
                        return

        thread = threading.Thread(target=trickle)
        thread.start()
        with pytest.raises((fastcgi.FastCgiError, TimeoutError)):
            fastcgi.get(f"127.0.0.1:{server.getsockname()[1]}", "/status", timeout=0.1)
        thread.join(20)
        assert left


@pytest.mark.parametrize(
    "address", ["99999999999999999999", "-99999999999999999999", "a..b:9000", ":x", "", "/\0", "::1:0"]
)
def test_an_invalid_address_is_an_ordinary_error(address: str) -> None:
    with pytest.raises((OSError, ValueError)):
        fastcgi.connect(address, 0.1)


def test_a_socket_that_is_not_there_is_an_error_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(OSError):
        fastcgi.get(f"{tmp_path}/none", "/status")
