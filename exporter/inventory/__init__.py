"""What is on this host: software, web, people, certificates. Looked up in the background."""

from exporter.inventory.source import SourceEntry

SOURCES: dict[str, SourceEntry] = {
    "host": SourceEntry("host:read", ("host",), quick=True),
    "addresses": SourceEntry("addresses:read", ("address", "default_route", "dns_server"), quick=True),
    "dpkg": SourceEntry(
        "dpkg:read",
        ("package",),
        watches=("/var/lib/dpkg/status", "/var/lib/apt/extended_states"),
        quick=True,
    ),
    "apk": SourceEntry(
        "apk:read",
        ("package",),
        watches=("/lib/apk/db/installed", "/usr/lib/apk/db/installed", "/etc/apk/world"),
        quick=True,
    ),
    "rpm": SourceEntry(
        "rpm:read",
        ("package",),
        watches=(
            # Not -shm beside them, which every reader touches.
            "/usr/lib/sysimage/rpm/rpmdb.sqlite",
            "/usr/lib/sysimage/rpm/rpmdb.sqlite-wal",
            "/var/lib/rpm/rpmdb.sqlite",
            "/var/lib/rpm/rpmdb.sqlite-wal",
            "/var/lib/rpm/Packages*",
            "/var/lib/dnf/history.sqlite",
            "/var/lib/dnf/history.sqlite-wal",
        ),
        limit=30.0,
    ),
    "apt": SourceEntry(
        "apt:read",
        ("update",),
        watches=(
            "/var/lib/dpkg/status",
            "/var/lib/apt/lists",
            "/var/lib/apt/lists/partial",
            "/var/lib/apt/periodic/update-success-stamp",
            "/etc/apt/preferences",
            "/etc/apt/preferences.d/*",
            "/etc/apt/apt.conf",
            "/etc/apt/apt.conf.d/*",
            "/etc/apt/sources.list",
            "/etc/apt/sources.list.d/*",
            "/etc/machine-id",
        ),
        limit=60.0,
    ),
    "reboot": SourceEntry("reboot:read", ("reboot_reason",), quick=True),
    "libraries": SourceEntry("libraries:read", ("stale_library",), limit=30.0),
    "python": SourceEntry("python:read", ("package",), limit=30.0),
    "npm": SourceEntry("npm:read", ("package",), limit=30.0),
    "composer": SourceEntry("composer:read", ("package",), limit=30.0),
    "bundles": SourceEntry("bundles:read", ("package",)),
    "containers": SourceEntry("containers:read", ("container_image", "container"), limit=25.0),
    "php": SourceEntry("php:read", ("php", "php_setting", "php_extension"), limit=60.0),
    "php_fpm": SourceEntry("fpm:read", ("php_pool",), limit=15.0, quick=True),
    "web": SourceEntry("web:read", ("virtual_host", "web_application"), limit=60.0),
    "databases": SourceEntry("databases:read", ("database",), limit=30.0),
    "listeners": SourceEntry("listeners:read", ("listening_socket",), limit=20.0),
    "systemd": SourceEntry("systemd:read", ("failed_unit", "timer"), limit=30.0, quick=True),
    "certificates": SourceEntry("certificates:read", ("certificate",), limit=30.0),
    "users": SourceEntry("users:read", ("user", "ssh_key")),
}
