"""Put panels on the page and a page around them."""

from collections.abc import Iterable

from grafana.source.elements import COLUMNS, DATASOURCE, SCHEMA_VERSION, Json

CHOSEN = 'job=~"$job", instance=~"$instance"'  # the hosts that the variables of a dashboard name
Row = tuple[int, list[Json]]  # height in grid units, and the panels, which share the width


def arrange(sections: Iterable[tuple[str, list[Row]]]) -> list[Json]:
    """All panels with ids and places, each section under a heading."""
    panels: list[Json] = []
    y = 0
    for title, rows in sections:
        panels.append(
            {
                "collapsed": False,
                "gridPos": _place(0, y, COLUMNS, 1),
                "panels": [],
                "title": title,
                "type": "row",
            }
        )
        y += 1
        for height, members in rows:
            panels += _beside_each_other(members, y, height)
            y += height
    return [{"id": number, **panel} for number, panel in enumerate(panels, start=1)]


def _beside_each_other(members: list[Json], y: int, height: int) -> list[Json]:
    # The leftmost ones take what does not divide, so that no gap is left at the right.
    width, rest = divmod(COLUMNS, len(members))
    placed, x = [], 0
    for index, member in enumerate(members):
        own = width + (index < rest)
        placed.append({**member, "gridPos": _place(x, y, own, height)})
        x += own
    return placed


def _place(x: int, y: int, width: int, height: int) -> Json:
    return {"h": height, "w": width, "x": x, "y": y}


def _mark(name: str, title: str, time: str, color: str) -> Json:
    # The value is the moment in milliseconds: one mark, however often its time was scraped.
    return {
        "datasource": DATASOURCE,
        "enable": True,
        "expr": f"{time} * 1000",
        "iconColor": color,
        "name": name,
        "step": "60s",
        "titleFormat": title,
        "useValueForTime": "on",
    }


_DEPLOYMENTS = _mark("Deployments", "Deployment", "leitstand_deployment_timestamp_seconds", "blue")
_CHANGES = [
    _mark("Reboots", "{{instance}} started", f"node_boot_time_seconds{{{CHOSEN}}}", "orange"),
    _mark(
        "Inventory",
        "{{instance}}: packages or another part of the inventory changed",
        f"leitstand_inventory_changed_timestamp_seconds{{{CHOSEN}}}",
        "purple",
    ),
]


def dashboard(
    uid: str, title: str, description: str, panels: list[Json], variables: list[Json], links: list[Json]
) -> Json:
    """A whole dashboard, read-only, in the browser's time zone."""
    return {
        "annotations": {"list": [_DEPLOYMENTS, *_CHANGES]},
        "description": description,
        "editable": False,
        "fiscalYearStartMonth": 0,
        "graphTooltip": 1,
        "id": None,
        "links": links,
        "panels": panels,
        "refresh": "30s",
        "schemaVersion": SCHEMA_VERSION,
        "tags": ["leitstand"],
        "templating": {"list": variables},
        "time": {"from": "now-6h", "to": "now"},
        "timepicker": {},
        "timezone": "browser",
        "title": title,
        "uid": uid,
        "version": 1,
        "weekStart": "",
    }


def link_to(uid: str, title: str) -> Json:
    """A link at the top that keeps the time range and the data source."""
    return {
        "asDropdown": False,
        "icon": "dashboard",
        "includeVars": False,
        "keepTime": True,
        "tags": [],
        "targetBlank": False,
        "title": title,
        "tooltip": "",
        "type": "link",
        "url": f"/d/{uid}?var-datasource=${{datasource}}",
    }


def datasource_variable() -> Json:
    """Which Prometheus; the provisioned one unless another is chosen."""
    return {
        "current": {"text": "Prometheus", "value": "prometheus"},
        "hide": 0,
        "includeAll": False,
        "label": "Data source",
        "multi": False,
        "name": "datasource",
        "options": [],
        "query": "prometheus",
        "refresh": 1,
        "regex": "",
        "type": "datasource",
    }


def host_variables(*, several: bool) -> list[Json]:
    """Data source, job and host; with ``several`` any number of hosts."""
    hosts = "instance:host_health:state"
    return [
        datasource_variable(),
        label_variable("job", "Job", f"label_values({hosts}, job)", several=True),
        label_variable(
            "instance", "Host", f'label_values({hosts}{{job=~"$job"}}, instance)', several=several
        ),
    ]


def label_variable(name: str, label: str, query: str, *, several: bool) -> Json:
    """The values of a label; with ``several`` any number of them, at first all."""
    chosen: Json = {"current": {"text": ["All"], "value": ["$__all"]}, "allValue": ".+"} if several else {}
    return {
        **chosen,
        "datasource": DATASOURCE,
        "hide": 0,
        "includeAll": several,
        "label": label,
        "multi": several,
        "name": name,
        "options": [],
        "query": {"qryType": 1, "query": query, "refId": "PrometheusVariableQueryEditor-VariableQuery"},
        "refresh": 2,
        "regex": "",
        "sort": 1,
        "type": "query",
    }
