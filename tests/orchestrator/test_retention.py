"""Which snapshots stay, and how the others go."""

import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.config import Keep
from orchestrator.lock import job_lock
from orchestrator.retention import Candidate, decide

Site = Any
UTC_ZONE = ZoneInfo("UTC")
BERLIN = ZoneInfo("Europe/Berlin")
START = datetime(2026, 11, 20, 3, tzinfo=UTC)


def keep(**rules: object) -> Keep:
    return Keep.model_validate(rules)


def daily(count: int, step: timedelta = timedelta(days=1)) -> list[Candidate]:
    """Good snapshots, the newest first: 0, 1, 2 …"""
    return [Candidate(f"{number}", START - number * step, True) for number in range(count)]


def staying(candidates: list[Candidate], rules: Keep, zone: ZoneInfo = UTC_ZONE) -> list[str]:
    return [each.candidate.id for each in decide(candidates, rules, zone) if each.stays]


def test_without_rules_everything_stays() -> None:
    assert len(staying(daily(50), keep())) == 50


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ({"last": 3}, [0, 1, 2]),
        ({"daily": 2}, [0, 1]),
        ({"weekly": 3}, [0, 5, 12]),  # 20 November 2026 is a Friday: Sundays end the weeks before
        ({"monthly": 3}, [0, 20, 51]),
        ({"yearly": 2}, [0, 324]),
        ({"within": "3d"}, [0, 1, 2, 3]),
        ({"last": 1, "min": 4}, [0, 1, 2, 3]),
        ({"daily": 2, "weekly": 2, "monthly": 2}, [0, 1, 5, 20]),
    ],
)
def test_rules_keep_the_newest_of_each_period(rules: dict[str, object], expected: list[int]) -> None:
    assert staying(daily(400), keep(**rules)) == [str(number) for number in expected]


def test_hours_are_kept_apart_when_clocks_go_back() -> None:
    moments = [datetime(2026, 10, 25, 0, 30, tzinfo=UTC), datetime(2026, 10, 25, 1, 30, tzinfo=UTC)]
    candidates = [Candidate(str(number), moment, True) for number, moment in enumerate(moments)]
    assert len(staying(candidates, keep(hourly=5), BERLIN)) == 2


def test_days_begin_at_midnight_of_the_site() -> None:
    late, early = datetime(2026, 11, 20, 22, 30, tzinfo=UTC), datetime(2026, 11, 20, 23, 30, tzinfo=UTC)
    candidates = [Candidate("late", late, True), Candidate("early", early, True)]
    assert len(staying(candidates, keep(daily=9), UTC_ZONE)) == 1
    assert len(staying(candidates, keep(daily=9), BERLIN)) == 2


def test_the_newest_good_one_stays_whatever_comes_after_it() -> None:
    partial = [Candidate(f"partial-{n}", START + timedelta(hours=n + 1), False) for n in range(30)]
    assert "0" in staying([*daily(3), *partial], keep(last=2))


def test_a_good_snapshot_stands_for_its_day_before_a_later_partial_one() -> None:
    candidates = [Candidate("good", START, True), Candidate("partial", START + timedelta(hours=2), False)]
    assert staying(candidates, keep(daily=1)) == ["good"]


def test_what_holds_files_of_a_snapshot_that_stays_stays() -> None:
    full, step = (
        Candidate("full", START - timedelta(days=9), True),
        Candidate("step", START, True, ("full", "step")),
    )
    decisions = {each.candidate.id: each.reasons for each in decide([full, step], keep(last=1), UTC_ZONE)}
    assert decisions["full"] == ["holds files of step"]


_RULES = st.fixed_dictionaries(
    {name: st.integers(0, 4) for name in ("last", "hourly", "daily", "weekly", "monthly", "yearly")}
)


@settings(derandomize=True, max_examples=150)
@given(
    st.lists(
        st.tuples(st.integers(0, 500_000), st.booleans()), min_size=1, max_size=30, unique_by=lambda t: t[0]
    ),
    _RULES,
    st.integers(1, 3),
)
def test_pruning_again_deletes_nothing_more(
    runs: list[tuple[int, bool]], rules: dict[str, int], minimum: int
) -> None:
    candidates = [Candidate(str(n), START + timedelta(minutes=n), good) for n, good in runs]
    stay = staying(candidates, keep(**rules, min=minimum), BERLIN)
    good = sorted((each for each in candidates if each.complete), key=lambda each: each.time, reverse=True)
    assert {each.id for each in good[:minimum]} <= set(stay)
    again = staying([each for each in candidates if each.id in stay], keep(**rules, min=minimum), BERLIN)
    assert set(again) == set(stay)


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


def test_a_dry_run_says_why_and_changes_nothing(aged: tuple[Site, list[str]]) -> None:
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


def test_what_was_marked_before_the_source_was_emptied_is_held_as_well(aged: tuple[Site, list[str]]) -> None:
    site, names = aged
    assert actions(site)[names[0]] == "mark"
    age(site, names[0], 2)
    for path in (site.www / "sparse", site.www / "uploads" / "notes.txt"):
        path.write_bytes(b"")
    site.wait_for_next_second()
    site.good("run", "site")
    assert site.leitstand("prune", "site").status == 1
    assert set(names) < set(site.snapshots())


@given(sizes=st.lists(st.tuples(st.booleans(), st.integers(0, 100), st.integers(0, 100)), max_size=12))
@settings(max_examples=100, derandomize=True)
def test_what_goes_is_never_much_larger_than_the_newest_good_one(sizes: list[tuple[bool, int, int]]) -> None:
    candidates = [
        Candidate(str(n), START - timedelta(days=n), good, (), entries, size)
        for n, (good, entries, size) in enumerate(sizes)
    ]
    decisions = decide(candidates, keep(last=1), UTC_ZONE)
    newest = next((each for each in candidates if each.complete), None) or (candidates or [None])[0]
    for gone in (each.candidate for each in decisions if not each.stays and not each.held):
        assert gone.entries <= 2 * newest.entries
        assert gone.content_bytes <= 2 * newest.content_bytes


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


def test_what_a_stranger_put_there_under_odd_names_hinders_no_prune(aged: tuple[Site, list[str]]) -> None:
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
    deadline = time.monotonic() + 60
    while on_swift.snapshots("swift") != kept:  # Swift's times are rounded up to the next second
        assert time.monotonic() < deadline
        on_swift.good("prune", "site", "--store", "swift")
    assert len(on_swift.snapshots("disk")) == 2
    on_swift.good("verify", "site")
    metrics = (on_swift.folder / "metrics" / "leitstand_backup.prom").read_text()
    assert 'leitstand_backup_snapshots{backup="site",host="here",store="swift"} 1' in metrics


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


def test_a_held_snapshot_stays_for_ever_until_it_is_released(aged: tuple[Site, list[str]]) -> None:
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


def test_what_was_forgotten_can_be_taken_back(aged: tuple[Site, list[str]]) -> None:
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
