"""blackbox.yml: one module per service, because each has its own idea of a good answer.

Keys: https://github.com/prometheus/blackbox_exporter/blob/master/CONFIGURATION.md
"""

import copy
from pathlib import Path
from typing import Any

from fleet_config.output import Files, read_yaml, yaml_text
from leitstand.settings.fleet import Fleet, Service

CANARY_MODULE, PAGE_MODULE = "canary", "status_page"
LARGEST_BODY = "16MB"


def blackbox_files(fleet: Fleet, share: Path) -> Files:
    """``blackbox.yml``: the canary's module as shipped, and ``service`` for the page and for each service."""
    shipped = read_yaml(share / "blackbox.yml")["modules"]
    modules = {CANARY_MODULE: shipped[CANARY_MODULE], PAGE_MODULE: shipped["service"]}
    modules |= {
        module_name(name): _module(shipped["service"], service) for name, service in fleet.services.items()
    }
    return {"blackbox.yml": yaml_text({"modules": modules})}


def module_name(service: str) -> str:
    return f"service_{service}"


def _module(shipped: dict[str, Any], service: Service) -> dict[str, Any]:
    module = copy.deepcopy(shipped)
    http = module["http"]
    if service.status:
        http["valid_status_codes"] = list(service.status)
        # A state of 3xx that is asked for is the answer itself, not a way to another one.
        http["follow_redirects"] = not any(300 <= status < 400 for status in service.status)
    if service.expect is not None:
        http["fail_if_body_not_matches_regexp"] = [service.expect]
        # It is read into memory as a whole: one without an end would take the prober from all services.
        http["body_size_limit"] = LARGEST_BODY
    if service.url.lower().startswith("https:"):
        http["fail_if_not_ssl"] = True
    return module
