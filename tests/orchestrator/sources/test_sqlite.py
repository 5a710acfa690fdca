"""SQLite databases that are in use: one moment of them, whoever writes meanwhile."""

import os
import sqlite3
import stat
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext, suppress
from pathlib import Path

import pytest

from lab.mounts import read_only
from lab.patience import patient
from lab.processes import wait_until
from orchestrator.config.settings import SqliteSettings
from orchestrator.sources import SourceError
from orchestrator.sources import sqlite as sources_sqlite
from orchestrator.sources.sqlite import SqliteSource

ACCOUNTS = 20
ROOT_ONLY = pytest.param(True, marks=pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount"))


@pytest.fixture
def bank(tmp_path: Path) -> Path:
    """Accounts between which money moves: a copy of two moments has another sum."""
    path = tmp_path / "bank.sqlite"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE account (id INTEGER PRIMARY KEY, amount INTEGER, filler BLOB)")
        rows = ((100, os.urandom(20_000)) for _ in range(ACCOUNTS))
        connection.executemany("INSERT INTO account (amount, filler) VALUES (?, ?)", rows)
    return path


@contextmanager
def moving_money(path: Path) -> Iterator[list[int]]:
    """A writer of its own, which leaves gaps; the list grows by one with each of its transactions."""
    done: list[int] = []
    ended = threading.Event()

    def move() -> None:
        with closing(sqlite3.connect(path, timeout=patient(60))) as connection:
            while not ended.wait(0.005):
                with connection:
                    for change, which in ((-1, len(done)), (1, 7 * len(done) + 1)):
                        statement = "UPDATE account SET amount = amount + ? WHERE id = ?"
                        connection.execute(statement, (change, which % ACCOUNTS + 1))
                done.append(1)

    thread = threading.Thread(target=move)
    thread.start()
    try:
        yield done
    finally:
        ended.set()
        thread.join()


def copy_of(source: SqliteSource) -> bytes:
    (entry,) = source.entries(lambda problem: None)
    return b"".join(entry.blocks())


@pytest.mark.parametrize("journal", ["wal", "delete"])
@pytest.mark.parametrize("memory_limit", ["100MiB", "1KiB"], ids=["memory", "scratch"])
def test_a_copy_is_of_one_moment(bank: Path, tmp_path: Path, journal: str, memory_limit: str) -> None:
    with closing(sqlite3.connect(bank)) as connection:
        connection.execute(f"PRAGMA journal_mode = {journal}")
    settings = SqliteSettings.model_validate({"sqlite": str(bank), "memory_limit": memory_limit})
    with moving_money(bank) as done:
        for before in range(3):
            (tmp_path / "copy").write_bytes(copy_of(SqliteSource(settings, tmp_path)))
            with closing(sqlite3.connect(tmp_path / "copy")) as copy:
                assert copy.execute("SELECT sum(amount) FROM account").fetchone() == (100 * ACCOUNTS,)
                assert copy.execute("PRAGMA journal_mode").fetchone() == (journal,)
            wait_until(lambda before=before: len(done) > before, "the writer", pause=0.001)


@pytest.mark.parametrize("memory_limit", ["100MiB", "1KiB"], ids=["memory", "scratch"])
def test_a_database_at_rest_that_changes_meanwhile_is_copied_again(
    bank: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, memory_limit: str
) -> None:
    with closing(sqlite3.connect(bank)) as connection:
        connection.execute("PRAGMA journal_mode = wal")
    connect, changes = sources_sqlite._connect, []

    def connect_then_change(path: Path, more: str = "") -> sqlite3.Connection:
        found = connect(path, more)
        changes.append(more)
        with closing(sqlite3.connect(bank)) as writer, writer:
            writer.execute("CREATE TABLE IF NOT EXISTS note (at)")
            writer.execute("INSERT INTO note VALUES (?)", (len(changes),))
        return found

    monkeypatch.setattr(sources_sqlite, "_connect", connect_then_change)
    settings = SqliteSettings.model_validate({"sqlite": str(bank), "memory_limit": memory_limit})
    (tmp_path / "copy").write_bytes(copy_of(SqliteSource(settings, tmp_path)))
    assert len(changes) > 4, "it was tried again"
    with closing(sqlite3.connect(tmp_path / "copy")) as copy:
        assert copy.execute("SELECT sum(amount) FROM account").fetchone() == (100 * ACCOUNTS,)


def test_a_copy_in_the_scratch_folder_has_no_name_and_is_private(bank: Path, tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    settings = SqliteSettings.model_validate({"sqlite": str(bank), "memory_limit": "1KiB"})
    (entry,) = SqliteSource(settings, scratch).entries(lambda problem: None)
    blocks = iter(entry.blocks())
    next(blocks)
    assert list(scratch.iterdir()) == []
    links = {}
    for path in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # that of the listing itself, among others
            links[path] = str(path.readlink())
    copies = [path for path, place in links.items() if place.startswith(str(scratch))]
    assert {stat.S_IMODE(path.stat().st_mode) for path in copies} == {0o600}
    assert all(links[path].endswith(" (deleted)") for path in copies)
    list(blocks)


def test_a_database_that_stays_locked_fails_the_source(
    bank: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when the lock comes between the first look and the copy: the library would wait for ever."""
    monkeypatch.setattr(sources_sqlite, "BUSY_SECONDS", 0.1)
    with closing(sqlite3.connect(bank, isolation_level=None)) as writer:
        look = sources_sqlite._bytes_of

        def look_then_lock(connection: sqlite3.Connection) -> int:
            size = look(connection)
            writer.execute("BEGIN EXCLUSIVE")
            return size

        monkeypatch.setattr(sources_sqlite, "_bytes_of", look_then_lock)
        with pytest.raises(SourceError, match="database is locked"):
            copy_of(SqliteSource(SqliteSettings(sqlite=bank), tmp_path))


@contextmanager
def read_only_or_not(place: Path, wanted: bool) -> Iterator[None]:
    with read_only(place) if wanted else nullcontext():
        yield


@pytest.fixture
def idle(tmp_path: Path) -> Path:
    """A database with a write-ahead log whose program has ended well; alone in its folder."""
    (tmp_path / "app").mkdir()
    path = tmp_path / "app" / "it's 100% idle?.sqlite"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA journal_mode = wal")
        connection.execute("CREATE TABLE entry (id INTEGER)")
        connection.execute("INSERT INTO entry VALUES (1), (2)")
    return path


@pytest.mark.parametrize("memory_limit", ["100MiB", "1KiB"], ids=["memory", "scratch"])
@pytest.mark.parametrize(
    "closed", [False, pytest.param(True, marks=pytest.mark.skipif(os.geteuid() != 0, reason="root mounts"))]
)
def test_a_database_at_rest_is_read_where_nothing_can_be_made_beside_it_and_stays_alone(
    idle: Path, tmp_path: Path, memory_limit: str, closed: bool
) -> None:
    settings = SqliteSettings.model_validate({"sqlite": str(idle), "memory_limit": memory_limit})
    source = SqliteSource(settings, tmp_path)
    with read_only_or_not(idle.parent, closed):
        (tmp_path / "copy").write_bytes(copy_of(source))
    assert list(source.tables.values()) == [{"entry": 2}]
    assert list(idle.parent.iterdir()) == [idle]
    assert source.hindrance() == ""


def test_a_database_that_is_written_while_it_is_read_at_rest_is_read_again(
    idle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    look, sizes = sources_sqlite._bytes_of, []

    def look_and_write(connection: sqlite3.Connection) -> int:
        sizes.append(look(connection))
        if len(sizes) == 1:
            with closing(sqlite3.connect(idle)) as writer, writer:
                writer.execute("INSERT INTO entry VALUES (3)")
        return sizes[-1]

    monkeypatch.setattr(sources_sqlite, "_bytes_of", look_and_write)
    source = SqliteSource(SqliteSettings(sqlite=idle), tmp_path)
    copy_of(source)
    assert len(sizes) == 2
    assert list(source.tables.values()) == [{"entry": 3}]


def test_changes_of_a_program_that_did_not_end_well_are_read_where_they_can_be(
    idle: Path, tmp_path: Path
) -> None:
    with closing(sqlite3.connect(idle)) as connection, connection:
        connection.execute("INSERT INTO entry VALUES (3)")
        connection.commit()
        kept = {
            path.name: path.read_bytes() for path in idle.parent.iterdir() if not path.name.endswith("-shm")
        }
    for name, content in kept.items():
        (idle.parent / name).write_bytes(content)
    source = SqliteSource(SqliteSettings(sqlite=idle), tmp_path)
    assert "-wal has changes of a program that did not exit cleanly" in source.hindrance()
    copy_of(source)
    assert list(source.tables.values()) == [{"entry": 3}]
