"""The fleet's database through what may happen to it: damage, a pull that is killed, two pulls at once."""

import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner

from fleet_inventory.cli import inventory, moment_of, usual_database
from fleet_inventory.database import Database, DatabaseError, open_database
from fleet_inventory.document import InventoryDocument, parse
from leitstand.errors import LeitstandError


def complaint(path: Path, command: str, *words: str) -> LeitstandError:
    arguments = [command, "--database", str(path), *words]
    error = CliRunner().invoke(inventory, arguments, standalone_mode=False).exception
    assert isinstance(error, LeitstandError)
    return error


def document_of(*names: str) -> InventoryDocument:
    items = {"package": [{"manager": "dpkg", "name": name, "version": "1"} for name in names]}
    raw = {"schema_version": 1, "sha256": "", "incomplete": [], "items": items}
    return parse(json.dumps(raw).encode())


def test_a_damaged_or_foreign_database_is_one_clear_line(tmp_path: Path) -> None:
    path = tmp_path / "inventory.sqlite"
    path.write_bytes(b"no database at all" * 100)
    for words in (["show"], ["search", "a"]):
        assert isinstance(complaint(path, *words), DatabaseError)
    path.unlink()
    with open_database(path, create=True) as store:
        store._connection.execute("PRAGMA user_version = 9")
    assert "another release" in complaint(path, "show").message


def test_output_that_cannot_be_written_is_no_fault_of_the_database(tmp_path: Path) -> None:
    with open_database(tmp_path / "inventory.sqlite", create=True) as store:
        store.take("web1", "a", document_of("a"), 1.0)
    show = ["inventory", "show", "--database", str(tmp_path / "inventory.sqlite")]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "leitstand", *show],
            check=False,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert (done.returncode, done.stderr) == (3, "input or output: No space left on device\n")


def test_the_folder_it_makes_is_readable_with_any_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        with open_database(tmp_path / "leitstand" / "inventory.sqlite", create=True):
            pass
    finally:
        os.umask(before)
    assert (tmp_path / "leitstand").stat().st_mode & 0o777 == 0o755


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to make files that are somebody else's")
def test_a_user_who_may_not_write_is_advised_to_become_another(tmp_path: Path) -> None:
    folder = tmp_path / "leitstand"
    folder.mkdir(mode=0o755)
    with open_database(folder / "inventory.sqlite", create=True):
        pass
    for path in (folder / "inventory.sqlite", folder):
        os.chown(path, 65534, 65534)
    bound = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"]
    show = [sys.executable, "-m", "leitstand", "inventory", "show", "--database", folder / "inventory.sqlite"]
    done = subprocess.run([*bound, *show], check=False, capture_output=True, text=True)
    assert done.returncode == 3
    assert done.stderr.splitlines()[1] == "  hint: run this as the user who pulls, usually root"


def test_a_pull_killed_midway_leaves_the_last_whole_state(tmp_path: Path) -> None:
    path = tmp_path / "inventory.sqlite"
    script = (
        "import sys, os, json, pathlib\n"
        "from fleet_inventory.database import open_database\n"
        "from fleet_inventory.document import parse\n"
        "def document(*names):\n"
        "    items = {'package': [{'manager': 'dpkg', 'name': n, 'version': '1'} for n in names]}\n"
        "    raw = {'schema_version': 1, 'sha256': '', 'incomplete': [], 'items': items}\n"
        "    return parse(json.dumps(raw).encode())\n"
        "with open_database(pathlib.Path(sys.argv[1]), create=True) as store:\n"
        "    store.take('web1', 'a', document('a', 'b'), 1.0)\n"
        "    store._connection.set_trace_callback(\n"
        "        lambda text: os.kill(os.getpid(), 9) if text.startswith('INSERT INTO host') else None)\n"
        "    store.take('web1', 'b', document('c'), 2.0)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", script, str(path)], check=False, env=environment)
    assert done.returncode == -9
    with open_database(path) as store:
        assert [row.item.name for row in store.at("web1")] == ["a", "b"]
        assert store.states()["web1"].etag == "a"


def test_an_item_stored_by_two_pulls_at_once_is_there_once(tmp_path: Path) -> None:
    path = tmp_path / "inventory.sqlite"
    with open_database(path, create=True) as store, closing(sqlite3.connect(path)) as other:
        store.take("web1", "", document_of("a"), 1.0)
        # The other pull has written "b" and lets us in only now that we want to write, too.
        other.execute(
            "INSERT INTO item SELECT host, kind, 'b', version, manager, 'b', ?, 2.0, NULL FROM item",
            [document_of("b").items[0].fields],
        )
        late = sqlite3.connect(path, timeout=0)
        late.set_trace_callback(lambda text: other.commit() if text.startswith("BEGIN") else None)
        with closing(late):
            assert Database(late).take("web1", "", document_of("a", "b"), 3.0) == 0
        assert [row.item.name for row in store.at("web1")] == ["a", "b"]


def test_an_inventory_of_an_earlier_release_is_found_where_it_was(tmp_path: Path) -> None:
    usual, former = tmp_path / "inventory" / "i.sqlite", tmp_path / "i.sqlite"
    assert usual_database(usual, former) == usual
    former.touch()
    assert usual_database(usual, former) == former
    usual.parent.mkdir()
    usual.touch()
    assert usual_database(usual, former) == usual


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("1970-01-02", 2 * 86_400.0),
        ("1970-01-02T00:30", 86_400.0 + 1800),
        ("today", 4 * 86_400.0),
        ("yesterday", 3 * 86_400.0),
    ],
)
def test_a_day_means_its_end_and_a_moment_itself(text: str, moment: float) -> None:
    assert moment_of(text, 3.5 * 86_400) == moment
