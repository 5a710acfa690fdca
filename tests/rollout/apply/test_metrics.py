"""Roll-outs as metrics: what each host should run, and how the last one ended."""

import json
import time
from contextlib import suppress
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from rollout.apply.deployments import Deployment, Deployments, Outcome
from rollout.apply.metrics import TEXTFILE, running, write_metrics
from rollout.apply.proof import Runs
from rollout.apply.wanted import wanted

CONFIGURATIONS = {"control": "c1", "web1": "w1", "web2": "x1"}
LABELS = ("host", "release", "configuration")
NEXT = {"control": "c2", "web1": "w2", "web2": "x2"}


class Fleet:
    """A leitstand host's records of roll-outs, and the textfile made of them."""

    def __init__(self, folder: Path) -> None:
        (folder / "deployments").mkdir()
        self.deployments = Deployments(folder / "deployments")
        self.metrics = folder / "metrics"

    def begins(self) -> Deployment:
        deployment = self.deployments.new()
        variables = {"leitstand_metrics_folder": str(self.metrics)}
        deployment.inventory.write_text(json.dumps({"all": {"vars": variables}}))
        return deployment

    def ends(
        self,
        release: str,
        hashes: dict[str, str],
        *,
        hour: int,
        problems: tuple[str, ...] = (),
        done: str = "",
    ) -> None:
        deployment = self.begins()
        ended = f"2026-11-30T{hour:02}:00:00+00:00"
        reasons = dict.fromkeys(problems, "does not answer")
        finished = done.split() or ([] if problems else list(hashes))
        deployment.end(Outcome(not problems, release, hashes, reasons, "root", ended, "", finished))
        assert write_metrics(self.deployments, deployment) == []

    def has(self) -> dict[tuple[str, ...], float]:
        """Name without prefix and label values, and the value."""
        text = (self.metrics / TEXTFILE).read_text()
        return {
            (
                sample.name.removeprefix("leitstand_deployment_"),
                *(sample.labels[name] for name in LABELS if name in sample.labels),
            ): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    return Fleet(tmp_path)


def test_a_good_roll_out_shows_what_each_host_should_run_and_when_it_ended(fleet: Fleet) -> None:
    fleet.ends("1.0", CONFIGURATIONS, hour=10)
    assert fleet.has() == {
        ("wanted_info", "control", "1.0", "c1"): 1,
        ("wanted_info", "web1", "1.0", "w1"): 1,
        ("wanted_info", "web2", "1.0", "x1"): 1,
        ("success",): 1,
        ("timestamp_seconds",): 1796032800,
        ("last_good_timestamp_seconds",): 1796032800,
    }
    assert (fleet.metrics / TEXTFILE).stat().st_mode & 0o777 == 0o644


def test_while_a_run_goes_on_it_shows_since_when_and_how_the_one_before_ended(fleet: Fleet) -> None:
    fleet.ends("1.0", CONFIGURATIONS, hour=10)
    before = time.time()
    with running(fleet.deployments, fleet.begins()):
        found = fleet.has()
    assert before <= found.pop(("running_since_timestamp_seconds",)) <= time.time()
    fleet.ends("1.0", CONFIGURATIONS, hour=10)
    assert found == fleet.has()


def test_a_run_that_breaks_off_is_no_success_until_one_ends_well(fleet: Fleet) -> None:
    fleet.ends("1.0", CONFIGURATIONS, hour=10)
    with suppress(KeyboardInterrupt), running(fleet.deployments, fleet.begins()):
        raise KeyboardInterrupt
    found = fleet.has()
    assert ("running_since_timestamp_seconds",) not in found
    assert found["success",] == 0
    assert found["timestamp_seconds",] == 1796032800
    assert found["wanted_info", "web1", "1.0", "w1"] == 1
    fleet.ends("1.0", CONFIGURATIONS, hour=11)
    assert fleet.has()["success",] == 1


def test_after_a_failure_finished_hosts_should_run_the_new_and_the_others_the_old(fleet: Fleet) -> None:
    fleet.ends("1.0", CONFIGURATIONS, hour=10)
    fleet.ends("1.1", NEXT, hour=11, problems=("web1",), done="control")
    fleet.ends("1.1", NEXT, hour=12, problems=("control",))
    found = {host: want.runs for host, want in wanted(fleet.deployments).items()}
    assert found == {"control": Runs("1.1", "c2"), "web1": Runs("1.0", "w1"), "web2": Runs("1.0", "x1")}
    metrics = fleet.has()
    assert metrics["timestamp_seconds",] - metrics["last_good_timestamp_seconds",] == 2 * 3600


def test_a_roll_out_to_one_host_leaves_what_the_others_should_run(fleet: Fleet) -> None:
    fleet.ends("1.0", CONFIGURATIONS, hour=10)
    fleet.ends("1.1", NEXT, hour=11, done="web1")
    found = {host: want.runs for host, want in wanted(fleet.deployments).items()}
    assert found == {"control": Runs("1.0", "c1"), "web1": Runs("1.1", "w2"), "web2": Runs("1.0", "x1")}


def test_a_host_that_left_the_file_should_run_nothing(fleet: Fleet) -> None:
    fleet.ends("1.0", CONFIGURATIONS, hour=10)
    fleet.ends("1.0", {"control": "c2"}, hour=11)
    assert wanted(fleet.deployments).keys() == {"control"}


def test_a_first_roll_out_is_neither_success_nor_failure_until_it_ends(fleet: Fleet) -> None:
    with suppress(KeyboardInterrupt), running(fleet.deployments, fleet.begins()):
        assert [name for name, *_ in fleet.has()] == ["running_since_timestamp_seconds"]
        raise KeyboardInterrupt
    assert fleet.has() == {("success",): 0}


def test_metrics_that_cannot_be_written_are_a_warning(fleet: Fleet) -> None:
    fleet.metrics.write_text("a file where the folder should be")
    deployment = fleet.deployments.new()
    deployment.inventory.write_text(
        json.dumps({"all": {"vars": {"leitstand_metrics_folder": str(fleet.metrics)}}})
    )
    (warning,) = write_metrics(fleet.deployments, deployment)
    assert "metrics of deployments cannot be written" in warning
