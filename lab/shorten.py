"""Shorten the durations in a rendered folder, so that alerts take seconds instead of minutes.

Every duration becomes shorter by one factor, so a window keeps its number of samples. Numbers in expressions
are thresholds, not durations, and are kept.
"""

from pathlib import Path
from typing import Any

from fleet_config.durations import parse, scale, scale_expression
from fleet_config.output import read_yaml, yaml_text

DURATIONS = {
    "evaluation_interval",
    "for",
    "group_interval",
    "group_wait",
    "interval",
    "keep_firing_for",
    "repeat_interval",
    "scrape_interval",
}


def shorten_folder(folder: Path, factor: float) -> None:
    """Rewrite every ``*.yml`` below ``folder`` with durations divided by ``factor``."""
    for path in sorted(folder.rglob("*.yml")):
        path.write_text(yaml_text(shorten(read_yaml(path), factor)), encoding="utf-8")


def shorten(content: Any, factor: float) -> Any:
    """A configuration or rule file's content with every duration divided by ``factor``.

    A scrape's timeout is not divided but cut to its interval: a busy machine needs that time.
    """
    if isinstance(content, list):
        return [shorten(item, factor) for item in content]
    if not isinstance(content, dict):
        return content
    shortened = {key: _value(key, value, factor) for key, value in content.items()}
    if {"scrape_interval", "scrape_timeout"} <= shortened.keys():
        pair = (shortened["scrape_timeout"], shortened["scrape_interval"])
        shortened["scrape_timeout"] = min(pair, key=parse)
    return shortened


def _value(key: str, value: Any, factor: float) -> Any:
    if key == "expr":
        return scale_expression(value, 1 / factor)
    if key in DURATIONS and isinstance(value, str):
        return scale(value, 1 / factor)
    return shorten(value, factor)
