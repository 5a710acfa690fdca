"""A user's query: ``openssl < 3.0.20``, ``php_extension:redis``, ``lib*ssl* = 3.0.19``."""

import fnmatch
import json
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fleet_inventory.document import NAMES, Item, words_of
from leitstand.errors import UsageError
from leitstand.versions import key_of

Compare = Callable[[Any, Any], bool]
OPERATORS: dict[str, Compare] = {
    "<=": operator.le,
    ">=": operator.ge,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
    "=": operator.eq,
}
_QUERY = re.compile(
    r"^\s*(?:(?P<kind>[a-z_]+):)?(?P<name>[^<>=!\s]+(?: [^<>=!\s]+)*)"
    r"\s*(?:(?P<sign><=|>=|!=|==?|<|>)\s*(?P<version>[^<>=!*?\s]+))?\s*$"
)
# The rest of an operator that there is none of: '~=', '~>'.
_NO_WORD = re.compile(r"(?:^|\s)[~^]+(?:\s|$)")
# Searched unless the query names a kind: the rest has names that mean other things.
SOFTWARE = ("package", "web_application", "database", "php", "container_image")


@dataclass(frozen=True)
class Query:
    """Name pattern (shell style, any case), kinds, and a comparison unless ``sign`` is empty.

    ``kind`` is the one that the user named, if any.
    """

    kinds: tuple[str, ...]
    name: str
    sign: str = ""
    version: str = ""
    kind: str = ""

    def matches(self, item: Item) -> bool:
        if self.kinds and item.kind not in self.kinds:
            return False
        if not any(fnmatch.fnmatchcase(name.casefold(), self.name) for name in names_of(item)):
            return False
        return not self.sign or is_so(item.version, self.sign, self.version, item.manager)


def names_of(item: Item) -> tuple[str, ...]:
    """The names that find an item: its whole name or a word of it. PHP itself is "php" with any SAPI."""
    if item.kind == "php":
        return ("php", f"php {item.name}")
    words = words_of(item.kind, json.loads(item.fields)) if len(NAMES.get(item.kind, ())) > 1 else []
    return (item.name, *words)


def parse_query(text: str) -> Query:
    """Read a query. Raises UsageError with an example."""
    found = _QUERY.match(text)
    if not found or _NO_WORD.search(found["name"]):
        raise UsageError(
            f"not understood: {text!r}", "for example: leitstand inventory search 'openssl < 3.0.20'"
        )
    sign = (found["sign"] or "").replace("==", "=")
    kinds = (found["kind"],) if found["kind"] else SOFTWARE
    return Query(kinds, found["name"].casefold(), sign, found["version"] or "", found["kind"] or "")


def is_so(installed: str, sign: str, wanted: str, manager: str) -> bool:
    """True if the comparison holds in the manager's own order.

    What the query leaves out does not count: without an epoch (``1:``) or a revision (``-1``) in it, those of
    the installed version are left out too. So ``= 3.0.19`` means every build of 3.0.19.
    """
    if not installed:
        return False
    key = key_of(manager)
    if manager in ("dpkg", "rpm") and ":" not in wanted:
        installed = installed.partition(":")[2] or installed
    if manager in ("dpkg", "rpm", "apk") and "-" not in wanted:
        installed = installed.rpartition("-")[0] or installed
    return OPERATORS[sign](key(installed), key(wanted))
