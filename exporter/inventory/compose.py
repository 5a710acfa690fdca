"""Put the sources' parts together: the page for /metrics, the series and the document."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from exporter.exposition import Family, Piece, Renderer
from exporter.inventory.kinds import KINDS
from exporter.inventory.part import KindPart, Part
from exporter.inventory.source import Metric
from exporter.inventory.watch import MAXIMUM_WATCHED

try:  # hashlib loads OpenSSL, which takes 3.5 MiB; the standard library's random avoids it likewise
    from _sha256 import sha256  # type: ignore[import-not-found]
except ImportError:  # Python 3.12 renamed it
    from hashlib import sha256

SCHEMA_VERSION = 1


@dataclass(slots=True)
class SourceState:
    """The state of a source. ``duration`` in seconds; ``refreshed``: Unix time of the last success, or 0."""

    part: Part | None = None
    success: bool = False
    ran: bool = False
    duration: float = 0.0
    refreshed: float = 0.0
    skipped: int = 0


def kind_parts(states: Iterable[SourceState], kind: str) -> list[KindPart]:
    """The parts of one kind of all sources, in the order of the sources."""
    return [state.part.kinds[kind] for state in states if state.part and kind in state.part.kinds]


def merge_series(kind: str, parts: Sequence[KindPart]) -> Family:
    """The family of one kind. A line of two sources appears once: Prometheus refuses duplicates."""
    text = "".join([part.series for part in parts])
    if len(parts) > 1:
        text = "".join(sorted(set(text.splitlines(keepends=True))))
    return Family(f"leitstand_{kind}_info", "gauge", KINDS[kind].help, ready=text)


def series(states: Sequence[SourceState]) -> list[Piece]:
    """The page for /metrics/inventory."""
    return Renderer().pieces(merge_series(kind, kind_parts(states, kind)) for kind in KINDS)


def document_items(states: Sequence[SourceState]) -> str:
    """The ``items`` of the document: every kind, also the empty ones, in a fixed order."""
    rows = []
    for kind in sorted(KINDS):
        values = ",\n".join(part.document for part in kind_parts(states, kind) if part.document)
        rows.append(f'"{kind}":[{values}]')
    return "{" + ",\n".join(rows) + "}"


def document(states: Sequence[SourceState], incomplete: Sequence[str]) -> tuple[str, str]:
    """The JSON document and the SHA-256 (hexadecimal) of its content.

    ``incomplete`` names the kinds of which a source has not yet been read: a reader must not take their
    absence for removal. The document holds no time of its own, so equal content has equal bytes.
    """
    items = document_items(states)
    kinds = ",".join(f'"{kind}"' for kind in sorted(incomplete))
    digest = sha256(f"{SCHEMA_VERSION}\n{kinds}\n{items}".encode()).hexdigest()
    head = f'{{"schema_version":{SCHEMA_VERSION},"sha256":"{digest}","incomplete":[{kinds}],"items":'
    return f"{head}{items}}}\n", digest


def merged(metrics: Iterable[Metric]) -> list[Family]:
    """Families with one entry per name: two sources may each have samples of one metric."""
    by_name: dict[str, Family] = {}
    for metric in metrics:
        known = by_name.setdefault(
            metric.name, Family(metric.name, metric.kind, metric.documentation, metric.label_names)
        )
        known.rows.extend(metric.rows)
    return list(by_name.values())


def counts(states: Sequence[SourceState]) -> list[Metric]:
    """How many items of each kind, packages of each manager."""
    items = Metric("leitstand_inventory_items", "gauge", "Items in the inventory.", ("kind",))
    for kind in KINDS:
        items.add(sum(part.count for part in kind_parts(states, kind)), kind)
    packages = Metric("leitstand_packages", "gauge", "Installed packages.", ("manager",))
    for state in states:
        for manager, count in sorted(state.part.packages.items() if state.part else ()):
            packages.add(count, manager)
    return [items, packages]


def watched_packages(states: Iterable[SourceState]) -> list[Metric]:
    """The watch list, capped, and how many were cut."""
    found = sorted({pair for state in states if state.part for pair in state.part.watched})
    info = Metric(
        "leitstand_watched_package_info",
        "gauge",
        "An installed package on the watch list.",
        ("name", "version"),
    )
    for name, version in found[:MAXIMUM_WATCHED]:
        info.add(1, name, version)
    cut = Metric(
        "leitstand_watched_packages_cut",
        "gauge",
        "Packages on the watch list that exceed its limit and are not served.",
    )
    cut.add(max(0, len(found) - MAXIMUM_WATCHED))
    return [info, cut]


def guard(states: Mapping[str, SourceState]) -> list[Metric]:
    """The state of each source: success, duration, last refresh, skipped items."""
    success = Metric(
        "leitstand_inventory_source_success",
        "gauge",
        "Whether the last run of the source succeeded.",
        ("source",),
    )
    duration = Metric(
        "leitstand_inventory_source_duration_seconds",
        "gauge",
        "Time the last run of the source took.",
        ("source",),
    )
    refreshed = Metric(
        "leitstand_inventory_source_last_refresh_timestamp_seconds",
        "gauge",
        "When the source was last known to be up to date.",
        ("source",),
    )
    skipped = Metric(
        "leitstand_inventory_items_skipped_total",
        "counter",
        "Items that the source could not read or parse.",
        ("source",),
    )
    for name, state in states.items():
        if not state.ran:
            continue
        success.add(int(state.success), name)
        duration.add(state.duration, name)
        skipped.add(state.skipped, name)
        if state.refreshed:
            refreshed.add(state.refreshed, name)
    return [success, duration, refreshed, skipped]


def metrics(states: Mapping[str, SourceState], digest: str, changed: float) -> list[Piece]:
    """The inventory's share of /metrics. ``digest`` is empty until every source has had its first run."""
    found = guard(states)
    if digest:
        info = Metric("leitstand_inventory_info", "gauge", "SHA-256 of the inventory document.", ("sha256",))
        info.add(1, digest)
        moment = Metric(
            "leitstand_inventory_changed_timestamp_seconds", "gauge", "When the inventory last changed."
        )
        moment.add(changed)
        found += [info, moment]
    parts = list(states.values())
    found += counts(parts) + watched_packages(parts)
    found += [metric for state in parts if state.part for metric in state.part.metrics]
    return Renderer().pieces(merged(found))
