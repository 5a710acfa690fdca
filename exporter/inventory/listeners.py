"""Listening sockets and the programs behind them."""

import contextlib
import socket
from typing import NamedTuple

import psutil

from exporter.inventory.processes import procfs, program
from exporter.inventory.source import Context, Findings

KINDS = ("tcp4", "tcp6", "udp4", "udp6")


class Listener(NamedTuple):
    """A socket that waits for others; ``program`` is empty where it is not ours to see."""

    protocol: str
    address: str
    port: int
    program: str


def read(context: Context) -> Findings:
    """One item per protocol, address, port and program; whose program is not ours to see stays unnamed.

    UDP sockets in the range of ephemeral ports are clients waiting for an answer, so they are left out.
    """
    ephemeral = parse_range((context.roots.proc / "sys/net/ipv4/ip_local_port_range").read_text())
    findings = Findings()
    with procfs(context.roots.proc):
        found = listeners(findings)
    for entry in sorted(found):
        if entry.protocol == "tcp" or entry.port not in ephemeral:
            findings.add("listening_socket", **entry._asdict())
    return findings


def listeners(findings: Findings) -> set[Listener]:
    """Listening sockets, by the kernel's tables. A table that is not understood is skipped."""
    found: set[Listener] = set()
    with contextlib.suppress(FileNotFoundError, RuntimeError, LookupError, ValueError):
        return listeners_of("inet")
    for kind in KINDS:
        try:
            found |= listeners_of(kind)
        except FileNotFoundError:  # not in this kernel
            continue
        except (RuntimeError, LookupError, ValueError):
            findings.skip(reason=f"the kernel's table of {kind} sockets has a line of another form")
    return found


def listeners_of(kind: str) -> set[Listener]:
    """Listening sockets of one kind, or "inet" for all.

    Raises OSError; RuntimeError, LookupError or ValueError for a line of another form.
    """
    names: dict[int, str] = {}
    found = set()
    for entry in psutil.net_connections(kind):
        protocol = "tcp" if entry.type == socket.SOCK_STREAM else "udp"
        waits = entry.status == psutil.CONN_LISTEN if protocol == "tcp" else not entry.raddr
        if waits and entry.laddr:
            pid = entry.pid or 0  # 0: not ours to see
            names.setdefault(pid, program(pid) if pid and pid not in names else "")
            found.add(Listener(protocol, entry.laddr.ip, entry.laddr.port, names[pid]))
    return found


def parse_range(text: str) -> range:
    """The kernel's ephemeral ports."""
    first, last = text.split()
    return range(int(first), int(last) + 1)
