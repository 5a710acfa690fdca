import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from fleet_inventory.database import open_database
from fleet_inventory.document import KINDS, parse
from leitstand.cli import run as leitstand

Items = dict[str, list[dict[str, Any]]]


@dataclass
class Fleet:
    """A leitstand.yml and the pulled inventories beside it."""

    folder: Path
    capture: pytest.CaptureFixture[str]

    @property
    def config(self) -> Path:
        return self.folder / "leitstand.yml"

    @property
    def database(self) -> Path:
        return self.folder / "db" / "inventory.sqlite"

    def has(self, host: str, items: Items, *, incomplete: tuple[str, ...] = (), age: float = 0.0) -> None:
        """Take over what the exporter of a host would send."""
        every: Items = {kind: [] for kind in KINDS}
        raw = {"schema_version": 1, "sha256": "x", "incomplete": list(incomplete), "items": every | items}
        document = parse(json.dumps(raw).encode())
        with open_database(self.database, create=True) as database:
            database.take(host, '"x"', document, time.time() - age)

    def __call__(self, *arguments: str) -> tuple[int, str, str]:
        """Exit code, output and messages of ``leitstand suggest``."""
        code = leitstand(["suggest", "-c", str(self.config), "--database", str(self.database), *arguments])
        return code, *self.capture.readouterr()

    def json(self, *arguments: str) -> dict[str, Any]:
        found = json.loads(self(*arguments, "--json")[1])
        assert isinstance(found, dict)
        return found

    def check(self) -> tuple[int, str]:
        code = leitstand(["check", "-c", str(self.config)])
        captured = self.capture.readouterr()
        return code, captured.out + captured.err


BASE = """\
hosts:
  web1: {address: 192.0.2.11, ssh: {user: backup}}
  db1:
    address: 192.0.2.12
    ssh: {user: backup}
stores:
  disk: {type: folder, path: /srv/backups}
paths: {state: STATE, metrics: METRICS}
"""


@pytest.fixture
def fleet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[[str], Fleet]:
    """Makes a fleet of web1 and db1 with one store, and what the text adds."""

    def make(more: str = "") -> Fleet:
        made = Fleet(tmp_path, capsys)
        text = BASE.replace("STATE", str(tmp_path / "state")).replace("METRICS", str(tmp_path / "metrics"))
        made.config.write_text(text + more)
        return made

    return make
