"""When tasks start: only success counts, what was missed is made up for once, whatever the clock does."""

import queue
import shutil
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from orchestrator.config.schedule import parse_schedule
from orchestrator.config.tasks import Action, Task, TaskPlan, offset
from orchestrator.scheduler.agenda import Agenda, read_stamps, write_stamps
from orchestrator.scheduler.children import Ended
from orchestrator.scheduler.serve import Service
from orchestrator.scheduler.slots import Parallelism
from orchestrator.state.context import Context

Site = Any
RUN = Task("site", "run")
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


@dataclass
class Desk:
    """Workers that only note what they are told; a test says how each task ends."""

    clock: "Clock"
    ended: "queue.Queue[Ended]" = field(default_factory=queue.Queue)
    running: dict[Task, object] = field(default_factory=dict)
    began: dict[Task, float] = field(default_factory=dict)
    starts: list[tuple[str, str]] = field(default_factory=list)

    def start(self, task: Task, options: tuple[str, ...] = ()) -> None:
        self.running[task], self.began[task] = object(), self.clock.wall
        self.starts.append((task.name, f"{datetime.fromtimestamp(self.clock.wall, UTC):%m-%d %H:%M}"))

    def forget(self, ended: Ended) -> None:
        self.running.pop(ended.task)
        self.began.pop(ended.task)

    def break_off(self) -> None:
        for task in self.running:
            self.ended.put(Ended(task, 130, self.began[task], 1, None, ""))

    def kill(self) -> None:
        raise AssertionError("everything listened")


@dataclass
class Clock:
    """Time of day, which anyone may set, and the time that only passes."""

    wall: float = NOON.timestamp()
    passed: float = 0.0

    def go(self, seconds: float) -> None:
        self.wall += seconds
        self.passed += seconds


@dataclass
class World:
    """A service with a clock of its own; each task ends at once, with ``status``."""

    site: Site
    clock: Clock = field(default_factory=Clock)
    status: int = 0
    desk: Desk = field(init=False)
    value: Context = field(init=False)
    good: bool = True
    report_every: float = 86400.0

    def __post_init__(self) -> None:
        self.boot()

    def refresh(self) -> bool:
        return False

    def boot(self) -> None:
        """Start the service, anew if there was one."""
        self.site.write()
        self.value = Context.load(self.site.config)
        self.desk = Desk(self.clock)
        clock = self.clock
        clocks = (lambda: clock.wall, lambda: clock.passed)
        self.service = Service(self, self.desk, Parallelism(), *clocks, report_every=self.report_every)

    def go(self, length: timedelta, step: timedelta = timedelta(minutes=1)) -> list[tuple[str, str]]:
        """Let time pass; what was started meanwhile."""
        before = len(self.desk.starts)
        for _ in range(int(length / step)):
            self.service.tick()
            for task in list(self.desk.running):
                self.service._end(Ended(task, self.status, self.desk.began[task], 1.0, None, ""))
            self.clock.go(step.total_seconds())
        return self.desk.starts[before:]


@pytest.fixture
def world(site: Site) -> World:
    """The site's job, daily at 03:00 sharp, on a Saturday at noon (UTC)."""
    site.job["jitter"] = "0s"
    return World(site)


def test_a_job_runs_by_its_schedule(world: World) -> None:
    assert world.go(timedelta(days=2)) == [("site/run", "11-22 03:00"), ("site/run", "11-23 03:00")]


def test_warnings_are_a_success_and_failures_are_retried_with_growing_delays(world: World) -> None:
    world.status = 1
    world.go(timedelta(hours=16))
    world.status = 3
    world.go(timedelta(hours=47, minutes=25))
    times = [time[6:] for _, time in world.desk.starts[1:]]
    assert times[:6] == ["03:00", "03:05", "03:15", "03:35", "04:15", "05:15"]
    assert times[-1] == "03:15", "once an hour from then on"
    world.status = 0
    again = [time for _, time in world.go(timedelta(days=2))]
    assert again == ["11-24 04:15", "11-25 03:00", "11-26 03:00"]


def test_only_success_is_stamped(world: World) -> None:
    world.status = 3
    world.go(timedelta(hours=15, minutes=2))
    world.boot()
    world.status = 0
    assert world.go(timedelta(minutes=5)) == [("site/run", "11-22 03:02")], (
        "a failed run is due after a restart"
    )
    world.boot()
    assert world.go(timedelta(hours=20)) == [], "a good one is not"


def test_missed_tasks_are_made_up_for_once(world: World) -> None:
    world.go(timedelta(days=1))
    world.clock.go(10 * 86400)
    world.boot()
    assert world.go(timedelta(hours=10)) == [("site/run", "12-02 12:00")]


def test_a_new_job_waits_for_its_time_even_if_the_service_was_down_then(world: World) -> None:
    assert world.go(timedelta(hours=1)) == []
    world.clock.go(86400)
    world.boot()
    assert world.go(timedelta(hours=1)) == [("site/run", "11-22 13:00")]


def test_a_run_by_hand_counts(world: World) -> None:
    world.go(timedelta(hours=14))
    world.clock.go(2 * 3600)  # over 03:00, while the service was down and somebody ran the job
    facts = world.value.facts()
    ended = world.clock.wall - 60
    facts.update(
        "site", "disk", lambda each: replace(each, last_run=1, last_success=ended, duration_seconds=30)
    )
    world.boot()
    assert world.go(timedelta(hours=20)) == []


def test_a_clock_set_back_an_hour_does_not_run_a_job_twice(world: World) -> None:
    assert len(world.go(timedelta(hours=15, minutes=30))) == 1
    world.clock.wall -= 3600
    assert world.go(timedelta(hours=20)) == []
    assert world.go(timedelta(hours=5)) == [("site/run", "11-23 03:00")]


def test_a_clock_a_month_ahead_runs_a_job_once_and_set_right_again_does_not_stop_it(world: World) -> None:
    world.go(timedelta(hours=16))
    world.clock.wall += 30 * 86400
    assert world.go(timedelta(hours=1)) == [("site/run", "12-22 04:00")]
    world.clock.wall -= 30 * 86400
    assert world.go(timedelta(days=2)) == [("site/run", "11-23 03:00"), ("site/run", "11-24 03:00")]
    world.clock.wall += 30 * 86400
    world.go(timedelta(hours=1))
    world.clock.wall -= 30 * 86400
    world.boot()
    assert len(world.go(timedelta(days=2))) == 2, "neither after a restart with stamps from the future"


def test_nothing_of_a_job_that_left_the_configuration_is_started(world: World) -> None:
    del world.site.document["backups"]["site"]
    world.boot()
    assert world.go(timedelta(days=2)) == []


def test_every_action_has_its_schedule(site: Site) -> None:
    site.job.update(jitter="0s", verify={"schedule": "daily 05:00"}, drill={"schedule": "weekly mon 06:00"})
    site.job["prune"] = {"schedule": "every 12h"}
    starts = World(site).go(timedelta(days=2), timedelta(minutes=5))
    assert ("site/verify", "11-22 05:00") in starts
    assert ("site/drill", "11-23 06:00") in starts
    assert [time for name, time in starts if name == "site/prune"][:2] == ["11-22 00:00", "11-22 12:00"]


def test_closing_breaks_off_what_runs_and_it_is_due_again(world: World) -> None:
    world.go(timedelta(hours=15))
    world.service.tick()
    assert RUN in world.desk.running
    world.service.close(1)
    assert world.desk.running == {}
    world.boot()
    world.service.tick()
    assert RUN in world.desk.running


def told(world: World) -> dict[str, float]:
    text = (world.site.folder / "metrics" / "leitstand_backup_scheduler.prom").read_text()
    return {family.name: family.samples[0].value for family in text_string_to_metric_families(text)}


def test_the_textfile_shows_each_minute_that_the_scheduler_is_running(world: World) -> None:
    world.report_every = 60.0
    world.boot()
    for _ in range(3):
        world.go(timedelta(minutes=3), timedelta(seconds=1))
        age = world.clock.wall - told(world)["leitstand_backup_scheduler_timestamp_seconds"]
        assert 0 < age <= 66


def test_a_faulty_configuration_and_its_repair_are_reported_within_seconds(world: World) -> None:
    for good in (True, False, True):
        world.good = good
        world.go(timedelta(seconds=7), timedelta(seconds=1))
        assert told(world)["leitstand_backup_config_good"] == good


def test_metrics_that_cannot_be_written_are_a_line_in_the_log_and_jobs_run(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.rmtree(world.site.folder / "metrics", ignore_errors=True)
    (world.site.folder / "metrics").write_text("a file where the folder should be")
    assert world.go(timedelta(days=1)) == [("site/run", "11-22 03:00")]
    assert "the metrics of the scheduler could not be written" in caplog.text


@given(
    jitter=st.timedeltas(timedelta(0), timedelta(days=1)),
    name=st.from_regex(r"[a-z]{1,8}", fullmatch=True),
    text=st.sampled_from(["hourly", "daily 03:00", "weekly", "every 1m"]),
)
@settings(max_examples=100, derandomize=True)
def test_jitter_is_always_the_same_and_never_more_than_a_tenth_of_the_interval(
    jitter: timedelta, name: str, text: str
) -> None:
    interval = parse_schedule(text).interval
    found = offset(Task(name, "run"), jitter, interval)
    assert found == offset(Task(name, "run"), jitter, interval)
    assert timedelta(0) <= found <= min(jitter, interval / 10)


def test_a_start_is_put_off_by_the_jitter() -> None:
    plan = TaskPlan(parse_schedule("daily 03:00"), timedelta(minutes=7))
    assert plan.after(NOON) == datetime(2026, 11, 22, 3, 7, tzinfo=UTC)


def test_jitter_does_not_stretch_what_is_counted_from_its_last_start(site: Site) -> None:
    site.job.update(schedule="every 1h", jitter="5m")
    times = [datetime.strptime(time, "%m-%d %H:%M") for _, time in World(site).go(timedelta(hours=6))]  # noqa: DTZ007
    assert len(times) == 5
    assert {later - earlier for earlier, later in pairwise(times)} == {timedelta(hours=1)}


def test_jobs_are_spread_over_the_jitter() -> None:
    offsets = {offset(Task(f"job{n}", "run"), timedelta(hours=1), timedelta(days=1)) for n in range(50)}
    assert len(offsets) > 45
    assert max(offsets) - min(offsets) > timedelta(minutes=45)


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "{}", '{"done": {}}', '{"done": 1, "seen": {}}', '{"done": {"a": "x"}, "seen": {}}'],
)
def test_damaged_stamps_are_no_stamps(tmp_path: Path, content: str) -> None:
    (tmp_path / "agenda").write_text(content)
    assert read_stamps(tmp_path / "agenda") == ({}, {})


def test_stamps_come_back_and_those_of_gone_jobs_do_not(tmp_path: Path) -> None:
    agenda = Agenda(UTC, done={"gone/run": 1.0, "site/run": 2.0}, seen={"gone/run": 1.0})
    agenda.replan({RUN: TaskPlan(parse_schedule("daily"), timedelta(0))}, NOON)
    write_stamps(tmp_path / "new" / "agenda", agenda)
    assert read_stamps(tmp_path / "new" / "agenda") == ({"site/run": 2.0}, {"site/run": NOON.timestamp()})


def test_a_run_that_ends_after_its_job_was_taken_away_is_not_noted() -> None:
    agenda = Agenda(UTC)
    agenda.note(RUN, NOON.timestamp(), NOON)
    agenda.failed(RUN, NOON)
    assert (agenda.done, agenda.starts()) == ({}, {})


def test_a_good_run_that_is_known_already_does_not_take_back_a_try_that_failed_since() -> None:
    agenda = Agenda(UTC)
    agenda.replan({RUN: TaskPlan(parse_schedule("daily 03:00"), timedelta(0))}, NOON)
    agenda.note(RUN, NOON.timestamp(), NOON)
    agenda.failed(RUN, NOON + timedelta(hours=15))
    agenda.note(RUN, NOON.timestamp(), NOON + timedelta(hours=15))
    assert agenda.starts() == {RUN: NOON + timedelta(hours=15, minutes=5)}


HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("action", "first", "longest"),
    [
        ("run", timedelta(minutes=5), HOUR),
        *((action, HOUR, timedelta(days=1)) for action in ("verify", "drill", "prune")),
    ],
)
def test_a_task_that_has_failed_for_months_is_still_retried(
    action: Action, first: timedelta, longest: timedelta
) -> None:
    task, agenda = Task("site", action), Agenda(UTC)
    agenda.replan({task: TaskPlan(parse_schedule("daily 03:00"), timedelta(0))}, NOON)
    agenda.failed(task, NOON)
    assert agenda.starts() == {task: NOON + first}
    for _ in range(2000):
        agenda.failed(task, NOON)
    assert agenda.starts() == {task: NOON + longest}
