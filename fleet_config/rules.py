"""The rule files as shipped, with the pace of probing and the place of the runbooks from leitstand.yml."""

from pathlib import Path
from typing import Any

from fleet_config.durations import parse, scale, scale_expression
from fleet_config.output import Files, read_yaml, yaml_text
from leitstand.settings.fleet import Fleet

Rule = dict[str, Any]
STATUS_RULES = "status.rules.yml"


def rule_files(fleet: Fleet, share: Path) -> Files:
    """``rules/*.yml``. The status rules count samples, so their windows follow the interval of probing."""
    return {
        f"rules/{path.name}": yaml_text(_rules(fleet, path))
        for path in sorted((share / "rules").glob("*.yml"))
    }


def _rules(fleet: Fleet, path: Path) -> Any:
    content = read_yaml(path)
    for group in content["groups"]:
        if path.name == STATUS_RULES:
            scale_group(group, fleet.probing.interval / parse(group["interval"]))
        for rule in group["rules"]:
            if "alert" in rule and fleet.alerts.runbook_url:
                rule["annotations"]["runbook_url"] = fleet.alerts.runbook_url.replace(
                    "{alert}", rule["alert"]
                )
    return content


def scale_group(group: Rule, factor: float) -> None:
    """Make every duration of a rule group ``factor`` times as long, in place."""
    for holder in (group, *group["rules"]):
        for key in {"interval", "for", "keep_firing_for"} & holder.keys():
            holder[key] = scale(holder[key], factor)
    for rule in group["rules"]:
        rule["expr"] = scale_expression(rule["expr"], factor)
