"""The rights of a user of MariaDB or MySQL, by SHOW GRANTS.

Objects that a user has no right to see are not refused: the server answers as if they did not exist, and a
dump looks complete without them.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

_NAME = r"\*|`(?:[^`]|``)+`"
_GRANT = re.compile(rf"GRANT (.+?) ON ({_NAME})\.({_NAME}) TO ")
# A role of MySQL; one of MariaDB has no host.
_ROLE = re.compile(r"GRANT `[^`]*`@`[^`]*`.* TO ")
_ALL = "ALL PRIVILEGES"
# With any of these a user sees that there are routines, and a dump that cannot read them fails.
_OF_ROUTINES = {_ALL, "EXECUTE", "CREATE ROUTINE", "ALTER ROUTINE", "SHOW CREATE ROUTINE"}


@dataclass(frozen=True)
class _Grant:
    rights: frozenset[str]
    database: str
    table: str


class Rights:
    def __init__(self, lines: Iterable[str]) -> None:
        self._grants = [grant for line in lines if (grant := _grant(line))]

    def sees_every_database(self) -> bool:
        return bool(self._of("*", "*") & {_ALL, "SELECT", "SHOW DATABASES"})

    def hidden(self, database: str) -> list[str]:
        """The objects that a dump of a database would silently lack, each with the grant that helps."""
        rights = self._of(database, "*") | self._of("*", "*")
        quoted = database.replace("`", "``")
        found = []
        if not rights & {_ALL, "SELECT"}:
            found.append(f"tables (GRANT SELECT ON `{quoted}`.*)")
        if not rights & {_ALL, "TRIGGER"}:
            found.append(f"triggers (GRANT TRIGGER ON `{quoted}`.*)")
        if not rights & _OF_ROUTINES and not self._reads_routines():
            found.append("routines (GRANT SELECT ON mysql.*; in MySQL: SHOW_ROUTINE ON *.*)")
        return found

    def _reads_routines(self) -> bool:
        own = self._of("mysql", "*") | self._of("mysql", "proc")
        return bool(self._of("*", "*") & {"SELECT", "SHOW_ROUTINE"} or own & {_ALL, "SELECT"})

    def _of(self, database: str, table: str) -> frozenset[str]:
        found = (each for each in self._grants if each.table == table and _covers(each.database, database))
        return frozenset(right for each in found for right in each.rights)


def has_roles(lines: Iterable[str]) -> bool:
    """Whether a user of MySQL has rights through roles, of which SHOW GRANTS then shows only the names."""
    return any(_ROLE.match(line) for line in lines)


def _grant(line: str) -> _Grant | None:
    found = _GRANT.match(line)
    if found is None:
        return None
    database, table = (name.strip("`").replace("``", "`") for name in found.groups()[1:])
    return _Grant(frozenset(found[1].split(", ")), database, table)


def _covers(pattern: str, database: str) -> bool:
    """Whether a grant covers a database: ``%`` and ``_`` are wildcards unless after a backslash."""
    if "*" in (pattern, database):
        return pattern == database
    words = re.split(r"(\\.|[%_])", pattern)
    wild = {"%": ".*", "_": "."}
    text = "".join(wild.get(word) or re.escape(word[1:] if word[:1] == "\\" else word) for word in words)
    return re.fullmatch(text, database, re.IGNORECASE | re.DOTALL) is not None
