"""Objects that SQL of pg_dump expects on its server: only the source has them, and without them it stops."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain, islice

from orchestrator.verify.databases.loaded import DumpError

_NAME = rb'(?:"(?:[^"\0]|"")+"|[A-Za-z_\x80-\xff][\w$\x80-\xff]*)'
_ROLES = re.compile(
    rb"\b(?:TO|FROM|FOR ROLE|FOR USER|MAPPING FOR|AUTHORIZATION|GRANTED BY) ("
    + _NAME
    + rb"(?:, "
    + _NAME
    + rb")*)"
)
_EACH = re.compile(_NAME)
_EXTENSION = re.compile(rb"CREATE EXTENSION (?:IF NOT EXISTS )?(" + _NAME + rb")")
_TABLESPACE = re.compile(rb"SET default_tablespace = (" + _NAME + rb");")
# Statements that name a role, an extension or a tablespace begin so, at the beginning of a line.
_STARTS = (
    *(b"ALTER ", b"GRANT ", b"REVOKE ", b"CREATE POLICY ", b"CREATE SCHEMA ", b"CREATE USER MAPPING "),
    *(b"CREATE EXTENSION ", b"SET SESSION AUTHORIZATION ", b"SET default_tablespace = "),
)
_ROWS = re.compile(rb"COPY .* FROM stdin;$", re.DOTALL)
_HEAD_LINES = 40
_BY = re.compile(rb"-- Dumped by pg_dump version (\d+)")
_ENCODING = re.compile(rb"SET client_encoding = '([A-Za-z0-9_]+)';")
_LONGEST_STATEMENT = 1 << 20  # bytes
_MOST_ROLES = 100_000
_THERE = ("postgres", "PUBLIC", "CURRENT_USER", "SESSION_USER", "CURRENT_ROLE")


@dataclass
class Needs:
    """Names are quoted as in the dump. ``version`` is the major one of pg_dump, 0 if unknown."""

    version: int = 0
    encoding: str = "UTF8"
    roles: list[str] = field(default_factory=list)
    extensions: list[str] = field(default_factory=list)
    tablespaces: list[str] = field(default_factory=list)


def needs_of(lines: Iterable[bytes]) -> Needs:
    """Read a dump's SQL, line by line.

    What looks like a role in the text of a function does no harm: a role more, that nothing uses.
    """
    lines = iter(lines)
    head = list(islice(lines, _HEAD_LINES))
    needs = _about(head)
    found: dict[str, dict[bytes, None]] = {"roles": {}, "extensions": {}, "tablespaces": {}}
    for statement in _statements(chain(head, lines)):
        for names in _ROLES.findall(statement):
            found["roles"].update(dict.fromkeys(_EACH.findall(names)))
        if len(found["roles"]) > _MOST_ROLES:
            raise DumpError(f"it names more than {_MOST_ROLES} roles")
        found["extensions"].update(dict.fromkeys(_EXTENSION.findall(statement)))
        found["tablespaces"].update(dict.fromkeys(_TABLESPACE.findall(statement)))
    needs.roles = [name for name in _texts(found["roles"]) if name not in _THERE]
    needs.extensions, needs.tablespaces = _texts(found["extensions"]), _texts(found["tablespaces"])
    return needs


def _about(head: list[bytes]) -> Needs:
    text = b"".join(head)
    version, encoding = _BY.search(text), _ENCODING.search(text)
    return Needs(
        version=int(version[1]) if version else 0, encoding=encoding[1].decode() if encoding else "UTF8"
    )


def _texts(names: Iterable[bytes]) -> list[str]:
    return [name.decode(errors="replace") for name in names]


def _statements(lines: Iterator[bytes]) -> Iterator[bytes]:
    """The statements that may name something, without the rows between them."""
    for line in lines:
        if line.startswith(b"COPY ") and _ROWS.match(_copy(line, lines)):
            for row in lines:
                if row.rstrip() == rb"\.":
                    break
        elif line.startswith(_STARTS):
            yield _whole(line, lines)


def _copy(first: bytes, lines: Iterator[bytes]) -> bytes:
    """A COPY statement, all of its lines if a name goes on in the next one."""
    return (_whole(first, lines) if first.count(b'"') % 2 else first).rstrip()


def _whole(first: bytes, lines: Iterator[bytes]) -> bytes:
    """A statement to its end: a name in quotes may have several lines, and so may a condition."""
    text = [first]
    quotes, size = first.count(b'"'), len(first)
    while (quotes % 2 or not text[-1].rstrip().endswith(b";")) and size < _LONGEST_STATEMENT:
        line = next(lines, None)
        if line is None:
            break
        text.append(line)
        quotes, size = quotes + line.count(b'"'), size + len(line)
    return b"".join(text)
