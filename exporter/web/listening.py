"""Listening sockets from addresses as users write them."""

import contextlib
import errno
import socket

from leitstand.activation import SYSTEMD, passed_by_systemd
from leitstand.errors import LeitstandError, UsageError

_WITHOUT_SYSTEMD = "start the socket unit, or name an address: --web.listen-address"
_HINTS = {
    errno.EADDRINUSE: "is another exporter running on this port?",
    errno.EACCES: "ports below 1024 need root, or the socket unit",
}
_BACKLOG = 1024  # a burst of silent clients must not prevent a scrape from being accepted


def listen_on(addresses: list[str]) -> list[socket.socket]:
    """Non-blocking listening sockets for ``host:port``, ``[v6]:port``, ``:port`` and ``systemd``.

    Raises UsageError for an invalid address, LeitstandError for an unavailable one; then none stays open.
    """
    if not addresses:
        raise UsageError("no address to listen on", "name one: --web.listen-address 127.0.0.1:9815")
    with contextlib.ExitStack() as opened:
        sockets = []
        for address in addresses:
            found = (
                passed_by_systemd(_WITHOUT_SYSTEMD)
                if address == SYSTEMD
                else [_listen(*split_address(address))]
            )
            sockets += [opened.enter_context(sock) for sock in found]
        opened.pop_all()
    for sock in sockets:
        sock.setblocking(False)
    return sockets


def split_address(address: str) -> tuple[str, int]:
    """Host and port of ``host:port``; the host is empty for all addresses. Raises UsageError.

    IPv4 may be in brackets, as in Go: node_exporter's Helm chart writes ``[$(HOST_IP)]:9100``.
    """
    host, colon, port = address.rpartition(":")
    bare = host.removeprefix("[").removesuffix("]")
    is_address = ":" in bare or bare.replace(".", "").isdigit()
    brackets_fit = (host == bare and ":" not in bare) or (host == f"[{bare}]" and is_address)
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65535 or not brackets_fit:
        raise UsageError(
            f"'{address}' is not an address to listen on",
            "write HOST:PORT, [IPV6]:PORT, or :PORT for all addresses",
        )
    return bare, int(port)


def written_address(sock: socket.socket) -> str:
    """A socket's address as users write it: ``host:port``, ``[v6]:port``, or the path of a Unix socket."""
    name = sock.getsockname()
    if sock.family == socket.AF_UNIX:
        return str(name)
    host, port = name[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _listen(host: str, port: int) -> socket.socket:
    try:
        if host:
            sock = socket.create_server((host, port), family=_family(host, port), backlog=_BACKLOG)
        else:
            sock = _listen_everywhere(port)
    except OSError as error:
        # create_server extends strerror; the user needs only the reason.
        reason = (error.strerror or str(error)).partition(" (")[0]
        hint = _HINTS.get(error.errno or 0, "write an address of this host")
        raise LeitstandError(f"cannot listen on {host or '*'}:{port}: {reason}", hint) from error
    return sock


def _family(host: str, port: int) -> int:
    """IPv4 if a name has addresses of both families, as in Go: ``localhost`` is 127.0.0.1."""
    families = [entry[0] for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    return socket.AF_INET if socket.AF_INET in families else families[0]


def _listen_everywhere(port: int) -> socket.socket:
    if socket.has_dualstack_ipv6():
        return socket.create_server(("", port), family=socket.AF_INET6, backlog=_BACKLOG, dualstack_ipv6=True)
    return socket.create_server(("", port), backlog=_BACKLOG)
