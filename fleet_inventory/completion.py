"""Shell completion of HOST and --kind; on any error it offers nothing."""

from collections.abc import Callable, Iterable
from pathlib import Path

import click

from fleet_inventory.database import Database, open_database
from fleet_inventory.document import KINDS
from leitstand.errors import LeitstandError
from leitstand.options import config_to_complete
from leitstand.settings.config import load_document, read
from leitstand.settings.fleet import Fleet

Offer = Callable[[click.Context, click.Parameter, str], list[str]]


def configured_hosts(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Hosts of leitstand.yml that begin so."""
    try:
        hosts = read(load_document(config_to_complete(context)), Fleet).hosts
    except LeitstandError:
        return []
    return [name for name in hosts if name.startswith(incomplete)]


def offer(default: Callable[[], Path], known: Callable[[Database], Iterable[str]]) -> Offer:
    """Offers what ``known`` finds in the database, which is at ``default`` if none was named."""

    def offered(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
        try:
            with open_database(Path(context.params.get("database_path") or default())) as database:
                return sorted(name for name in known(database) if name.startswith(incomplete))
        except LeitstandError:
            return []

    return offered


def known_hosts(database: Database) -> Iterable[str]:
    return database.states()


def known_kinds(database: Database) -> Iterable[str]:
    return {*KINDS, *database.kinds()}
