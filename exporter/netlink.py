"""Read the kernel's addresses and network devices over rtnetlink.

It is the only source of scope and lifetime for addresses of both families.

Layout: linux/netlink.h, linux/rtnetlink.h, linux/if_addr.h, linux/if_link.h.
"""

import ipaddress
import os
import socket
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

HEADER = struct.Struct("=IHHII")  # nlmsghdr: length, type, flags, sequence, port
ADDRESS = struct.Struct("=BBBBI")  # ifaddrmsg: family, prefix length, flags, scope, index
LINK = struct.Struct("=BxHiII")  # ifinfomsg: family, type, index, flags, change
ATTRIBUTE = struct.Struct("=HH")  # rtattr: length, type
_TIMEOUT = struct.pack("@ll", 2, 0)  # seconds and microseconds
NLMSG_ERROR, NLMSG_DONE = 2, 3
RTM_NEWLINK, RTM_GETLINK, RTM_NEWADDR, RTM_GETADDR = 16, 18, 20, 22
NLM_F_REQUEST_DUMP = 0x301
IFA_ADDRESS, IFA_LOCAL, IFA_FLAGS = 1, 2, 8
IFA_F_TEMPORARY = 0x01
IFLA_IFNAME, IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS = 3, 29, 8
SCOPES = {0: "global", 200: "site", 253: "link", 254: "host", 255: "nowhere"}
FAMILIES = {socket.AF_INET: "inet", socket.AF_INET6: "inet6"}
MAXIMUM_ANSWER = 16 * 1024 * 1024


@dataclass(frozen=True)
class Address:
    """One address of one interface. ``temporary`` as in RFC 8981: it is replaced daily."""

    index: int
    family: str
    address: str
    prefix: int
    scope: str
    temporary: bool


class Link(NamedTuple):
    """One network device. ``kind`` is its hardware's (ARPHRD_*), ``flags`` are those of netdevice(7)."""

    kind: int
    ifindex: int
    flags: int
    attributes: dict[int, bytes]

    def number(self, attribute: int) -> int:
        """An attribute (IFLA_*) as an unsigned integer; 0 if this kernel does not give it."""
        return int.from_bytes(self.attributes.get(attribute, b""), sys.byteorder)


def dump_addresses() -> bytes:
    """The kernel's raw answer to RTM_GETADDR. Raises OSError."""
    return _dump(RTM_GETADDR, bytes(ADDRESS.size))


def dump_links() -> bytes:
    """The kernel's raw answer to RTM_GETLINK, without counters of IPv6. Raises OSError."""
    without_counters = ATTRIBUTE.pack(8, IFLA_EXT_MASK) + struct.pack("=I", RTEXT_FILTER_SKIP_STATS)
    return _dump(RTM_GETLINK, bytes(LINK.size) + without_counters)


def _dump(kind: int, request: bytes) -> bytes:
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as link:
        # Not settimeout(): with that, each call would poll first.
        link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _TIMEOUT)
        link.send(HEADER.pack(HEADER.size + len(request), kind, NLM_F_REQUEST_DUMP, 1, 0) + request)
        answer = bytearray()
        while len(answer) < MAXIMUM_ANSWER:
            chunk = link.recv(1 << 16)
            answer += chunk
            if any(kind in (NLMSG_DONE, NLMSG_ERROR) for kind, _ in messages(chunk)):
                break
        return bytes(answer)


def messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    """(type, payload) of each message; a truncated one is left out."""
    offset = 0
    while offset + HEADER.size <= len(data):
        length, kind, _, _, _ = HEADER.unpack_from(data, offset)
        if length < HEADER.size or offset + length > len(data):
            return
        yield kind, data[offset + HEADER.size : offset + length]
        offset += (length + 3) & ~3


def attributes(data: bytes) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    offset, size, header = 0, len(data), ATTRIBUTE.unpack_from
    while offset + ATTRIBUTE.size <= size:
        length, kind = header(data, offset)
        end = offset + length
        if length < ATTRIBUTE.size or end > size:
            break
        found[kind] = data[offset + ATTRIBUTE.size : end]
        offset = (end + 3) & ~3
    return found


def parse_links(data: bytes) -> Iterator[tuple[str, Link]]:
    """Name and device of each message in an answer to RTM_GETLINK."""
    for kind, payload in messages(data):
        if kind == RTM_NEWLINK and len(payload) >= LINK.size:
            _, hardware, index, flags, _ = LINK.unpack_from(payload)
            link = Link(hardware, index, flags, attributes(payload[LINK.size :]))
            yield os.fsdecode(link.attributes.get(IFLA_IFNAME, b"").rstrip(b"\0")), link


def parse_addresses(data: bytes) -> list[Address]:
    """Every IPv4 and IPv6 address in an answer to RTM_GETADDR."""
    payloads = [payload for kind, payload in messages(data) if kind == RTM_NEWADDR]
    return [address for address in map(parse_address, payloads) if address]


def parse_address(payload: bytes) -> Address | None:
    """One ifaddrmsg with its attributes; None for another family or a malformed message."""
    if len(payload) < ADDRESS.size:
        return None
    family, prefix, flags, scope, index = ADDRESS.unpack_from(payload)
    found = attributes(payload[ADDRESS.size :])
    # On a point-to-point link IFA_ADDRESS is the peer and IFA_LOCAL ours.
    raw = found.get(IFA_LOCAL) or found.get(IFA_ADDRESS, b"")
    if family not in FAMILIES or len(raw) != (4 if family == socket.AF_INET else 16):
        return None
    wide = found.get(IFA_FLAGS, b"")
    flags = struct.unpack("=I", wide)[0] if len(wide) == 4 else flags
    # For IPv4 the same bit means "secondary".
    temporary = family == socket.AF_INET6 and bool(flags & IFA_F_TEMPORARY)
    text = str(ipaddress.ip_address(raw))
    return Address(index, FAMILIES[family], text, prefix, SCOPES.get(scope, str(scope)), temporary)
