"""Every kind of item in the inventory: its fields, and which of them become labels.

This table is the schema of the document: docs/inventory.md shows it, a test checks each source against it.
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
            "fqdn": "the full name from /etc/hosts or the search domain, else empty",
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
            "time_zone": "name, such as Europe/Berlin",
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
    "dns_server": Kind(
        "A name server that this host queries.", ("address",), {"address": "as in resolv.conf"}
    ),
    "package": Kind(
        "An installed package.",
        ("manager", "name", "version", "arch"),
        {
            "manager": "dpkg, apk, rpm, python, npm, composer, snap or flatpak",
            "name": "",
            "version": "as written by the manager",
            "arch": "architecture, where the manager has one",
            "source": "source package, where it differs",
            "manual": "true: installed on request; false: as a dependency; null: unknown",
            "installed": "Unix time of the last installation or upgrade, null if unknown",
            "path": "where it is installed, for managers without a fixed place",
        },
    ),
    "update": Kind(
        "A pending update.",
        ("manager", "name", "version", "candidate", "security", "held"),
        {
            "manager": "dpkg",
            "name": "",
            "arch": "",
            "version": "installed",
            "candidate": "the version that would be installed",
            "security": "true if a security archive has a newer version than the installed one",
            "held": "true if the admin has put the package on hold",
        },
    ),
    "reboot_reason": Kind(
        "A reason why the host needs a reboot.",
        ("reason", "detail"),
        {
            "reason": "package or kernel",
            "detail": "the package that requests it, the newest kernel, or a newer build of the running one",
        },
    ),
    "stale_library": Kind(
        "A running program that uses files replaced by an update.",
        ("unit", "program"),
        {"unit": "systemd unit, may be empty", "program": "", "files": "list of up to 50 deleted paths"},
    ),
    "container_image": Kind(
        "A container image on this host.",
        ("runtime", "name", "version", "id"),
        {
            "runtime": "docker or podman",
            "name": "repository",
            "version": "tag",
            "id": "first 12 digits",
            "created": "Unix time or null",
        },
    ),
    "container": Kind(
        "A running container.",
        ("runtime", "name", "image"),
        {
            "runtime": "docker or podman",
            "name": "",
            "image": "as given at its start",
            "id": "first 12 digits",
        },
    ),
    "container_volume": Kind(
        "A volume, or a folder of the host that a running container may write to.",
        ("runtime", "name", "path"),
        {
            "runtime": "docker or podman",
            "name": "of the volume; empty for a folder; * for all of an engine that may not be asked",
            "path": "on the host",
            "containers": "list of running containers that use it",
            "images": "list of the images of these containers",
        },
    ),
    "php": Kind(
        "An installed PHP.",
        ("version", "branch", "sapi", "path"),
        {
            "version": "e.g. 8.2.29",
            "branch": "e.g. 8.2",
            "sapi": "cli, fpm, apache, cgi or litespeed",
            "path": "of the program or module",
            "ini_files": "list, in the order PHP reads them",
            "end_of_life": "last day of security support by the PHP project, null for a newer branch",
        },
    ),
    "php_setting": Kind(
        "An important PHP setting from an ini file.",
        ("branch", "sapi", "name", "value"),
        {
            "branch": "",
            "sapi": "",
            "name": "",
            "value": "as written; one that depends on PHP's environment is left out",
        },
    ),
    "php_extension": Kind(
        "A PHP extension that is loaded.",
        ("branch", "sapi", "name", "version"),
        {"branch": "", "sapi": "", "name": "", "version": "empty if PHP could not be run"},
    ),
    "php_pool": Kind(
        "A pool of PHP-FPM.",
        ("name", "branch", "listen", "user"),
        {
            "name": "",
            "branch": "PHP branch, derived from the file's path, else empty",
            "listen": "address, empty if it depends on PHP-FPM's environment",
            "user": "",
            "manager": "static, dynamic or ondemand",
            "max_children": "as written",
            "settings": "list of name=value: important PHP settings that the pool overrides",
        },
    ),
    "virtual_host": Kind(
        "A virtual host of a web server.",
        ("server", "name", "root", "php"),
        {
            "server": "nginx or apache",
            "name": "the first name, may be empty",
            "aliases": "list of further names",
            "listen": "list, as written",
            "root": "",
            "certificates": "list of paths",
            "php": "list of PHP branches that serve it",
            "backends": "list of FastCGI addresses",
            "redirect": "true if every request is redirected or refused",
            "title": "of its index.html, if that is sure to be sent; else empty",
            "file": "where it is configured",
        },
    ),
    "web_application": Kind(
        "A web application.",
        ("name", "version", "path", "php"),
        {
            "name": "",
            "version": "empty if it could not be read",
            "path": "",
            "php": "list of PHP branches that serve it",
            "hosts": "list of the virtual hosts that serve it",
            "databases": "list of those that it uses, by its configuration: mysql:NAME, mysql:NAME@SERVER, "
            "sqlite:PATH; null if that cannot be read or does not name them",
            "data": "list of folders with its data elsewhere",
        },
    ),
    "database": Kind(
        "A database server program.",
        ("name", "version", "path"),
        {
            "name": "MariaDB, MySQL, PostgreSQL, Redis or Valkey",
            "version": "as reported by the program, empty if it could not be run",
            "path": "",
            "running": "true if a process of this name is running; null if other users' processes are hidden",
            "databases": "list of names, of MariaDB and MySQL by their data folder; null if unknown",
        },
    ),
    "mail_store": Kind(
        "A folder where mail is kept.",
        ("program", "path"),
        {
            "program": "Dovecot, Postfix, Cyrus or spool",
            "path": "the part that is the same for all users; /home if mail is in home folders",
        },
    ),
    "listening_socket": Kind(
        "A listening socket.",
        ("protocol", "address", "port", "program"),
        {
            "protocol": "tcp or udp",
            "address": "",
            "port": "",
            "program": "empty if the exporter may not see it",
        },
    ),
    "failed_unit": Kind("A systemd unit in the state failed.", ("name",), {"name": ""}),
    "timer": Kind(
        "A systemd timer.",
        ("name", "unit", "result"),
        {"name": "", "unit": "what it starts", "result": "of the unit's last run: success, exit-code, …"},
    ),
    "certificate": Kind(
        "A TLS certificate in use or in a usual place.",
        ("path", "subject", "issuer"),
        {
            "path": "",
            "subject": "RFC 4514",
            "issuer": "RFC 4514",
            "names": "list of DNS names and addresses",
            "not_before": "Unix time",
            "not_after": "Unix time",
            "fingerprint": "SHA-256, hexadecimal",
        },
    ),
    "user": Kind(
        "A user with a login shell.",
        ("name", "uid", "shell", "sudo"),
        {
            "name": "",
            "uid": "",
            "shell": "",
            "home": "",
            "sudo": "true if a sudo rule names the user or one of their groups; null if unknown",
        },
    ),
    "ssh_key": Kind(
        "An SSH public key: one with which a user can log in, or the host's own.",
        ("user", "type", "fingerprint"),
        {
            "user": "empty for the host's own keys",
            "type": "",
            "fingerprint": "as ssh-keygen -l prints it",
            "comment": "",
            "path": "",
        },
    ),
}
