"""Third-party collectors: classes in Python modules, named on the command line."""

import importlib

from prometheus_client.registry import Collector

from leitstand.errors import UsageError
from leitstand.text import visible, words_of

OPTION = "--collector.module"
_PLACES = "install the package in Leitstand's environment, or add the module's folder to PYTHONPATH"


def load_collector(place: str) -> Collector:
    """The collector ``package.module:Class``. Raises UsageError if it cannot be loaded."""
    module, _, name = place.partition(":")
    if not module or not name:
        raise UsageError(f"{OPTION}: {place!r} is not a class", "write package.module:Class")
    # Third-party code may fail in any way.
    try:
        found = importlib.import_module(module)
    except (Exception, SystemExit) as error:
        raise UsageError(f"{OPTION} {place}: {_words(error)}", _PLACES) from error
    try:
        collector: Collector = getattr(found, name)()
    except (Exception, SystemExit) as error:
        hint = "the module must define this class, and the class must need no arguments"
        raise UsageError(f"{OPTION} {place}: {_words(error)}", hint) from error
    if not callable(getattr(collector, "collect", None)):
        raise UsageError(
            f"{OPTION} {place}: not a collector", "it needs a collect() method, see docs/exporter.md"
        )
    # Writing its metrics needs it. Loading it takes half a second, too long for the first scrape.
    importlib.import_module("prometheus_client.exposition")
    return collector


def _words(error: BaseException) -> str:
    return visible(words_of(error))
