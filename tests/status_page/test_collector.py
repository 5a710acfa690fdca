"""Rounds of the collector against a Prometheus that answers, lies, hangs or is away."""

import json
import re
import subprocess
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lab.patience import patient
from leitstand.prometheus import Prometheus
from leitstand.version import REVISION, VERSION
from status_page.collector import Collector
from status_page.ready import load

CANARY = re.compile(rb"canary|10\.99\.88\.77|54321|internal\.example|secret|Traceback", re.IGNORECASE)
HOSTILE = {
    "instance": "canary-host.internal.example:54321",
    "target": "http://10.99.88.77:54321/canary-path",
    "error": "secret canary-error: connection refused",
    "<script>": "canary",
}


def answers(states, age="3", extra=()):
    """What a well Prometheus says of services, with labels that nobody may see."""
    verdicts = [({"service": name, **HOSTILE}, value) for name, value in states.items()]
    return {
        "timestamp(probe_success": [({"service": name, **HOSTILE}, age) for name in states],
        "timestamp(service:raw)": [({**HOSTILE}, "2")],
        "vantage:connected": [({"vantage": "canary-place4", **HOSTILE}, "1")],
        "service:verdict": [*verdicts, *extra],
    }


@pytest.fixture
def collector(plan: Any, liar: Any) -> Collector:
    made = plan({"interval": "1s"})
    result = Collector(made, Prometheus(liar.url, timeout=patient(30)))
    result.now = time.time()
    result.clock = lambda: result.now
    return result


def states(told):
    return {service.id: service.now.state for service in told.services}


def every_output(folder: Path):
    """Each served document of each variant, and what the manifest says of it."""
    release = load(folder)
    for variant, documents in release.variants.items():
        for path, ready in documents.items():
            yield f"{variant}{path}", ready.document.body
            yield f"{variant}{path} fields", json.dumps([path, ready.document.content_type]).encode()


def test_nothing_internal_is_in_any_output(collector, liar):
    unlisted = [({"service": "canary-unlisted", **HOSTILE}, "0"), ({"service": "canary-private"}, "0")]
    liar.vectors(answers({"website": "1", "mail": "0"}, extra=unlisted))
    told = collector.round()
    assert states(told) == {"website": "up", "mail": "down"}
    assert collector.dropped == 2
    outputs = dict(every_output(collector.plan.folder))
    assert len(outputs) > 20
    for name, body in outputs.items():
        assert not CANARY.search(body), name
    assert CANARY.search(Path(collector.plan.folder / "history.sqlite").read_bytes()) is None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>502 canary</html>",
        b'{"status": "error", "error": "canary"}',
        b'{"status": "success", "data": {"resultType": "vector", "result": [{"metric": 1, "value": []}]}}',
        b'{"status": "success", "data": {"resultType": "matrix", "result": []}}',
    ],
)
def test_garbage_changes_nothing_and_is_never_green(collector, liar, body):
    liar.says(body)
    told = collector.round()
    assert set(states(told).values()) == {"unknown"}
    assert "prometheus" in collector.problems
    assert all(not CANARY.search(content) for _, content in every_output(collector.plan.folder))


def test_a_prometheus_that_goes_away_leaves_states_that_grow_old(collector, liar):
    liar.vectors(answers({"website": "1", "mail": "1"}))
    begin = collector.now
    assert states(collector.round()) == {"website": "up", "mail": "up"}
    liar.answer, patient = lambda _: liar.released.wait(20), collector.prometheus
    collector.prometheus = Prometheus(liar.url, timeout=0.5)
    seen = []
    for seconds in (30, 100, 176, 178):
        collector.now = begin + seconds
        told = collector.round().services[0].now
        seen.append((told.state, told.held))
    assert seen == [("up", False), ("up", True), ("up", True), ("unknown", False)]
    liar.vectors(answers({"website": "0", "mail": "1"}))
    collector.prometheus = patient
    assert states(collector.round())["website"] == "down"
    assert "prometheus" not in collector.problems


@pytest.mark.parametrize("missing", ["timestamp(probe_success", "timestamp(service:raw)"])
def test_a_verdict_of_unknown_age_is_not_reported(collector, liar, missing):
    liar.vectors({**answers({"website": "1"}), missing: []})
    assert states(collector.round())["website"] == "unknown"


def test_a_rule_that_is_no_longer_evaluated_makes_its_verdict_old(collector, liar):
    liar.vectors({**answers({"website": "1"}), "timestamp(service:raw)": [({}, "200")]})
    assert states(collector.round())["website"] == "unknown"


def test_contradicting_verdicts_are_not_believed(collector, liar):
    both = [({"service": "website", "replica": "b"}, "0")]
    liar.vectors(answers({"website": "1"}, extra=both))
    assert states(collector.round())["website"] == "unknown"


def test_a_new_collector_knows_what_the_old_one_knew(collector, liar):
    liar.vectors(answers({"website": "1", "mail": "0"}))
    collector.round()
    liar.says(b"", 500)
    successor = Collector(collector.plan, Prometheus(liar.url), clock=lambda: collector.now + 20)
    told = successor.round()
    assert states(told) == {"website": "up", "mail": "down"}
    assert told.outages[0].service == "mail"
    assert told.services[1].since == pytest.approx(collector.now)


def test_a_damaged_history_does_not_stop_the_page(collector, liar):
    collector.plan.folder.mkdir(parents=True)
    (collector.plan.folder / "history.sqlite").write_bytes(b"no database" * 1000)
    liar.vectors(answers({"website": "1", "mail": "1"}))
    assert set(states(collector.round()).values()) == {"up"}
    assert list(collector.problems) == ["history"]
    assert load(collector.plan.folder) is not None


def test_its_own_health_is_a_textfile_that_promtool_likes(collector, liar):
    collector.plan.metrics.mkdir(parents=True)
    liar.says(b"garbage")
    collector.round()
    text = (collector.plan.metrics / "status-page.prom").read_text()
    assert 'leitstand_status_page_part_failing{part="prometheus"} 1' in text
    assert 'leitstand_status_page_part_failing{part="pages"} 0' in text
    assert f'leitstand_status_page_build_info{{revision="{REVISION}",version="{VERSION}"}} 1' in text
    done = subprocess.run(["promtool", "check", "metrics"], input=text, text=True, capture_output=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_an_unreadable_folder_of_metrics_affects_only_the_metrics(collector, liar):
    collector.plan = replace(collector.plan, metrics=Path("/" + "x" * 300))
    liar.vectors(answers({"website": "1", "mail": "1"}))
    assert set(states(collector.round()).values()) == {"up"}
    assert "cannot write the metrics: File name too long" in collector.problems["metrics"]
    assert load(collector.plan.folder) is not None


def say_days(liar, states, samples, up_and_half, available):
    """A Prometheus that tells these states, and of each day asked for these sums of samples of 15 s."""
    rules = {"groups": [{"interval": 15, "rules": [{"name": "service:verdict"}]}]}
    sums = {
        "count_over_time(service:verdict": [({"service": "website"}, samples)],
        "sum_over_time(service:verdict": [({"service": "website"}, up_and_half)],
        "sum_over_time(service:available": [({"service": "website"}, available)],
    }
    liar.vectors({**sums, **answers(states)})
    vectors = liar.answer

    def answer(handler):
        if not handler.path.startswith("/api/v1/rules"):
            vectors(handler)
            return
        liar.says(json.dumps({"status": "success", "data": rules}).encode())
        liar.answer(handler)
        liar.answer = answer

    liar.answer = answer


def test_days_are_computed_from_sums_and_shown(collector, liar):
    # 200 samples of 15 s: 150 up, 40 partly, 10 down.
    say_days(liar, {"website": "1", "mail": "1"}, "200", "170", "190")
    told = collector.round()
    # Yesterday or a day before, as today may have just begun.
    past = [row for row in told.services[0].days if row.known]
    assert not collector.problems
    assert past
    assert (past[0].up, past[0].partial, past[0].down) == (2_250, 600, 150)


def test_a_service_that_is_down_does_not_show_full_availability_beside_it(collector, liar):
    collector.now = collector.now // 86_400 * 86_400 + 43_200  # noon: today has begun long ago
    say_days(liar, {"website": "1"}, "200", "200", "200")
    assert collector.round().services[0].days[-1].down == 0
    collector.now += 15
    say_days(liar, {"website": "0"}, "201", "200", "200")
    told = collector.round()
    assert states(told)["website"] == "down"
    assert told.services[0].days[-1].down == 15
