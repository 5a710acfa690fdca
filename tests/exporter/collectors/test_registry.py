"""The page is what prometheus_client's own writers make of the registry, sample by sample."""

import math
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Counter, Enum, Histogram, Info, generate_latest
from prometheus_client.core import GaugeHistogramMetricFamily, GaugeMetricFamily, StateSetMetricFamily
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from exporter.collectors import COLLECTORS
from exporter.collectors.options import Options
from exporter.exposition import openmetrics_page, text_page
from exporter.roots import NoData, Roots
from exporter.scrape import Scraper

LISTING = Path(__file__).with_name("hardware.tree")
TEXTFILE = """\
# HELP jobs_total Jobs.
# TYPE jobs_total counter
jobs_total{queue="a \\"b\\" \\\\ \\n"} 3
# TYPE wait_seconds histogram
wait_seconds_bucket{le="1.0"} 1
wait_seconds_bucket{le="+Inf"} 2
wait_seconds_sum 1.5
wait_seconds_count 2
# TYPE plain untyped
plain NaN
"""


class Once:
    """A collector that gives the first answer of another again and again."""

    def __init__(self, collector):
        self.collector, self.metrics = collector, None

    def collect(self):
        if self.metrics is None:
            try:
                self.metrics = list(self.collector.collect())
            except (NoData, OSError):
                self.metrics = []
        return self.metrics


def everything():
    """A plain registry with every type there is, exemplars and time stamps."""
    registry = CollectorRegistry()
    Counter("shop_orders", "Orders.", ["shop"], registry=registry).labels("north").inc(3, {"trace": "1"})
    Histogram("shop_wait_seconds", "Waiting.", registry=registry).observe(0.2, {"trace": "2"})
    Info("shop_build", "Build.", registry=registry).info({"version": "1.0"})
    Enum("shop_state", "State.", states=["open", "closed"], registry=registry).state("closed")

    class Families:
        def collect(self):
            stamped = GaugeMetricFamily("shop_temperature_celsius", "Warm.", labels=["room"], unit="celsius")
            stamped.add_metric(["a"], 21.5, timestamp=1_700_000_000.25)
            yield stamped
            yield GaugeHistogramMetricFamily(
                "shop_sizes", "Sizes.", buckets=[("1.0", 1), ("+Inf", 3)], gsum_value=7
            )
            yield StateSetMetricFamily("shop_doors", "Doors.", {"front": True, "back": False})

    registry.register(Families())
    return registry


def read(families):
    """Type, help and samples of each family that has samples."""
    return {
        family.name: (
            family.type,
            family.documentation,
            {
                (sample.name, *sorted(sample.labels.items())): (
                    "NaN" if math.isnan(sample.value) else float(sample.value),
                    None if sample.timestamp is None else float(sample.timestamp),
                    sample.exemplar and (sample.exemplar.labels, sample.exemplar.value),
                )
                for sample in family.samples
            },
        )
        for family in families
        if family.samples
    }


@pytest.fixture(params=["all hardware", "this host"])
def scraper(request: pytest.FixtureRequest, host: Any, tmp_path: Path) -> Scraper:
    if request.param == "all hardware":
        host.write_tree(LISTING)
    roots = host.roots if request.param == "all hardware" else Roots()
    folder = tmp_path / "textfiles"
    folder.mkdir()
    (folder / "own.prom").write_text(TEXTFILE)
    options = Options(textfile_directory=(str(folder),))
    collectors = {name: Once(entry.build(roots, options)) for name, entry in COLLECTORS.items()}
    return Scraper({**collectors, "shop": Once(everything())})


def test_the_text_is_what_generate_latest_gives(scraper):
    pieces = scraper.scrape(60)
    ours = read(parse_text(text_page(pieces).decode()))
    assert ours == read(parse_text(generate_latest(scraper.registry).decode()))
    assert len(ours) > 150
    assert (
        ours["shop_temperature_celsius"][2]["shop_temperature_celsius", ("room", "a")][1] == 1_700_000_000.25
    )


def test_openmetrics_is_what_the_library_gives(scraper):
    pieces = scraper.scrape(60)
    ours = read(parse_openmetrics(openmetrics_page(pieces).decode()))
    assert ours == read(parse_openmetrics(generate_openmetrics(scraper.registry).decode()))
    assert ours["shop_orders"][2]["shop_orders_total", ("shop", "north")][2] == ({"trace": "1"}, 3)
