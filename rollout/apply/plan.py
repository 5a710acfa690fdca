"""What a roll-out wants: everything rendered for each host, and the hash that shows that a host runs it."""

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fleet_config.alertmanager import alertmanager_files
from fleet_config.ansible import Inventory, inventory
from fleet_config.expected import Expected
from fleet_config.grafana import grafana_files
from fleet_config.output import Files, json_text, write_files, yaml_text
from fleet_config.prometheus import Addresses, prometheus_files
from fleet_config.settings import DeploySettings
from leitstand.errors import UsageError
from leitstand.prometheus import Prometheus
from leitstand.settings.config import Document, read
from leitstand.settings.fleet import Fleet
from leitstand.settings.hosts import KNOWN_HOSTS
from leitstand.settings.roles import leitstand_host
from leitstand.share import share
from rollout.apply.deployments import Deployment
from rollout.apply.proof import LOADED, Runs

CA = Path("/etc/leitstand/ca")
PACKAGES = Path("/var/cache/leitstand/releases")
GRAFANA = Path("/etc/leitstand/grafana")
PAGE_SETTINGS = "status-page/leitstand.yml"
_HASH_RULES = "prometheus/rules/configuration.yml"


@dataclass(frozen=True)
class Places:
    """Where the leitstand host keeps what outlasts a roll-out."""

    authority: Path = CA
    packages: Path = PACKAGES
    known_hosts: Path = KNOWN_HOSTS


@dataclass(frozen=True)
class Plan:
    """The inventory of a roll-out, the files of each host, and what each must run in the end."""

    release: str
    inventory: Inventory
    files: Mapping[str, Files]
    leitstand: str

    @property
    def configurations(self) -> dict[str, str]:
        """Host → hash of what is set up on it; the rendered files of the leitstand host have their own."""
        return {
            host: _hash(
                {
                    "variables": variables,
                    "all": self.inventory.variables
                    if set(variables["leitstand_roles"]) != {"watched"}
                    else {},
                }
                | ({"files": files} if (files := self.files[host]) and host != self.leitstand else {})
            )
            for host, variables in self.inventory.hosts.items()
        }

    @property
    def monitoring(self) -> str:
        """Hash of the files that Prometheus, Alertmanager and the prober load."""
        return _hash(self.files[self.leitstand])

    @property
    def wanted(self) -> dict[str, Runs]:
        """What each host must run."""
        return {host: Runs(self.release, hashed) for host, hashed in self.configurations.items()}

    @property
    def roles(self) -> dict[str, list[str]]:
        """Host → its roles, in the order of leitstand.yml."""
        return {host: list(variables["leitstand_roles"]) for host, variables in self.inventory.hosts.items()}


def _hash(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def own_prometheus() -> Prometheus:
    """That of the leitstand host, at the address at which it is configured to listen."""
    return Prometheus(f"http://{Addresses().prometheus}", timeout=5.0)


def package_version(release: str) -> str:
    """How Debian's packages call a release: a development version comes before it (deb-version(7))."""
    return release.replace(".dev", "~dev")


def make_plan(document: Document, release: str) -> Plan:
    """The plan for a leitstand.yml; raises ConfigError for one with mistakes, UsageError without roles."""
    fleet, expected = read(document, Fleet), read(document, Expected)
    deploy = read(document, DeploySettings).deploy
    own = leitstand_host(fleet.hosts)
    if own is None:
        raise UsageError(
            "no host has the role 'leitstand'", "add 'roles: [leitstand]' to this machine's entry"
        )
    found = inventory(fleet, expected, deploy, own)
    files: dict[str, Files] = {host: {} for host in found.hosts}
    files[own] = files_of_leitstand_host(fleet, expected)
    for host in found.groups["status_page"]:
        if host != own:
            files[host] = {PAGE_SETTINGS: _page_settings(document, expected)}
    return Plan(release, found, files, own)


def _page_settings(document: Document, expected: Expected) -> str:
    """A leitstand.yml for another host of the page: what visitors see anyway, and nothing else."""
    page = {"listen": expected.status_page.listen, "workers": expected.status_page.workers}
    return yaml_text({"site": document.data.get("site") or {}, "status_page": page})


def files_of_leitstand_host(fleet: Fleet, expected: Expected) -> Files:
    """All that is rendered for the leitstand host: ``prometheus/…``, ``alertmanager/…``, ``grafana/…``."""
    shipped = share("prometheus")
    parts = {
        "prometheus": prometheus_files(fleet, expected, Addresses(), shipped),
        "alertmanager": alertmanager_files(fleet, shipped / "alertmanager"),
        "grafana": grafana_files(fleet, Addresses().prometheus, GRAFANA, share("grafana")),
    }
    return {f"{part}/{path}": text for part, files in parts.items() for path, text in files.items()}


def write_plan(plan: Plan, deployment: Deployment, source: Path, places: Places = Places()) -> None:
    """Write all that Ansible needs into the folder of a deployment; ``source`` is the leitstand.yml."""
    hashes = plan.configurations
    for host, files in plan.files.items():
        more = {_HASH_RULES: _hash_rules(plan.monitoring)} if host == plan.leitstand else {}
        write_files(deployment.rendered / host, {**files, **more})
    shutil.copytree(share("ansible"), deployment.ansible)
    _copy(source, deployment.config)
    made = _with_places(plan, deployment, hashes, places)
    deployment.inventory.write_text(json_text(made.as_file()))


def _copy(source: Path, target: Path) -> None:
    shutil.copytree(source, target) if source.is_dir() else shutil.copyfile(source, target)


def _hash_rules(hashed: str) -> str:
    """A rule by which Prometheus shows which configuration it has loaded."""
    rule = {"record": LOADED, "expr": "vector(1)", "labels": {"configuration": hashed}}
    return yaml_text({"groups": [{"name": "configuration", "rules": [rule]}]})


def _with_places(plan: Plan, deployment: Deployment, hashes: Mapping[str, str], places: Places) -> Inventory:
    variables = {
        "leitstand_release": plan.release,
        "leitstand_package_version": package_version(plan.release),
        "leitstand_monitoring": plan.monitoring,
        "leitstand_config": str(deployment.config),
        "leitstand_packages": str(places.packages),
        "leitstand_rendered": str(deployment.rendered),
        "leitstand_ca": str(places.authority),
        "ansible_ssh_common_args": f"-o UserKnownHostsFile={places.known_hosts} -o StrictHostKeyChecking=yes",
    }
    hosts = {
        host: {**given, "leitstand_configuration": hashes[host]}
        for host, given in plan.inventory.hosts.items()
    }
    return Inventory(hosts, plan.inventory.groups, {**plan.inventory.variables, **variables})
