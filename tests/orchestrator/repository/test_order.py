"""Which snapshot is the newest: by what is signed, whatever a store or a clock says."""

import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.repository.order import in_order, times

Site = Any
Swift = Any
NOW = datetime(2026, 11, 30, 3, tzinfo=UTC)


@dataclass(frozen=True)
class Made:
    """A snapshot: the clock of the machine that made it, the store's time, and what was there before."""

    id: str
    began: datetime
    committed: datetime | None
    previous: str = ""
    time: datetime = NOW


def ordered(snapshots: list[Made], now: datetime = NOW) -> list[str]:
    made = times(snapshots, now)
    return [
        each.id for each in in_order([Made(m.id, m.began, None, m.previous, made[m.id]) for m in snapshots])
    ]


def day(number: float) -> datetime:
    return NOW - timedelta(days=number)


@pytest.mark.parametrize("ahead", [timedelta(hours=1), timedelta(days=30), timedelta(days=4000)])
@pytest.mark.parametrize("stored", ["by the same clock", "by another clock", "after a copy"])
def test_a_clock_that_was_ahead_makes_no_snapshot_the_newest(ahead: timedelta, stored: str) -> None:
    wrong = day(2) + ahead
    taken = {"by the same clock": wrong, "by another clock": day(2), "after a copy": NOW}[stored]
    snapshots = [Made("a", day(3), day(3)), Made("b", wrong, taken, "a"), Made("c", day(1), day(1), "b")]
    for now in (NOW, NOW + timedelta(days=60)):
        assert ordered(snapshots, now) == ["a", "b", "c"]
    assert times(snapshots, NOW)["b"] <= NOW


@pytest.mark.parametrize("behind", [timedelta(hours=1), timedelta(days=20_000)])
def test_a_clock_that_was_behind_makes_no_snapshot_an_old_one(behind: timedelta) -> None:
    snapshots = [
        Made("a", day(3), day(3)),
        Made("b", day(2), day(2), "a"),
        Made("c", day(2) + timedelta(minutes=30) - behind, NOW, "b"),
    ]
    assert ordered(snapshots)[-1] == "c"


@settings(derandomize=True, max_examples=100)
@given(st.permutations(range(8)), st.lists(st.integers(-3000, 3000), min_size=8, max_size=8))
def test_a_whole_chain_is_in_order_despite_wrong_clocks(listed: list[int], shifts: list[int]) -> None:
    snapshots = [
        Made(str(n), day(8 - n) + timedelta(hours=shifts[n]), day(shifts[-n] / 24), str(n - 1) if n else "")
        for n in listed
    ]
    assert ordered(snapshots) == [str(n) for n in range(8)]


def test_of_snapshots_from_the_future_none_is_later_than_the_first_one_after_them() -> None:
    snapshots = [Made("a", day(-10), NOW), Made("b", day(-20), NOW, "a"), Made("c", day(1), day(1), "b")]
    assert times(snapshots, NOW) == dict.fromkeys("abc", day(1))


def test_a_time_that_is_over_is_believed_even_if_the_next_clock_was_behind() -> None:
    snapshots = [Made("a", day(1), day(1)), Made("b", day(2), day(1), "a")]
    assert times(snapshots, NOW) == {"a": day(1), "b": day(2)}


def test_a_snapshot_that_names_itself_as_predecessor_is_not_the_newest() -> None:
    assert ordered([Made("z", day(3), day(3), "z"), Made("b", day(1), day(1))]) == ["z", "b"]


def test_snapshots_that_name_each_other_as_predecessor_are_still_listed() -> None:
    snapshots = [Made("a", day(2), None, "b"), Made("b", day(1), None, "a"), Made("c", NOW, None, "c")]
    assert sorted(ordered(snapshots)) == ["a", "b", "c"]


MakeAt = Callable[[Site, datetime], str]
DAYS = (150, 120, 90, 60, 30, 3, 2, 1)


@pytest.fixture
def history(site: Site, make_at: MakeAt) -> list[str]:
    """Snapshots of five months and three days; all of them are to stay."""
    site.job["sources"] = site.job["sources"][1:]
    site.job["keep"] = {"daily": 3, "monthly": 12}
    now = datetime.now(UTC)
    return [make_at(site, now - timedelta(days=days)) for days in DAYS]


def decided(site: Site, store: str = "disk") -> dict[str, str]:
    rows = site.good("prune", "site", "--store", store, "--dry-run", "--json").json()
    return {row["snapshot"]: row["why"] for row in rows}


def copy_by_hand(site: Site, copy: Path) -> None:
    shutil.copytree(site.disk, copy, copy_function=shutil.copyfile)


def copy_by_rsync(site: Site, copy: Path) -> None:
    subprocess.run(["rsync", "-r", f"{site.disk}/", f"{copy}/"], check=True)


def copy_to_one_second(site: Site, copy: Path) -> None:
    copy_by_hand(site, copy)
    for path in copy.rglob("*"):
        os.utime(path, (1_900_000_000,) * 2)


@pytest.mark.parametrize("way", [copy_by_hand, copy_by_rsync, copy_to_one_second])
def test_a_copied_store_keeps_its_history(
    site: Site, history: list[str], way: Callable[[Site, Path], None]
) -> None:
    before = decided(site)
    assert set(before) == set(history)
    way(site, site.folder / "copy")
    site.document["stores"]["disk"]["path"] = str(site.folder / "copy")
    assert decided(site) == before
    assert site.snapshots() == history
    ran = site.good("verify", "site", "--json")
    assert ran.json()[0]["snapshot"] == history[-1]


def test_a_store_that_was_copied_into_swift_keeps_its_history(
    site: Site, history: list[str], swift: Swift, tmp_path: Path
) -> None:
    """In the order in which rclone copies, which is none."""
    before = decided(site)
    settings = swift.settings(prefix=f"tests/{tmp_path.name}", tries=2)
    site.document["stores"]["swift"] = settings
    site.job["stores"] = ["disk", "swift"]
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "RCLONE_CONFIG_STORE_TYPE": "s3",
        "RCLONE_CONFIG_STORE_PROVIDER": "Other",
        "RCLONE_CONFIG_STORE_ENDPOINT": swift.endpoint,
        "RCLONE_CONFIG_STORE_REGION": "us-east-1",
        "RCLONE_CONFIG_STORE_ACCESS_KEY_ID": swift.access_key,
        "RCLONE_CONFIG_STORE_SECRET_ACCESS_KEY": swift.secret_key,
    }
    place = f"store:{settings['bucket']}/{settings['prefix']}"
    for name in reversed(history):
        argv = ["rclone", "copy", site.disk / "here/site" / name, f"{place}/here/site/{name}"]
        subprocess.run(argv, env=environment, check=True)
    assert decided(site, "swift") == before
    assert site.snapshots("swift") == history


@pytest.mark.parametrize("ahead", [timedelta(days=30), timedelta(hours=-1)])
def test_a_clock_that_was_wrong_once_makes_no_command_take_another_newest(
    site: Site, make_at: MakeAt, tmp_path: Path, ahead: timedelta
) -> None:
    now = datetime.now(UTC)
    site.job["sources"] = site.job["sources"][1:]
    make_at(site, now - timedelta(minutes=20))
    make_at(site, now - timedelta(minutes=15) + ahead)
    newest = make_at(site, now - timedelta(minutes=10))
    site.job["keep"] = {"last": 1}
    assert site.snapshots()[-1] == newest
    assert decided(site)[newest] == "newest good, last 1"
    restored = site.good("restore", "site", "--target", tmp_path / "out", "--json").json()
    assert restored["snapshot"] == newest
    assert site.good("drill", "site", "--json").json()["snapshot"] == newest
