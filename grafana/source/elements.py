"""The pieces of a dashboard as plain dicts, in the form of Grafana's schema version 41.

Reference: https://grafana.com/docs/grafana/latest/dashboards/build-dashboards/view-dashboard-json-model/
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]
SCHEMA_VERSION = 41
COLUMNS = 24
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}

GOOD, INFO, WARNING, CRITICAL, UNKNOWN, NEUTRAL = "green", "blue", "orange", "red", "#808080", "text"
NOT_MEASURED = "not measured here"
Mapping = list[Json]


@dataclass(frozen=True)
class Query:
    """One query; ``name`` is its refId and, in a table, its column ``Value #name``."""

    expression: str
    name: str = "A"
    legend: str = ""
    instant: bool = True
    table: bool = False

    def json(self) -> Json:
        """The target of a panel."""
        return {
            "datasource": DATASOURCE,
            "editorMode": "code",
            "expr": self.expression,
            "format": "table" if self.table else "time_series",
            "instant": self.instant,
            "legendFormat": self.legend or "__auto",
            "range": not self.instant,
            "refId": self.name,
        }


@dataclass(frozen=True)
class Column:
    """A column of a table: a query's value (``Value #name``) or a label."""

    source: str
    title: str
    unit: str = "none"
    mappings: Mapping = field(default_factory=list)
    steps: Iterable[tuple[float | None, str]] = ((None, NEUTRAL),)
    cell: str = "auto"
    link: str = ""
    width: int = 0
    decimals: int | None = None


def state_mapping(states: Iterable[tuple[float, str, str]]) -> Mapping:
    """Texts and colours for (value, text, colour)."""
    options = {
        f"{value:g}": {"color": color, "index": index, "text": text}
        for index, (value, text, color) in enumerate(states)
    }
    return [{"options": options, "type": "value"}]


def count_mapping(color: str) -> Mapping:
    """None is good, any is ``color``."""
    none = {"options": {"0": {"color": GOOD, "index": 0}}, "type": "value"}
    some = {"options": {"from": 1, "result": {"color": color, "index": 1}, "to": None}, "type": "range"}
    return [none, some]


def thresholds(steps: Iterable[tuple[float | None, str]]) -> Json:
    """Colours from (lowest value, colour); the first has None."""
    return {"mode": "absolute", "steps": [{"color": color, "value": value} for value, color in steps]}


def panel(kind: str, title: str, description: str, queries: list[Query], **parts: Any) -> Json:
    """What every panel has."""
    return {
        "datasource": DATASOURCE,
        "description": description,
        "targets": [query.json() for query in queries],
        "title": title,
        "type": kind,
        **parts,
    }


def stat(
    title: str,
    description: str,
    expression: str,
    unit: str = "none",
    mappings: Mapping | None = None,
    steps: Iterable[tuple[float | None, str]] = ((None, NEUTRAL),),
    decimals: int | None = None,
) -> Json:
    """One number."""
    defaults: Json = {
        "color": {"mode": "thresholds"},
        "mappings": mappings or [],
        "noValue": "no data",
        "thresholds": thresholds(steps),
        "unit": unit,
    }
    if decimals is not None:
        defaults["decimals"] = decimals
    options = {
        "colorMode": "value",
        "graphMode": "none",
        "justifyMode": "auto",
        "orientation": "auto",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "textMode": "value",
        "wideLayout": True,
    }
    return panel(
        "stat",
        title,
        description,
        [Query(expression)],
        fieldConfig={"defaults": defaults, "overrides": []},
        options=options,
    )


def timeseries(
    title: str,
    description: str,
    queries: list[tuple[str, str]],
    unit: str,
    maximum: float | None = None,
    stacked: bool = False,
) -> Json:
    """Curves; ``queries`` are (expression, legend)."""
    custom = {
        "drawStyle": "line",
        "fillOpacity": 25 if stacked else 8,
        "lineWidth": 1,
        "showPoints": "never",
        "spanNulls": False,
        "stacking": {"group": "A", "mode": "normal" if stacked else "none"},
    }
    defaults: Json = {
        "color": {"mode": "palette-classic"},
        "custom": custom,
        "min": 0,
        "noValue": NOT_MEASURED,
        "unit": unit,
    }
    if maximum is not None:
        defaults["max"] = maximum
    options = {
        "legend": {
            "calcs": ["lastNotNull", "max"],
            "displayMode": "table",
            "placement": "bottom",
            "showLegend": True,
        },
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    targets = [
        Query(expression, chr(ord("A") + index), legend, instant=False)
        for index, (expression, legend) in enumerate(queries)
    ]
    return panel(
        "timeseries",
        title,
        description,
        targets,
        fieldConfig={"defaults": defaults, "overrides": []},
        options=options,
    )


def timeline(title: str, description: str, expression: str, legend: str, mappings: Mapping) -> Json:
    """States over time, one bar per series."""
    defaults = {
        # With "thresholds", Grafana would merge the states by thresholds and ignore the mappings.
        "color": {"mode": "palette-classic"},
        "custom": {"fillOpacity": 75, "lineWidth": 0, "spanNulls": False},
        "mappings": mappings,
        "noValue": NOT_MEASURED,
        "unit": "none",
    }
    options = {
        "alignValue": "left",
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": False},
        "mergeValues": True,
        "rowHeight": 0.8,
        "showValue": "auto",
        "tooltip": {"mode": "single", "sort": "none"},
    }
    return panel(
        "state-timeline",
        title,
        description,
        [Query(expression, legend=legend, instant=False)],
        fieldConfig={"defaults": defaults, "overrides": []},
        options=options,
    )


def table(
    title: str,
    description: str,
    queries: dict[str, str],
    columns: list[Column],
    sort_by: tuple[str, bool],
    hidden: Iterable[str] = (),
) -> Json:
    """Rows merged over the labels that the queries share, with ``columns`` in their order.

    ``queries``: refId to expression. ``sort_by``: a column's title and whether the largest is first. A label
    that is no column is named in ``hidden``; values that are none are hidden anyway.
    """
    targets = [Query(expression, name, table=True) for name, expression in queries.items()]
    # Grafana names the value's field so, by the number of queries.
    values = {name: "Value" if len(queries) == 1 else f"Value #{name}" for name in queries}
    sources = [values.get(column.source, column.source) for column in columns]
    unused = [value for value in values.values() if value not in sources]
    organize = {
        "excludeByName": dict.fromkeys(["Time", *hidden, *unused], True),
        "indexByName": {source: index for index, source in enumerate(sources)},
        "renameByName": {source: column.title for source, column in zip(sources, columns, strict=True)},
    }
    return panel(
        "table",
        title,
        description,
        targets,
        fieldConfig={
            "defaults": _table_defaults(),
            "overrides": [_override(column) for column in columns],
        },
        options={
            "cellHeight": "sm",
            "footer": {"countRows": False, "fields": "", "reducer": ["sum"], "show": False},
            "showHeader": True,
            "sortBy": [{"desc": sort_by[1], "displayName": sort_by[0]}],
        },
        transformations=[{"id": "merge", "options": {}}, {"id": "organize", "options": organize}],
    )


def _table_defaults() -> Json:
    return {
        "color": {"mode": "thresholds"},
        "custom": {"align": "auto", "cellOptions": {"type": "auto"}, "filterable": True, "inspect": False},
        "mappings": [],
        "noValue": "-",  # in every empty cell: a text would take the room of gauges
        "thresholds": thresholds([(None, NEUTRAL)]),
        "unit": "none",
    }


def _override(column: Column) -> Json:
    properties = [
        {"id": "unit", "value": column.unit},
        {"id": "thresholds", "value": thresholds(column.steps)},
        {"id": "custom.cellOptions", "value": _cell(column.cell)},
    ]
    if column.cell == "gauge":
        properties += [{"id": "min", "value": 0}, {"id": "max", "value": 1}]
    optional = (
        ("mappings", column.mappings),
        ("decimals", column.decimals),
        ("custom.width", column.width or None),
        ("links", [{"title": "Host detail", "url": column.link}] if column.link else None),
    )
    properties += [{"id": key, "value": value} for key, value in optional if value not in (None, [])]
    return {"matcher": {"id": "byName", "options": column.title}, "properties": properties}


def _cell(kind: str) -> Json:
    if kind == "gauge":
        return {"mode": "basic", "type": "gauge", "valueDisplayMode": "text"}
    return {"mode": "basic", "type": kind} if kind == "color-background" else {"type": kind}
