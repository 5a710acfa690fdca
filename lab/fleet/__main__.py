"""Hosts to look around in: real systemd, sshd and apt, on a network of their own. Needs root.

python -m lab.fleet up leitstand web1 web2     boot them, stay until Ctrl-C, then leave nothing
python -m lab.fleet shell                      in another terminal: a shell on their network, at 10.77.0.1
python -m lab.fleet shell web1                 in another terminal: a shell on a host, over SSH
python -m lab.fleet base                       only make what hosts start from, as the first "up" does
"""

import argparse
import json
import os
import signal
import sys
from contextlib import ExitStack, suppress
from pathlib import Path

from lab.fleet.base import CACHE, debian_base
from lab.fleet.enclosure import command
from lab.fleet.fleet import RESOLV_CONF, RUNNING, Fleet, fleet_impossible
from lab.processes import LabError

INTERRUPTED = 130  # as a shell gives for Ctrl-C


def main() -> int:
    """Run one command; 1 with one line of what was wrong."""
    arguments = parse()
    try:
        if reason := fleet_impossible():
            raise LabError(reason)
        if arguments.command == "shell":
            shell(arguments.host)
        base = debian_base(arguments.release)
        if arguments.command == "up":
            up(Fleet(base, arguments.hosts))
    except LabError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    return 0


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m lab.fleet", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    start = commands.add_parser("up", help="boot hosts, stay until Ctrl-C")
    start.add_argument("hosts", nargs="+", metavar="HOST")
    enter = commands.add_parser("shell", help="a shell in the newest fleet that is running")
    enter.add_argument("host", nargs="?", metavar="HOST", help="default: on the network of the hosts")
    for each in (start, commands.add_parser("base", help="make what hosts start from")):
        each.add_argument("--release", help="of Debian, such as trixie (default: this machine's own)")
    return parser.parse_args()


def up(fleet: Fleet) -> None:
    """Boot hosts, with an object store and a mail server beside them, and stay until Ctrl-C."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with fleet, ExitStack() as stack:
        swift, sink = stack.enter_context(fleet.swift()), stack.enter_context(fleet.mail_sink())
        for host in fleet.hosts.values():
            print(f"{host.name:12} {host.address:12} {host.address6:12} {host.state():10} disk: {host.root}")
        print(f"object store {swift.endpoint}  CA: {swift.ca_file}  keys: {swift.credentials_file}")
        print(f"mail server  lab.fleet.test:25  mails: {sink.folder}")
        print("In another terminal: python -m lab.fleet shell [HOST]. Ctrl-C ends everything.", flush=True)
        with suppress(KeyboardInterrupt):
            signal.pause()


def shell(host: str | None) -> None:
    """Become a shell in the newest fleet that has the host. Raises LabError if none is running."""
    states = CACHE.glob(f"fleets/*/{RUNNING}")
    for state in sorted(states, key=lambda path: path.stat().st_mtime, reverse=True):
        if (state.parent / "hosts" / (host or "")).is_dir() and (pid := _enclosure_of(state)):
            break
    else:
        raise LabError("no such fleet is running; start one: python -m lab.fleet up web1 web2")
    os.environ["LEITSTAND_FLEET"] = str(state.parent)
    shell = os.environ.get("SHELL", "bash")
    argv = ["ssh", "-F", str(state.with_name("ssh_config")), host] if host else [shell]
    enter = command(pid, argv)
    os.execvp(enter[0], enter)


def _enclosure_of(state: Path) -> int | None:
    pid = int(json.loads(state.read_text())["pid"])
    with suppress(OSError):  # the process has ended
        if Path(f"/proc/{pid}/root/etc/resolv.conf").read_text() == RESOLV_CONF:
            return pid
    return None


if __name__ == "__main__":
    sys.exit(main())
