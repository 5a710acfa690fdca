"""A D-Bus client: method calls, and the few types in systemd's replies.

Source: https://dbus.freedesktop.org/doc/dbus-specification.html. Hand-written, as a thousand units are
ten thousand strings in one reply: a general library takes longer for them than the rest of the scrape.
"""

import os
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

_LARGEST = 64 * 1024 * 1024  # bytes per message; the specification allows twice as many
# dbus-daemon refuses, and logs, each call of a client beyond 128 without a reply.
_AT_ONCE = 100
_CALL, _REPLY, _ERROR = 1, 2, 3
_NO_AUTO_START = 2  # a query every 15 seconds must not make the bus start a missing service
_PATH, _INTERFACE, _MEMBER, _ERROR_NAME, _REPLY_SERIAL, _DESTINATION, _SIGNATURE = 1, 2, 3, 4, 5, 6, 8
_START = struct.Struct("<BBBBIII")


class BusError(Exception):
    """The service replied with an error, or the data is not D-Bus."""


@dataclass(frozen=True, slots=True)
class Call:
    """One method call; ``arguments`` are strings."""

    destination: str
    path: str
    interface: str
    member: str
    arguments: tuple[str, ...] = ()


def property_of(destination: str, path: str, interface: str, name: str) -> Call:
    """The call that reads a property; its reply is a variant."""
    return Call(destination, path, "org.freedesktop.DBus.Properties", "Get", (interface, name))


class Connection:
    """A connection to a bus. Raises OSError or BusError; after either it is unusable."""

    def __init__(self, path: str, timeout: float = 5.0) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._serial = 0
        self._buffer = b""
        try:
            self._socket.settimeout(timeout)
            self._socket.connect(path)
            self._introduce()
        except BaseException:
            self._socket.close()
            raise

    def allow(self, timeout: float) -> None:
        """Set the time limit of each reply, in seconds."""
        self._socket.settimeout(timeout)

    def close(self) -> None:
        self._socket.close()

    def __del__(self) -> None:
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def ask(self, calls: Sequence[Call]) -> list["bytes | BusError"]:
        """The body of each reply, or its error. Calls are sent in batches of a hundred: one wait for all."""
        batches = (calls[start : start + _AT_ONCE] for start in range(0, len(calls), _AT_ONCE))
        return [answer for batch in batches for answer in self._ask_at_once(batch)]

    def _ask_at_once(self, calls: Sequence[Call]) -> list["bytes | BusError"]:
        first = self._serial + 1
        self._serial += len(calls)
        self._socket.sendall(b"".join([_message(call, first + offset) for offset, call in enumerate(calls)]))
        answers: dict[int, bytes | BusError] = {}
        while len(answers) < len(calls):
            serial, answer = self._answer()
            if first <= serial < first + len(calls):
                answers[serial] = answer
        return [answers[first + offset] for offset in range(len(calls))]

    def _introduce(self) -> None:
        bus = "org.freedesktop.DBus"
        try:
            self._authenticate()
            self.ask([Call(bus, "/org/freedesktop/DBus", bus, "Hello")])
        except (BusError, ConnectionError) as error:
            # dbus-daemon disconnects a user it cannot look up: DynamicUser= without libnss-systemd.
            user = f"user {os.geteuid()} must be known to the system (getent passwd)"
            raise BusError(f"the bus refuses access: {error}; {user}") from error

    def _authenticate(self) -> None:
        identity = str(os.geteuid()).encode().hex()
        self._socket.sendall(f"\0AUTH EXTERNAL {identity}\r\n".encode())
        line = b""
        while not line.endswith(b"\r\n"):
            byte = self._socket.recv(1)
            if not byte or len(line) > 1000:
                raise BusError("the bus ended the connection")
            line += byte
        if not line.startswith(b"OK "):
            raise BusError("the bus refuses authentication")
        self._socket.sendall(b"BEGIN\r\n")

    def _answer(self) -> tuple[int, "bytes | BusError"]:
        """The next message: the call that it replies to (0: none), and its body."""
        start = self._read(_START.size)
        endian, kind, _, _, body_length, _, fields_length = _START.unpack(start)
        if endian != ord("l"):
            raise BusError("a reply in the other byte order")
        if body_length + fields_length > _LARGEST:
            raise BusError("a reply is too long")
        fields = self._read(_aligned(fields_length, 8))
        body = self._read(body_length)
        if kind not in (_REPLY, _ERROR):
            return 0, body
        serial, error = _read_fields(fields, fields_length)
        return serial, BusError(error) if kind == _ERROR else body

    def _read(self, length: int) -> bytes:
        chunks, size = [self._buffer], len(self._buffer)
        while size < length:
            chunk = self._socket.recv(max(65536, length - size))
            if not chunk:
                raise BusError("the bus ended the connection")
            chunks.append(chunk)
            size += len(chunk)
        data = b"".join(chunks)
        self._buffer = data[length:]
        return data[:length]


def _aligned(offset: int, step: int) -> int:
    return (offset + step - 1) // step * step


def _padded(data: bytes, step: int) -> bytes:
    return data + b"\0" * (-len(data) % step)


def _string(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<I", len(data)) + data + b"\0"


def _message(call: Call, serial: int) -> bytes:
    body = b""
    for argument in call.arguments:
        body = _padded(body, 4) + _string(argument)
    fields = b""
    for code, kind, value in (
        (_PATH, b"o", call.path),
        (_INTERFACE, b"s", call.interface),
        (_MEMBER, b"s", call.member),
        (_DESTINATION, b"s", call.destination),
    ):
        fields = _padded(fields, 8) + struct.pack("<BB", code, 1) + kind + b"\0" + _string(value)
    if call.arguments:
        signature = b"s" * len(call.arguments)
        fields = _padded(fields, 8) + struct.pack("<BB", _SIGNATURE, 1) + b"g\0"
        fields += bytes([len(signature)]) + signature + b"\0"
    start = _START.pack(ord("l"), _CALL, _NO_AUTO_START, 1, len(body), serial, len(fields))
    return start + _padded(fields, 8) + body


def _read_fields(fields: bytes, length: int) -> tuple[int, str]:
    """The reply's serial, and the error's name, from a message's header fields."""
    serial, error, offset = 0, "", 0
    try:
        while (offset := _aligned(offset, 8)) < length:
            code, kind = fields[offset], fields[offset + 2 : offset + 3]
            offset += 4  # code, and the signature: its length, one letter, NUL
            if kind == b"u":
                (number,) = struct.unpack_from("<I", fields, offset)
                serial, offset = (number if code == _REPLY_SERIAL else serial), offset + 4
            elif kind in (b"s", b"o"):
                text, offset = read_string(fields, offset)
                error = text if code == _ERROR_NAME else error
            elif kind == b"g":
                offset += fields[offset] + 2
            else:
                raise BusError(f"a header field of type {kind!r}")
    except (IndexError, struct.error, ValueError) as problem:
        raise BusError("a message is truncated") from problem
    return serial, error


def read_string(data: bytes, offset: int) -> tuple[str, int]:
    """A string or object path, and where it ends. Raises ValueError if it is truncated."""
    offset = _aligned(offset, 4)
    end = offset + 4 + int.from_bytes(data[offset : offset + 4], "little")
    if offset + 4 > len(data) or end >= len(data):
        raise ValueError("a string is truncated")
    return data[offset + 4 : end].decode("utf-8", "replace"), end + 1


_NUMBERS = {b"u": ("<I", 4), b"t": ("<Q", 8), b"i": ("<i", 4), b"q": ("<H", 2)}


def read_variant(body: bytes) -> str | int:
    """The value in a variant that holds a string or a number. Raises ValueError for another type."""
    kind = body[1:2]
    if kind == b"s":
        return read_string(body, 3)[0]
    if kind not in _NUMBERS:
        raise ValueError(f"a property of type {kind!r}")
    pattern, size = _NUMBERS[kind]
    try:
        (number,) = struct.unpack_from(pattern, body, _aligned(3, size))
    except struct.error as error:
        raise ValueError("a number is truncated") from error
    return int(number)


def read_rows(body: bytes, kinds: str) -> list[list[str]]:
    """An array of structures of strings (``s``, ``o``) and 32-bit numbers (``u``), which are left out."""
    (length,) = struct.unpack_from("<I", body, 0)
    end, offset, rows = 8 + length, 8, []
    if end > len(body):
        raise ValueError("an array is truncated")
    number = struct.Struct("<I").unpack_from
    while offset < end:
        offset = (offset + 7) & ~7
        row = []
        for kind in kinds:
            offset = (offset + 3) & ~3
            if kind == "u":
                offset += 4
                continue
            (size,) = number(body, offset)
            offset += 4
            row.append(body[offset : offset + size].decode("utf-8", "replace"))
            offset += size + 1
        rows.append(row)
    return rows
