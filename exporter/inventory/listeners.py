"""Listening sockets and the programs behind them."""

import contextlib
import ipaddress
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from exporter.inventory.processes import process_folders, program
from exporter.inventory.source import Context, Findings

TABLES = {"tcp": "0A", "tcp6": "0A", "udp": "07", "udp6": "07"}  # state, include/net/tcp_states.h
TABLE_LIMIT = 64 * 1024 * 1024
_SOCKET = re.compile(r"socket:\[(\d+)\]")


@dataclass(frozen=True)
class Listener:
    """A socket that waits for others."""

    protocol: str
    address: str
    port: int
    inode: str


def read(context: Context) -> Findings:
    """One item per protocol, address, port and program; whose program is not ours to see stays unnamed.

    UDP sockets in the range of ephemeral ports are clients waiting for an answer, so they are left out.
    """
    proc = context.roots.proc
    ephemeral = parse_range((proc / "sys/net/ipv4/ip_local_port_range").read_text())
    listeners: list[Listener] = []
    for protocol, state in TABLES.items():
        table = proc / "net" / protocol
        if table.exists():
            with table.open() as file:
                listeners += parse_table(file.read(TABLE_LIMIT), protocol, state)
    kept = [entry for entry in listeners if entry.protocol.startswith("tcp") or entry.port not in ephemeral]
    owners = socket_owners(proc, {entry.inode for entry in kept})
    findings = Findings()
    for entry in sorted(set(kept), key=str):
        findings.add(
            "listening_socket",
            protocol=entry.protocol.rstrip("6"),
            address=entry.address,
            port=entry.port,
            program=owners.get(entry.inode, ""),
        )
    return findings


def parse_range(text: str) -> range:
    """The kernel's ephemeral ports."""
    first, last = text.split()
    return range(int(first), int(last) + 1)


def parse_table(text: str, protocol: str, state: str) -> Iterator[Listener]:
    """Sockets of one state in /proc/net/tcp and its like, proc_pid_net(5). Malformed lines are left out."""
    for line in text.splitlines()[1:]:
        fields = line.split()
        if len(fields) < 10 or fields[3] != state:
            continue
        address, _, port = fields[1].partition(":")
        try:
            yield Listener(protocol, parse_address(address), int(port, 16), fields[9])
        except ValueError:
            continue


def parse_address(text: str) -> str:
    """An address as the kernel writes it: 32-bit words in the host's byte order. Raises ValueError."""
    raw = bytes.fromhex(text)
    if len(raw) not in (4, 16):
        raise ValueError(f"not an address: {text!r}")
    return str(ipaddress.ip_address(b"".join(raw[at : at + 4][::-1] for at in range(0, len(raw), 4))))


def socket_owners(proc: Path, inodes: set[str]) -> dict[str, str]:
    """Inode of a socket -> name of a program that has it open; of several, the one with the lowest number."""
    owners: dict[str, str] = {}
    for folder in process_folders(proc):
        for inode in open_sockets(folder / "fd") & (inodes - owners.keys()):
            owners[inode] = program(folder)
        if len(owners) == len(inodes):
            break
    return owners


def open_sockets(folder: Path) -> set[str]:
    """Inodes of a process's sockets; none if the process is gone or not ours to see."""
    try:
        descriptors = os.listdir(folder)  # noqa: PTH208 - may be a million of them
    except OSError:
        return set()
    found = set()
    for descriptor in descriptors:
        with contextlib.suppress(OSError):  # closed meanwhile
            match = _SOCKET.fullmatch(os.readlink(f"{folder}/{descriptor}"))  # noqa: PTH115 - as above
            if match:
                found.add(match[1])
    return found
