"""Which TCP ports of an address can be reached from here: ``python scan.py ADDRESS`` prints them as JSON."""

import errno
import ipaddress
import json
import resource
import select
import socket
import sys
import time
from collections.abc import Iterator, Sequence

AT_ONCE = 16_000
PATIENCE = 3.0  # seconds for an answer; a filtered port gives none


def open_ports(address: str, ports: Sequence[int]) -> list[int]:
    """Those that accept a connection."""
    files = AT_ONCE + 100
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    chunks = [ports[start : start + AT_ONCE] for start in range(0, len(ports), AT_ONCE)]
    return sorted(port for chunk in chunks for port in _reached(address, chunk))


def _reached(address: str, ports: Sequence[int]) -> Iterator[int]:
    family = socket.AF_INET6 if ipaddress.ip_address(address).version == 6 else socket.AF_INET
    tried: dict[int, tuple[socket.socket, int]] = {}
    poll, left = select.epoll(), 0
    try:
        for port in ports:
            probe = socket.socket(family, socket.SOCK_STREAM)
            probe.setblocking(False)
            tried[probe.fileno()] = probe, port
            if probe.connect_ex((address, port)) in (0, errno.EINPROGRESS):
                poll.register(probe, select.EPOLLOUT | select.EPOLLONESHOT)
                left += 1
        deadline = time.monotonic() + PATIENCE
        while left > 0 and (events := poll.poll(max(0.0, deadline - time.monotonic()), AT_ONCE)):
            left -= len(events)
            for number, _ in events:
                if not tried[number][0].getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                    yield tried[number][1]
    finally:
        poll.close()
        for probe, _ in tried.values():
            probe.close()


if __name__ == "__main__":
    print(json.dumps(open_ports(sys.argv[1], range(1, 65_536))))
