"""``leitstand status-page collect`` and ``serve``."""

import functools
import os
import pwd
import signal
import threading
from pathlib import Path

import click

from leitstand.activation import SYSTEMD, passed_by_systemd
from leitstand.errors import EXIT_OK, EXIT_WARNINGS, UsageError
from leitstand.options import config_option
from leitstand.prometheus import Prometheus
from leitstand.settings.config import load_document, read
from leitstand.settings.fields import split_listen
from leitstand.settings.fleet import Fleet
from leitstand.settings.watch import Watched
from status_page.app import build_application
from status_page.config import StatusPage, StatusPageSettings
from status_page.plan import Plan, make_plan
from status_page.server import serve as serve_application
from status_page.server import serve_passed


@click.command(epilog="Example: leitstand status-page collect --config /etc/leitstand/leitstand.yml")
@config_option
@click.option("--once", is_flag=True, help="Run one round and exit; exit code 1 if a part of it failed.")
def collect(config_path: Path, once: bool) -> int:
    """Query Prometheus every interval and write the pages, until SIGTERM.

    Runs next to `serve`, with the same state folder. It keeps running when Prometheus is down: the pages then
    say how old their data is. A changed leitstand.yml takes effect in the next round; one with errors is
    logged once and ignored.
    """
    from status_page.collector import Collector  # needs Babel, which `serve` does not load

    watched = Watched(config_path, lambda path: _settings(path)[0])
    plan = watched.value
    _must_be_ours(plan.folder)
    collector = Collector(
        plan, Prometheus(plan.prometheus), newer_plan=lambda: watched.value if watched.refresh() else None
    )
    if once:
        collector.round()
        if "pages" not in collector.problems:
            click.echo(f"{_counted(plan)} written to {plan.folder}")
        return EXIT_WARNINGS if collector.problems else EXIT_OK
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    click.echo(f"collecting {_counted(plan)} from {plan.prometheus} every {plan.interval:g} s")
    collector.run(stop)
    return EXIT_OK


@click.command(epilog="Example: leitstand status-page serve --listen 127.0.0.1:8080 --workers 2")
@config_option
@click.option(
    "--listen",
    metavar="ADDRESS:PORT",
    help="Port 0 means any free port; 'systemd' the socket unit's. Default: status_page.listen.",
)
@click.option(
    "--workers", type=click.IntRange(1, 64), help="Number of processes. Default: status_page.workers."
)
def serve(config_path: Path, listen: str | None, workers: int | None) -> int:
    """Serve the pages that `collect` writes, until SIGTERM. Prints the address it listens on.

    Put a TLS-terminating proxy in front of it. It never queries Prometheus, so visitors put no load on it.
    """
    plan, page = _settings(config_path)
    build = functools.partial(build_application, plan, plan.folder)
    if listen == SYSTEMD:
        passed, *_ = passed_by_systemd("start the socket unit, or give an address: --listen 127.0.0.1:8080")
        serve_passed(build, passed, workers or page.workers, say=lambda line: click.echo(line))
        return EXIT_OK
    try:
        address, port = split_listen(listen or page.listen)
    except ValueError as error:
        raise UsageError(f"--listen {listen}: {error}") from error
    serve_application(build, address, port, workers or page.workers, say=lambda line: click.echo(line))
    return EXIT_OK


def _must_be_ours(folder: Path) -> None:
    """Raises UsageError for root in another user's folder, who could not replace root's files."""
    if os.geteuid() or not folder.exists() or not (number := folder.stat().st_uid):
        return
    try:
        owner = pwd.getpwuid(number).pw_name
    except KeyError:
        owner = str(number)
    raise UsageError(
        f"{folder} belongs to {owner}, who could not replace files written by root",
        f"runuser -u {owner} -- leitstand status-page collect --once",
    )


def _counted(plan: Plan) -> str:
    return f"{len(plan.services)} service{'' if len(plan.services) == 1 else 's'}"


def _settings(config_path: Path) -> tuple[Plan, StatusPage]:
    document = load_document(config_path)
    fleet = read(document, Fleet)
    page = read(document, StatusPageSettings).status_page
    return make_plan(fleet, page), page
