"""The printed lines: an item, a change, a moment, each in one line or less."""

import datetime
import json
from typing import Any

from fleet_inventory.database import HostState, Row
from fleet_inventory.difference import Change
from fleet_inventory.document import NAMES, VERSIONS, Item

# Kind -> the fields worth a place in a line, in this order; of others every field is shown.
DETAILS = {
    "host": ("distribution_name", "virtualisation", "hardware_model", "fqdn", "time_zone"),
    "address": ("prefix", "scope"),
    "default_route": ("gateway",),
    "package": ("manager", "arch", "path"),
    "update": ("candidate", "security", "held"),
    "container": ("runtime", "image"),
    "container_volume": ("runtime", "containers"),
    "container_image": ("runtime", "id"),
    "php": ("path", "end_of_life"),
    "php_pool": ("listen", "user", "manager", "max_children", "settings"),
    "virtual_host": ("server", "root", "php", "certificates", "aliases", "listen"),
    "web_application": ("path", "php", "hosts", "databases"),
    "database": ("path", "running", "databases"),
    "timer": ("unit",),
    "certificate": ("not_after", "subject", "names"),
    "user": ("uid", "shell", "sudo"),
    "ssh_key": ("type", "comment", "path"),
}
MOMENTS = ("created", "installed", "not_after", "not_before")
END_OF_CALENDAR = 253_402_300_800  # the year 10000
MAXIMUM_TEXT = 120


def day(moment: float) -> str:
    """A day, UTC."""
    return datetime.datetime.fromtimestamp(moment, datetime.UTC).strftime("%Y-%m-%d")


def minute(moment: float) -> str:
    """A minute, UTC."""
    return datetime.datetime.fromtimestamp(moment, datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")


def found(row: Row) -> str:
    """An item among the results of a search, which may be of several kinds."""
    item = row.item
    return "\t".join(filter(None, [*head(item), item.kind if item.kind != "package" else "", *details(item)]))


def shown(row: Row) -> str:
    return "\t".join(filter(None, [*head(row.item), *details(row.item)]))


def head(item: Item) -> list[str]:
    """Name and version. The fingerprint that tells two certificates apart says nothing to a reader."""
    return [item.name or "-", item.version if item.kind != "certificate" else ""]


def details(item: Item) -> list[str]:
    """Further fields of interest: ``field=value``, for packages just the values."""
    fields = json.loads(item.fields)
    names = DETAILS.get(item.kind, tuple(fields))
    known = {*NAMES.get(item.kind, ("name",)), VERSIONS.get(item.kind, "version")}
    pairs = [(name, in_words(name, fields[name])) for name in names if name in fields and name not in known]
    if item.kind == "package":
        return [value for _, value in pairs if value]
    return [f"{name}={value}" for name, value in pairs if value]


def in_words(name: str, value: Any) -> str:
    """A field as a reader wants it: moments as days, lists with commas, null as unknown, the rest as JSON."""
    if name in MOMENTS and isinstance(value, int | float) and 0 <= value < END_OF_CALENDAR:
        return day(value)
    if isinstance(value, list):
        value = ",".join(map(str, value))
    if value is None:
        return "unknown"
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= MAXIMUM_TEXT else f"{text[:MAXIMUM_TEXT]}…"


def age(state: HostState | None) -> str:
    """A warning for a host that could not be asked lately."""
    if state is None or not state.error:
        return ""
    return f"\tas of {minute(state.checked) if state.checked else 'never'}: {state.error}"


def change_line(change: Change) -> str:
    """``+ kind name version …``, ``- …``, or ``~ kind name old → new``."""
    item, before, after = change.item, change.before, change.after
    if before and after:
        if before.version != after.version and item.kind != "certificate":
            return f"~ {item.kind}\t{item.name}\t{before.version} → {after.version}"
        return f"~ {item.kind}\t{item.name}\t{', '.join(changed_fields(before, after))}"
    more = details(item) if item.kind != "package" else []
    return "\t".join(filter(None, [f"{'+' if after else '-'} {item.kind}", *head(item), *more]))


def changed_fields(before: Item, after: Item) -> list[str]:
    """``field: old → new`` of each field that differs: of those worth a place in a line, or else of all."""
    old, new = json.loads(before.fields), json.loads(after.fields)
    changed = [name for name in sorted(old.keys() | new.keys()) if old.get(name) != new.get(name)]
    worthy = [name for name in changed if name in DETAILS.get(after.kind, ())]
    return [
        f"{name}: {in_words(name, old.get(name))} → {in_words(name, new.get(name))}"
        for name in worthy or changed
    ]
