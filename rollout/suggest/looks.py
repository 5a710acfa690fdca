"""The pulled inventories: what is known of each host, and how well."""

import json
from collections.abc import Iterable, Iterator

from fleet_inventory.database import Database, HostState
from fleet_inventory.lines import minute
from rollout.suggest.suggestion import Look
from rollout.suggest.thing import Facts, Fields

# Pulled every quarter of an hour; a host that is down for a night or a weekend's day is no unknown one.
MAXIMUM_AGE = 2 * 86_400
# What a suggestion is made of.
READ = ("virtual_host", "web_application", "database", "mail_store", "container_volume", "host", "address")


def looks(database: Database, hosts: Iterable[str], now: float) -> dict[str, Look]:
    """What the database knows of these hosts; ``now`` is Unix time."""
    states = database.states()
    return {host: Look(facts(database, host), unknown(states.get(host), now)) for host in hosts}


def unknown(state: HostState | None, now: float) -> str:
    """What is not known of a host, in words; empty if all is."""
    if state is None or state.checked is None:
        return state.error if state and state.error else "no inventory has been pulled yet"
    if now - state.checked > MAXIMUM_AGE:
        return f"its inventory is of {minute(state.checked)}" + (f": {state.error}" if state.error else "")
    missing = [kind for kind in READ if kind in state.incomplete.split(",")]
    return f"its inventory does not have: {', '.join(missing)}" if missing else ""


def facts(database: Database, host: str) -> Facts:
    """The items of a host that a suggestion is made of."""
    return {kind: list(fields_of(row.item.fields for row in database.now(host, kind))) for kind in READ}


def fields_of(items: Iterable[str]) -> Iterator[Fields]:
    """Each item that is an object, as the database has them: in JSON."""
    for item in items:
        fields = json.loads(item)
        if isinstance(fields, dict):
            yield fields
