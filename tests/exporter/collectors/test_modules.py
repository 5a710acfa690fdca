"""Collectors of others: named on the command line, guarded as ours are."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from exporter.collectors.collector import gauge
from exporter.exposition import openmetrics_page, text_page
from exporter.modules import load_collector
from exporter.scrape import Scraper
from leitstand.errors import UsageError

DOCUMENT = Path(__file__).parents[3] / "docs/exporter.md"
MODULE = '''
"""Collectors that others could have written."""

import asyncio
import threading

from prometheus_client import CollectorRegistry, Counter, Enum, Histogram, Info
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric


class Collector:
    def collect(self):
        return [GaugeMetricFamily("shop_open", "Whether it is open.", value=1)]


class Raises(Collector):
    def collect(self):
        yield from super().collect()
        raise OSError("no shop")


class Exits:
    def collect(self):
        raise SystemExit(3)


class IsCancelled:
    def collect(self):
        raise asyncio.CancelledError


class Wordless(Exception):
    def __str__(self):
        raise OSError("no words")


class RaisesWordless:
    def collect(self):
        raise Wordless


def with_label(name, *more):
    metric = GaugeMetricFamily("shop_open", "Whether it is open.", labels=[name, *more])
    metric.add_metric(["front", *more], 1)
    return metric


class EmptyLabel:
    def collect(self):
        yield with_label("")


class NameAsLabel:
    def collect(self):
        yield with_label("__name__")


class LabelsAlike:
    def collect(self):
        yield with_label("front.door", "front_door")


class Nanoseconds:
    def collect(self):
        metric = GaugeMetricFamily("shop_open", "Whether it is open.", labels=[])
        metric.add_metric([], 1, timestamp=1_700_000_000_000_000_000)
        yield metric


class NotItsUnit(Collector):
    def collect(self):
        for metric in super().collect():
            metric.unit = "seconds"
            yield metric


class Hangs:
    def collect(self):
        threading.Event().wait()


class Twice(Collector):
    def collect(self):
        return 2 * super().collect()


class SeriesTwice:
    def collect(self):
        metric = GaugeMetricFamily("shop_open", "Whether it is open.", labels=["door"])
        metric.add_metric(["front"], 1)
        metric.add_metric(["front"], 0)
        yield metric


class Ours(Collector):
    def collect(self):
        yield from super().collect()
        yield GaugeMetricFamily("node_load1", "Another load.", value=99)


class Parts(Collector):
    def collect(self):
        yield from super().collect()
        yield GaugeMetricFamily("shop_wait_seconds_count", "A histogram of another has this name.", value=1)


class PlainWords:
    def collect(self):
        yield "shop_open 1"


class NotAText:
    def collect(self):
        metric = GaugeMetricFamily("shop_open", "Whether it is open.", labels=["door"])
        metric.add_metric([7], 1)
        yield metric


class WrongExemplar:
    def collect(self):
        metric = Metric("shop_open", "Whether it is open.", "gauge")
        metric.add_sample("shop_open", {}, 1, exemplar=object())
        yield metric


class Everything:
    def __init__(self):
        self.registry = CollectorRegistry()
        Histogram("shop_wait_seconds", "Waiting.", registry=self.registry).observe(0.2, {"trace": "a"})
        Counter("shop_orders", "Orders.", registry=self.registry).inc(2, {"trace": "b"})
        Info("shop", "Build.", registry=self.registry).info({"version": "1"})
        Enum("shop_state", "State.", states=["open", "closed"], registry=self.registry).state("closed")

    def collect(self):
        yield from self.registry.collect()
        stamped = GaugeMetricFamily("shop_celsius", "Warm.", labels=["room"])
        stamped.add_metric(["a"], 21.5, timestamp=1_700_000_000.25)
        yield stamped
        yield CounterMetricFamily("shop.visits", "A name of other characters.", value=3)


class NoCollector:
    pass


class NeedsMore:
    def __init__(self, more):
        pass


word = "no class"
'''
RAISING = (
    "Raises",
    "Exits",
    "IsCancelled",
    "RaisesWordless",
    "Twice",
    "PlainWords",
    "NotAText",
    "WrongExemplar",
)
# With each of these Prometheus would refuse the page.
SPOILING = ("SeriesTwice", "EmptyLabel", "NameAsLabel", "LabelsAlike", "Nanoseconds", "NotItsUnit")


@pytest.fixture(scope="module", autouse=True)
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of the module; it can be imported here."""
    folder = tmp_path_factory.mktemp("modules")
    (folder / "shop.py").write_text(MODULE)
    (folder / "broken.py").write_text("import nothing_of_this_name\n")
    (folder / "ends.py").write_text("raise SystemExit(0)\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield folder


class Load:
    """A collector of ours."""

    def collect(self):
        return [gauge("node_load1", "Load.", 0.5)]


def scraper(*names, **settings):
    others = {f"shop:{name}": load_collector(f"shop:{name}") for name in names}
    return Scraper({"load": Load(), **others}, **settings)


def verdicts(page):
    return {
        dict(labels)["collector"].removeprefix("shop:"): value
        for (name, labels), value in page.items()
        if name.endswith("scrape_collector_success")
    }


@pytest.mark.parametrize("name", [*RAISING, *SPOILING])
def test_a_faulty_collector_affects_no_other(page_of, name):
    page = page_of(text_page(scraper(name).scrape(60)).decode())
    assert verdicts(page) == {"load": 1, name: 0}
    assert page["node_load1", ()] == 0.5
    assert not [metric for metric, _ in page if metric.startswith("shop")]


def test_a_collector_that_hangs_is_left_alone_and_the_next_one_served(page_of):
    several = scraper("Hangs", "Collector", patience=0.02)
    for _ in range(2):
        page = page_of(text_page(several.scrape(1)).decode())
        assert verdicts(page) == {"load": 1, "Hangs": 0, "Collector": 1}
        assert page["shop_open", ()] == 1


@pytest.mark.parametrize("name", ["Ours", "Parts"])
def test_a_name_of_another_collector_is_left_out_and_the_rest_served(page_of, name):
    page = page_of(text_page(scraper("Everything", name).scrape(60)).decode())
    assert verdicts(page) == {"load": 1, "Everything": 1, name: 0}
    assert (page["node_load1", ()], page["shop_open", ()], page["shop_wait_seconds_count", ()]) == (0.5, 1, 1)


def test_every_type_exemplars_and_time_stamps_reach_both_pages():
    pieces = scraper("Everything").scrape(60)
    text = {family.name: family for family in parse_text(text_page(pieces).decode())}
    assert {name: family.type for name, family in text.items() if name.startswith("shop")} == {
        "shop_wait_seconds": "histogram",
        "shop_wait_seconds_created": "gauge",
        "shop_orders": "counter",
        "shop_orders_created": "gauge",
        "shop_info": "gauge",
        "shop_state": "gauge",
        "shop_celsius": "gauge",
        "shop_visits": "counter",
    }
    assert text["shop_celsius"].samples[0].timestamp == 1_700_000_000.25
    openmetrics = {family.name: family for family in parse_openmetrics(openmetrics_page(pieces).decode())}
    assert (openmetrics["shop"].type, openmetrics["shop_state"].type) == ("info", "stateset")
    exemplars = [sample.exemplar for sample in openmetrics["shop_wait_seconds"].samples if sample.exemplar]
    assert [exemplar.labels for exemplar in exemplars] == [{"trace": "a"}]


def test_only_the_format_asked_for_is_written(page_of):
    several = scraper("Everything", "WrongExemplar")
    text, openmetrics = several.scrape(60, None, "text"), several.scrape(60, None, "openmetrics")
    assert not openmetrics_page(text).count(b"shop_wait") and not text_page(openmetrics).count(b"shop_wait")
    # The text format has no exemplars, so a wrong one does no harm there.
    assert verdicts(page_of(text_page(text).decode()))["WrongExemplar"] == 1
    assert verdicts(page_of(text_page(openmetrics).decode()))["WrongExemplar"] == 0


def test_modules_of_the_first_scrape_are_loaded_at_the_start(tmp_path):
    (tmp_path / "lean.py").write_text("class Nothing:\n    def collect(self):\n        return []\n")
    program = (
        "import sys; from exporter.modules import load_collector; load_collector('lean:Nothing'); "
        "print('prometheus_client.exposition' in sys.modules)"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert done.stdout == "True\n", done.stderr


def test_without_node_metrics_theirs_are_hidden_too(page_of):
    page = page_of(text_page(scraper("Ours", node_metrics=False).scrape(60)).decode())
    assert (page["shop_open", ()], ("node_load1", ()) in page) == (1, False)
    assert verdicts(page) == {"load": 1, "Ours": 1}


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("shop", "'shop' is not a class"),
        (":Queue", "':Queue' is not a class"),
        ("nowhere.at.all:Queue", "nowhere.at.all:Queue: ModuleNotFoundError: No module named 'nowhere'"),
        (".shop:Queue", "TypeError"),
        ("broken:Queue", "No module named 'nothing_of_this_name'"),
        ("ends:Queue", "SystemExit: 0"),
        ("shop:Queue", "has no attribute 'Queue'"),
        ("shop:NoCollector", "not a collector"),
        ("shop:NeedsMore", "missing 1 required positional argument"),
        ("shop:word", "not callable"),
    ],
)
def test_an_invalid_collector_ends_the_start_with_one_line(place, words):
    with pytest.raises(UsageError, match=re.escape(words)) as caught:
        load_collector(place)
    assert caught.value.hint
    assert "\n" not in caught.value.message


def test_a_module_that_is_not_there_is_a_wrong_use_of_the_command():
    command = [sys.executable, "-m", "leitstand", "exporter", "--collector.module", "nowhere:Queue"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert "--collector.module nowhere:Queue" in done.stderr
    assert "PYTHONPATH" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_example_of_the_documentation_is_served(ours, page_of, tmp_path):
    (example,) = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    spool = tmp_path / "spool"
    (spool / "urgent").mkdir(parents=True)
    (spool / "urgent/1.mail").touch()
    (tmp_path / "shop.py").write_text(example.replace("/var/spool/shop", str(spool)))
    options = ("--collector.disable-defaults", "--collector.loadavg", "--collector.module", "shop:Queues")
    with ours(*options, environment={"PYTHONPATH": str(tmp_path)}) as running:
        page = page_of(running.get())
        alone = page_of(running.get("/metrics?collect[]=shop:Queues"))
    assert page["shop_mails_waiting", (("queue", "urgent"),)] == 1
    assert page["node_scrape_collector_success", (("collector", "shop:Queues"),)] == 1
    assert ("shop_mails_waiting", (("queue", "urgent"),)) in alone and ("node_load1", ()) not in alone
