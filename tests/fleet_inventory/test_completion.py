"""What a shell offers after ``leitstand inventory``."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fleet_inventory.database import open_database
from fleet_inventory.document import parse

LEITSTAND = Path(sys.executable).with_name("leitstand")
NOTHING = b'{"schema_version": 1, "sha256": "", "incomplete": [], "items": {}}'


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with an inventory and a configuration."""
    with open_database(tmp_path / "inventory.sqlite", create=True) as store:
        for host in ("web1", "web2", "mail"):
            store.take(host, "a", parse(NOTHING), 1.0)
    hosts = "{web1: {address: 192.0.2.1}, new: {address: 192.0.2.2}}"
    (tmp_path / "leitstand.yml").write_text(f"hosts: {hosts}\n")
    return tmp_path


def offered(place: Path, *words: str) -> list[str]:
    line = " ".join(["leitstand", *words])
    asked = {
        "_LEITSTAND_COMPLETE": "bash_complete",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(words)),
        "LEITSTAND_INVENTORY": str(place / "inventory.sqlite"),
        "LEITSTAND_CONFIG": str(place / "leitstand.yml"),
    }
    done = subprocess.run(
        [LEITSTAND], env={**os.environ, **asked}, capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    return [answer.partition(",")[2] for answer in done.stdout.splitlines() if answer]


@pytest.mark.parametrize("command", ["show", "diff", "forget"])
def test_hosts_with_known_items_are_offered(place: Path, command: str) -> None:
    assert offered(place, "inventory", command, "w") == ["web1", "web2"]


def test_hosts_to_pull_are_those_of_the_configuration(place: Path) -> None:
    assert offered(place, "inventory", "pull", "n") == ["new"]


def test_kinds_are_offered(place: Path) -> None:
    found = offered(place, "inventory", "show", "web1", "--kind", "p")
    assert "package" in found
    assert all(kind.startswith("p") for kind in found)


def test_hosts_are_offered_to_authorize(place: Path) -> None:
    assert offered(place, "backup", "authorize", "n") == ["new"]


def test_without_an_inventory_nothing_is_offered_or_printed(tmp_path: Path) -> None:
    assert offered(tmp_path, "inventory", "show", "w") == []
    assert offered(tmp_path, "inventory", "pull", "w") == []
