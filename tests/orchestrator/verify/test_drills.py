"""Drills: what is restored is compared, and its dumps are loaded into servers of their own."""

import io
import os
import sqlite3
from pathlib import Path
from pwd import getpwall
from typing import Any

import pytest

from lab.databases import MariaDB, PostgreSQL
from leitstand.errors import LeitstandError
from orchestrator.restore.restore import restore
from orchestrator.verify.databases import loader_for
from orchestrator.verify.databases.mysql_server import kind_in
from orchestrator.verify.databases.postgresql import own_lock
from orchestrator.verify.databases.postgresql_needs import needs_of
from orchestrator.verify.databases.server import feed

Site = Any


@pytest.mark.parametrize("evil", ["ATTACH '{}' AS other;\nCREATE TABLE other.t (x);", "VACUUM INTO '{}';"])
def test_sql_of_another_host_reaches_no_file_but_its_own(tmp_path: Path, evil: str) -> None:
    dump, outside = tmp_path / "guestbook.sqlite.sql", tmp_path / "outside"
    good = (
        "BEGIN TRANSACTION;\nCREATE TABLE entry (name TEXT);\nINSERT INTO entry VALUES('a;\nb');\nCOMMIT;\n"
    )
    load = loader_for("sqlite/srv/guestbook.sqlite.sql")
    assert load is not None
    dump.write_text(good)
    assert load(dump, tmp_path).tables == {"entry": 1}
    dump.write_text(f"{good}{evil.format(outside)}\n")
    with pytest.raises(LeitstandError, match="attached"):
        load(dump, tmp_path)
    assert not outside.exists()


def test_the_text_of_a_newer_sqlite3_program_loads(tmp_path: Path) -> None:
    dump = tmp_path / "guestbook.sqlite.sql"
    dump.write_text(
        "BEGIN;\nCREATE TABLE t (a TEXT, CHECK (a = 'x' || char(10) || '\\u'));\n"
        "INSERT INTO t VALUES(unistr('x\\u000a\\\\u'));\nCOMMIT;\n"
    )
    load = loader_for("sqlite/srv/guestbook.sqlite.sql")
    assert load is not None
    assert load(dump, tmp_path).tables == {"t": 1}


def test_an_endless_dump_does_not_block_a_drill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.verify.databases.server.LOAD_SECONDS", 0.1)
    monkeypatch.setattr("orchestrator.verify.databases.sqlite.LOAD_SECONDS", 0.1)
    with pytest.raises(LeitstandError, match=r"^sh: took longer than"):
        feed(["env", "setpriv", "--", "sh", "-c", "exec sleep 1000"], ["cat"])
    dump = tmp_path / "dump.sql"
    dump.write_text("WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT 1 FROM c) SELECT count(*) FROM c;\n")
    load = loader_for("sqlite/srv/guestbook.sqlite.sql")
    assert load is not None
    with pytest.raises(LeitstandError, match="interrupted"):
        load(dump, tmp_path)


def test_a_drill_proves_the_newest_snapshot_and_leaves_nothing_behind(on_swift: Site) -> None:
    check = f'test -e "$RESTORED"/sqlite{on_swift.folder}/guestbook.sqlite'
    on_swift.job["drill"] = {"check": ["sh", "-c", check]}
    on_swift.good("run", "site")
    result = on_swift.good("drill", "site", "--json").json()
    assert (result["findings"], result["checked"]) == ([], True)
    assert result["entries"] > 15
    assert (result["dumps"], result["rows"]) == (1, 500)
    assert list((on_swift.folder / "scratch").iterdir()) == []
    labels = {"backup": "site", "host": "here", "store": "swift", "level": "drill"}
    assert len(on_swift.metric("last_verified_timestamp_seconds", **labels)) == 1
    assert "proven restorable" in on_swift.good("drill", "site").stdout


def test_a_failing_check_fails_the_drill(site: Site) -> None:
    site.job["drill"] = {"check": ["sh", "-c", "echo the shop is empty >&2; exit 1"]}
    site.good("run", "site")
    ran = site.leitstand("drill", "site")
    assert ran.status == 3
    assert "the shop is empty" in ran.errors[0]
    assert "NOT USABLE" in ran.stdout
    metrics = (site.folder / "metrics" / "leitstand_backup.prom").read_text()
    assert 'level="drill"' not in metrics
    assert "the shop is empty" in site.leitstand("status").stdout


def test_a_drill_holds_times_rights_and_owners_against_the_manifest(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def and_spoil(snapshot: Any, target: Path, *more: Any) -> None:
        restore(snapshot, target, *more)
        www = site.restored(target)
        (www / "secret.php").chmod(0o644)
        os.utime(www / "uploads", (0, 0))
        if not os.geteuid():
            os.chown(www / "empty", 1234, 0)

    monkeypatch.setattr("orchestrator.verify.drill.restore", and_spoil)
    site.good("run", "site")
    ran = site.leitstand("drill", "site")
    found = {line.rpartition("/")[2] for line in ran.errors}
    spoils = {
        "secret.php: has mode 0644 on the disk instead of 0640",
        "uploads: has another time on the disk",
    }
    assert found == spoils | (set() if os.geteuid() else {"empty: has another owner on the disk"})


def test_a_drill_without_room_is_one_clear_line(site: Site) -> None:
    site.good("run", "site")
    mistyped = site.leitstand("drill", "site", "--scratch", "/no/such/folder")
    assert (mistyped.status, "'/no/such/folder' does not exist" in mistyped.stderr) == (2, True)
    assert site.leitstand("status", "--json").json()[0]["problem"] == "", "no problem of the job"
    site.job["drill"] = {"scratch": "/no/such/folder"}
    ran = site.leitstand("drill", "site")
    assert ran.status == 3
    assert ran.errors == ["drill: there is no folder /no/such/folder"]


def test_a_database_that_lost_rows_on_the_way_is_found(tmp_path: Path) -> None:
    database = tmp_path / "lost.sqlite"
    connection = sqlite3.connect(database)
    connection.execute("CREATE TABLE entry (id INTEGER PRIMARY KEY, name TEXT)")
    connection.execute("CREATE INDEX by_name ON entry (name)")
    connection.executemany("INSERT INTO entry (name) VALUES (?)", ((f"n{n}",) for n in range(2000)))
    connection.commit()
    connection.close()
    load = loader_for("sqlite/srv/lost.sqlite")
    assert load is not None
    assert load(database, tmp_path).tables == {"entry": 2000}
    data = bytearray(database.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 4096] = bytes(4096)
    database.write_bytes(data)
    with pytest.raises(Exception, match=r"damaged|malformed"):
        load(database, tmp_path)


@pytest.mark.slow
def test_a_drill_loads_a_mariadb_dump_into_a_server_of_its_own(
    site: Site, mariadb: MariaDB, scratch: Path
) -> None:
    mariadb.execute("CREATE DATABASE shop; CREATE TABLE shop.`odd ``name` (id INT PRIMARY KEY, t TEXT)")
    mariadb.execute("INSERT INTO `odd ``name` VALUES (1, 'a'), (2, '(b),(c)'), (3, 'it''s')", "shop")
    mariadb.execute("CREATE VIEW v AS SELECT id FROM `odd ``name`; CREATE TABLE empty (x INT)", "shop")
    mariadb.execute(
        "CREATE DEFINER = seller@`%` TRIGGER before_it BEFORE INSERT ON empty FOR EACH ROW SET NEW.x = 1;"
        "CREATE DEFINER = seller@`%` PROCEDURE sell() SELECT 1;"
        "CREATE DEFINER = seller@`%` EVENT hourly ON SCHEDULE EVERY 1 HOUR DO DELETE FROM empty",
        "shop",
    )
    mariadb.execute(
        "CREATE DATABASE linked; USE linked; CREATE TABLE b (id INT PRIMARY KEY); INSERT INTO b VALUES (1);"
        "CREATE TABLE a (id INT, FOREIGN KEY (id) REFERENCES b (id)); INSERT INTO a VALUES (1), (1);"
    )
    login = {"defaults_file": str(mariadb.defaults_file)}
    site.job["sources"] = [{"mysql": "shop", **login}, {"mysql": "linked", "by_table": True, **login}]
    site.good("run", "site")
    if os.geteuid() == 0:  # else the server runs as this user, who may pass
        closed = site.leitstand("drill", "site")
        assert closed.status == 1, "the machine's fault"
        assert "cannot pass" in closed.errors[0]
    result = site.good("drill", "site", "--json", "--scratch", scratch).json()
    assert (result["dumps"], result["rows"], result["findings"]) == (2, 6, [])
    assert list(scratch.iterdir()) == []


def open_to_all(scratch: Path) -> Path:
    (scratch / "open").mkdir()
    (scratch / "open").chmod(0o777)
    return scratch / "open"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "evil", "said"),
    [
        ("mysql/shop/dump.sql", "\\! touch {0}\nsystem touch {0}", "sandbox"),
        ("mysql/shop/dump.sql", "SET GLOBAL general_log_file = '{0}';", "Access denied"),
        ("postgresql/shop/dump.sql", "\\restrict known\n\\unrestrict known\n\\! touch {0}", "restricted"),
    ],
)
def test_a_dump_that_would_run_programs_is_not_loaded(scratch: Path, path: str, evil: str, said: str) -> None:
    dump, outside = scratch / Path(path).name, open_to_all(scratch) / "outside"
    dump.write_text(f"SELECT 1;\n{evil.format(outside)}\nSELECT 1;\n")
    dump.chmod(0o644)
    load = loader_for(path)
    assert load is not None
    with pytest.raises(LeitstandError, match=said):
        load(dump, scratch)
    assert not outside.exists()


@pytest.mark.slow
def test_code_that_a_dump_runs_in_the_scratch_cluster_has_no_rights(scratch: Path) -> None:
    dump, told = scratch / "dump.sql", open_to_all(scratch) / "told"
    ask = f"(id -u; grep NoNewPrivs /proc/self/status; env) > {told}"
    dump.write_text(f"CREATE TEMPORARY TABLE t (x text);\nCOPY t FROM PROGRAM '{ask}';\n")
    load = loader_for("postgresql/shop/dump.sql")
    assert load is not None
    assert load(dump, scratch).tables == {}
    user, no_new_rights, *variables = told.read_text().splitlines()
    nobodies = [entry.pw_uid for entry in getpwall() if entry.pw_name in ("leitstand-drill", "nobody")]
    assert int(user) in (nobodies if os.geteuid() == 0 else [os.geteuid()])
    assert no_new_rights.split() == ["NoNewPrivs:", "1"]
    assert not [each for each in variables if each.startswith(("SSH_AUTH_SOCK=", "USER="))]


def test_the_lock_of_a_dump_is_found_where_pg_dump_writes_it(tmp_path: Path) -> None:
    dump = tmp_path / "dump.sql"
    dump.write_text("--\n-- PostgreSQL database dump\n--\n\n\\restrict Ab1\n\n")
    assert own_lock(dump) == (5, "Ab1")
    dump.write_text("--\n" * 40 + "\\restrict Ab1\n")
    assert own_lock(dump) is None


@pytest.mark.slow
@pytest.mark.parametrize("form", ["plain", "custom"])
def test_a_drill_loads_a_postgresql_dump_into_a_cluster_of_its_own(
    site: Site, postgresql: PostgreSQL, scratch: Path, form: str
) -> None:
    postgresql.execute('CREATE ROLE "odd owner"')
    postgresql.execute("CREATE DATABASE shop")
    postgresql.execute('CREATE TABLE "Odd Name" (id int); INSERT INTO "Odd Name" VALUES (1), (2)', "shop")
    postgresql.execute('ALTER TABLE "Odd Name" OWNER TO "odd owner"', "shop")
    site.job["sources"] = [{"postgresql": "shop", "format": form, **postgresql.settings}]
    site.good("run", "site")
    result = site.good("drill", "site", "--json", "--scratch", scratch).json()
    assert (result["dumps"], result["rows"], result["findings"]) == (1, 2, [])
    name = f"postgresql/shop/dump.{'sql' if form == 'plain' else 'pgc'}"
    assert result["tables"] == {name: {'public."Odd Name"': 2}}


@pytest.mark.parametrize(
    ("statement", "roles"),
    [
        ("ALTER TABLE public.a OWNER TO alice;", ["alice"]),
        ('ALTER TABLE public."two\nlines" OWNER TO alice;', ["alice"]),
        ('GRANT SELECT ON TABLE public.a TO "odd ""name";', ['"odd ""name"']),
        ("GRANT SELECT(id),INSERT(id) ON TABLE public.a TO bob WITH GRANT OPTION;", ["bob"]),
        ("REVOKE USAGE ON SCHEMA public FROM PUBLIC;", []),
        ("ALTER TABLE public.a OWNER TO postgres;", []),
        (
            "ALTER DEFAULT PRIVILEGES FOR ROLE owner IN SCHEMA s GRANT SELECT ON TABLES TO reader;",
            ["owner", "reader"],
        ),
        ('CREATE POLICY p ON public.t TO pol, "Pol 2" USING (((\n a = 1)));', ["pol", '"Pol 2"']),
        ("CREATE USER MAPPING FOR mapped SERVER s OPTIONS (\n    host 'x'\n);", ["mapped"]),
        ('SET SESSION AUTHORIZATION "grantor";\nGRANT ALL ON TABLE t TO b;', ['"grantor"', "b"]),
        ("CREATE SCHEMA s AUTHORIZATION größe;", ["größe"]),
        ("COPY public.t (a) FROM stdin;\nGRANT x TO y;\n\\.\nGRANT x TO z;", ["z"]),
        ("TO nobody;", []),
    ],
)
def test_the_roles_that_a_dump_expects_are_found(statement: str, roles: list[str]) -> None:
    lines = io.BytesIO(f"--\n-- PostgreSQL database dump\n{statement}\n".encode())
    assert needs_of(lines).roles == roles


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (
            "-- MariaDB dump 10.19  Distrib 10.11.6-MariaDB\n-- Server version\t11.4.2-MariaDB\n",
            "MariaDB 11.4",
        ),
        ("-- MariaDB dump 10.19  Distrib 10.11-MariaDB\n-- Server version\t8.0.36\n", "MySQL 8.0"),
        ("-- MySQL dump 10.13  Distrib 8.0.36, for Linux (x86_64)\n", "MySQL 8.0"),
        ("-- MySQL dump 10.19  Distrib 10.3.39-MariaDB, for debian-linux-gnu (x86_64)\n", "MariaDB 10.3"),
        ("mariadbd  Ver 10.11.14-MariaDB-0+deb12u2 for debian-linux-gnu\n", "MariaDB 10.11"),
        ("/usr/sbin/mysqld  Ver 9.7.4-2 for Linux on x86_64 ((Debian))\n", "MySQL 9.7"),
        ("SELECT 1;\n", "None"),
    ],
)
def test_the_server_that_a_dump_is_of_is_known(text: str, kind: str) -> None:
    assert str(kind_in(text)) == kind
