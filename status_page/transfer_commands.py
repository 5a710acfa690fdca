"""``leitstand status-page send`` and ``receive``: pages for the other hosts that serve them."""

import signal
import sys
import threading
from pathlib import Path

import click

from leitstand.errors import EXIT_OK, LeitstandError
from leitstand.options import config_option
from status_page.transfer import Sender, Way, take

_LOOK_SECONDS = 2.0  # between two looks for a new round


@click.command(epilog="Example: leitstand status-page send --identity key --known-hosts known_hosts")
@config_option
@click.option(
    "--identity", type=click.Path(path_type=Path), required=True, help="Private key that may log in there."
)
@click.option(
    "--known-hosts", type=click.Path(path_type=Path), required=True, help="File with the hosts' SSH keys."
)
@click.option("--once", is_flag=True, help="Send once and exit.")
def send(config_path: Path, identity: Path, known_hosts: Path, once: bool) -> int:
    """Send each new round of pages to the other hosts with the role `status_page`, until SIGTERM.

    They take it with `receive`. Ends with 3 when a host cannot be reached; its service starts it again.
    """
    # Late, as `receive`, which each round starts anew on another host, does without settings.
    from leitstand.settings.watch import Watched

    files = identity.absolute(), known_hosts.absolute()
    watched = Watched(config_path, lambda path: _folder_and_others(path, *files))
    sender, stop = Sender(watched.value[0]), threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    while not stop.wait(0 if once and not sender.sent else _LOOK_SECONDS):
        watched.refresh()
        if failed := sender.round(watched.value[1]):
            what = "; ".join(f"{host} did not get the pages: {why}" for host, why in failed.items())
            raise LeitstandError(what, "its page shows the age of what it has")
        if once:
            break
    return EXIT_OK


def _folder_and_others(config_path: Path, identity: Path, known_hosts: Path) -> tuple[Path, dict[str, Way]]:
    """Where the pages are, the other hosts that serve them, and how to log in there."""
    from leitstand.settings.config import load_document, read
    from leitstand.settings.fleet import Fleet
    from leitstand.settings.hosts import SSH_PORT
    from leitstand.settings.roles import page_hosts
    from status_page.config import StatusPageSettings, state_folder

    document = load_document(config_path)
    fleet = read(document, Fleet)
    hosts = fleet.hosts
    ways = {
        name: Way(
            hosts[name].login.user,
            hosts[name].address,
            hosts[name].login.port or SSH_PORT,
            identity,
            known_hosts,
        )
        for name in page_hosts(hosts)
        if "leitstand" not in hosts[name].roles
    }
    return state_folder(read(document, StatusPageSettings).status_page, fleet), ways


@click.command(epilog='Example: command="leitstand status-page receive" in authorized_keys')
@click.option(
    "--folder",
    default=Path("/var/lib/leitstand/status-page"),
    show_default=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Where the pages are served from.",
)
def receive(folder: Path) -> int:
    """Take a round of pages from standard input and serve it, if it is complete; started by sshd."""
    take(sys.stdin.buffer, folder)
    return EXIT_OK
