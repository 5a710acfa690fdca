"""A small FastCGI client: one GET request to a FastCGI server, bounded in time and size.

Protocol: FastCGI Specification 1.0, sections 3 and 5 (https://fastcgi-archives.github.io/).
"""

import ipaddress
import os
import socket
import struct
import time
from collections.abc import Iterable, Iterator, Mapping

HEADER = struct.Struct("!BBHHBx")  # version, type, request id, content length, padding length
VERSION, REQUEST_ID, RESPONDER = 1, 1, 1
BEGIN_REQUEST, END_REQUEST, PARAMS, STDIN, STDOUT = 1, 3, 4, 5, 6
ANSWER_LIMIT = 1024 * 1024
# sun_path has 108 bytes, unix(7).
MAXIMUM_SOCKET_PATH = 100
# Of a name with both, PHP-FPM listens on the first alone.
LOOPBACK = ("127.0.0.1", "::1")


class NotAnAddress(ValueError):  # noqa: N818 - reads as a sentence where it is raised
    """The host is a name."""


class FastCgiError(Exception):
    """The other side does not speak FastCGI, or not to its end."""


def record(kind: int, content: bytes) -> bytes:
    """One record of at most 65,535 bytes of content."""
    return HEADER.pack(VERSION, kind, REQUEST_ID, len(content), 0) + content


def parameters(values: Mapping[str, str]) -> bytes:
    """Name-value pairs, section 3.4: lengths below 128 in one byte, others in four with the top bit set."""
    encoded = b""
    for name, value in values.items():
        pair = (name.encode(), value.encode())
        for text in pair:
            encoded += bytes([len(text)]) if len(text) < 128 else struct.pack("!I", len(text) | 1 << 31)
        encoded += b"".join(pair)
    return encoded


def request(values: Mapping[str, str]) -> bytes:
    """A whole request without a body."""
    begin = struct.pack("!HB5x", RESPONDER, 0)
    return b"".join(
        [
            record(BEGIN_REQUEST, begin),
            record(PARAMS, parameters(values)),
            record(PARAMS, b""),
            record(STDIN, b""),
        ]
    )


def records(data: bytes) -> Iterator[tuple[int, bytes]]:
    """(type, content) of each whole record. Raises FastCgiError for another protocol."""
    offset = 0
    while offset + HEADER.size <= len(data):
        version, kind, _, length, padding = HEADER.unpack_from(data, offset)
        if version != VERSION:
            raise FastCgiError("not FastCGI")
        start = offset + HEADER.size
        if start + length + padding > len(data):
            return
        yield kind, data[start : start + length]
        offset = start + length + padding


def parse_answer(data: bytes) -> tuple[int, bytes] | None:
    """(HTTP status, body) of an answer; None as long as its end has not come. Raises FastCgiError."""
    found = list(records(data))
    if not any(kind == END_REQUEST for kind, _ in found):
        return None
    output = b"".join(content for kind, content in found if kind == STDOUT)
    head, separator, body = output.partition(b"\r\n\r\n")
    if not separator:
        raise FastCgiError("an answer without header")
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        digits = value.split()[:1]
        if name.lower() == b"status" and digits and digits[0].isdigit():
            return int(digits[0][:3]), body
    return 200, body


def connect_to_one(hosts: Iterable[str], port: int, timeout: float) -> socket.socket:
    """A connection to the first of the addresses that accepts one. Raises as `connect`, of the first."""
    failure: OSError | None = None
    for host in hosts:
        try:
            ipaddress.ip_address(host)
        except ValueError as error:
            # To ask for the address of a name could take longer than any limit of ours.
            raise NotAnAddress(f"no address: {host[:100]}") from error
        try:
            return socket.create_connection((host, port), timeout)
        except OSError as error:
            failure = failure or error
    raise failure or OSError("no address")


def connect(address: str, timeout: float) -> socket.socket:
    """Open a Unix socket by its path, or host:port. Raises OSError, ValueError, NotAnAddress among them."""
    if not address.startswith("/"):
        host, _, port = address.rpartition(":")
        if not 0 < int(port) < 65536:
            raise ValueError(f"no port: {port[:20]}")
        hosts = LOOPBACK if host in ("", "localhost") else (host.strip("[]"),)
        return connect_to_one(hosts, int(port), timeout)
    folder, _, name = address.rpartition("/")
    descriptor = os.open(folder or "/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    link = socket.socket(socket.AF_UNIX)
    link.settimeout(timeout)
    try:
        long = len(address.encode()) > MAXIMUM_SOCKET_PATH
        link.connect(f"/proc/self/fd/{descriptor}/{name}" if long else address)
    except BaseException:
        link.close()
        raise
    finally:
        os.close(descriptor)
    return link


def get(address: str, path: str, query: str = "", timeout: float = 2.0) -> tuple[int, bytes]:
    """(status, body) of a GET. Raises OSError, FastCgiError."""
    values = {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": path,
        "SCRIPT_FILENAME": path,
        "REQUEST_URI": path,
        "QUERY_STRING": query,
        "SERVER_PROTOCOL": "HTTP/1.1",
        "GATEWAY_INTERFACE": "CGI/1.1",
    }
    deadline = time.monotonic() + timeout
    with connect(address, timeout) as link:
        link.sendall(request(values))
        data = b""
        while len(data) <= ANSWER_LIMIT and (left := deadline - time.monotonic()) > 0:
            link.settimeout(left)
            chunk = link.recv(65536)
            data += chunk
            answer = parse_answer(data)
            if answer is not None:
                return answer
            if not chunk:
                break
    raise FastCgiError("the answer breaks off, is too large or comes too slowly")
