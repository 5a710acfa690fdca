"""Alerts of targets that lose scrapes, die while an alert fires, or are not scraped for minutes."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.prometheus.gaps import Course, compact, expanded, resampled
from tests.prometheus.test_rules import ALERTS

LOST = (4, 7, 16, 50)
KINDS = sorted(
    {(place[3]["alert"], place[3]["labels"]["severity"]) for place in ALERTS} - {("Watchdog", "none")}
)


@pytest.mark.parametrize(("alert", "severity"), KINDS)
def test_an_alert_outlasts_lost_scrapes_a_dead_target_and_an_absent_prometheus(
    alert: str, severity: str, run: Callable[..., Any], room: Path, tmp_path: Path
) -> None:
    document = yaml.load((room / "tests" / f"{alert}_test.yml").read_text(), Loader=yaml.CSafeLoader)
    found = [found for test in document["tests"] if (found := course_of(test, alert, severity))]
    course = min(found, key=lambda one: one.ends)
    tests = [course.with_lost_scrapes(k) for k in LOST]
    tests += [course.with_target_gone(), course.with_prometheus_away()]
    made = {**document, "evaluation_interval": f"{course.pace}s", "tests": tests}
    only_this(room / "rules", alert, tmp_path / "rules")
    (tmp_path / "tests").mkdir()
    path = tmp_path / "tests" / "gaps.yml"
    path.write_text(yaml.dump(made, Dumper=yaml.CSafeDumper))
    done = run("promtool", "test", "rules", path)
    assert done.returncode == 0, done.stdout[-6000:]


def course_of(test: Any, alert: str, severity: str) -> Course | None:
    try:
        return Course(test, alert, severity) if " fires" in test["name"] else None
    except StopIteration:
        return None


def only_this(rules: Path, alert: str, folder: Path) -> None:
    """The rules with this alert alone: others would only be evaluated, thousands of times."""
    shutil.copytree(rules, folder)
    for path in folder.glob("*.yml"):
        content = yaml.load(path.read_text(), Loader=yaml.CSafeLoader)
        for group in content["groups"]:
            group["rules"] = [rule for rule in group["rules"] if rule.get("alert") in (None, alert)]
        path.write_text(yaml.dump(content, Dumper=yaml.CSafeDumper))


@pytest.mark.parametrize(
    ("notation", "values"),
    [
        ("0x2 1x1", ["0", "0", "0", "1", "1"]),
        ("1+1x2", ["1", "2", "3"]),
        ("-5500000x1 _x2 stale 7", ["-5500000", "-5500000", "_", "_", "stale", "7"]),
        ("10-2.5x2", ["10", "7.5", "5"]),
    ],
)
def test_the_notation_of_promtool_is_understood(notation: str, values: list[str]) -> None:
    assert expanded(notation) == values
    assert expanded(compact(values)) == values


def test_a_series_sampled_more_often_keeps_its_course_and_goes_on() -> None:
    assert resampled("0 1 2", 60, 30, 180) == ["0", "0", "1", "1", "2", "2", "3"]
