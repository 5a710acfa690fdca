"""One thing that runs on a host and should be cared for: watched, or backed up."""

from dataclasses import dataclass, field
from typing import Any

from leitstand.text import visible

SERVICE, WEB, DATABASE, MAIL, VOLUME = KINDS = ("service", "web", "database", "mail", "volume")
Fields = dict[str, Any]  # of an item of the inventory: data from another machine
Facts = dict[str, list[Fields]]  # by kind of item
LONGEST = 200  # letters of a name or reason that is shown


@dataclass(frozen=True)
class Thing:
    """``name`` is its name in exceptions, tables and metrics; ``why`` says where it was found.

    ``source`` is what a backup job would name, empty for a service or where nothing can be proposed;
    ``names`` are the host names of a service; ``group`` and ``label`` are for what belongs in one job.
    """

    host: str
    kind: str
    name: str
    why: str
    source: Fields = field(default_factory=dict, compare=False)
    url: str = ""
    names: tuple[str, ...] = ()
    expect: str = ""
    group: str = ""
    label: str = ""

    @property
    def key(self) -> str:
        """What an exception calls it: ``HOST/ITEM``."""
        return f"{self.host}/{self.name.lstrip('/')}"


def text(fields: Fields, name: str) -> str:
    """A field that should be text; empty for anything else."""
    value = fields.get(name)
    return value if isinstance(value, str) else ""


def texts(fields: Fields, name: str) -> list[str]:
    """A field that should be a list of texts, without anything else."""
    value = fields.get(name)
    return [entry for entry in value if isinstance(entry, str)] if isinstance(value, list) else []


def shown(value: str) -> str:
    """Text from another machine as it may stand in one line of a table or comment."""
    return visible(value[:LONGEST])
