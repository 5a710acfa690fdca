"""Proofs: rotating shares, drills that load what they restore, and what is learnt again from the stores."""

import os
import re
import shutil
import sqlite3
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.databases import MariaDB, PostgreSQL
from leitstand.errors import LeitstandError
from orchestrator.drills import loader_for
from orchestrator.drills.postgresql import roles_in
from orchestrator.restore import restore
from orchestrator.share import due_slots, parse_share, slot

Site = Any
MONDAY = date(2026, 11, 16)


@settings(derandomize=True, max_examples=50)
@given(st.integers(1, 60), st.lists(st.integers(1, 9), min_size=1, max_size=20))
def test_every_volume_has_its_turn_whatever_days_are_missed(parts: int, gaps: list[int]) -> None:
    last, seen, today = None, set(), MONDAY
    for gap in [0, *gaps, *[1] * parts]:
        today += timedelta(days=gap)
        seen |= due_slots(parts, today, last)
        last = today
    assert seen == set(range(parts))


def test_one_day_reads_one_share() -> None:
    assert len(due_slots(30, MONDAY, MONDAY - timedelta(days=1))) == 1
    assert len(due_slots(30, MONDAY, MONDAY)) == 1
    assert len(due_slots(30, MONDAY, MONDAY - timedelta(days=400))) == 30
    counts = [sum(slot(f"h/j/s/vol.zip.{n:03}", 30) == part for n in range(3000)) for part in range(30)]
    assert min(counts) > 50


@pytest.mark.parametrize("text", ["", "1", "2/30", "1/0", "30", "1/30 ", "1/99999", "x"])
def test_what_is_no_share_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="1/30"):
        parse_share(text)


def test_shares_together_read_every_volume_and_find_the_damaged_one(site: Site) -> None:
    site.good("run", "site")
    (check,) = site.good("verify", "site", "--share", "1/1", "--json").json()
    assert check["volumes"] == check["all_volumes"] > 2
    assert check["archive_bytes"] > 300_000
    (none,) = site.good("verify", "site", "--share", "1/9999", "--json").json()
    assert (none["volumes"], none["archive_bytes"] > 0) == (1, True), "no share reads nothing"
    (volume,) = site.disk.rglob("vol.zip.002")
    data = bytearray(volume.read_bytes())
    data[77] ^= 1
    volume.write_bytes(data)
    ran = site.leitstand("verify", "site", "--share", "1/1")
    assert ran.status == 3
    assert "vol.zip.002: is damaged" in ran.stderr
    assert site.leitstand("verify", "site", "--share", "30").status == 2


@pytest.mark.parametrize("name", ["manifest.zip", "vol.zip.002"])
def test_every_share_sees_what_is_missing_or_cut(site: Site, name: str) -> None:
    site.good("run", "site")
    (path,) = site.disk.rglob(name)
    path.write_bytes(path.read_bytes()[:-1])
    ran = site.leitstand("verify", "site", "--share", "1/9999", "--json")
    (found,) = [finding for check in ran.json() for finding in check["findings"]]
    assert (ran.status, found["where"].rpartition("/")[2]) == (3, name)
    assert "bytes instead of" in found["what"]
    path.unlink()
    ran = site.leitstand("verify", "site", "--share", "1/9999")
    assert f"{name}: is missing" in ran.stderr
    assert f"{name}: is missing" in site.leitstand("status").stdout


def test_shares_together_read_the_manifests_too(site: Site) -> None:
    site.good("run", "site")
    (manifest,) = site.disk.rglob("manifest.zip")
    data = bytearray(manifest.read_bytes())
    data[100] ^= 1
    manifest.write_bytes(data)
    ran = site.leitstand("verify", "site", "--share", "1/1")
    assert (ran.status, "manifest.zip: is damaged" in ran.stderr) == (3, True)


@pytest.mark.parametrize("evil", ["ATTACH '{}' AS other;\nCREATE TABLE other.t (x);", "VACUUM INTO '{}';"])
def test_sql_of_another_host_reaches_no_file_but_its_own(tmp_path: Path, evil: str) -> None:
    dump, outside = tmp_path / "guestbook.sqlite.sql", tmp_path / "outside"
    good = (
        "BEGIN TRANSACTION;\nCREATE TABLE entry (name TEXT);\nINSERT INTO entry VALUES('a;\nb');\nCOMMIT;\n"
    )
    load = loader_for("sqlite/srv/guestbook.sqlite.sql")
    assert load is not None
    dump.write_text(good)
    assert load(dump, tmp_path) == {"entry": 1}
    dump.write_text(f"{good}{evil.format(outside)}\n")
    with pytest.raises(LeitstandError, match="attached"):
        load(dump, tmp_path)
    assert not outside.exists()


def test_a_drill_proves_the_newest_snapshot_and_leaves_nothing_behind(on_swift: Site) -> None:
    check = f'test -e "$RESTORED"/sqlite{on_swift.folder}/guestbook.sqlite'
    on_swift.job["drill"] = {"check": ["sh", "-c", check]}
    on_swift.good("run", "site")
    result = on_swift.good("drill", "site", "--json").json()
    assert (result["findings"], result["checked"]) == ([], True)
    assert result["entries"] > 15
    assert (result["dumps"], result["rows"]) == (1, 500)
    assert list((on_swift.folder / "scratch").iterdir()) == []
    metrics = (on_swift.folder / "metrics" / "leitstand_backup.prom").read_text()
    assert (
        'leitstand_backup_last_verified_timestamp_seconds{backup="site",host="here",store="swift",level="drill"}'
        in metrics
    )
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

    monkeypatch.setattr("orchestrator.drill.restore", and_spoil)
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
    ran = site.leitstand("drill", "site", "--scratch", "/no/such/folder")
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
    assert load(database, tmp_path) == {"entry": 2000}
    data = bytearray(database.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 4096] = bytes(4096)
    database.write_bytes(data)
    with pytest.raises(Exception, match=r"damaged|malformed"):
        load(database, tmp_path)


@pytest.fixture
def scratch() -> Iterator[Path]:
    """A scratch folder that the users of database servers can reach: pytest's own are closed to them."""
    with TemporaryDirectory(dir="/var/tmp", prefix="leitstand-test-") as folder:
        Path(folder).chmod(0o711)
        yield Path(folder)


@pytest.fixture
def mariadb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MariaDB]:
    if shutil.which("mariadbd") is None and not Path("/usr/sbin/mariadbd").exists():
        pytest.skip("mariadb-server is not installed")
    with MariaDB(tmp_path_factory.mktemp("mariadb")) as server:
        yield server


@pytest.fixture
def postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgreSQL]:
    if not list(Path("/usr/lib/postgresql").glob("*/bin/postgres")):
        pytest.skip("postgresql is not installed")
    with PostgreSQL(tmp_path_factory.mktemp("postgresql")) as server:
        yield server


@pytest.mark.slow
def test_a_drill_loads_a_mariadb_dump_into_a_server_of_its_own(
    site: Site, mariadb: MariaDB, scratch: Path
) -> None:
    mariadb.execute("CREATE DATABASE shop; CREATE TABLE shop.`odd ``name` (id INT PRIMARY KEY, t TEXT)")
    mariadb.execute("INSERT INTO `odd ``name` VALUES (1, 'a'), (2, '(b),(c)'), (3, 'it''s')", "shop")
    mariadb.execute("CREATE VIEW v AS SELECT id FROM `odd ``name`; CREATE TABLE empty (x INT)", "shop")
    mariadb.execute(
        "CREATE DATABASE linked; USE linked; CREATE TABLE b (id INT PRIMARY KEY); INSERT INTO b VALUES (1);"
        "CREATE TABLE a (id INT, FOREIGN KEY (id) REFERENCES b (id)); INSERT INTO a VALUES (1), (1);"
    )
    login = {"defaults_file": str(mariadb.defaults_file)}
    site.job["sources"] = [{"mysql": "shop", **login}, {"mysql": "linked", "by_table": True, **login}]
    site.good("run", "site")
    closed = site.leitstand("drill", "site")
    assert closed.status == 3
    assert "cannot pass" in closed.errors[0]
    result = site.good("drill", "site", "--json", "--scratch", scratch).json()
    assert (result["dumps"], result["rows"], result["findings"]) == (2, 6, [])
    assert list(scratch.iterdir()) == []


@pytest.mark.slow
def test_a_dump_that_would_run_programs_is_not_loaded(scratch: Path) -> None:
    dump, outside = scratch / "dump.sql", scratch / "outside"
    scratch.chmod(0o777)
    dump.write_text(f"SELECT 1;\n\\! touch {outside}\nsystem touch {outside}\nSELECT 1;\n")
    dump.chmod(0o644)
    load = loader_for("mysql/shop/dump.sql")
    assert load is not None
    with pytest.raises(LeitstandError, match="sandbox"):
        load(dump, scratch)
    assert not outside.exists()


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


def test_roles_of_a_dump_are_found(tmp_path: Path) -> None:
    dump = tmp_path / "dump.sql"
    dump.write_text(
        'ALTER TABLE public.a OWNER TO alice;\nGRANT SELECT ON TABLE public.a TO "odd ""name";\n'
        "REVOKE USAGE ON SCHEMA public FROM PUBLIC;\nALTER TABLE public.a OWNER TO postgres;\nTO nobody;\n"
    )
    assert roles_in(dump) == ["alice", '"odd ""name"']


def test_what_a_host_should_know_is_learnt_again_from_the_stores(on_swift: Site) -> None:
    on_swift.good("run", "site")
    on_swift.wait_for_next_second()
    on_swift.good("run", "site")
    before = on_swift.good("status", "--json").json()
    shutil.rmtree(on_swift.folder / "state")
    (on_swift.folder / "state").mkdir()
    assert on_swift.leitstand("status").status == 1
    rebuilt = on_swift.good("catalog", "rebuild")
    assert "site: swift: 2 snapshots" in rebuilt.stdout
    after = on_swift.good("status", "--json").json()
    for old, new in zip(before, after, strict=True):
        assert abs(old.pop("last_success") - new.pop("last_success")) < 3
        assert {**old, "next": 0} == {**new, "next": 0}


def test_a_spot_check_holds_files_against_the_live_source(on_swift: Site) -> None:
    on_swift.good("run", "site")
    checks = on_swift.good("verify", "site", "--spot", "50", "--json").json()
    for check in checks:
        assert check["files"] > 5
        assert check["content_bytes"] > 5_000_000
        assert check["paths_live"] == check["paths_stored"] > check["files"]
        assert (check["changed"], check["findings"]) == (0, [])
    assert [check["store"] for check in checks] == ["swift", "disk"]
    metrics = (on_swift.folder / "metrics" / "leitstand_backup.prom").read_text()
    name = "leitstand_backup_last_verified_timestamp_seconds"
    assert f'{name}{{backup="site",host="here",store="disk",level="spot"}}' in metrics
    (one, _) = on_swift.good("verify", "site", "--spot", "1", "--json").json()
    assert one["files"] == 1
    assert "1 files compared with the source" in on_swift.good("verify", "site", "--spot", "1").stdout


def test_a_spot_check_finds_what_the_times_do_not_tell(site: Site) -> None:
    site.good("run", "site")
    photo, notes = site.www / "uploads" / "photo.jpg", site.www / "uploads" / "notes.txt"
    status, data = photo.stat(), bytearray(photo.read_bytes())
    data[1000] ^= 1
    photo.write_bytes(data)
    os.utime(photo, ns=(status.st_atime_ns, status.st_mtime_ns))
    notes.write_text("changed since, as files do")
    ran = site.leitstand("verify", "site", "--spot", "50", "--json")
    assert ran.status == 3
    (check,) = ran.json()
    assert check["changed"] == 1
    (finding,) = check["findings"]
    assert finding["where"].endswith("uploads/photo.jpg")
    assert "another content at the source" in finding["what"]
    assert "photo.jpg" in site.leitstand("status").stdout
    assert 'level="spot"' not in (site.folder / "metrics" / "leitstand_backup.prom").read_text()


def test_a_spot_check_notices_a_source_that_is_not_there_any_more(site: Site) -> None:
    site.good("run", "site")
    shutil.rmtree(site.www)
    site.www.mkdir()
    ran = site.leitstand("verify", "site", "--spot", "5")
    assert ran.status == 3
    assert "nothing could be compared" in ran.stderr
    assert "paths, the source 1" in ran.stderr


def test_a_scheduled_verification_makes_a_spot_check_once_a_week(on_swift: Site) -> None:
    words = ("verify", "site", "--share", "1/1", "--weekly-spot", "5", "--json")
    on_swift.good("run", "site")
    shares = on_swift.good(*words).json()
    assert [("paths_live" in check, check["store"]) for check in shares] == [
        (False, "swift"),
        (False, "disk"),
        (True, "swift"),
    ]
    assert len(on_swift.good(*words).json()) == 2, "it was good a moment ago"
    facts = on_swift.folder / "state" / "backup" / "site.json"
    facts.write_text(re.sub(r'"spot": \d+', '"spot": 1000', facts.read_text()))
    shutil.rmtree(on_swift.www / "uploads")
    assert on_swift.leitstand(*words).status == 3


def test_a_spot_check_needs_files(site: Site) -> None:
    site.good("run", "site")
    site.job["sources"] = site.job["sources"][1:]
    ran = site.leitstand("verify", "site", "--spot", "5")
    assert (ran.status, ran.errors) == (2, ["site has no files"])
    assert site.leitstand("verify", "site", "--spot", "5", "--share", "1/3").status == 2


def test_what_a_proof_found_stays_in_the_status_until_the_same_proof_is_good(site: Site) -> None:
    site.job["drill"] = {"check": ["sh", "-c", "test -e /no/such/file"]}
    site.good("run", "site")
    assert site.leitstand("drill", "site").status == 3
    site.good("run", "site")
    site.good("verify", "site")
    (row,) = site.leitstand("status", "--json").json()
    assert row["problem"].startswith("drill: check: sh ended with status 1"), (
        "other good proofs do not hide it"
    )
    assert (row["verified"] > 0, row["drilled"]) == (True, 0)
    site.job["drill"] = {"check": ["true"]}
    site.good("drill", "site")
    (row,) = site.good("status", "--json").json()
    assert row["problem"] == ""
    assert row["drilled"] > 0


def test_a_share_that_found_damage_reads_it_again_the_next_time(site: Site) -> None:
    site.good("run", "site")
    site.good("run", "site")
    (volume, *_) = sorted(site.disk.rglob("vol.zip.002"))
    volume.write_bytes(bytes(volume.stat().st_size))
    assert site.leitstand("verify", "site", "--share", "1/1").status == 3
    ran = site.leitstand("verify", "site", "--share", "1/9999", "--json")
    assert ran.status == 3
    assert ran.json()[0]["volumes"] == ran.json()[0]["all_volumes"]
    assert "vol.zip.002: is damaged" in site.leitstand("status").stdout


def test_the_status_tells_of_a_job_with_drills_that_was_never_proven(on_swift: Site) -> None:
    on_swift.good("run", "site")
    on_swift.good("status")
    on_swift.job["drill"] = {"schedule": "monthly 1 05:00"}
    rows = on_swift.leitstand("status", "--json").json()
    assert {row["problem"] for row in rows} == {"never proven by a drill"}
    on_swift.good("drill", "site", "--store", "disk")
    rows = on_swift.good("status", "--json").json()
    assert [(row["store"], row["drilled"] > 0) for row in rows] == [("swift", False), ("disk", True)]
    metrics = (on_swift.folder / "metrics" / "leitstand_backup.prom").read_text()
    assert 'leitstand_backup_drill_interval_seconds{backup="site",host="here"} 2678400' in metrics


def metric(site: Site, name: str, level: str = "") -> list[float]:
    text = (site.folder / "metrics" / "leitstand_backup.prom").read_text()
    more = f',level="{level}"' if level else ""
    labels = f'{{backup="site",host="here",store="disk"{more}}}'
    return [
        float(found)
        for found in re.findall(rf"^{re.escape(f'leitstand_backup_{name}{labels}')} (.*)$", text, re.M)
    ]


@pytest.mark.parametrize("proof", ["verify", "drill"])
def test_a_proof_of_an_old_snapshot_is_none_of_the_newest(site: Site, proof: str) -> None:
    level = {"verify": "full"}.get(proof, proof)
    site.good("run", "site")
    site.wait_for_next_second()
    site.good("run", "site")
    old, new = site.snapshots()
    site.good(proof, "site", "--snapshot", old)
    assert metric(site, "last_verified_timestamp_seconds", level) == []
    (proven,) = metric(site, "proven_snapshot_timestamp_seconds", level)
    site.good(proof, "site", "--snapshot", new)
    assert len(metric(site, "last_verified_timestamp_seconds", level)) == 1
    (newer,) = metric(site, "proven_snapshot_timestamp_seconds", level)
    assert newer > proven
    site.good(proof, "site", "--snapshot", old)
    assert metric(site, "proven_snapshot_timestamp_seconds", level) == [newer]


def test_a_damaged_snapshot_is_told_until_it_is_good_or_gone(site: Site) -> None:
    site.good("run", "site")
    site.good("run", "site")
    old, _ = site.snapshots()
    (volume,) = site.disk.rglob(f"{old}/vol.zip.002")
    content = volume.read_bytes()
    volume.write_bytes(bytes(len(content)))
    assert site.leitstand("verify", "site", "--snapshot", old).status == 3
    site.good("verify", "site")
    (row,) = site.leitstand("status", "--json").json()
    assert row["problem"].startswith(f"{old}: ")
    assert "vol.zip.002: is damaged" in row["problem"]
    assert metric(site, "damaged_snapshots") == [1]
    volume.write_bytes(content)
    site.good("verify", "site", "--snapshot", old)
    assert site.good("status", "--json").json()[0]["problem"] == ""
    volume.write_bytes(bytes(len(content)))
    assert site.leitstand("verify", "site", "--snapshot", old).status == 3
    shutil.rmtree(volume.parent)
    site.good("catalog", "rebuild")
    assert metric(site, "damaged_snapshots") == [0]


def test_a_newest_snapshot_that_cannot_be_opened_is_in_the_status(site: Site) -> None:
    site.good("run", "site")
    (manifest,) = site.disk.rglob("manifest.zip")
    manifest.unlink()
    for proof in ("verify", "drill"):
        assert site.leitstand(proof, "site").status == 3
    (row,) = site.leitstand("status", "--json").json()
    assert "full: disk: " in row["problem"]
    assert "manifest.zip is missing" in row["problem"]


def test_a_snapshot_that_is_not_proven_keeps_no_other_from_having_its_share_read(site: Site) -> None:
    site.good("run", "site")
    site.good("run", "site")
    (volumes,) = site.good("verify", "site", "--share", "1/1", "--json").json()
    old, _ = site.snapshots()
    (commit,) = site.disk.rglob(f"{old}/COMMIT")
    commit.write_text("{}")
    ran = site.leitstand("verify", "site", "--share", "1/1", "--json")
    assert ran.status == 3
    (check,) = ran.json()
    assert (check["volumes"], check["findings"][0]["where"]) == (
        volumes["volumes"] / 2,
        f"here/site/{old}/COMMIT",
    )
