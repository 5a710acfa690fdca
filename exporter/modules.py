"""Collectors of others: classes of Python modules that the command line names."""

import importlib

from prometheus_client.registry import Collector

from leitstand.errors import UsageError
from leitstand.text import visible

OPTION = "--collector.module"
_PLACES = "install the package where leitstand is, or name the module's folder in PYTHONPATH"


def load_collector(place: str) -> Collector:
    """The collector of ``package.module:Class``. Raises UsageError when it cannot be had."""
    module, _, name = place.partition(":")
    if not module or not name:
        raise UsageError(f"{OPTION}: {place!r} names no class", "write package.module:Class")
    # A module of others may fail in any way, and so may its class.
    try:
        found = importlib.import_module(module)
    except (Exception, SystemExit) as error:
        raise UsageError(f"{OPTION} {place}: {_words(error)}", _PLACES) from error
    try:
        collector: Collector = getattr(found, name)()
    except (Exception, SystemExit) as error:
        hint = "the module has to have this class, and the class to need no arguments"
        raise UsageError(f"{OPTION} {place}: {_words(error)}", hint) from error
    if not callable(getattr(collector, "collect", None)):
        raise UsageError(
            f"{OPTION} {place}: not a collector", "it needs a method collect(), see docs/exporter.md"
        )
    return collector


def _words(error: BaseException) -> str:
    return visible(f"{type(error).__name__}: {error}")
