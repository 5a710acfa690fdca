"""Dumps of real servers: consistent, complete, counted; a dump that is not whole fails the run."""

import itertools
import os
import shutil
import subprocess
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.databases import MariaDB, PostgreSQL
from orchestrator.config.settings import CommandSettings, MysqlSettings, PostgresqlSettings
from orchestrator.sources import SourceError
from orchestrator.sources.databases import CommandOutput, DumpSource, MysqlDumps, PostgresqlDumps
from orchestrator.sources.row_counts import MysqlWatcher, PostgresqlWatcher
from orchestrator.sources.ssh import LOCAL
from orchestrator.sources.tables import Start, cut

AWKWARD = ["plain", "two\nlines", "it's (odd), (very)", "back\\slash", "),(", "tab\t", "ü"]


def read(source: DumpSource) -> dict[str, bytes]:
    problems: list[object] = []
    contents = {entry.path.decode(): b"".join(entry.blocks()) for entry in source.entries(problems.append)}
    assert problems == []
    return contents


@pytest.fixture(scope="module")
def mariadb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MariaDB]:
    with MariaDB(tmp_path_factory.mktemp("mariadb")) as server:
        rows = ", ".join(f"({server.quoted(text)})" for text in AWKWARD)
        server.execute(
            "CREATE DATABASE website; USE website;"
            " CREATE TABLE `odd ``name` (id INT AUTO_INCREMENT PRIMARY KEY, text TEXT);"
            f" INSERT INTO `odd ``name` (text) VALUES {rows}; CREATE TABLE empty (id INT);"
            " CREATE TABLE bin (b BLOB); INSERT INTO bin VALUES (x'00ff0a28'), (x'0a');"
            " CREATE PROCEDURE hello() SELECT 1; CREATE DATABASE second; CREATE TABLE second.t (id INT);"
        )
        yield server


@pytest.fixture(scope="module")
def postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgreSQL]:
    with PostgreSQL(tmp_path_factory.mktemp("postgresql")) as server:
        server.execute("CREATE DATABASE website")
        rows = ", ".join(f"(E'{text}')" for text in ("one", "two\\nlines", "\\\\.", "COPY x (y) FROM stdin;"))
        server.execute(
            f"CREATE TABLE entry (id serial, text text); INSERT INTO entry (text) VALUES {rows};"
            " CREATE TABLE empty (id int); CREATE ROLE editor",
            "website",
        )
        yield server


def test_a_mysql_dump_is_complete_and_its_rows_are_counted(mariadb: MariaDB) -> None:
    source = MysqlDumps(MysqlSettings(mysql="website", defaults_file=mariadb.defaults_file), LOCAL)
    dump = read(source)["mysql/website/dump.sql"]
    assert b"hello" in dump, "routines are part of it"
    assert source.tables[b"mysql/website/dump.sql"] == {"odd `name": len(AWKWARD), "empty": 0, "bin": 2}


def test_a_mysql_dump_loads_into_another_database_with_the_same_rows(mariadb: MariaDB) -> None:
    source = MysqlDumps(MysqlSettings(mysql="website", defaults_file=mariadb.defaults_file), LOCAL)
    mariadb.execute("CREATE DATABASE scratch")
    mariadb.execute(read(source)["mysql/website/dump.sql"].decode(), "scratch")
    assert mariadb.execute("SELECT COUNT(*) FROM scratch.`odd ``name`").strip() == str(len(AWKWARD))
    assert mariadb.execute("SELECT HEX(b) FROM scratch.bin ORDER BY b").split() == ["00FF0A28", "0A"]
    mariadb.execute("DROP DATABASE scratch")


def test_a_host_whose_programs_have_mariadbs_names_only_is_dumped_as_well(
    mariadb: MariaDB, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("sh", "mariadb", "mariadb-dump"):
        (tmp_path / name).symlink_to(Path(shutil.which(name) or name).resolve())
    monkeypatch.setenv("PATH", str(tmp_path))
    source = MysqlDumps(MysqlSettings(mysql="*", defaults_file=mariadb.defaults_file), LOCAL)
    assert "mysql/website/dump.sql" in read(source)
    (tmp_path / "mariadb-dump").unlink()
    with pytest.raises(SourceError, match=r"mysqldump on this host failed: .*not found"):
        read(MysqlDumps(MysqlSettings(mysql="website"), LOCAL))


def test_the_pieces_of_a_dump_are_the_dump_and_one_loads_alone(mariadb: MariaDB) -> None:
    chosen = MysqlSettings(mysql="website", defaults_file=mariadb.defaults_file)
    whole = read(MysqlDumps(chosen, LOCAL))["mysql/website/dump.sql"]
    source = MysqlDumps(chosen.model_copy(update={"by_table": True}), LOCAL)
    pieces = read(source)
    assert list(pieces) == sorted(pieces)
    assert b"".join(pieces.values()) == whole
    assert [name.rpartition("/")[2] for name in pieces] == [
        "00000.head.sql",
        "00001.table.bin.sql",
        "00002.table.empty.sql",
        "00003.table.odd `name.sql",
        "00004.end.sql",
    ]
    folder = b"mysql/website/tables"
    assert source.tables == {folder + b"/00004.end.sql": {"odd `name": len(AWKWARD), "empty": 0, "bin": 2}}
    mariadb.execute("CREATE DATABASE scratch")
    parts = [pieces[os.fsdecode(folder) + name] for name in ("/00000.head.sql", "/00003.table.odd `name.sql")]
    mariadb.execute(b"".join(parts).decode(), "scratch")
    assert mariadb.execute("SELECT COUNT(*) FROM scratch.`odd ``name`").strip() == str(len(AWKWARD))
    mariadb.execute("DROP DATABASE scratch")


DUMP = """-- Host: x
--
-- Table structure for table `a/b``%`
--
CREATE TABLE ...;
INSERT INTO `a` VALUES ('-- Table structure for table `no`'),
('much');
-- Temporary table structure for view `v`
-- Temporary table structure for view `w`
-- Table structure for table `b`
-- Dumping events for database 'x'
-- Table structure for table `in a routine`
-- Dump completed
""".replace("much", "much " * 1000).encode()


@settings(derandomize=True, deadline=None, max_examples=60)
@given(st.lists(st.integers(1, len(DUMP) - 1), max_size=8))
def test_a_dump_is_cut_at_the_same_places_however_it_comes(ends: list[int]) -> None:
    places = [0, *sorted(ends), len(DUMP)]
    items = list(cut(DUMP[start:end] for start, end in itertools.pairwise(places)))
    names = [item.name for item in items if isinstance(item, Start)]
    assert names == ["head", "table.a/b`%", "views", "table.b", "end"]
    assert b"".join(item for item in items if isinstance(item, bytes)) == DUMP


def test_tables_without_transactions_are_reported(mariadb: MariaDB, caplog: pytest.LogCaptureFixture) -> None:
    mariadb.execute("CREATE TABLE second.old (id INT) ENGINE=MyISAM; INSERT INTO second.old VALUES (1)")
    read(MysqlDumps(MysqlSettings(mysql="second", defaults_file=mariadb.defaults_file), LOCAL))
    mariadb.execute("DROP TABLE second.old")
    (record,) = caplog.records
    assert record.message.startswith("mysql/second/dump.sql: not consistent with the rest")
    assert record.message.endswith(": old")


def test_all_mysql_databases_and_users_are_one_dump_each(mariadb: MariaDB) -> None:
    settings = MysqlSettings(mysql="*", users=True, defaults_file=mariadb.defaults_file)
    names = set(read(MysqlDumps(settings, LOCAL)))
    assert names >= {"mysql/website/dump.sql", "mysql/second/dump.sql", "mysql/users.sql"}
    assert "mysql/information_schema/dump.sql" not in names


def test_an_unknown_mysql_database_fails_with_the_server_s_words(mariadb: MariaDB) -> None:
    source = MysqlDumps(MysqlSettings(mysql="missing", defaults_file=mariadb.defaults_file), LOCAL)
    with pytest.raises(SourceError, match=r"mysql/missing.*Unknown database"):
        read(source)


def test_a_mysql_server_that_goes_away_in_the_middle_fails_the_dump(tmp_path: Path) -> None:
    with MariaDB(tmp_path / "db") as server:
        server.execute(
            "CREATE DATABASE big; CREATE TABLE big.t (id INT AUTO_INCREMENT PRIMARY KEY, text LONGTEXT)"
        )
        server.execute("INSERT INTO big.t (text) SELECT REPEAT('x', 100000) FROM seq_1_to_600", "big")
        source = MysqlDumps(MysqlSettings(mysql="big", defaults_file=server.defaults_file), LOCAL)
        (entry,) = source.entries(lambda problem: None)
        blocks = iter(entry.blocks())
        next(blocks)
        server.server.kill()
        with pytest.raises(SourceError, match="mysql/big"):
            for _ in blocks:
                pass


def test_a_postgresql_dump_is_complete_and_its_rows_are_counted(postgresql: PostgreSQL) -> None:
    settings = PostgresqlSettings(postgresql="website", globals=True, **postgresql.settings)
    source = PostgresqlDumps(settings, LOCAL)
    contents = read(source)
    tables = source.tables[b"postgresql/website/dump.sql"]
    assert tables == {"public.entry": 4, "public.empty": 0}
    assert b"CREATE ROLE editor" in contents["postgresql/globals.sql"]


def test_a_missing_postgresql_server_is_reported_with_its_error() -> None:
    chosen = PostgresqlSettings(postgresql="forum", host="127.0.0.1", port=1, user="backup")
    with pytest.raises(SourceError, match=r"pg_dump on this host failed: .*port 1 failed: .*refused"):
        read(PostgresqlDumps(chosen, LOCAL))


def test_a_custom_postgresql_dump_is_listed_by_pg_restore(postgresql: PostgreSQL, tmp_path: Path) -> None:
    settings = PostgresqlSettings(postgresql="website", format="custom", **postgresql.settings)
    (tmp_path / "dump").write_bytes(read(PostgresqlDumps(settings, LOCAL))["postgresql/website/dump.pgc"])
    listed = subprocess.run(
        ["pg_restore", "--list", tmp_path / "dump"], capture_output=True, text=True, check=True
    )
    assert "TABLE public entry" in listed.stdout


def test_all_postgresql_databases_are_one_dump_each(postgresql: PostgreSQL) -> None:
    names = set(read(PostgresqlDumps(PostgresqlSettings(postgresql="*", **postgresql.settings), LOCAL)))
    assert names == {"postgresql/postgres/dump.sql", "postgresql/website/dump.sql"}


def test_the_output_of_any_command_is_kept() -> None:
    source = CommandOutput(
        CommandSettings(command=["printf", "a b"], name="words", file_name="words.txt"), LOCAL
    )
    assert read(source) == {"command/words/words.txt": b"a b"}


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (["sh", "-c", "echo half; echo broken >&2; exit 7"], "broken"),
        (["sh", "-c", "exit 0"], "0 bytes"),
        (["no-such-program-here"], "no such program"),
    ],
)
def test_a_command_that_fails_or_prints_nothing_fails_the_source(command: list[str], reason: str) -> None:
    with pytest.raises(SourceError, match=reason):
        read(CommandOutput(CommandSettings(command=command, name="words"), LOCAL))


def test_a_command_that_hangs_is_ended_after_its_time() -> None:
    settings_ = CommandSettings(
        command=["sh", "-c", "echo half; exec sleep 600"], name="slow", timeout="300ms"
    )
    with pytest.raises(SourceError, match="took longer"):
        read(CommandOutput(settings_, LOCAL))


@given(
    st.lists(st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"])), max_size=20),
    st.data(),
)
@settings(max_examples=60, deadline=None)
def test_rows_of_a_mysql_dump_in_mysql_s_own_form_are_counted_however_it_is_cut(
    texts: list[str], data: st.DataObject
) -> None:
    escaped = [text.replace("\\", r"\\").replace("'", r"\'").replace("\n", r"\n") for text in texts]
    values = ",".join(f"({number},'{text}')" for number, text in enumerate(escaped))
    insert = f"INSERT INTO `t` VALUES {values};\n" if texts else ""
    dump = f"CREATE TABLE `t` (\n  `id` int\n);\n{insert}-- Dump completed\n".encode()
    watcher = MysqlWatcher()
    cut = data.draw(st.integers(0, len(dump)))
    for part in (dump[:cut], dump[cut:]):
        watcher.feed(part)
    assert watcher.tables == {"t": len(texts)}
    assert watcher.saw_the_end()


@pytest.mark.parametrize("keep", [0.2, 0.5, 0.9])
def test_a_dump_that_is_cut_short_has_no_end(postgresql: PostgreSQL, keep: float) -> None:
    settings_ = PostgresqlSettings(postgresql="website", **postgresql.settings)
    dump = read(PostgresqlDumps(settings_, LOCAL))["postgresql/website/dump.sql"]
    watcher = PostgresqlWatcher()
    watcher.feed(dump[: int(len(dump) * keep)])
    assert not watcher.saw_the_end()


@pytest.mark.parametrize(
    ("watcher", "head", "tail"),
    [
        (MysqlWatcher(), b"CREATE TABLE `t` (\nINSERT INTO `t` VALUES (1,'", b"');\n"),
        (PostgresqlWatcher(), b"COPY public.t (a) FROM stdin;\n", b"\n\\.\n"),
    ],
    ids=["mysql", "postgresql"],
)
def test_a_row_larger_than_memory_is_one_row(
    watcher: MysqlWatcher | PostgresqlWatcher, head: bytes, tail: bytes
) -> None:
    block = b"),(" * (1 << 20)
    watcher.feed(head)
    tracemalloc.start()
    for _ in range(40):
        watcher.feed(block)
    watcher.feed(tail + watcher.trailer)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert list(watcher.tables.values()) == [1]
    assert watcher.saw_the_end()
    assert peak < 60_000_000
