"""Which hosts may report on backups, the status page and deployments to Prometheus.

Any host could write such metrics. Those of a host that does not run the part are dropped on their way in.
https://prometheus.io/docs/prometheus/latest/configuration/configuration/#relabel_config
"""

import re
from collections.abc import Iterable, Iterator
from typing import Any

from fleet_config.expected import Expected
from leitstand.settings.fleet import Fleet

_CLAIM = "__claim"


def claim_rules(fleet: Fleet, expected: Expected) -> list[dict[str, Any]]:
    """``metric_relabel_configs`` that drop such metrics unless the instance runs what they tell of.

    RE2 cannot say "all but": what is claimed is marked, what is allowed loses the mark, the rest is dropped.
    """
    allowed = "|".join(_allowed(fleet, expected)) or "-"
    return [
        {
            "source_labels": ["__name__"],
            "regex": "leitstand_(backup|status_page|deployment)_.*",
            "target_label": _CLAIM,
            "replacement": "$1",
        },
        {  # what is missing in the backups, and in the file, of every host
            "source_labels": ["__name__"],
            "regex": "leitstand_(uncovered|coverage_).*",
            "target_label": _CLAIM,
            "replacement": "backup",
        },
        {
            "source_labels": [_CLAIM, "instance", "backup", "host"],
            "regex": allowed,
            "target_label": _CLAIM,
            "replacement": "",
        },
        {"source_labels": [_CLAIM], "regex": ".+", "action": "drop"},
    ]


def unheard(fleet: Fleet, expected: Expected) -> Iterator[str]:
    """Parts that run somewhere, but on no host of the fleet according to ``runs``."""
    over_ssh = {name for name, host in fleet.hosts.items() if host.ssh}
    remote = any(job.schedule and job.host in over_ssh for job in expected.backups.values())
    if remote and not any(host.runs_part("backups") for host in fleet.hosts.values()):
        yield "backups"
    if expected.page(fleet) and not any(host.runs_part("status_page") for host in fleet.hosts.values()):
        yield "status_page"


def _allowed(fleet: Fleet, expected: Expected) -> Iterator[str]:
    """Patterns of claim, instance, backup and host: all, of a host that runs the part; of one that is read
    without SSH its own backups, as they are made on it."""
    for name, host in fleet.hosts.items():
        own = [key for key, job in expected.backups.items() if job.host == name and host.ssh is None]
        if host.runs_part("backups"):
            yield f"backup;{re.escape(name)};.*"
        elif own:
            yield f"backup;{re.escape(name)};({_either(own)})?;({re.escape(name)})?"
        if host.runs_part("status_page"):
            yield f"status_page;{re.escape(name)};.*"
        if "leitstand" in host.roles:
            yield f"deployment;{re.escape(name)};.*"


def _either(names: Iterable[str]) -> str:
    return "|".join(map(re.escape, names))
