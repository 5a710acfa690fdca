"""The Ansible inventory of the hosts with roles: how to log in to each, and what its roles need to know.

Forms: https://docs.ansible.com/ansible/latest/dev_guide/developing_inventory.html (of a script) and
https://docs.ansible.com/ansible/latest/collections/ansible/builtin/yaml_inventory.html (of a file).
"""

import socket
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from fleet_config.expected import Expected
from fleet_config.settings import CertificateFiles, Deploy
from leitstand.errors import UsageError
from leitstand.settings.fields import is_ip_address
from leitstand.settings.fleet import Fleet
from leitstand.settings.hosts import Host, is_loopback
from leitstand.settings.roles import GROUPS, all_roles, leitstand_host, managed_hosts, page_hosts

Variables = Mapping[str, Any]
_TEMPLATE_MARKS = ("{{", "{%", "{#")


@dataclass(frozen=True)
class Inventory:
    """Variables of each host, in the order of leitstand.yml; names of each group; variables of all."""

    hosts: Mapping[str, Variables]
    groups: Mapping[str, list[str]]
    variables: Variables

    def as_script(self) -> dict[str, Any]:
        """What an inventory script prints for ``--list``."""
        return {
            "_meta": {"hostvars": dict(self.hosts)},
            "all": {"hosts": list(self.hosts), "children": list(self.groups), "vars": self.variables},
            **{group: {"hosts": names} for group, names in self.groups.items()},
        }

    def as_file(self) -> dict[str, Any]:
        """The content of an inventory file."""
        groups: dict[str, Any] = {
            group: {"hosts": {name: {} for name in names}} for group, names in self.groups.items()
        }
        return {"all": {"hosts": dict(self.hosts), "vars": self.variables, "children": groups}}


def inventory(fleet: Fleet, expected: Expected, deploy: Deploy, here: str | None) -> Inventory:
    """The hosts with roles; ``here`` is the one that Ansible runs on, which needs no SSH.

    Raises UsageError for a text that Ansible would read as a template.
    """
    allowed = _allowed(fleet, deploy)
    made = Inventory(
        {
            name: _host_variables(fleet, name, host, allowed, is_here=name == here)
            for name, host in managed_hosts(fleet.hosts).items()
        },
        _groups(fleet, expected, deploy),
        _variables(fleet, expected, deploy),
    )
    for text in _texts([made.variables, made.hosts]):
        if mark := next((each for each in _TEMPLATE_MARKS if each in text), None):
            what = f"'{text}' contains '{mark}', which Ansible would read as a template"
            raise UsageError(what, "choose a path or address without it")
    return made


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list):
        for inner in value.values() if isinstance(value, Mapping) else value:
            yield from _texts(inner)


def leitstand_host_if_here(fleet: Fleet) -> str | None:
    """The leitstand host's name if this is that machine: if its address is one of this machine's.

    The system chooses the sender of a datagram to an own address: the same one. Nothing is sent.
    """
    name = leitstand_host(fleet.hosts)
    with suppress(OSError):
        address = fleet.hosts[name].address if name else ""
        for family, kind, _, _, place in socket.getaddrinfo(address or None, 9, type=socket.SOCK_DGRAM):
            with socket.socket(family, kind) as link:
                link.connect(place)
                if link.getsockname()[0] == link.getpeername()[0]:
                    return name
    return None


def _host_variables(
    fleet: Fleet, name: str, host: Host, allowed: list[str], *, is_here: bool
) -> dict[str, Any]:
    login = host.login
    found: dict[str, Any] = {
        "ansible_host": host.address,
        "ansible_connection": "local" if is_here else "ssh",
        "ansible_port": login.port,
        "ansible_user": login.user,
        "ansible_become": login.user != "root",
        "ansible_become_method": login.become,
        "leitstand_address": host.address,
        "leitstand_roles": all_roles(fleet.hosts, name),
        "leitstand_exporter_port": host.exporter_port,
        "leitstand_exporter_listen": _listen(host),
        "leitstand_exporter_tls": host.has_own_certificate,
        "leitstand_exporter_own_access": host.exporter is not None,
        "leitstand_allow": allowed,
    }
    if login.identity_file:
        found["ansible_ssh_private_key_file"] = str(login.identity_file)
    if host.ssh:
        found["leitstand_ssh"] = {
            "user": host.ssh.user,
            "port": host.ssh.port,
            "identity_file": str(host.ssh.identity_file or ""),
        }
    return found


def _listen(host: Host) -> str:
    """What a socket unit listens on: a loopback address alone, otherwise the port on every address."""
    if not is_loopback(host.address):
        return str(host.exporter_port)
    address = host.address if is_ip_address(host.address) else "127.0.0.1"
    return (
        f"[{address}]:{host.exporter_port}"
        if ip_address(address).version == 6
        else f"{address}:{host.exporter_port}"
    )


def _allowed(fleet: Fleet, deploy: Deploy) -> list[str]:
    """Who may ask exporters from another machine; loopback is always let in."""
    name = leitstand_host(fleet.hosts)
    address = fleet.hosts[name].address if name else ""
    own = [address] if is_ip_address(address) and not is_loopback(address) else []
    return list(dict.fromkeys([*own, *deploy.allow]))


def _groups(fleet: Fleet, expected: Expected, deploy: Deploy) -> dict[str, list[str]]:
    managed = managed_hosts(fleet.hosts)
    own = leitstand_host(fleet.hosts)
    read_over_ssh = {job.host for job in expected.backups.values() if job.host in managed}
    members: dict[str, set[str | None]] = {
        "leitstand": {own},
        "watched": {*managed},
        "status_page": {*page_hosts(fleet.hosts)},
        "ssh_source": {name for name in read_over_ssh if managed[name].ssh},
        "store": {own} if expected.stores else set(),
        "grafana": {own} if deploy.grafana else set(),
    }
    return {group: [name for name in managed if name in members[group]] for group in GROUPS}


def _variables(fleet: Fleet, expected: Expected, deploy: Deploy) -> dict[str, Any]:
    """What is the same for every host. Secrets are named by file; none is read here."""
    files = deploy.certificate if isinstance(deploy.certificate, CertificateFiles) else None
    return {
        "ansible_python_interpreter": "/usr/bin/python3",
        "leitstand_page_name": urlsplit(fleet.site.url or "").hostname or "",
        "leitstand_page_listen": expected.status_page.listen,
        "leitstand_certificate": "files" if files else deploy.certificate,
        "leitstand_cert_file": str(files.cert_file) if files else "",
        "leitstand_key_file": str(files.key_file) if files else "",
        "leitstand_acme_mail": deploy.acme_mail or "",
        "leitstand_grafana": deploy.grafana,
        "leitstand_max_parallel": deploy.max_parallel,
        "leitstand_state_folder": str(fleet.paths.state),
        "leitstand_metrics_folder": str(fleet.paths.metrics),
        "leitstand_mail": fleet.alerts.mail is not None,
        "leitstand_keys_files": sorted(
            {str(job.keys_file) for job in expected.backups.values() if job.keys_file}
        ),
        "leitstand_store_folders": [
            str(store.path) for store in expected.stores.values() if store.type == "folder"
        ],
    }
