"""Several jobs at a time, on several hosts and stores."""

import copy
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.patience import patient
from lab.processes import wait_until
from orchestrator.config.tasks import Task
from orchestrator.scheduler.children import Children
from orchestrator.scheduler.slots import Parallelism, Resources, startable

Site = Any


def add_job(site: Site, name: str, host: str = "here", **changes: Any) -> dict[str, Any]:
    """Another job like the first one."""
    job = copy.deepcopy(site.job)
    site.document["hosts"].setdefault(host, {"address": "127.0.0.1"})
    job.update(host=host, **changes)
    site.document["backups"][name] = job
    return job


def test_all_jobs_run_and_one_table_shows_how_each_ended(on_swift: Site) -> None:
    add_job(on_swift, "other", host="there")
    add_job(
        on_swift, "broken", sources=[{"command": ["sh", "-c", "echo no database >&2; false"], "name": "x"}]
    )
    ran = on_swift.leitstand("run", "--all")
    assert ran.status == 3, "the worst of all"
    lines = {line.split()[0]: line for line in ran.stdout.splitlines()}
    assert list(lines) == ["JOB", "broken", "other", "site"]
    assert "failed" in lines["broken"]
    assert "no database" in lines["broken"]
    for job in ("other", "site"):
        assert " complete " in lines[job]
    assert len(on_swift.snapshots("swift")) == 1


def test_json_has_an_object_for_each_job(site: Site) -> None:
    add_job(site, "other")
    reports = site.good("run", "--all", "--json").json()
    assert [(report["job"], report["state"], report["status"]) for report in reports] == [
        ("other", "complete", 0),
        ("site", "complete", 0),
    ]
    assert [reports[1]["snapshot"]] == site.snapshots()
    (one,) = [site.good("run", "site", "--json").json()]
    assert one["stores"] == ["disk"]
    assert one["failed"] == {}
    assert one["content_bytes"] > 5_000_000
    site.job["sources"] = [{"command": ["false"], "name": "x"}]
    failed = site.leitstand("run", "site", "--json")
    assert failed.status == failed.json()["status"] == 3
    assert "false" in failed.json()["problem"]


HOSTILE = "import os; open(os.environ['TRACES'], 'a').write(f'{__name__} as {os.getuid()}')"


def test_the_current_folder_does_not_choose_what_runs(site: Site) -> None:
    add_job(site, "other")
    (hostile := site.folder / "hostile").mkdir()
    for name in ("leitstand", "orchestrator", "json", "multiprocessing", "sitecustomize"):
        (hostile / name).mkdir()
        for file in ("__init__.py", "__main__.py"):
            (hostile / name / file).write_text(HOSTILE)
    for name in ("tar", "sh", "ssh"):
        (hostile / name).write_text("#!/bin/sh\necho $0 >>$TRACES\n")
        (hostile / name).chmod(0o755)
    site.write()
    traces = site.folder / "traces"
    done = subprocess.run(
        [Path(sys.executable).with_name("leitstand"), "backup", "run", "--all", "--config", site.config],
        env={**os.environ, "TRACES": str(traces), "PATH": f":{os.environ['PATH']}"},
        cwd=hostile,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert not traces.exists(), traces.read_text()


def test_a_child_that_reports_nothing_has_failed(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", "/bin/true")
    children = Children(site.config)
    children.start(Task("run", "site"))
    ended = children.ended.get(timeout=patient(60))
    assert (ended.status, ended.report) == (3, None)
    assert ended.stderr == "it ended with status 0 but reported nothing"


def gated_job(site: Site, name: str, host: str) -> Any:
    site.document["hosts"].setdefault(host, {"address": "127.0.0.1"})
    gate = site.folder / f"gate-{name}"
    os.mkfifo(gate)
    job = {"host": host, "sources": [{"command": ["cat", str(gate)], "name": "waits"}], "stores": ["disk"]}
    job |= {"keys_file": str(site.folder / "keys"), "scratch": str(site.folder / "scratch")}
    site.document["backups"][name] = job
    return gate


def test_two_hosts_are_read_at_the_same_time_and_one_host_is_not(site: Site) -> None:
    del site.document["backups"]["site"]
    first, second, third = (gated_job(site, *of) for of in (("a1", "x"), ("a2", "x"), ("b1", "y")))
    with site.start("run", "--all", "--json") as run:
        with first.open("w") as one, third.open("w") as other:  # each opens when it is being read
            with pytest.raises(OSError, match="No such device"):
                os.open(second, os.O_WRONLY | os.O_NONBLOCK)  # nobody reads it yet
            one.write("done")
            other.write("done")
        second.write_text("done")
        reports = json.loads(run.communicate(timeout=patient(120))[0])
    assert [(report["job"], report["content_bytes"]) for report in reports] == [
        ("a1", 4),
        ("a2", 4),
        ("b1", 4),
    ]


def test_all_children_clean_up_when_it_is_broken_off(site: Site) -> None:
    del site.document["backups"]["site"]
    gates = [gated_job(site, "a", "hosta"), gated_job(site, "b", "hostb")]
    for job in site.document["backups"].values():
        job["hooks"] = {"after": [["sh", "-c", f"echo $LEITSTAND_JOB $LEITSTAND_STATE >> {site.folder}/log"]]}
    with site.start("run", "--all") as run, gates[0].open("w"), gates[1].open("w"):
        run.terminate()
        assert run.wait(120) == 130
    assert sorted((site.folder / "log").read_text().splitlines()) == ["a interrupted", "b interrupted"]
    wait_until(lambda: list(site.disk.rglob("*")) == [], "nothing to be left in the store")


def test_a_child_that_is_killed_is_a_failure(site: Site) -> None:
    del site.document["backups"]["site"]
    gate = gated_job(site, "a", "x")
    with site.start("run", "--all", "--json") as run:
        with gate.open("w"):
            (child,) = psutil.Process(run.pid).children()
            child.kill()
            output = run.communicate(timeout=patient(120))[0]
        assert run.returncode == 3
    (report,) = json.loads(output)
    assert (report["status"], report["problem"]) == (3, "it was ended by signal 9")


jobs = st.sampled_from(["a", "b", "c", "d", "e", "f"])
numbers = st.integers(1, 4)


@given(
    hosts=st.fixed_dictionaries({job: st.sampled_from("XYZ") for job in "abcdef"}),
    stores=st.fixed_dictionaries({job: st.sets(st.sampled_from("12"), min_size=1) for job in "abcdef"}),
    queue=st.lists(jobs, max_size=8),
    limits=st.builds(Parallelism, numbers, numbers, numbers),
)
@settings(max_examples=200, derandomize=True, deadline=None)
def test_no_limit_is_exceeded_and_nothing_waits_endlessly(
    hosts: dict[str, str], stores: dict[str, set[str]], queue: list[str], limits: Parallelism
) -> None:
    resources = {job: Resources(hosts[job], tuple(stores[job])) for job in hosts}
    waiting, running, done = [Task(job, "run") for job in queue], list[Task](), 0
    while waiting or running:
        for task in startable(waiting, running, resources, limits):
            waiting.remove(task)
            running.append(task)
        assert running, "something can always start"
        assert len(running) <= limits.total
        assert len({task.job for task in running}) == len(running)
        for host in "XYZ":
            assert sum(hosts[task.job] == host for task in running) <= limits.per_host
        for store in "12":
            assert sum(store in stores[task.job] for task in running) <= limits.per_store
        running.pop(0)
        done += 1
    assert done == len(queue)


def test_a_job_that_waits_for_its_host_delays_no_other_job() -> None:
    resources = {"a": Resources("x", ("s",)), "b": Resources("x", ("s",)), "c": Resources("y", ("s",))}
    tasks = {job: Task(job, "run") for job in "abc"}
    found = startable([tasks["b"], tasks["c"]], [tasks["a"]], resources, Parallelism())
    assert found == [tasks["c"]]
