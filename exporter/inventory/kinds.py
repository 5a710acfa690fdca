"""Every kind of item the inventory knows: its fields and which of them become labels.

This table is the schema of the document: docs/inventory.md shows it and a test holds each source to it.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Kind:
    """``labels`` of the series ``leitstand_<kind>_info``, taken from ``fields``: name -> meaning."""

    help: str
    labels: tuple[str, ...]
    fields: dict[str, str]


KINDS: dict[str, Kind] = {
    "host": Kind(
        "The host itself.",
        (
            "hostname",
            "fqdn",
            "machine_id",
            "kernel",
            "distribution",
            "distribution_version",
            "virtualisation",
        ),
        {
            "hostname": "the kernel's node name",
            "fqdn": "the full name by /etc/hosts or the search domain, else empty",
            "aliases": "list of further names in /etc/hosts",
            "machine_id": "/etc/machine-id",
            "boot_id": "identifies this boot",
            "virtualisation": "kvm, vmware, docker, … or none",
            "hardware_vendor": "from DMI or the device tree",
            "hardware_model": "from DMI or the device tree",
            "kernel": "release of the running kernel",
            "architecture": "of the running kernel",
            "distribution": "ID of os-release, e.g. debian",
            "distribution_version": "VERSION_ID of os-release",
            "distribution_name": "PRETTY_NAME of os-release",
            "time_zone": "name as Europe/Berlin",
        },
    ),
    "address": Kind(
        "An address of this host.",
        ("interface", "family", "address", "prefix", "scope"),
        {
            "interface": "name of the network interface",
            "family": "inet or inet6",
            "address": "without prefix",
            "prefix": "length in bits",
            "scope": "global, site, link or host",
        },
    ),
    "default_route": Kind(
        "A default route.",
        ("family", "gateway", "interface"),
        {
            "family": "inet or inet6",
            "gateway": "address, empty for a route without one",
            "interface": "name",
            "metric": "priority",
        },
    ),
    "dns_server": Kind("A name server this host asks.", ("address",), {"address": "as in resolv.conf"}),
    "package": Kind(
        "An installed package.",
        ("manager", "name", "version", "arch"),
        {
            "manager": "dpkg, apk, rpm, python, npm, composer, snap or flatpak",
            "name": "",
            "version": "as the manager writes it",
            "arch": "architecture, where the manager has one",
            "source": "source package, where it differs",
            "manual": "true: asked for; false: came as a dependency; null: unknown",
            "installed": "Unix time of the last installation or upgrade, null if unknown",
            "path": "where it stands, for managers without one place",
        },
    ),
}
