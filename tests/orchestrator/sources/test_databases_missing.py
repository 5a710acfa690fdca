"""What a user of a database may not see is not missing in silence, and the recipes' rights are enough."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.databases import MariaDB, PostgreSQL
from orchestrator.archive import Problem
from orchestrator.config.settings import MysqlSettings, PostgresqlSettings
from orchestrator.sources.databases import DumpSource, MysqlDumps, PostgresqlDumps
from orchestrator.sources.rights import Rights
from orchestrator.sources.ssh import LOCAL

Site = Any
RECIPES = (Path(__file__).parents[3] / "docs" / "backups-recipes.md").read_text()


def read(source: DumpSource) -> tuple[dict[str, bytes], list[str]]:
    problems: list[Problem] = []
    contents = {entry.path.decode(): b"".join(entry.blocks()) for entry in source.entries(problems.append)}
    return contents, [problem.what for problem in problems]


@pytest.fixture(scope="module")
def maria(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MariaDB]:
    with MariaDB(tmp_path_factory.mktemp("mariadb")) as server:
        server.execute(
            "CREATE DATABASE shop; CREATE DATABASE hidden; CREATE TABLE hidden.t (a INT); USE shop;"
            " CREATE TABLE t (a INT); CREATE VIEW v AS SELECT * FROM t;"
            " CREATE FUNCTION five() RETURNS INT DETERMINISTIC RETURN 5;"
            " CREATE TRIGGER before_it BEFORE INSERT ON t FOR EACH ROW SET NEW.a = 1;"
            " CREATE EVENT hourly ON SCHEDULE EVERY 1 HOUR DO DELETE FROM t"
        )
        yield server


def as_user(server: MariaDB, grants: str) -> Path:
    """The option file of a new user with these rights; the password is one that needs quotes there."""
    server.execute(f"DROP USER IF EXISTS backup@localhost; {grants.replace('…', 'a#b;c')}")
    file = server.folder / "backup.cnf"
    file.touch(mode=0o600)
    file.write_text(f'[client]\nuser = backup\npassword = "a#b;c"\nsocket = {server.folder}/socket\n')
    return file


def recipe(begin: str) -> str:
    """The SQL of a recipe as it stands there."""
    return next(block for block in re.findall(r"```sql\n(.*?)```", RECIPES, re.DOTALL) if begin in block)


CREATE = "CREATE USER backup@localhost IDENTIFIED BY '…';"


def test_the_recipe_for_mariadb_saves_all_of_a_database(maria: MariaDB) -> None:
    file = as_user(maria, recipe("CREATE USER backup"))
    contents, problems = read(MysqlDumps(MysqlSettings(mysql="shop", defaults_file=file), LOCAL))
    dump = contents["mysql/shop/dump.sql"]
    assert problems == []
    for part in (b"FUNCTION `five`", b"before_it", b"EVENT `hourly`", b"VIEW `v`"):
        assert part in dump


@pytest.mark.parametrize(
    ("rights", "hidden"),
    [
        ("SELECT, SHOW VIEW, EVENT ON shop.*", ["triggers (GRANT TRIGGER ON `shop`.*)", "routines"]),
        ("SELECT, SHOW VIEW, EVENT, TRIGGER ON shop.*", ["routines (GRANT SELECT ON mysql.*"]),
        ("EVENT ON shop.* TO backup@localhost; GRANT SELECT, TRIGGER ON shop.t", ["tables (GRANT SELECT"]),
        ("SELECT, SHOW VIEW, EVENT, TRIGGER ON *.*", []),
    ],
)
def test_objects_of_a_database_that_a_user_may_not_see_are_named(
    maria: MariaDB, rights: str, hidden: list[str]
) -> None:
    file = as_user(maria, f"{CREATE} GRANT {rights} TO backup@localhost")
    _, problems = read(MysqlDumps(MysqlSettings(mysql="shop", defaults_file=file), LOCAL))
    assert len(problems) == (1 if hidden else 0)
    for each in hidden:
        assert each in problems[0]
    assert all(what.startswith("mysql/shop: not saved if there are any") for what in problems)


def test_databases_that_a_user_may_not_see_are_reported(maria: MariaDB) -> None:
    own = "GRANT SELECT, SHOW VIEW, EVENT, TRIGGER, EXECUTE, ALTER ROUTINE ON hidden.* TO backup@localhost"
    file = as_user(maria, f"{CREATE} {own}")
    contents, problems = read(MysqlDumps(MysqlSettings(mysql="*", defaults_file=file), LOCAL))
    assert list(contents) == ["mysql/hidden/dump.sql"]
    (what,) = problems
    assert what.startswith("mysql: this user cannot see all databases")


def test_history_that_is_not_saved_is_reported(maria: MariaDB, caplog: pytest.LogCaptureFixture) -> None:
    maria.execute("CREATE DATABASE past; CREATE TABLE past.t (a INT) WITH SYSTEM VERSIONING")
    for history, told in ((True, []), (False, ["t"])):
        wanted = MysqlSettings(mysql="past", history=history, defaults_file=maria.defaults_file)
        read(MysqlDumps(wanted, LOCAL))
        assert [record.message.rpartition("is not saved: ")[2] for record in caplog.records] == told
    maria.execute("DROP DATABASE past")


@pytest.mark.parametrize(
    ("lines", "hidden"),
    [
        (["GRANT ALL PRIVILEGES ON *.* TO `root`@`localhost` WITH GRANT OPTION"], []),
        (["GRANT SELECT, TRIGGER, EXECUTE ON `sh\\_op`.* TO `b`@`%`"], []),
        (["GRANT SELECT, TRIGGER, EXECUTE ON `sh%`.* TO `b`@`%`"], []),
        (["GRANT SELECT, TRIGGER, EXECUTE ON `sh\\_o`.* TO `b`@`%`"], ["tables", "triggers", "routines"]),
        (["GRANT SELECT, TRIGGER ON `sh_op`.* TO `b`@`%`", "GRANT SHOW_ROUTINE ON *.* TO `b`@`%`"], []),
        (["GRANT SELECT, TRIGGER ON *.* TO `b`@`%`", "GRANT `reader`@`%` TO `b`@`%`"], []),
        (["GRANT PROXY ON ''@'%' TO 'root'@'localhost'"], ["tables", "triggers", "routines"]),
    ],
)
def test_rights_are_read_as_the_server_means_them(lines: list[str], hidden: list[str]) -> None:
    assert [each.split()[0] for each in Rights(lines).hidden("sh_op")] == hidden


def test_a_database_that_is_gone_from_all_of_them_is_named(site: Site, maria: MariaDB) -> None:
    maria.execute("CREATE DATABASE `old shop`")
    site.job["sources"] = [{"mysql": "*", "defaults_file": str(maria.defaults_file)}]
    site.good("run", "site")
    maria.execute("DROP DATABASE `old shop`")
    ran = site.leitstand("run", "site")
    expected = "mysql: saved before and now gone: old shop: dropped, or may this user no longer see it?"
    assert (ran.status, expected in ran.stderr) == (1, True)
    assert site.leitstand("status", "--json").json()[0]["problem"] == expected


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgreSQL]:
    with PostgreSQL(tmp_path_factory.mktemp("postgresql")) as server:
        for name in ("forum", "closed", "denied"):
            server.execute(f"CREATE DATABASE {name}")
        server.script(
            "ALTER DATABASE closed ALLOW_CONNECTIONS false; REVOKE CONNECT ON DATABASE denied FROM PUBLIC"
        )
        server.script(
            "CREATE TABLE t (a int); ALTER TABLE t ENABLE ROW LEVEL SECURITY; INSERT INTO t VALUES (1);"
            "SELECT lo_from_bytea(0, 'large'); CREATE SUBSCRIPTION sub CONNECTION '' PUBLICATION p"
            " WITH (connect = false)",
            "forum",
        )
        yield server


def test_the_recipe_for_postgresql_reads_row_level_security_and_large_objects(
    postgres: PostgreSQL, caplog: pytest.LogCaptureFixture
) -> None:
    postgres.script(recipe("CREATE ROLE backup"))
    settings = PostgresqlSettings.model_validate({"postgresql": "*", **postgres.settings, "user": "backup"})
    contents, problems = read(PostgresqlDumps(settings, LOCAL))
    assert sorted(contents) == ["postgresql/forum/dump.sql", "postgresql/postgres/dump.sql"]
    assert b"lo_create" in contents["postgresql/forum/dump.sql"]
    assert sorted(what.partition(" (")[0] for what in problems) == [
        "postgresql/closed: not saved: it does not allow connections",
        "postgresql/denied: not saved: this role may not connect to it",
    ]
    assert [record.message for record in caplog.records] == [
        "postgresql/forum/dump.sql: pg_dump: warning: subscriptions not dumped because current user is not a"
        " superuser"
    ]
