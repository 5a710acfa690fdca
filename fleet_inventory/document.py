"""An exporter's inventory document, read as what it is: data from another machine."""

import json
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from leitstand.errors import LeitstandError
from leitstand.text import visible

SCHEMA_VERSION = 1
MAXIMUM_ITEMS = 60_000
MAXIMUM_VALUES = 600_000
# Letters of what is known of one item, and of what is looked up: long keys make an index slow for all hosts.
MAXIMUM_TEXT, MAXIMUM_NAME = 1 << 20, 8192
# What an exporter of this release tells of; another may know more.
KINDS = (
    *(
        "address",
        "certificate",
        "container",
        "container_image",
        "container_volume",
        "database",
        "default_route",
        "dns_server",
    ),
    *("failed_unit", "host", "listening_socket", "mail_store", "package", "php", "php_extension", "php_pool"),
    *("php_setting", "reboot_reason", "ssh_key", "stale_library", "timer", "update", "user"),
    *("virtual_host", "web_application"),
)
# Kind -> the fields that say which one it is. Everything else about it may change.
NAMES: dict[str, tuple[str, ...]] = {
    "host": ("hostname",),
    "address": ("interface", "address"),
    "default_route": ("family", "interface"),
    "dns_server": ("address",),
    "package": ("name",),
    "reboot_reason": ("reason", "detail"),
    "mail_store": ("path",),
    "container_volume": ("name", "path"),
    "stale_library": ("unit", "program"),
    "php": ("sapi",),
    "php_setting": ("branch", "sapi", "name"),
    "php_extension": ("branch", "sapi", "name"),
    "php_pool": ("branch", "name"),
    "listening_socket": ("protocol", "address", "port"),
    "certificate": ("path",),
    "ssh_key": ("user", "fingerprint"),
}
# What is the version of kinds that have none of that name.
VERSIONS = {"php_setting": "value", "host": "kernel", "certificate": "fingerprint", "timer": "result"}
# Further fields that tell two of one name apart.
APART = ("manager", "arch", "path", "branch", "server", "file", "runtime")


class DocumentError(LeitstandError):
    """The answer of an exporter is not an inventory."""


@dataclass(frozen=True)
class Item:
    """One thing on a host. ``key`` is the same for all versions of it; ``fields`` is canonical JSON."""

    kind: str
    name: str
    version: str
    manager: str
    key: str
    fields: str


@dataclass(frozen=True)
class InventoryDocument:
    """``incomplete`` names kinds of which something may be missing without being gone.

    ``untold`` names those of which the exporter says nothing at all: it is of an earlier release.
    """

    sha256: str
    items: list[Item]
    incomplete: frozenset[str] = field(default_factory=frozenset)
    untold: frozenset[str] = field(default_factory=frozenset)

    def describes(self, kind: str, manager: str) -> bool:
        """Whether what is missing of a kind is gone: all of one manager comes from one source."""
        return kind not in self.incomplete or (kind, manager) in self._managers

    @cached_property
    def _managers(self) -> frozenset[tuple[str, str]]:
        return frozenset((item.kind, item.manager) for item in self.items)


def parse(data: bytes) -> InventoryDocument:
    """Read a document. Raises DocumentError with what is wrong."""
    must_be_bounded(data)
    try:
        raw = json.loads(data)
        del data  # and each entry once it is read, or everything would be in memory several times
        version, items = raw["schema_version"], raw["items"]
        if version != SCHEMA_VERSION:
            raise DocumentError(
                f"the inventory has schema version {version}", "let exporter and leitstand be of one release"
            )
        found = [
            item_of(printable(kind), printable(entries.pop()))
            for kind, entries in items.items()
            for _ in range(len(entries))
        ]
        incomplete = frozenset(map(str, printable(raw["incomplete"])))
        untold = frozenset(KINDS) - items.keys()
        return InventoryDocument(printable(str(raw["sha256"])), found, incomplete, untold)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DocumentError(
            "the answer is no inventory", "does a leitstand exporter listen there?"
        ) from error


def must_be_bounded(data: bytes) -> None:
    """Raises DocumentError for JSON whose objects would take far more memory than its text.

    Counted before any is built. Letters within texts count as well: that errs to the safe side.
    """
    found = data.count(b"{")
    if found > MAXIMUM_ITEMS:
        raise DocumentError(f"the inventory has {found} items", f"at most {MAXIMUM_ITEMS} are taken")
    values = found + data.count(b"[") + data.count(b",")
    if values > MAXIMUM_VALUES:
        raise DocumentError(f"the inventory has {values} values", f"at most {MAXIMUM_VALUES} are taken")


def printable(value: Any) -> Any:
    """``value`` with every text in it as it may go to a terminal and a database."""
    match value:
        case str():
            return visible(value)
        case list():
            return [printable(entry) for entry in value]
        case dict():
            return {printable(name): printable(entry) for name, entry in value.items()}
    return value


def words_of(kind: str, fields: dict[str, Any]) -> list[str]:
    """The values that make the name of an item. Raises AttributeError for another shape."""
    return [str(fields.get(part, "")) for part in NAMES.get(kind, ("name",))]


def item_of(kind: str, fields: dict[str, Any]) -> Item:
    """One item of a document. Raises AttributeError, TypeError, ValueError for another shape."""
    name = " ".join(words_of(kind, fields)).strip()
    version = str(fields.get(VERSIONS.get(kind, "version"), "") or "")
    manager = str(fields.get("manager", ""))
    apart = [str(fields[part]) for part in APART if fields.get(part) and part not in NAMES.get(kind, ())]
    text = json.dumps(fields, ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":"))
    for part, most in ((text, MAXIMUM_TEXT), (name, MAXIMUM_NAME), (kind, MAXIMUM_NAME)):
        if len(part) > most:
            raise DocumentError(
                f"an item of the inventory has a text of {len(part)} letters", f"at most {most} are taken"
            )
    return Item(kind, name, version, manager, "\x1f".join([name, *apart]), text)
