"""How snapshots go that no rule keeps: marked, then deleted; what holds or stops that."""

import os
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from lab.patience import patient
from orchestrator.backup.lock import job_lock

Site = Any
UTC_ZONE = ZoneInfo("UTC")
BERLIN = ZoneInfo("Europe/Berlin")
START = datetime(2026, 11, 20, 3, tzinfo=UTC)


def age(site: Site, snapshot: str, days: float) -> None:
    """Make the folder store believe that it took a snapshot's objects so long ago."""
    moment = time.time() - days * 86400
    for path in site.disk.rglob("*"):
        if path.parent.name == snapshot:
            os.utime(path, (moment, moment))


def actions(site: Site, *options: str) -> dict[str, str]:
    rows = site.good("prune", "site", "--json", *options).json()
    return {row["snapshot"]: row["action"] for row in rows}


@pytest.fixture
def aged(site: Site) -> tuple[Site, list[str]]:
    """Three snapshots: four, two and no days old; the newest is to stay."""
    site.job["keep"] = {"last": 1, "grace": "1d"}
    for _ in range(3):
        site.good("run", "site")
    names = site.snapshots()
    for name, days in zip(names, (4, 2, 0), strict=True):
        age(site, name, days)
    return site, names


def test_a_dry_run_gives_reasons_and_changes_nothing(aged: tuple[Site, list[str]]) -> None:
    site, names = aged
    before = sorted(site.disk.rglob("*"))
    ran = site.good("prune", "site", "--dry-run")
    assert "last 1, newest good" in ran.stdout or "newest good, last 1" in ran.stdout
    assert ran.stdout.count("no rule keeps it") == 2
    assert all(name in ran.stdout for name in names)
    assert sorted(site.disk.rglob("*")) == before


def test_snapshots_are_marked_first_and_deleted_after_the_grace_time(aged: tuple[Site, list[str]]) -> None:
    site, names = aged
    assert actions(site) == {names[0]: "mark", names[1]: "mark", names[2]: "keep"}
    assert actions(site) == {names[0]: "wait", names[1]: "wait", names[2]: "keep"}
    assert site.snapshots() == names, "what is marked can still be restored"
    site.good("verify", "site", "--snapshot", names[0])
    age(site, names[0], 1.5)
    assert actions(site)[names[0]] == "delete"
    assert site.snapshots() == names[1:]
    assert not [path for path in site.disk.rglob("*") if names[0] in str(path)]


def test_a_mark_is_taken_back_when_the_rules_want_the_snapshot_again(aged: tuple[Site, list[str]]) -> None:
    site, names = aged
    actions(site)
    site.job["keep"] = {"last": 9}
    assert actions(site)[names[0]] == "unmark"
    assert not list(site.disk.rglob("PRUNE"))


def test_the_only_good_snapshot_is_never_deleted(aged: tuple[Site, list[str]]) -> None:
    site, names = aged
    site.job["keep"] = {"within": "1m", "grace": "0s"}
    for _ in range(3):
        site.leitstand("prune", "site")
    assert site.snapshots() == names[2:]


def test_older_snapshots_are_held_when_the_source_was_emptied(aged: tuple[Site, list[str]]) -> None:
    site, names = aged
    (site.www / "uploads" / "photo.jpg").unlink()
    for path in (site.www / "sparse", site.www / "uploads" / "notes.txt"):
        path.write_bytes(b"")
    site.wait_for_next_second()
    site.good("run", "site")
    for _ in range(2):
        ran = site.leitstand("prune", "site", "--json")
        assert ran.status == 1
        assert [row["action"] for row in ran.json()] == ["keep", "hold", "hold", "hold"]
        assert "the newest good one only" in ran.stderr
    assert site.leitstand("status").stdout.count("3 larger ones are held") == 1
    assert actions(site, "--force")[names[0]] == "mark"
    assert site.good("status", "--json").json()[0]["problem"] == ""
    age(site, names[0], 2)
    assert actions(site)[names[0]] == "delete", "said once is enough"


def test_snapshots_marked_before_the_source_was_emptied_are_held_as_well(
    aged: tuple[Site, list[str]],
) -> None:
    site, names = aged
    assert actions(site)[names[0]] == "mark"
    age(site, names[0], 2)
    for path in (site.www / "sparse", site.www / "uploads" / "notes.txt"):
        path.write_bytes(b"")
    site.wait_for_next_second()
    site.good("run", "site")
    assert site.leitstand("prune", "site").status == 1
    assert set(names) < set(site.snapshots())


def test_a_damaged_snapshot_pushes_no_good_one_out(aged: tuple[Site, list[str]]) -> None:
    site, names = aged
    (volume,) = site.disk.rglob(f"{names[2]}/vol.zip.002")
    volume.write_bytes(bytes(volume.stat().st_size))
    assert site.leitstand("verify", "site").status == 3
    assert actions(site) == {names[0]: "mark", names[1]: "keep", names[2]: "keep"}


def test_forged_snapshots_push_nothing_out(aged: tuple[Site, list[str]]) -> None:
    site, names = aged
    keys = site.folder / "keys"
    right = keys.read_text()
    keys.unlink()
    site.good("keys", "generate")
    site.good("run", "site")  # somebody with access to the store, but without our keys
    forged = next(name for name in site.snapshots() if name not in names)
    keys.write_text(right)
    ran = site.leitstand("prune", "site", "--json")
    assert ran.status == 1
    found = {row["snapshot"]: row["action"] for row in ran.json()}
    assert (found[forged], found[names[2]]) == ("refuse", "keep")


def test_rests_of_a_dead_run_are_swept_after_two_days(site: Site) -> None:
    site.good("run", "site")
    (name,) = site.snapshots()
    (commit,) = site.disk.rglob("COMMIT")
    commit.unlink()
    age(site, name, 1)
    assert actions(site) == {name: "wait"}
    age(site, name, 2.1)
    assert actions(site) == {name: "sweep"}
    assert not [path for path in site.disk.rglob("*") if path.is_file()]


def test_a_run_sweeps_what_dead_ones_left_two_days_ago(site: Site) -> None:
    for _ in range(3):
        site.good("run", "site")
    old, young, whole = site.snapshots()
    for name, days in ((old, 2.1), (young, 1.9)):
        site.objects(name)["COMMIT"].unlink()
        age(site, name, days)
    age(site, whole, 30)
    site.good("run", "site")
    assert (site.objects(old), len(site.objects(young)) > 2) == ({}, True)
    assert site.snapshots()[0] == whole, "no age makes a whole one a rest"


def test_old_leases_and_canaries_are_swept(site: Site) -> None:
    site.good("run", "site")
    for folder in ("lease", "canary"):
        (site.disk / "here" / "site" / folder).mkdir()
        for name, days in (("old", 2.1), ("young", 1.9)):
            file = site.disk / "here" / "site" / folder / name
            file.touch()
            os.utime(file, (time.time() - days * 86400,) * 2)
    site.good("prune", "site", "--dry-run")
    assert len(list(site.disk.rglob("old"))) == 2
    site.good("prune", "site")
    assert (list(site.disk.rglob("old")), len(list(site.disk.rglob("young")))) == ([], 2)


def test_foreign_objects_with_odd_names_do_not_hinder_a_prune(aged: tuple[Site, list[str]]) -> None:
    site, names = aged
    folder = site.disk / "here" / "site"
    (folder / "lease").mkdir(exist_ok=True)
    for place in (folder / names[0] / "odd name", folder / names[0] / "-x", folder / "lease" / "odd name"):
        place.touch()
        os.utime(place, (time.time() - 20 * 86400,) * 2)
    assert actions(site)[names[0]] == "mark"
    age(site, names[0], 9)
    assert actions(site)[names[0]] == "delete"
    assert site.snapshots() == names[1:]
    assert [path.name for path in (folder / names[0]).iterdir() if path.name.startswith("vol")] == []


def test_only_the_store_that_is_named_is_pruned(on_swift: Site) -> None:
    on_swift.document["backups"]["other"] = {**on_swift.job, "stores": ["disk"]}
    for job in ("site", "other"):
        on_swift.good("run", job)
    rows = on_swift.good("prune", "--all", "--store", "swift", "--json").json()
    assert {(row["job"], row["store"]) for row in rows} == {("site", "swift")}


def test_pruning_works_on_swift(on_swift: Site) -> None:
    on_swift.job["keep"] = {"last": 1, "grace": "0s"}
    on_swift.good("run", "site")
    on_swift.wait_for_next_second()
    on_swift.good("run", "site")
    kept = on_swift.snapshots("swift")[1:]
    deadline = time.monotonic() + patient(60)
    while on_swift.snapshots("swift") != kept:  # Swift's times are rounded up to the next second
        assert time.monotonic() < deadline
        on_swift.good("prune", "site", "--store", "swift")
    assert len(on_swift.snapshots("disk")) == 2
    on_swift.good("verify", "site")
    assert on_swift.metric("snapshots", backup="site", host="here", store="swift") == [1]


def test_an_interrupted_deletion_leaves_no_half_snapshot(
    aged: tuple[Site, list[str]], tmp_path: Path
) -> None:
    site, names = aged
    actions(site)
    folder = next(path for path in site.disk.rglob(names[0]))
    (folder / "COMMIT").unlink()  # the first thing that a deletion takes away
    assert site.snapshots() == names[1:]
    age(site, names[0], 3)
    assert actions(site)[names[0]] == "sweep"
    assert not folder.exists()


@pytest.fixture
def five(site: Site) -> tuple[Site, list[str]]:
    """Five snapshots; the newest is to stay."""
    site.job["sources"] = site.job["sources"][1:]
    for _ in range(5):
        site.good("run", "site")
    site.job["keep"] = {"last": 1, "grace": "0s"}
    return site, site.snapshots()


def test_a_prune_that_would_mark_too_many_at_once_waits_for_a_person(five: tuple[Site, list[str]]) -> None:
    site, names = five
    for more in ((), ("--yes-really", "3"), ("--force",)):
        ran = site.leitstand("prune", "site", *more)
        assert ran.status == 1
        assert "4 of 5 snapshots would be marked at once, more than 30 %" in ran.stderr
        assert "--yes-really 4" in ran.stderr
    assert not list(site.disk.rglob("PRUNE"))
    assert "4 snapshots would be marked at once" in site.leitstand("status").stdout
    assert actions(site, "--yes-really", "4")[names[0]] == "mark"
    assert site.good("status", "--json").json()[0]["problem"] == ""
    site.good("prune", "site")
    assert site.snapshots() == names[4:]


@pytest.mark.parametrize(("most", "status"), [(79, 1), (80, 0)])
def test_the_share_that_may_be_marked_at_once_is_a_setting(
    five: tuple[Site, list[str]], most: int, status: int
) -> None:
    site, _ = five
    site.job["prune"] = {"most_percent": most}
    assert site.leitstand("prune", "site").status == status


def test_a_prune_now_and_then_is_not_stopped(site: Site) -> None:
    """As many as were made since the last one may go: each takes the place of an older one."""
    site.job["sources"] = site.job["sources"][1:]
    site.job["keep"] = {"last": 2}
    for _ in range(2):
        site.good("run", "site")
    site.good("prune", "site")
    for _ in range(4):
        site.good("run", "site")
    assert list(actions(site).values()).count("mark") == 4


def test_a_mark_that_a_clock_of_the_future_made_is_made_again(aged: tuple[Site, list[str]]) -> None:
    site, names = aged
    assert actions(site)[names[1]] == "mark"
    age(site, names[1], -9000)
    assert actions(site)[names[1]] == "mark"
    assert actions(site)[names[1]] == "wait"


def test_a_prune_waits_for_no_run_but_gives_way_to_it(site: Site) -> None:
    site.good("run", "site")
    with job_lock(site.folder / "state", "site"):
        ran = site.leitstand("prune", "site")
        assert (ran.status, "another run is under way" in ran.errors[0]) == (3, True)
        site.good("prune", "site", "--dry-run")
    site.good("prune", "site")


def test_a_held_snapshot_stays_until_it_is_released(aged: tuple[Site, list[str]]) -> None:
    site, names = aged
    site.good("hold", names[0])
    assert actions(site) == {names[0]: "keep", names[1]: "mark", names[2]: "keep"}
    site.good("verify", "site", "--snapshot", names[0])
    assert site.leitstand("forget", names[0]).status == 2
    site.good("hold", names[0], "--release")
    assert actions(site)[names[0]] == "mark"


def test_a_forgotten_snapshot_goes_after_the_grace_time_and_is_not_missed(
    aged: tuple[Site, list[str]],
) -> None:
    site, names = aged
    site.job["keep"] = {"last": 9, "grace": "1d"}
    site.good("forget", names[1])
    assert actions(site) == {names[0]: "keep", names[1]: "wait", names[2]: "keep"}
    age(site, names[1], 2)
    assert actions(site)[names[1]] == "delete"
    assert site.snapshots() == [names[0], names[2]]
    site.good("verify", "site")
    assert site.good("status", "--json").json()[0]["problem"] == ""


def test_a_forgotten_snapshot_can_be_released(aged: tuple[Site, list[str]]) -> None:
    site, names = aged
    site.job["keep"] = {"last": 9}
    site.good("forget", names[1])
    site.good("hold", names[1], "--release")
    assert actions(site)[names[1]] == "unmark"


def test_the_last_good_snapshot_is_forgotten_by_a_clear_word_only(site: Site) -> None:
    for _ in range(2):
        site.good("run", "site")
    other, name = site.snapshots()
    site.good("forget", other)
    ran = site.leitstand("forget", name)
    assert (ran.status, "is the last good one" in ran.errors[0]) == (2, True)
    assert len(list(site.disk.rglob("PRUNE"))) == 1
    site.good("forget", name, "--yes-really")
    assert site.leitstand("forget", "20991231T000000Z-aaaaaaaa").status == 2


def test_the_only_snapshot_is_not_forgotten_by_chance_because_it_is_partial(site: Site) -> None:
    site.job["sources"] = [{"files": "/proc/sys/vm"}]  # not even root may read some of these
    assert site.leitstand("run", "site").status == 1
    (name,) = site.snapshots()
    assert site.leitstand("forget", name).status == 2
    site.good("forget", name, "--yes-really")
