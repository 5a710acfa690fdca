"""The alerts that fire: what each is about, and since when."""

from grafana.source.elements import Column, Json, table
from grafana.source.states import SEVERITIES

# What an alert can be about, beside its host: label and title.
_ABOUT = {
    "service": "Service",
    "backup": "Backup",
    "name": "Unit",
    "mountpoint": "Mounted at",
    "path": "File",
    "collector": "Collector",
}
# An alert about a backup has a label `host`, whose data it is; its `instance` only reports it.
_OF_HOST = 'label_join({metric}{{{more}host!=""}}, "instance", "", "host") or {metric}{{{more}host=""}}'


def firing(severity: str = "") -> str:
    """The firing alerts, each with the host that it is about as ``instance``."""
    more = 'alertstate="firing", ' + (f'severity="{severity}", ' if severity else "")
    return f"({_OF_HOST.format(metric='ALERTS', more=more)})"


def worst_alert(instances: str) -> str:
    """For each host the alert that decides its state, as label ``alertname``."""
    by = "max by (instance, alertname)"
    ranked = f"2 * {by} ({firing('critical')}) or {by} ({firing('warning')})"
    return f"topk by (instance) (1, ({ranked}) and on (instance) {instances})"


def alerts_table(title: str, description: str, only: str, host: Column | None) -> Json:
    """The firing alerts, critical ones first. ``only`` restricts the query; ``host`` is a column or none."""
    columns = [
        Column("severity", "Severity", mappings=SEVERITIES, cell="color-background", width=90),
        Column("alertname", "Alert", width=190),
        *([host] if host else []),
        *(Column(label, title) for label, title in _ABOUT.items()),
        Column("since", "For", "s", decimals=0, width=110),
    ]
    labels = ", ".join(["alertname", "severity", "instance", *_ABOUT])
    started = f"({_OF_HOST.format(metric='ALERTS_FOR_STATE', more='')})"
    query = f"max by ({labels}) (time() - {started} and ignoring (alertstate) {firing()}{only})"
    hidden = [] if host else ["instance"]
    return table(title, description, {"since": query}, columns, ("Severity", False), hidden=hidden)
