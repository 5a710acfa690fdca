"""Look into snapshots without restoring them: ls, find, cat, diff; and status."""

import json
import os
import re
import time
from datetime import UTC
from typing import Any

import pytest

from orchestrator.cli import output

Site = Any


@pytest.fixture
def saved(site: Site) -> Site:
    site.good("run", "site")
    return site


def test_ls_shows_every_entry_with_its_rights(saved: Site) -> None:
    lines = saved.good("ls", "site").stdout.splitlines()
    (secret,) = [line for line in lines if line.endswith("secret.php")]
    assert secret.startswith("-rw-r----- ")
    assert any(line.startswith("lrwxrwxrwx") and line.endswith("start -> index.html") for line in lines)
    assert any(line.startswith("drwx------") and line.endswith("/closed") for line in lines)
    assert not any("\x1b" in line for line in lines)


def test_ls_reports_that_nothing_matches(saved: Site) -> None:
    ran = saved.leitstand("ls", "site", "/no/such/path")
    assert (ran.status, ran.stdout) == (1, "")
    assert "nothing in the snapshot matches" in ran.stderr


def test_one_of_several_patterns_that_selects_nothing_is_named(saved: Site) -> None:
    wanted = ("restore", "site", "--target", saved.folder / "out", "*/index.html", "*/idnex.html")
    dry = saved.leitstand(*wanted, "--dry-run")
    ran = saved.leitstand(*wanted)
    assert (dry.status, ran.status) == (0, 1)
    for each in (dry, ran):
        assert "nothing in the snapshot matches */idnex.html\n" in each.stderr
        assert "/index.html" not in each.stderr
    assert (saved.restored(saved.folder / "out") / "index.html").exists()


def test_ls_gives_json_for_scripts(saved: Site) -> None:
    lines = saved.good("ls", "site", "--json", "*/photo.jpg").stdout.splitlines()
    (found,) = [json.loads(line) for line in lines]
    assert found["size"] == 300_000
    assert found["kind"] == "file"
    assert len(found["sha256"]) == 64


def test_find_lists_the_snapshots_that_have_a_file(saved: Site) -> None:
    (saved.www / "new.html").write_text("new")
    saved.good("run", "site")
    first, second = saved.snapshots()
    lines = saved.good("find", "site", "new.html", "secret.php").stdout.splitlines()
    assert [line.split()[0] for line in lines] == [first, second, second]
    assert saved.leitstand("find", "site", "no-such-file").status == 1


def test_list_shows_what_the_other_stores_have_when_one_is_away(on_swift: Site) -> None:
    on_swift.good("run", "site")
    on_swift.document["backups"]["other"] = {**on_swift.job, "stores": ["disk"]}
    assert [row["job"] for row in on_swift.good("list", "--store", "swift", "--json").json()] == ["site"]
    assert on_swift.leitstand("list", "other", "--store", "swift").status == 2
    on_swift.document["stores"]["swift"]["endpoint"] = "http://127.0.0.1:1"
    ran = on_swift.leitstand("list", "--json")
    assert (ran.status, [row["store"] for row in ran.json()]) == (3, ["disk"])
    assert any(line.startswith("swift: ") for line in ran.errors)
    ran = on_swift.leitstand("run", "site")
    assert (ran.status, "in disk, NOT in swift" in ran.stdout) == (3, True)


def test_find_looks_into_every_snapshot_that_any_store_can_give(on_swift: Site) -> None:
    on_swift.good("run", "site")
    on_swift.job["stores"] = ["disk"]
    on_swift.wait_for_next_second()
    on_swift.good("run", "site")
    on_swift.job["stores"] = ["swift", "disk"]
    both, disk_alone = on_swift.snapshots()
    told = on_swift.good("find", "site", "secret.php", "--json").stdout
    rows = [json.loads(line) for line in told.splitlines()]
    assert [(row["snapshot"], row["store"]) for row in rows] == [(both, "swift"), (disk_alone, "disk")]
    on_swift.document["stores"]["swift"]["endpoint"] = "http://127.0.0.1:1"
    ran = on_swift.good("find", "site", "secret.php")
    assert [line.split()[0] for line in ran.stdout.splitlines()] == [both, disk_alone]
    assert "snapshots that only swift has are skipped" in ran.stderr
    (manifest,) = on_swift.disk.rglob(f"{both}/manifest.zip")
    manifest.unlink()
    ran = on_swift.leitstand("find", "site", "secret.php")
    assert (ran.status, [line.split()[0] for line in ran.stdout.splitlines()]) == (3, [disk_alone])


def test_cat_writes_one_file(saved: Site) -> None:
    text = (saved.www / "uploads" / "notes.txt").read_text()
    assert saved.good("cat", "site", saved.www / "uploads" / "notes.txt").stdout == text
    assert saved.good("cat", "site", f"files{saved.www}/uploads/notes.txt").stdout == text


def test_cat_writes_nothing_of_a_file_that_is_damaged_or_not_there(saved: Site) -> None:
    for path, said in (("/no/such", "is not in"), (saved.www / "uploads", "is a directory")):
        ran = saved.leitstand("cat", "site", path)
        assert (ran.status, ran.stdout) == (3, "")
        assert said in ran.errors[0]
    for volume in saved.disk.rglob("vol.zip*"):
        data = bytearray(volume.read_bytes())
        for position in range(500, len(data), 500):
            data[position] ^= 1
        volume.write_bytes(data)
    ran = saved.leitstand("cat", "site", saved.www / "uploads" / "notes.txt")
    assert (ran.status, ran.stdout) == (3, "")
    assert "notes.txt" in ran.errors[0]


def test_diff_names_what_changed(saved: Site) -> None:
    same = saved.leitstand("diff", "site", saved.snapshots()[0])
    assert (same.status, same.stdout) == (0, "")
    (saved.www / "new").touch()
    (saved.www / "secret.php").write_text("<?php // changed")
    (saved.www / "empty").unlink()
    (saved.www / "uploads" / "photo.jpg").chmod(0o600)
    stamp = (saved.www).stat()
    saved.good("run", "site")
    os.utime(saved.www, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    ran = saved.leitstand("diff", "site", *saved.snapshots())
    assert ran.status == 1
    changes = {line.split("  ", 1)[1].rpartition("/")[2]: line[0] for line in ran.stdout.splitlines()}
    assert changes == {"new": "+", "empty": "-", "secret.php": "M", "photo.jpg": "m", "www": "m"}


def test_status_shows_every_job_and_its_problem(on_swift: Site) -> None:
    on_swift.document["backups"]["other"] = {**on_swift.job, "stores": ["disk"]}
    del on_swift.document["backups"]["other"]["schedule"]
    on_swift.good("run", "site")
    on_swift.good("verify", "site", "--store", "disk")
    ran = on_swift.leitstand("status", "--json")
    assert ran.status == 1
    rows = {(row["job"], row["store"]): row for row in ran.json()}
    assert set(rows) == {("site", "swift"), ("site", "disk"), ("other", "disk")}
    assert rows["site", "disk"]["problem"] == ""
    assert rows["site", "disk"]["verified"] > 0 == rows["site", "swift"]["verified"]
    assert rows["site", "disk"]["next"] > rows["site", "disk"]["last_success"]
    assert rows["other", "disk"]["problem"] == "never backed up"
    text = on_swift.leitstand("status").stdout
    assert "never backed up" in text
    assert "by hand" in text


def test_diff_without_names_compares_the_last_two(saved: Site) -> None:
    assert saved.leitstand("diff", "site").errors == ["site: it needs two snapshots to compare"]
    saved.good("run", "site")
    (saved.www / "new.html").write_text("new")
    saved.good("run", "site")
    ran = saved.leitstand("diff", "site")
    assert (ran.status, [line[0] for line in ran.stdout.splitlines()]) == (1, ["m", "+"])


def test_times_are_those_of_the_site_with_their_zone(saved: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    saved.document["site"] = {"time_zone": "Asia/Kathmandu"}  # a quarter of an hour off any other
    saved.job["jitter"] = "0s"
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        (photo,) = saved.good("ls", "site", "*/index.html").stdout.splitlines()
        assert "2023-11-15 03:58 +0545" in photo
        (facts,) = saved.good("ls", "site", "--json", "*/index.html").stdout.splitlines()
        assert (
            json.loads(facts)["mtime"][:19] + json.loads(facts)["mtime"][-6:] == "2023-11-15T03:58:20+05:45"
        )
        status = saved.good("status").stdout
        assert re.findall(r"\d\d:\d\d ([^\s;]+)", status) == ["+0545"] * 3
        assert "03:00 +0545" in status, "when its schedule says so"
        (row,) = saved.good("list", "--json").json()
        assert row["began"].endswith("+05:45")
        assert row["committed"].endswith("+05:45")
        saved.document["stores"]["disk"]["path"] = str(saved.folder / "bucket")
        (saved.folder / "state" / "backup" / "site.paths").unlink()
        (saved.folder / "state" / "backup" / "site.paths").mkdir()
        (saved.folder / "bucket").mkdir()
        (line,) = [each for each in saved.good("run", "site").stderr.splitlines() if " WARNING " in each]
        assert line.split()[0].endswith("+05:45")
    finally:
        monkeypatch.undo()
        time.tzset()


def test_a_time_beyond_the_calendar_is_still_shown() -> None:
    assert output.moment(3e11, UTC) == "@300000000000", "few file systems hold such a time, a snapshot does"
