"""A part that raises or hangs costs only itself."""

import asyncio
import threading
import time

import pytest

from exporter.guard import Guard, Stuck
from lab.patience import patient
from lab.processes import wait_until

PATIENCE = patient(60)


def threads_of(name: str) -> int:
    return sum(thread.name == f"{name}-guard" for thread in threading.enumerate())


def fail() -> int:
    raise RuntimeError("no such sensor")


def test_every_task_is_run_and_timed():
    outcomes = Guard("fine").run({"one": lambda: 1, "two": lambda: 2}, 60)
    assert [outcome.value for outcome in outcomes.values()] == [1, 2]
    assert all(0 <= outcome.seconds < 60 for outcome in outcomes.values())


def test_a_task_that_raises_leaves_the_others_alone():
    outcomes = Guard("raising").run({"bad": fail, "good": lambda: 1}, 60)
    assert isinstance(outcomes["bad"].error, RuntimeError)
    assert outcomes["good"].value == 1


def test_a_task_that_hangs_costs_its_deadline_and_the_others_are_done_long_before():
    done = threading.Event()
    finished_at = []
    guard = Guard("hanging", patience=0.05)
    tasks = {"first": lambda: 1, "hangs": done.wait, "last": lambda: finished_at.append(time.monotonic())}
    start = time.monotonic()
    outcomes = guard.run(tasks, 2)
    assert isinstance(outcomes["hangs"].error, Stuck)
    assert outcomes["first"].value == 1
    assert outcomes["last"].error is None
    assert finished_at[0] - start < 2
    assert 2 <= time.monotonic() - start < patient(60)
    done.set()


def test_only_one_thread_hangs_however_often_the_task_is_run():
    done = threading.Event()
    guard = Guard("often", patience=0.02)
    tasks = {"hangs": done.wait, "good": lambda: 1}
    assert guard.run(tasks, 0.1)["hangs"].problem == "Stuck: not done within 0.1 s"
    start = time.monotonic()
    for _ in range(50):
        outcomes = guard.run(tasks, 10)
        assert outcomes["good"].value == 1
        assert outcomes["hangs"].problem == "Stuck: still waiting for an earlier attempt to return"
        assert outcomes["hangs"].seconds == 0
    assert time.monotonic() - start < patient(100), "a task known to hang is not waited for again"
    # A thread that is about to rest when the next run begins is one more.
    assert 2 <= threads_of("often") <= 5
    done.set()


def test_a_task_that_comes_back_is_run_again():
    done = threading.Event()
    guard = Guard("back", patience=0.02)
    guard.run({"hangs": done.wait}, 0.05)
    assert guard.stuck == {"hangs"}
    done.set()
    wait_until(lambda: not guard.stuck, "the thread to be free", pause=0.005)
    assert guard.run({"hangs": done.wait}, 60)["hangs"].value is True


def test_no_more_threads_are_lost_than_allowed():
    done = threading.Event()
    guard = Guard("many", patience=0.02, maximum_stuck=3)
    tasks = {str(number): done.wait for number in range(20)}
    for _ in range(5):
        outcomes = guard.run(tasks, 0.2)
        assert all(isinstance(outcome.error, Stuck) for outcome in outcomes.values())
    assert len(guard.stuck) == 3
    assert 3 <= threads_of("many") <= 5
    done.set()


def test_beside_tasks_that_hang_for_long_one_that_begins_to_hang_holds_up_no_other():
    done = threading.Event()
    guard = Guard("more", patience=0.02)
    old = {str(number): done.wait for number in range(5)}
    guard.run(old, 0.5)
    assert guard.run({**old, "new": done.wait, "good": lambda: 1}, 2)["good"].value == 1
    done.set()


def test_quick_tasks_are_not_waited_for_longer_than_they_take():
    start = time.monotonic()
    Guard("quick", patience=PATIENCE).run({"one": lambda: 1, "two": lambda: 2}, PATIENCE)
    assert time.monotonic() - start < PATIENCE


def test_a_slow_task_is_still_counted_when_it_ends_in_time():
    guard = Guard("slow", patience=0.02)
    release = threading.Timer(0.2, (done := threading.Event()).set)
    release.start()
    outcomes = guard.run({"slow": lambda: done.wait() and 7, "quick": lambda: 1}, 60)
    assert outcomes["slow"].value == 7
    assert not guard.stuck


@pytest.mark.parametrize("error", [asyncio.CancelledError(), KeyboardInterrupt(), SystemExit(3)])
def test_an_error_that_would_end_a_thread_ends_the_task_alone(error):
    def wrong():
        raise error

    outcomes = Guard("ends").run({"wrong": wrong, "good": lambda: 1}, 60)
    assert (outcomes["wrong"].error, outcomes["good"].value) == (error, 1)
