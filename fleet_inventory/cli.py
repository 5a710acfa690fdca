"""``leitstand inventory``: pull, search, diff, show."""

import datetime
import json
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import click

from fleet_inventory.access import open_access
from fleet_inventory.completion import configured_hosts, known_hosts, known_kinds, offer
from fleet_inventory.database import Database, HostState, Row, open_database
from fleet_inventory.difference import Change, difference
from fleet_inventory.document import KINDS
from fleet_inventory.lines import age, change_line, day, found, minute, shown
from fleet_inventory.pull import Pulled, Target, pull
from fleet_inventory.query import parse_query
from leitstand.errors import EXIT_FAILED, EXIT_OK, EXIT_WARNINGS, UsageError
from leitstand.options import config_option, json_option
from leitstand.settings.config import load_document, read
from leitstand.settings.fleet import Fleet
from leitstand.settings.hosts import ExporterAccess
from leitstand.tables import echo_fields

DEFAULT_DATABASE = Path("/var/lib/leitstand/inventory/inventory.sqlite")
FORMER_DATABASE = Path("/var/lib/leitstand/inventory.sqlite")


def usual_database(usual: Path = DEFAULT_DATABASE, former: Path = FORMER_DATABASE) -> Path:
    """Where the inventory is kept: where an earlier release did as long as it is there alone."""
    return former if former.exists() and not usual.exists() else usual


_HOSTS, _KINDS = offer(usual_database, known_hosts), offer(usual_database, known_kinds)
database_option = click.option(
    "--database",
    "database_path",
    type=click.Path(path_type=Path, dir_okay=False, readable=False),
    default=usual_database,
    show_default=str(DEFAULT_DATABASE),
    envvar="LEITSTAND_INVENTORY",
    help="Where the fleet's inventory is kept.",
)


@click.group(
    epilog="""Examples:

\b
  leitstand inventory pull
  leitstand inventory search 'openssl < 3.0.20'
  leitstand inventory diff web1 2026-11-01 2026-11-21
"""
)
def inventory() -> None:
    """What is installed where, since when; from the exporters of all hosts."""


@inventory.command(
    "pull",
    epilog="""Examples:

\b
  leitstand inventory pull
  leitstand inventory pull web1 --ca-file exporters.crt --user fleet --password-file password
""",
)
@config_option
@database_option
@json_option
@click.option("--tls/--no-tls", default=None, help="Ask all over HTTPS, or none.")
@click.option(
    "--ca-file", type=click.Path(path_type=Path), help="Certificates to trust, for all; implies --tls."
)
@click.option("--user", help="Name for basic authentication, for all.")
@click.option("--password-file", type=click.Path(path_type=Path), help="File that holds its password.")
@click.argument("names", nargs=-1, metavar="[HOST]...", shell_complete=configured_hosts)
def pull_command(
    config_path: Path,
    database_path: Path,
    as_json: bool,
    tls: bool | None,
    ca_file: Path | None,
    user: str | None,
    password_file: Path | None,
    names: tuple[str, ...],
) -> int:
    """Ask every host's exporter for its inventory and keep what changed.

    How to reach each of them is set under its 'exporter:' in leitstand.yml; an option overrides it for all.

    A host with a new name in leitstand.yml is known by its machine id and keeps its history. Exit code 1 if
    some hosts could not be asked, 3 if none could.
    """
    fleet = read(load_document(config_path), Fleet)
    options = {"ca_file": ca_file, "username": user, "password_file": password_file}
    hosts = targets(fleet, names, options | {"tls": True if ca_file else tls})
    with open_database(database_path, create=True) as database:
        pulled = pull(database, hosts, database.states().keys() - fleet.hosts.keys())
        for host in database.states().keys() - fleet.hosts.keys():
            database.note(host, 0.0, "no longer in leitstand.yml")
    if as_json:
        click.echo(json.dumps([vars(result) for result in pulled], indent=2, ensure_ascii=False))
    else:
        for result in pulled:
            click.echo(f"{result.host}: {outcome(result)}", err=bool(result.error))
    failed = sum(1 for result in pulled if result.error)
    if not failed:
        return EXIT_OK
    return EXIT_FAILED if failed == len(pulled) else EXIT_WARNINGS


def targets(fleet: Fleet, names: Iterable[str], options: Mapping[str, object]) -> dict[str, Target]:
    """Host -> address and settings; ``options`` that are not None apply to all.

    Raises UsageError for a name that is not in leitstand.yml and for files that cannot be used.
    """
    wanted = list(names) or sorted(fleet.hosts)
    for name in wanted:
        if name not in fleet.hosts:
            raise UsageError(
                f"no host {name!r} in leitstand.yml", f"there are: {', '.join(sorted(fleet.hosts))}"
            )
    if not wanted:
        raise UsageError("leitstand.yml names no hosts", "add them under hosts:")
    given = {name: value for name, value in options.items() if value is not None}
    open_access(ExporterAccess().model_copy(update=given))  # a wrong option is no matter of each host
    return {
        name: Target(host.address, host.exporter_port, host.access.model_copy(update=given))
        for name in wanted
        for host in [fleet.hosts[name]]
    }


def outcome(result: Pulled) -> str:
    """How the pull of a host went, in words."""
    if result.error:
        return f"{result.error} ({result.hint})" if result.hint else result.error
    changes = "unchanged" if result.changes is None else f"{result.changes} changes"
    return f"{changes}, was {result.formerly} before" if result.formerly else changes


@inventory.command(
    "search",
    epilog="""Examples:

\b
  leitstand inventory search 'openssl < 3.0.20'
  leitstand inventory search 'php < 8.2'
  leitstand inventory search 'lib*ssl*'
  leitstand inventory search 'php_extension:redis < 6'
  leitstand inventory search listening_socket:3306
  leitstand inventory search --json 'WordPress < 6.8'
""",
)
@database_option
@json_option
@click.argument("words", nargs=-1, required=True, metavar="QUERY")
def search_command(database_path: Path, as_json: bool, words: tuple[str, ...]) -> int:
    """Find which hosts have something: 'NAME', 'NAME < VERSION', 'KIND:NAME'.

    Versions compare in the order of the system that installed them. NAME may hold * and ?. Without KIND the
    software is searched: packages, web applications, databases, PHP, container images. Of a thing that is
    named by several words, as listening_socket by protocol, address and port, each will do. Exit code 1 if
    nothing is found.
    """
    query = parse_query(" ".join(words))
    with open_database(database_path) as database:
        must_be_a_kind(database, query.kind)
        rows = [row for row in database.current(query.kinds, query.name) if query.matches(row.item)]
        states = database.states()
    if as_json:
        click.echo(json.dumps([row_object(row) for row in rows], indent=2, ensure_ascii=False))
    else:
        for row in rows:
            line = f"{row.host}\t{found(row)}\tsince {day(row.first_seen)}{age(states.get(row.host))}"
            echo_fields(line.split("\t"))
    return EXIT_OK if rows else EXIT_WARNINGS


@inventory.command(
    "diff",
    epilog="""Examples:

\b
  leitstand inventory diff web1 2026-11-01
  leitstand inventory diff web1 2026-11-01 2026-11-21
  leitstand inventory diff web1 yesterday
  leitstand inventory diff web1 2026-11-21T08:00 2026-11-21T12:30
""",
)
@database_option
@json_option
@click.argument("host", shell_complete=_HOSTS)
@click.argument("since", metavar="FROM")
@click.argument("until", metavar="[TO]", required=False)
def diff_command(database_path: Path, as_json: bool, host: str, since: str, until: str | None) -> int:
    """Show what changed on HOST between FROM and TO (or now).

    Each is a day, YYYY-MM-DD, 'today' or 'yesterday', and means its end; or a moment, YYYY-MM-DDTHH:MM. All
    are UTC.
    """
    now = time.time()
    start, end = moment_of(since, now), moment_of(until, now) if until else None
    with open_database(database_path) as database:
        print_age(must_be_known(database, host), end)
        begin = database.first_pull(host)
        if begin is None or start < begin:
            known = day(begin) if begin else "never"
            click.echo(f"the history of {host} begins {known}: what came before shows as new", err=True)
        changes = difference(database.at(host, start), database.at(host, end))
    if as_json:
        click.echo(json.dumps([change_object(change) for change in changes], indent=2, ensure_ascii=False))
    else:
        for change in changes:
            echo_fields(change_line(change).split("\t"))
    return EXIT_OK


@inventory.command(
    "show",
    epilog="""Examples:

\b
  leitstand inventory show
  leitstand inventory show web1 --kind certificate
  leitstand inventory show web1 --kind package --at 2026-11-01
""",
)
@database_option
@json_option
@click.argument("host", required=False, shell_complete=_HOSTS)
@click.option("--kind", default="", shell_complete=_KINDS, help="Only this kind, as package or certificate.")
@click.option(
    "--at", "moment", default="", metavar="DAY", help="As it was then: days and moments as for diff."
)
def show_command(database_path: Path, as_json: bool, host: str | None, kind: str, moment: str) -> int:
    """Show what is on HOST; without HOST, which hosts are known and how old their inventory is."""
    if host is None:
        with open_database(database_path) as database:
            states = database.states()
        return show_hosts(states.values(), as_json)
    with open_database(database_path) as database:
        state, end = must_be_known(database, host), moment_of(moment, time.time()) if moment else None
        must_be_a_kind(database, kind)
        print_age(state, end)
        rows = database.at(host, end)
    rows = [row for row in rows if kind in ("", row.item.kind)]
    if as_json:
        click.echo(json.dumps([row_object(row) for row in rows], indent=2, ensure_ascii=False))
    else:
        for row in rows:
            echo_fields(f"{row.item.kind}\t{shown(row)}\tsince {day(row.first_seen)}".split("\t"))
    return EXIT_OK


@inventory.command("forget", epilog="Example: leitstand inventory forget web1")
@database_option
@click.argument("host", shell_complete=_HOSTS)
def forget_command(database_path: Path, host: str) -> int:
    """Remove HOST and its history, for a host that is gone for good."""
    with open_database(database_path) as database:
        must_be_known(database, host)
        removed = database.forget(host)
    click.echo(f"{host}: {removed} rows removed")
    return EXIT_OK


def show_hosts(states: Iterable[HostState], as_json: bool) -> int:
    if as_json:
        click.echo(json.dumps([vars(state) for state in states], indent=2))
        return EXIT_OK
    for state in states:
        last = minute(state.checked) if state.checked else "never"
        changed = minute(state.pulled) if state.pulled else "never"
        echo_fields((state.name, f"answered {last}", f"changed {changed}", state.error))
    return EXIT_OK


def must_be_known(database: Database, host: str) -> HostState:
    """How the host fared. Raises UsageError for one that was never asked."""
    states = database.states()
    if host not in states:
        known = ", ".join(states) or "none"
        raise UsageError(f"no inventory of {host!r}", f"known are: {known}")
    return states[host]


def must_be_a_kind(database: Database, kind: str) -> None:
    """Raises UsageError for a kind that does not exist and was never seen; empty means any."""
    kinds = sorted({*KINDS, *database.kinds()})
    if kind and kind not in kinds:
        raise UsageError(f"there is no kind {kind!r}", f"there are: {', '.join(kinds)}")


def moment_of(text: str, now: float) -> float:
    """A moment, or the last one of a day, as Unix time; ``now`` says what today is. Raises UsageError."""
    today = datetime.datetime.fromtimestamp(now, datetime.UTC).replace(
        hour=0, minute=0, second=0, microsecond=0
    )
    one_day = datetime.timedelta(days=1)
    try:
        if text in ("today", "yesterday"):
            return (today + one_day if text == "today" else today).timestamp()
        if "T" in text:
            return datetime.datetime.strptime(text, "%Y-%m-%dT%H:%M").replace(tzinfo=datetime.UTC).timestamp()
        start = datetime.datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=datetime.UTC)
        return (start + one_day).timestamp()
    except (ValueError, OverflowError) as error:
        hint = "write it as 2026-11-21, 2026-11-21T08:30, today or yesterday, in UTC"
        raise UsageError(f"not a day: {text!r}", hint) from error


def print_age(state: HostState, moment: float | None) -> None:
    """Say so if what is known of a host is older than the moment (Unix time; None is now) it is shown at."""
    if state.error and (moment is None or moment > (state.checked or 0.0)):
        click.echo(f"{state.name}{age(state)}".replace("\t", ": "), err=True)


def row_object(row: Row) -> dict[str, Any]:
    """A row for scripts."""
    return {
        "host": row.host,
        "kind": row.item.kind,
        "name": row.item.name,
        "version": row.item.version,
        "first_seen": row.first_seen,
        "last_seen": row.last_seen,
        "fields": json.loads(row.item.fields),
    }


def change_object(change: Change) -> dict[str, Any]:
    """A change for scripts."""
    return {
        "kind": change.item.kind,
        "name": change.item.name,
        "before": json.loads(change.before.fields) if change.before else None,
        "after": json.loads(change.after.fields) if change.after else None,
    }
