"""Proofs: rotating shares, files held against their source, and what of it is remembered and told."""

import os
import re
import shutil
from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.verify.rotation import due_slots, parse_share, slot

Site = Any
MONDAY = date(2026, 11, 16)


@settings(derandomize=True, max_examples=50)
@given(st.integers(1, 60), st.lists(st.integers(1, 9), min_size=1, max_size=20))
def test_every_volume_has_its_turn_despite_missed_days(parts: int, gaps: list[int]) -> None:
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
def test_an_invalid_share_is_refused(text: str) -> None:
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


def test_the_records_of_a_host_are_rebuilt_from_the_stores(on_swift: Site) -> None:
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
        assert abs(old.pop("last_success") - new.pop("last_success")) < 60
        assert {**old, "next": 0} == {**new, "next": 0}


def test_records_rebuilt_from_the_stores_hide_no_later_failure(site: Site) -> None:
    site.good("run", "site")
    source = site.job["sources"][0]["files"]
    site.job["sources"][0]["files"] = "/no/such/folder"
    assert site.leitstand("run", "site").status == 3
    site.good("catalog", "rebuild")
    assert metric(site, "last_run_success") == [0]
    assert "/no/such/folder" in site.leitstand("status").stdout
    site.job["sources"][0]["files"] = source
    site.good("run", "site")
    assert metric(site, "last_run_success") == [1]


def test_a_spot_check_holds_files_against_the_live_source(on_swift: Site) -> None:
    on_swift.good("run", "site")
    checks = on_swift.good("verify", "site", "--spot", "50", "--json").json()
    for check in checks:
        assert check["files"] > 5
        assert check["content_bytes"] > 5_000_000
        assert check["paths_live"] == check["paths_stored"] > check["files"]
        assert (check["changed"], check["findings"]) == (0, [])
    assert [check["store"] for check in checks] == ["swift", "disk"]
    labels = {"backup": "site", "host": "here", "store": "disk", "level": "spot"}
    assert len(on_swift.metric("last_verified_timestamp_seconds", **labels)) == 1
    (one, _) = on_swift.good("verify", "site", "--spot", "1", "--json").json()
    assert one["files"] == 1
    assert "1 files compared with the source" in on_swift.good("verify", "site", "--spot", "1").stdout


def test_a_spot_check_finds_changes_that_file_times_do_not_show(site: Site) -> None:
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


def test_findings_of_a_proof_stay_in_the_status_until_the_same_proof_is_good(site: Site) -> None:
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


def test_the_status_reports_a_job_with_drills_that_was_never_proven(on_swift: Site) -> None:
    on_swift.good("run", "site")
    on_swift.good("status")
    on_swift.job["drill"] = {"schedule": "monthly 1 05:00"}
    rows = on_swift.leitstand("status", "--json").json()
    assert {row["problem"] for row in rows} == {"never proven by a drill"}
    on_swift.good("drill", "site", "--store", "disk")
    rows = on_swift.good("status", "--json").json()
    assert [(row["store"], row["drilled"] > 0) for row in rows] == [("swift", False), ("disk", True)]
    assert on_swift.metric("drill_interval_seconds", backup="site", host="here") == [2678400]


def metric(site: Site, name: str, level: str = "") -> list[float]:
    labels = {"backup": "site", "host": "here", "store": "disk", **({"level": level} if level else {})}
    found: list[float] = site.metric(name, **labels)
    return found


@pytest.mark.parametrize("proof", ["verify", "drill"])
def test_a_proof_of_an_old_snapshot_does_not_count_for_the_newest(site: Site, proof: str) -> None:
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


def test_a_damaged_snapshot_is_reported_until_it_is_good_or_gone(site: Site) -> None:
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
