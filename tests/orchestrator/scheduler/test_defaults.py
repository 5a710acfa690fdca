"""A job that says nothing of verify, drill and prune has all three; one that turns them off is warned of."""

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from leitstand.cli import run as run_leitstand
from orchestrator.config.settings import Job
from orchestrator.config.tasks import Task, plans, schedule_of
from orchestrator.scheduler.agenda import Agenda

Site = Any
Swift = Any


def job(**more: Any) -> Job:
    own = {"host": "here", "sources": [{"files": "/srv"}], "stores": ["disk"], "keys_file": "/keys"}
    return Job.model_validate({**own, **more})


def by_itself(site: Site) -> dict[str, Any]:
    """The job as a newcomer writes it."""
    del site.job["verify"], site.job["drill"]
    site.job["keep"] = {"daily": 7}
    own: dict[str, Any] = site.job
    return own


@pytest.mark.parametrize(
    ("run", "hours"), [("daily 03:00", (4, 5, 6)), ("daily 23:10", (0, 1, 2)), ("every 6h", (4, 5, 6))]
)
def test_a_job_that_has_a_schedule_is_verified_pruned_and_drilled_after_its_runs(
    run: str, hours: tuple[int, ...]
) -> None:
    for action, hour, longest in zip(("verify", "prune", "drill"), hours, (1, 7, 31), strict=True):
        found = schedule_of("website", job(schedule=run, keep={"last": 3}), action)  # type: ignore[arg-type]
        assert found is not None
        assert found.interval == timedelta(days=longest)
        assert found.minutes[0] // 60 in (hour, hour + 1 if run.endswith("10") else hour)


def test_jobs_do_it_at_different_times_and_always_at_the_same() -> None:
    texts = {
        action: [schedule_of(f"job{n}", job(schedule="daily 03:00"), action) for n in range(60)]
        for action in ("verify", "drill")
    }
    assert texts["verify"] == [
        schedule_of(f"job{n}", job(schedule="daily 03:00"), "verify") for n in range(60)
    ]
    assert len({each.text for each in texts["verify"] if each}) > 30
    assert len({each.days for each in texts["drill"] if each}) > 15


def test_a_new_job_is_drilled_the_day_after_its_first_run_and_then_each_month() -> None:
    task = Task("website", "drill")
    began = datetime(2026, 11, 30, 4, 0, tzinfo=UTC)
    agenda = Agenda(UTC)
    agenda.replan(plans({"website": job(schedule="daily 03:00")}), began)
    first = agenda.starts()[task]
    assert first - began <= timedelta(days=1)
    agenda.note(task, first.timestamp(), first)
    second = agenda.starts()[task]
    assert second.strftime("%H:%M") == first.strftime("%H:%M")
    agenda.note(task, second.timestamp(), second)
    assert timedelta(days=28) <= agenda.starts()[task] - second <= timedelta(days=31)


@pytest.mark.parametrize(
    ("settings", "actions"),
    [
        ({"schedule": "daily 03:00", "keep": {"daily": 7}}, ["run", "verify", "drill", "prune"]),
        ({"schedule": "daily 03:00"}, ["run", "verify", "drill"]),
        ({"keep": {"daily": 7}}, []),
        ({"schedule": "daily", "keep": {"last": 1}, "prune": "never", "verify": "never"}, ["run", "drill"]),
        (
            {"schedule": "daily", "keep": {"last": 1}, "drill": {"schedule": "never"}},
            ["run", "verify", "prune"],
        ),
        ({"prune": {"schedule": "weekly"}, "keep": {"last": 1}}, ["prune"]),
        ({"schedule": "daily", "verify": {"share": None}}, ["run", "verify", "drill"]),
    ],
)
def test_tasks_that_run_by_default(settings: dict[str, Any], actions: list[str]) -> None:
    all_of_them = ("run", "verify", "drill", "prune")
    assert [each for each in all_of_them if schedule_of("x", job(**settings), each)] == actions  # type: ignore[arg-type]


def test_timers_metrics_and_status_know_of_them(site: Site, tmp_path: Path) -> None:
    by_itself(site)
    site.job["prune"] = "never"
    (tmp_path / "units").mkdir()
    site.good("install-timers", "--out", tmp_path / "units", "--program", "/bin/leitstand")
    names = {path.stem.removeprefix("leitstand-backup-") for path in (tmp_path / "units").iterdir()}
    assert names == {"run-site", "verify-site", "drill-site"}
    drill = (tmp_path / "units" / "leitstand-backup-drill-site.service").read_text()
    assert "drill site" in drill
    assert "--if-allowed" in drill
    assert "--if-due" in drill
    timer = (tmp_path / "units" / "leitstand-backup-drill-site.timer").read_text()
    assert re.search(r"^OnCalendar=\*-\*-\* ", timer, re.MULTILINE), "until the first drill: each day"
    assert site.metric("drill_interval_seconds", backup="site", host="here") == [2678400]
    labels = {"backup": "site", "host": "here", "store": "disk"}
    assert site.metric("off", **labels, action="prune") == [1]
    assert site.metric("off", **labels, action="verify") == []
    site.good("run", "site")
    site.good("status")


@pytest.mark.parametrize("action", ["verify", "drill"])
def test_default_tasks_wait_for_the_first_run(site: Site, action: str) -> None:
    by_itself(site)
    early = site.leitstand(action, "site", "--if-allowed")
    assert (early.status, "waits for the first one" in early.stderr) == (1, True)
    assert site.leitstand(action, "site").status == 3, "by hand it is a mistake"
    assert site.leitstand("drill", "site", "--if-allowed", "--if-due").status == 0, "not due yet"
    site.good("run", "site")
    site.good(action, "site", "--if-allowed")
    assert site.good("status", "--json").json()[0]["problem"] == ""


def test_a_job_that_is_run_by_hand_is_not_taken_for_one_that_others_verify(site: Site) -> None:
    by_itself(site)
    del site.job["schedule"]
    site.good("run", "site")
    assert site.metric("off") == []


def warnings_of(site: Site, capsys: pytest.CaptureFixture[str]) -> list[str]:
    site.write()
    capsys.readouterr()
    assert run_leitstand(["check", "--config", str(site.config)]) == 0
    return [line.split(" warning: ", 1)[1] for line in capsys.readouterr().err.splitlines()]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"prune": "never"}, "backups.site.prune: 'prune' is off: nothing is ever deleted"),
        ({"drill": "never"}, "backups.site.drill: 'drill' is off: no restore is ever tested: its snapshots"),
        ({"verify": {"schedule": "never"}}, "backups.site.verify: 'verify' is off: no snapshot is ever read"),
        ({"keep": {}}, "backups.site.keep: 'keep' has no rule: nothing is ever deleted"),
        ({"schedule": None}, "backups.site: has no schedule"),
    ],
)  # fmt: skip
def test_check_warns_of_each_task_that_is_off(
    site: Site, capsys: pytest.CaptureFixture[str], changes: dict[str, Any], expected: str
) -> None:
    by_itself(site).update(changes)
    site.document["backups"]["site"] = {name: value for name, value in site.job.items() if value is not None}
    found = [line for line in warnings_of(site, capsys) if "same disk as the data" not in line]
    assert len(found) == 1
    assert found[0].startswith(expected)


def test_check_has_nothing_to_say_of_a_job_that_has_all(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    by_itself(site)
    (line,) = warnings_of(site, capsys)
    assert "every store is on the same disk as the data" in line
    site.write()
    run_leitstand(["check", "--json", "--config", str(site.config)])
    assert [each["level"] for each in json.loads(capsys.readouterr().out)] == ["warning"]


def test_credentials_that_may_only_write_make_nothing_red(
    on_swift: Site, swift: Swift, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.orchestrator.test_doctor import grant_writing

    by_itself(on_swift)
    grant_writing(swift, "onlywrite", "backup:upload")
    credentials = on_swift.folder / "upload.ini"
    credentials.touch(mode=0o600)
    secret = swift.users["backup:upload"]
    credentials.write_text(f"[default]\naccess_key = backup:upload\nsecret_key = {secret}\n")
    on_swift.document["stores"]["swift"] |= {"bucket": "onlywrite", "credentials_file": str(credentials)}
    on_swift.job["stores"] = ["swift"]
    on_swift.good("run", "site")
    for action in ("verify", "drill", "prune"):
        assert on_swift.leitstand(action, "site").status == 3, "by hand it has failed"
        ran = on_swift.good(action, "site", "--if-allowed")
        assert f"{action} is left to another machine" in ran.stderr
        assert f"'{action}: never'" in ran.stderr
    assert on_swift.good("status", "--json").json()[0]["problem"] == ""
    assert on_swift.metric("drill_interval_seconds") == []
    labels = {"backup": "site", "host": "here", "store": "swift"}
    for action in ("verify", "drill", "prune"):
        assert on_swift.metric("off", **labels, action=action) == [1]


def test_wrong_credentials_are_no_excuse(on_swift: Site) -> None:
    on_swift.good("run", "site")
    wrong = on_swift.folder / "wrong.ini"
    wrong.touch(mode=0o600)
    wrong.write_text("[default]\naccess_key = backup:admin\nsecret_key = guessed\n")
    on_swift.document["stores"]["swift"]["credentials_file"] = str(wrong)
    assert on_swift.leitstand("verify", "site", "--store", "swift", "--if-allowed").status == 3
