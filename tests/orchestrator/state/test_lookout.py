"""Snapshots that were there and are gone, hidden, rolled back or forged: noticed, and told until settled."""

import re
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.config.settings import Keep
from orchestrator.repository.catalog import Listed
from orchestrator.repository.commit import decode_meta
from orchestrator.repository.layout import SnapshotName
from orchestrator.retention.rules import Candidate, decide
from orchestrator.state.lookout import missing

Site = Any
MakeAt = Callable[[Site, datetime], str]


@pytest.fixture
def small(site: Site) -> Site:
    site.job["sources"] = site.job["sources"][1:]
    return site


@pytest.fixture
def three(small: Site) -> tuple[Site, list[str]]:
    for _ in range(3):
        small.good("run", "site")
    return small, small.snapshots()


def metric(site: Site, name: str) -> float:
    (value,) = site.metric(name)
    return float(value)


def status(site: Site) -> dict[str, Any]:
    (row,) = site.leitstand("status", "--json").json()
    found: dict[str, Any] = row
    return found


def folder_of(site: Site, name: str) -> Path:
    found: Path = site.disk / "here" / "site" / name
    return found


def hide(site: Site, name: str) -> None:
    folder_of(site, name).rename(site.folder / "hidden")


def uncommit(site: Site, name: str) -> None:
    site.objects(name)["COMMIT"].unlink()


def test_each_snapshot_names_the_one_before_it(three: tuple[Site, list[str]]) -> None:
    site, names = three
    previous = [decode_meta(site.objects(name)["meta.json"].read_bytes()).previous for name in names]
    assert previous == ["", names[0], names[1]]


@pytest.mark.parametrize("harm", [hide, uncommit])
@pytest.mark.parametrize(
    "command", [("verify", "site"), ("verify", "site", "--share", "1/1"), ("verify", "site", "--spot", "3")]
)
def test_a_verification_misses_the_newest_snapshot(
    site: Site, harm: Callable[[Site, str], None], command: tuple[str, ...]
) -> None:
    site.good("run", "site")
    site.good("run", "site")
    older, lost = site.snapshots()
    harm(site, lost)
    ran = site.leitstand(*command)
    assert ran.status == 3
    assert f"snapshot {lost} of {datetime.now(UTC):%-d %B %Y} is gone" in ran.stderr
    row = status(site)
    assert f"snapshot {lost} of" in row["problem"]
    assert (row["snapshots"], row["snapshot"]) == (1, older)
    assert (metric(site, "snapshots"), metric(site, "lost_snapshots")) == (1, 1)
    assert site.leitstand("status").status == 1


@pytest.mark.parametrize("which", [0, 1, 2])
def test_the_list_misses_any_snapshot_that_should_be_there(three: tuple[Site, list[str]], which: int) -> None:
    site, names = three
    hide(site, names[which])
    ran = site.good("list", "site")
    assert f"{names[which]} of" in ran.stderr
    assert metric(site, "lost_snapshots") == 1


def test_a_prune_misses_what_is_gone_and_forgets_it_not(three: tuple[Site, list[str]]) -> None:
    site, names = three
    site.job["keep"] = {"last": 3}
    hide(site, names[2])
    ran = site.good("prune", "site")
    assert f"snapshot {names[2]} of" in ran.stderr
    assert (names[2] in status(site)["problem"], metric(site, "lost_snapshots")) == (True, 1)
    assert site.leitstand("verify", "site").status == 3
    (site.folder / "hidden").rename(folder_of(site, names[2]))
    site.good("prune", "site")
    assert (status(site)["problem"], metric(site, "lost_snapshots")) == ("", 0)


def test_a_held_snapshot_is_missed_though_no_rule_keeps_it(three: tuple[Site, list[str]]) -> None:
    site, names = three
    site.job["keep"] = {"last": 1}
    site.good("hold", names[0])
    hide(site, names[0])
    for _ in range(2):
        assert site.leitstand("verify", "site").status == 3
        assert names[0] in status(site)["problem"]
    (site.folder / "hidden").rename(folder_of(site, names[0]))
    site.good("verify", "site")
    site.good("hold", names[0], "--release")
    hide(site, names[0])
    site.good("verify", "site")


def test_a_forgotten_snapshot_is_not_missed_when_the_prune_that_deleted_it_was_killed(
    three: tuple[Site, list[str]],
) -> None:
    site, names = three
    site.good("forget", names[2])
    uncommit(site, names[2])
    site.good("verify", "site")
    site.good("run", "site")
    assert status(site)["problem"] == ""


def test_a_restore_of_the_newest_reports_that_a_newer_one_is_gone(
    three: tuple[Site, list[str]], tmp_path: Path
) -> None:
    site, names = three
    hide(site, names[2])
    ran = site.good("restore", "site", "--target", tmp_path / "out", "--json")
    assert ran.json()["snapshot"] == names[1]
    assert f"snapshot {names[2]} of" in ran.stderr


def test_a_run_notices_a_store_that_was_rolled_back_and_still_names_what_it_lost(
    three: tuple[Site, list[str]],
) -> None:
    site, names = three
    for name in names[1:]:
        shutil.rmtree(folder_of(site, name))
    ran = site.good("run", "site")
    assert all(f"snapshot {name} of" in ran.stderr for name in names[1:])
    assert all(name in status(site)["problem"] for name in names[1:])
    newest = site.snapshots()[-1]
    assert decode_meta(site.objects(newest)["meta.json"].read_bytes()).previous == names[2]


def test_snapshots_that_are_back_are_no_longer_missed(three: tuple[Site, list[str]]) -> None:
    site, names = three
    hide(site, names[2])
    assert site.leitstand("verify", "site").status == 3
    (site.folder / "hidden").rename(folder_of(site, names[2]))
    site.good("verify", "site")
    row = status(site)
    assert (row["problem"], row["snapshot"], metric(site, "lost_snapshots")) == ("", names[2], 0)


def test_a_person_may_say_that_what_is_gone_need_not_be_missed(three: tuple[Site, list[str]]) -> None:
    site, names = three
    for name in names[1:]:
        shutil.rmtree(folder_of(site, name))
    assert site.leitstand("verify", "site").status == 3
    site.good("catalog", "rebuild")
    site.good("verify", "site")
    assert status(site)["problem"] == ""
    site.good("run", "site")
    site.good("verify", "site")


@pytest.mark.parametrize("other_machine", [False, True])
def test_snapshots_deleted_by_a_prune_are_not_missed(
    three: tuple[Site, list[str]], tmp_path: Path, other_machine: bool
) -> None:
    site, names = three
    site.job["keep"] = {"last": 1, "grace": "0s"}
    state = site.document["paths"]["state"]
    if other_machine:
        site.document["paths"]["state"] = str(tmp_path / "elsewhere")
    for _ in range(2):
        site.good("prune", "site")
    site.document["paths"]["state"] = state
    assert site.snapshots() == names[2:]
    site.good("verify", "site")
    assert status(site)["problem"] == ""


def test_a_machine_that_knows_nothing_misses_what_the_next_snapshot_names(
    three: tuple[Site, list[str]], tmp_path: Path
) -> None:
    site, names = three
    site.document["paths"]["state"] = str(tmp_path / "new")
    site.good("verify", "site")
    hide(site, names[1])
    site.document["paths"]["state"] = str(tmp_path / "newer")
    ran = site.leitstand("verify", "site")
    assert (ran.status, f"snapshot {names[1]} of" in ran.stderr) == (3, True)


def test_a_machine_that_only_verifies_reports_lost_snapshots(
    three: tuple[Site, list[str]], tmp_path: Path
) -> None:
    site, names = three
    for name in ("state", "metrics"):
        site.document["paths"][name] = str(tmp_path / "other" / name)
    (tmp_path / "other").mkdir()
    site.good("verify", "site")
    row = status(site)
    assert (row["problem"], row["snapshot"], row["stored_bytes"] > 0) == ("", names[2], True)
    hide(site, names[2])
    assert site.leitstand("verify", "site").status == 3
    assert site.metric("lost_snapshots") == [1]
    text = (tmp_path / "other" / "metrics" / "leitstand_backup.prom").read_text()
    assert "last_run_" not in re.sub("^#.*$", "", text, flags=re.M)


def test_a_store_that_was_away_for_a_run_misses_nothing(on_swift: Site) -> None:
    on_swift.good("run", "site")
    endpoint = on_swift.document["stores"]["swift"]["endpoint"]
    on_swift.document["stores"]["swift"]["endpoint"] = "http://127.0.0.1:9"
    assert on_swift.leitstand("run", "site").status == 3
    on_swift.document["stores"]["swift"]["endpoint"] = endpoint
    on_swift.good("run", "site")
    first, second, third = on_swift.snapshots("disk")
    assert on_swift.snapshots("swift") == [first, third]
    on_swift.good("verify", "site")
    assert decode_meta(on_swift.objects(third)["meta.json"].read_bytes()).previous == first
    assert decode_meta(on_swift.objects(second)["meta.json"].read_bytes()).previous == first


def _as_listed(each: Candidate) -> Listed:
    name, state = SnapshotName("web1", "website", each.id), "complete" if each.complete else "partial"
    return Listed("swift", name, (), each.time, each.time, None, "", state)


@settings(derandomize=True, max_examples=40, deadline=None)
@given(st.data())
def test_no_prune_makes_a_later_look_miss_anything(data: st.DataObject) -> None:
    """Whatever is pruned, day by day, by the same rules: another machine misses nothing."""
    rules = {name: data.draw(st.integers(0, 3), name) for name in ("last", "daily", "weekly", "monthly")}
    keep, zone = Keep.model_validate(rules), ZoneInfo("Europe/Berlin")
    start, there, known = datetime(2026, 3, 20, tzinfo=UTC), list[Candidate](), dict[str, str]()
    for step in range(60):
        moment = start + timedelta(hours=7 * step)
        good = data.draw(st.booleans())
        name = f"{moment:%Y%m%dT%H%M%SZ}-aaaaaaaa"
        there.append(Candidate(name, moment, good, (), 0, 0, there[-1].id if there else ""))
        known[name] = "complete" if good else "partial"
        if data.draw(st.booleans()):
            there = [each.candidate for each in decide(there, keep, zone) if each.stays][::-1]
        listed = [_as_listed(each) for each in there]
        assert missing(listed, known, keep, zone, moment) == []
        assert missing(listed, {}, keep, zone, moment) == [], "to a machine that knows nothing"
        known = {each.id: known[each.id] for each in there}


def test_the_list_distinguishes_forged_snapshots_from_good_ones(three: tuple[Site, list[str]]) -> None:
    site, names = three
    for name, file in site.objects(names[0]).items():
        shutil.copyfile(file, folder_of(site, names[2]) / name)
    site.objects(names[1])["meta.json"].write_bytes(b"[" * 200_000)
    rows = site.good("list", "site", "--json").json()
    assert [row["state"] for row in rows] == ["complete", "unreadable", "forged"]
    assert [row["generation"] for row in rows] == [1, None, 1]
    table = site.good("list", "site").stdout
    assert "forged" in table
    row = status(site)
    assert f"{names[2]}: forged" in row["problem"]
    assert (metric(site, "damaged_snapshots"), row["snapshot"]) == (2, names[0])


def test_without_keys_nothing_is_called_complete(three: tuple[Site, list[str]]) -> None:
    site, names = three
    (site.folder / "keys").unlink()
    ran = site.good("list", "site", "--json")
    assert [(row["snapshot"], row["state"]) for row in ran.json()] == [(name, "not proven") for name in names]
    assert "nothing can be proven" in ran.stderr


def plant(site: Site, of: str, name: str = "20991231T000000Z-aaaaaaaa") -> str:
    """What a thief of the store's credentials can make: a copy of an older snapshot under a newer name."""
    shutil.copytree(folder_of(site, of), folder_of(site, name))
    return name


def test_the_newest_is_the_newest_that_is_proven(three: tuple[Site, list[str]], tmp_path: Path) -> None:
    site, names = three
    planted = plant(site, names[0])
    commands: dict[str, tuple[object, ...]] = {
        "restore": ("--target", tmp_path / "out"),
        "drill": (),
        "ls": (),
        "verify": (),
    }
    for command, more in commands.items():
        ran = site.leitstand(command, "site", *more)
        assert f"{planted} is skipped because it is forged" in ran.stderr, command
        assert ran.status == (3 if command == "verify" else 0), command
        assert command == "ls" or names[2] in ran.stdout, command
    found = {row["snapshot"]: row["action"] for row in site.leitstand("prune", "site", "--json").json()}
    assert found[planted] == "refuse"
    assert site.good("run", "site").status == 0
