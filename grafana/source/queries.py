"""Every query of a dashboard as Prometheus would get it, so that tests can ask a real one."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from grafana.source.elements import Json

# What Grafana itself sets. The rate interval is four scrape intervals there, so a test names its own.
BUILT_IN = {"__rate_interval": "1m", "__interval": "15s", "__range": "1h", "__range_s": "3600"}
_VARIABLE = re.compile(r"\$(?:\{(?P<braced>\w+)(?::\w+)?\}|(?P<plain>\w+))")


@dataclass(frozen=True)
class PanelQuery:
    """One query of one panel, or of a variable."""

    panel: str
    name: str
    expression: str
    instant: bool


def queries(dashboard: Json, variables: Mapping[str, str]) -> Iterator[PanelQuery]:
    """The queries of all panels, with ``variables`` (name to value or pattern) put in.

    Raises KeyError for a variable that is neither given nor Grafana's own.
    """
    values = {**BUILT_IN, **variables}
    for panel in panels(dashboard):
        for target in panel.get("targets", []):
            expression = substitute(target["expr"], values)
            yield PanelQuery(panel["title"], target["refId"], expression, target["instant"])


def variable_queries(dashboard: Json, variables: Mapping[str, str]) -> Iterator[PanelQuery]:
    """The queries behind ``label_values(…)``: an expression whose series must be there."""
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            text = substitute(variable["query"]["query"], variables)
            selector, _, label = text.removeprefix("label_values(").removesuffix(")").rpartition(", ")
            yield PanelQuery(f"variable {variable['name']}", label, f"group by ({label}) ({selector})", True)


def panels(dashboard: Json) -> Iterator[Json]:
    """All panels, also those inside a collapsed row."""
    for panel in dashboard["panels"]:
        yield panel
        yield from panel.get("panels", [])


def substitute(expression: str, values: Mapping[str, str]) -> str:
    """``expression`` with each ``$name`` and ``${name}`` replaced."""

    def value(match: re.Match[str]) -> Any:
        return values[match["braced"] or match["plain"]]

    return _VARIABLE.sub(value, expression)
