"""What collectors share.

A collector is a ``prometheus_client.registry.Collector`` that is built once. Its ``collect`` runs at each
scrape, in any thread, once at a time, and yields metrics. It raises NoData, or anything else, which counts as
a failure. One that reads lists has ``skipped``, which counts the entries that it did not understand.
"""

from collections.abc import Iterable

from exporter.exposition import Family
from exporter.skipped import Skipped


def unique(source: str, families: Iterable[Family], skipped: Skipped) -> Iterable[Family]:
    """The families; of two of one name the first, as of entries of a list."""
    return skipped.unique(source, ((family.full_name, family) for family in families)).values()


def gauge(name: str, documentation: str, value: float) -> Family:
    """A gauge of one sample without labels."""
    return Family(name, "gauge", documentation, (), [((), value)])


def counter(name: str, documentation: str, value: float) -> Family:
    """A counter of one sample without labels."""
    return Family(name, "counter", documentation, (), [((), value)])
