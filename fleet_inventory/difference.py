"""The changes on a host between two moments."""

from collections.abc import Iterable
from dataclasses import dataclass

from fleet_inventory.database import Row
from fleet_inventory.document import Item


@dataclass(frozen=True)
class Change:
    """Something that came (``before`` is None), went (``after`` is None) or became another."""

    before: Item | None
    after: Item | None

    @property
    def item(self) -> Item:
        """The newer of both."""
        found = self.after or self.before
        if found is None:
            raise ValueError("a change of nothing")
        return found


def by_key(rows: Iterable[Row]) -> dict[tuple[str, str], list[Item]]:
    """Items by kind and key; several where a host has the same thing twice."""
    found: dict[tuple[str, str], list[Item]] = {}
    for row in rows:
        found.setdefault((row.item.kind, row.item.key), []).append(row.item)
    return found


def difference(before: Iterable[Row], after: Iterable[Row]) -> list[Change]:
    """Every change, sorted by kind and name."""
    old, new = by_key(before), by_key(after)
    changes: list[Change] = []
    for key in sorted(old.keys() | new.keys()):
        same = {item.fields for item in old.get(key, [])} & {item.fields for item in new.get(key, [])}
        gone = [item for item in old.get(key, []) if item.fields not in same]
        came = [item for item in new.get(key, []) if item.fields not in same]
        paired = min(len(gone), len(came))
        changes += [Change(gone[at], came[at]) for at in range(paired)]
        changes += [Change(item, None) for item in gone[paired:]]
        changes += [Change(None, item) for item in came[paired:]]
    return changes
