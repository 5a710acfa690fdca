"""What fails every week: a host that is off, a name that is gone, a new machine in an old one's place."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from fleet_inventory.cli import inventory
from fleet_inventory.database import open_database
from lab.processes import free_port

Start = Callable[[], Any]


def pull(folder: Path, **hosts: tuple[str, int]) -> Result:
    fleet = {name: {"address": address, "exporter_port": port} for name, (address, port) in hosts.items()}
    (folder / "leitstand.yml").write_text(json.dumps({"hosts": fleet}))
    words = ["pull", "--config", str(folder / "leitstand.yml"), "--database", str(folder / "i.sqlite")]
    return CliRunner().invoke(inventory, words, standalone_mode=False)


@pytest.fixture
def host(exporter: Start) -> Callable[[str], Any]:
    """A host's exporter, by its machine id."""

    def start(machine: str) -> Any:
        started = exporter()
        started.etag = f'"{machine}"'
        started.items = {
            "package": [{"manager": "dpkg", "name": "bash", "version": "5"}],
            "host": [{"hostname": "h", "kernel": "6", "machine_id": machine}],
        }
        return started

    return start


@pytest.mark.parametrize(
    ("address", "message"),
    [("127.0.0.1", "Connection refused"), ("no-such-host.invalid", ".*[Nn]ame .*")],
)
def test_a_host_that_is_off_affects_no_other(
    host: Callable[[str], Any], tmp_path: Path, address: str, message: str
) -> None:
    done = pull(tmp_path, off=(address, free_port()), on=("127.0.0.1", host("1").port))
    assert done.exception is None
    assert done.stdout == "on: 2 changes\n"
    assert re.fullmatch(f"off: {message}\n", done.stderr)


@pytest.mark.parametrize(("before", "now"), [("1234", "5678"), ("5678", "1234")])
def test_another_machine_does_not_inherit_what_a_removed_host_was(
    host: Callable[[str], Any], tmp_path: Path, before: str, now: str
) -> None:
    pull(tmp_path, old=("127.0.0.1", host(before).port))
    done = pull(tmp_path, new=("127.0.0.1", host(now).port))
    assert done.stdout == "new: 2 changes\n"
    with open_database(tmp_path / "i.sqlite") as database:
        assert database.first_pull("old") != database.first_pull("new")
        assert [row.item.kind for row in database.now("new", "host")] == ["host"]


def test_a_machine_without_an_id_inherits_nothing(host: Callable[[str], Any], tmp_path: Path) -> None:
    pull(tmp_path, old=("127.0.0.1", host("").port))
    assert pull(tmp_path, new=("127.0.0.1", host("").port)).stdout == "new: 2 changes\n"


def test_of_two_removed_hosts_with_one_id_none_is_inherited(
    host: Callable[[str], Any], tmp_path: Path
) -> None:
    """Copied images have the id of their template: which of them this was is unknown."""
    pull(tmp_path, a=("127.0.0.1", host("1").port), b=("127.0.0.1", host("1").port))
    assert pull(tmp_path, new=("127.0.0.1", host("1").port)).stdout == "new: 2 changes\n"


def test_a_host_with_a_history_of_its_own_keeps_it(host: Callable[[str], Any], tmp_path: Path) -> None:
    pull(tmp_path, old=("127.0.0.1", host("1").port), web=("127.0.0.1", host("2").port))
    done = pull(tmp_path, web=("127.0.0.1", host("1").port))
    assert "was old before" not in done.stdout
