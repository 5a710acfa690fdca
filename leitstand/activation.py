"""Sockets that systemd listens on for us: sd_listen_fds(3)."""

import os
import socket

from leitstand.errors import UsageError

SYSTEMD = "systemd"  # in place of an address: the sockets of our socket unit
_FIRST_PASSED_DESCRIPTOR = 3


def passed_by_systemd(hint: str) -> list[socket.socket]:
    """The sockets of our socket unit. Raises UsageError with ``hint`` when there are none."""
    count = int(os.environ.pop("LISTEN_FDS", "0"))
    if count == 0 or os.environ.pop("LISTEN_PID", "") != str(os.getpid()):
        raise UsageError("no socket came from systemd", hint)
    descriptors = range(_FIRST_PASSED_DESCRIPTOR, _FIRST_PASSED_DESCRIPTOR + count)
    for descriptor in descriptors:
        os.set_inheritable(descriptor, False)
    return [socket.socket(fileno=descriptor) for descriptor in descriptors]
