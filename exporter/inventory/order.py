"""The order that goes from the exporter to the worker."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exporter.roots import Roots


@dataclass(frozen=True)
class Order:
    """An order to the worker: which sources, where, and the watch list."""

    sources: Sequence[str]
    roots: Roots
    watch: Sequence[str]

    def to_wire(self) -> bytes:
        """As it goes to the worker's standard input."""
        roots = {name: str(getattr(self.roots, name)) for name in ("proc", "sys", "root")}
        return json.dumps({"sources": list(self.sources), "roots": roots, "watch": list(self.watch)}).encode()

    @classmethod
    def from_wire(cls, data: bytes) -> "Order":
        raw: dict[str, Any] = json.loads(data)
        roots = Roots(**{name: Path(path) for name, path in raw["roots"].items()})
        return cls(raw["sources"], roots, raw["watch"])
