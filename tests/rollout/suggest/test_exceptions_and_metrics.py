import time
from collections.abc import Callable

import pytest
from prometheus_client.parser import text_string_to_metric_families

from rollout.suggest.metrics import MAXIMUM_SERIES
from tests.rollout.suggest.conftest import Fleet
from tests.rollout.suggest.test_suggest import WORDPRESS, found

Make = Callable[..., Fleet]


def metrics_of(fleet: Fleet) -> dict[tuple[str, ...], float]:
    """Name without prefix, label values in the order of their names, and the value."""
    text = (fleet.folder / "metrics" / "coverage" / "coverage.prom").read_text()
    return {
        (
            sample.name.removeprefix("leitstand_"),
            *(value for _, value in sorted(sample.labels.items())),
        ): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_an_exception_is_neither_proposed_nor_counted(fleet: Make) -> None:
    one = fleet(
        "deploy:\n  exceptions:\n    web1/var/www/blog: saved by a snapshot of the disk\n"
        "    web1/mysql:shop: test data\n    web1/blog.example.org: internal\n"
    )
    one.has("web1", WORDPRESS)
    one.has("db1", {})
    code, _, messages = one("--metrics")
    assert found(one) == {("web1", "database", "mysql:blog")}
    assert "warning" not in messages
    assert code == 1
    assert metrics_of(one)["uncovered_items", "web1", "database"] == 1
    assert metrics_of(one)["uncovered_items", "web1", "web"] == 0


def test_a_host_can_be_left_out_with_a_reason_even_if_it_has_no_inventory(fleet: Make) -> None:
    one = fleet("deploy: {exceptions: {web1/*: a switch, db1/*: only watched}}\n")
    one.has("db1", WORDPRESS)
    assert one("--metrics")[0] == 0
    assert metrics_of(one)["coverage_known", "web1"] == 1


def test_an_exception_without_object_is_named_once_the_host_is_known(fleet: Make) -> None:
    one = fleet("deploy: {exceptions: {web1/old.example.org: gone soon, db1/mysql:x: later}}\n")
    one.has("web1", {})
    messages = one()[2]
    assert "warning: deploy.exceptions: 'web1/old.example.org'" in messages
    assert "db1/mysql:x" not in messages
    assert one.json()["exceptions_without_object"] == ["web1/old.example.org"]


def test_the_metrics_are_what_is_uncovered_what_is_unknown_and_when_that_was_seen(fleet: Make) -> None:
    one = fleet()
    one.has("web1", WORDPRESS)
    before = time.time()
    assert one("--metrics")[0] == 1
    told = metrics_of(one)
    assert told["uncovered", "web1", "blog.example.org", "service"] == 1
    assert told["uncovered_items", "web1", "database"] == 2
    assert told["uncovered_items", "web1", "mail"] == 0
    assert told["coverage_known", "web1"] == 1
    assert told["coverage_known", "db1"] == 0
    assert not [key for key in told if key[:2] == ("uncovered_items", "db1")]
    assert before <= told["coverage_last_look_timestamp_seconds",] <= time.time()


@pytest.mark.parametrize("age", [3 * 86_400.0, 0.0])
def test_an_old_inventory_is_unknown_and_not_zero(fleet: Make, age: float) -> None:
    one = fleet()
    one.has("web1", {}, age=age)
    one("--metrics")
    told = metrics_of(one)
    assert told["coverage_known", "web1"] == (0 if age else 1)
    assert (("uncovered_items", "web1", "web") in told) == (not age)


def test_the_number_of_series_has_a_limit_and_the_count_has_none(fleet: Make) -> None:
    one = fleet()
    paths = [{"name": "WordPress", "path": f"/srv/{number}"} for number in range(MAXIMUM_SERIES + 50)]
    one.has("web1", {"web_application": paths})
    one("--metrics")
    told = metrics_of(one)
    assert told["uncovered_items", "web1", "web"] == MAXIMUM_SERIES + 50
    assert len([key for key in told if key[0] == "uncovered"]) == MAXIMUM_SERIES


def test_metrics_are_of_all_hosts_or_none(fleet: Make) -> None:
    one = fleet()
    one.has("web1", {})
    code, _, messages = one("web1", "--metrics")
    assert (code, "--metrics is about all hosts" in messages) == (2, True)
    (one.folder / "metrics").write_text("in the way")
    code, _, messages = one("--metrics")
    assert (code, "coverage.prom: cannot be written" in messages) == (3, True)
