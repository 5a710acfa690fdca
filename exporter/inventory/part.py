"""The finished form of one source's findings, as it goes from the worker to the exporter.

Rendered text instead of objects: 2,500 packages are two strings, and a scrape of the exporter never waits for
their rendering.
"""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from exporter.inventory.kinds import KINDS
from exporter.inventory.source import Findings, Item, Metric, Row, Value
from exporter.inventory.watch import watched
from leitstand.text import visible

MAXIMUM_ITEMS = 50_000
MAXIMUM_TEXT = 1024
_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\""})  # the text is clean: one line of UTF-8


@dataclass(slots=True)
class KindPart:
    """Items of one kind from one source: JSON values joined by commas, and series, one per line."""

    count: int
    document: str
    series: str


@dataclass(slots=True)
class Part:
    """The contribution of one source.

    ``packages`` counts by manager, ``watched`` are the (name, version) that the watch list asks for,
    ``reason`` says of one of the skipped items what is wrong with it.
    """

    kinds: dict[str, KindPart] = field(default_factory=dict)
    metrics: list[Metric] = field(default_factory=list)
    packages: dict[str, int] = field(default_factory=dict)
    watched: list[tuple[str, str]] = field(default_factory=list)
    skipped: int = 0
    reason: str = ""


def clean(text: str) -> str:
    """Text that any reader can take: valid UTF-8, no control characters, at most 1,024 characters."""
    return visible(text[:MAXIMUM_TEXT])


def clean_value(value: Value) -> Value:
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, list):
        return [clean(entry) for entry in value]
    return value


def label(value: Value) -> str:
    """A field as a label value: lists joined by commas, truth as true/false, nothing as the empty text."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return ",".join(value) if isinstance(value, list) else str(value)


def render_series(kind: str, items: list[Item]) -> str:
    """One line per distinct set of labels, sorted."""
    names = KINDS[kind].labels
    lines = set()
    for item in items:
        pairs = ",".join([f'{name}="{label(item.get(name)).translate(_ESCAPES)}"' for name in names])
        lines.add(f"leitstand_{kind}_info{{{pairs}}} 1\n")
    return "".join(sorted(lines))


def render_document(items: list[Item]) -> str:
    """The items as JSON values in a fixed order, each once."""
    lines = {json.dumps(item, ensure_ascii=False, sort_keys=True, separators=(",", ":")) for item in items}
    return ",\n".join(sorted(lines))


def render_part(findings: Findings, watch: Sequence[str]) -> Part:
    """Make the finished form; what stands beyond 50,000 items is cut and counted as skipped."""
    kept = findings.items[:MAXIMUM_ITEMS]
    findings.skip(len(findings.items) - len(kept), f"more than {MAXIMUM_ITEMS} items")
    by_kind: dict[str, list[Item]] = {}
    for kind, item in kept:
        cleaned = {name: clean_value(value) for name, value in item.items()}
        by_kind.setdefault(kind, []).append(cleaned)
    part = Part(metrics=findings.metrics, skipped=findings.skipped, reason=clean(findings.reason))
    for kind, items in by_kind.items():
        document = render_document(items)
        count = document.count("\n") + 1 if document else 0  # one line per distinct item
        part.kinds[kind] = KindPart(count, document, render_series(kind, items))
    packages = by_kind.get("package", [])
    part.packages = dict(Counter(label(item["manager"]) for item in packages))
    part.watched = watched(packages, watch)
    return part


def to_wire(part: Part) -> bytes:
    """The part as JSON, for the pipe between two processes of the same version."""
    return json.dumps(asdict(part), default=vars).encode()


def from_wire(data: bytes) -> Part:
    """The part as it was sent. Raises ValueError for anything else."""
    try:
        return _part(json.loads(data))
    except (KeyError, TypeError) as error:
        raise ValueError(f"not a part: {error}") from error


def _part(raw: dict[str, Any]) -> Part:
    return Part(
        kinds={kind: KindPart(**fields) for kind, fields in raw["kinds"].items()},
        metrics=[_metric(fields) for fields in raw["metrics"]],
        packages=dict(raw["packages"]),
        watched=[(name, version) for name, version in raw["watched"]],
        skipped=int(raw["skipped"]),
        reason=str(raw["reason"]),
    )


def _metric(raw: dict[str, Any]) -> Metric:
    rows: list[Row] = [(tuple(labels), value) for labels, value in raw["rows"]]
    return Metric(raw["name"], raw["kind"], raw["documentation"], tuple(raw["label_names"]), rows)
