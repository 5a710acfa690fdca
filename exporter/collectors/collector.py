"""Shared by the collectors.

A collector is a ``prometheus_client.registry.Collector`` that is built once. Its ``collect`` runs at each
scrape, in any thread, never twice at the same time, and yields metrics. It raises NoData; any other exception
is a failure. One that reads lists has ``skipped``, which counts the entries that it could not parse.
"""

from collections.abc import Iterable

from exporter.exposition import Family
from exporter.skipped import Skipped


def unique(source: str, families: Iterable[Family], skipped: Skipped) -> Iterable[Family]:
    """The families; the first of each name counts, later ones are skipped."""
    return skipped.unique(source, ((family.full_name, family) for family in families)).values()


def gauge(name: str, documentation: str, value: float) -> Family:
    """A gauge of one sample without labels."""
    return Family(name, "gauge", documentation, (), [((), value)])


def counter(name: str, documentation: str, value: float) -> Family:
    """A counter of one sample without labels."""
    return Family(name, "counter", documentation, (), [((), value)])
