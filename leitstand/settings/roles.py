"""Which host does what: roles as `leitstand apply` uses them, and mistakes in them."""

import ipaddress
from collections.abc import Iterator, Mapping
from itertools import combinations

from leitstand.settings.hosts import EXPORTER_PORT, Host, Role, is_loopback
from leitstand.settings.problems import Finding

Hosts = Mapping[str, Host]
GROUPS = ("leitstand", "watched", "status_page", "ssh_source", "store", "grafana")
_NAMES_OF_ANSIBLE = {*GROUPS, "all", "ungrouped", "localhost"}
_TAKEN = {22: "sshd", 25: "the mail server", 80: "the web server", 443: "the web server"}
_TAKEN_BESIDE_PROMETHEUS = {
    3000: "Grafana",
    8080: "the status page",
    9090: "Prometheus",
    9093: "Alertmanager",
    9115: "blackbox_exporter",
}


def managed_hosts(hosts: Hosts) -> dict[str, Host]:
    """The hosts that `leitstand apply` cares for, in the order of the file."""
    return {name: host for name, host in hosts.items() if host.roles}


def leitstand_host(hosts: Hosts) -> str | None:
    """The name of the host with the role 'leitstand'."""
    return next((name for name, host in hosts.items() if "leitstand" in host.roles), None)


def page_hosts(hosts: Hosts) -> list[str]:
    """The hosts that serve the status page: those with the role, otherwise the leitstand host."""
    named = [name for name, host in hosts.items() if "status_page" in host.roles]
    own = leitstand_host(hosts)
    return named or ([own] if own else [])


def all_roles(hosts: Hosts, name: str) -> list[Role]:
    """The roles of a host with those that 'leitstand' implies."""
    given = hosts[name].roles
    found: dict[Role, bool] = {
        "leitstand": "leitstand" in given,
        "watched": bool(given),
        "status_page": name in page_hosts(hosts),
    }
    return [role for role, is_given in found.items() if is_given]


def role_findings(hosts: Hosts) -> Iterator[Finding]:
    """Mistakes in the roles of hosts, and in what those roles need."""
    managed = managed_hosts(hosts)
    for name, host in managed.items():
        yield from _of_one(name, host)
    with_role = [name for name, host in managed.items() if "leitstand" in host.roles]
    for name in with_role[1:]:
        what = f"'{with_role[0]}' already has the role 'leitstand'"
        yield ("hosts", name, "roles"), what, "give it to one host only; the others are [watched]"
    if managed and not with_role and getattr(hosts, "complete", True):
        hint = "add 'roles: [leitstand]' to the machine that runs Prometheus"
        yield ("hosts", next(iter(managed)), "roles"), "no host has the role 'leitstand'", hint
    for (one, host), (other, same) in combinations(managed.items(), 2):
        if _place(host) == _place(same):
            what = f"has the same address and SSH port as '{one}': both would be set up on one machine"
            yield ("hosts", other, "address"), what, "is one of them mistyped?"


def _of_one(name: str, host: Host) -> Iterator[Finding]:
    path = ("hosts", name)
    if name in _NAMES_OF_ANSIBLE:
        what = f"a host with roles cannot be named '{name}': Ansible would take it for a group"
        yield path, what, f"choose another name, such as '{name.replace('_', '-')}1'"
    for index, role in enumerate(host.roles):
        if role in host.roles[:index]:
            yield (*path, "roles", index), f"'{role}' is named twice", "name each role once"
    if set(host.roles) == {"status_page"}:
        yield (*path, "roles"), "a host with the page is watched, too", "write [watched, status_page]"
    if is_loopback(host.address) and "leitstand" not in host.roles:
        what = "a loopback address is the machine itself: only the host with the role 'leitstand' may have it"
        yield (*path, "address"), what, "write the address at which the leitstand host reaches it"
    taken = _TAKEN | (_TAKEN_BESIDE_PROMETHEUS if "leitstand" in host.roles else {})
    taken[host.login.port or 0] = "sshd"
    if host.exporter_port in taken:
        what = f"port {host.exporter_port} is used by {taken[host.exporter_port]}"
        yield (*path, "exporter_port"), what, f"choose another, such as {EXPORTER_PORT}"


def _place(host: Host) -> tuple[str, int | None]:
    try:
        address = ipaddress.ip_address(host.address).compressed
    except ValueError:
        address = host.address.lower().rstrip(".")
    return address, host.login.port
