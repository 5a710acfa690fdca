"""What is on this host: software, web, people, certificates. Looked up in the background."""

from exporter.inventory.source import SourceEntry

SOURCES: dict[str, SourceEntry] = {
    "host": SourceEntry(("host",), quick=True),
    "addresses": SourceEntry(("address", "default_route", "dns_server"), quick=True),
    "dpkg": SourceEntry(
        ("package",),
        watches=("/var/lib/dpkg/status", "/var/lib/apt/extended_states"),
        quick=True,
    ),
    "apk": SourceEntry(
        ("package",),
        watches=("/lib/apk/db/installed", "/usr/lib/apk/db/installed", "/etc/apk/world"),
        quick=True,
    ),
    "rpm": SourceEntry(
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
    "reboot": SourceEntry(("reboot_reason",), quick=True),
    "libraries": SourceEntry(("stale_library",), limit=30.0),
    "python": SourceEntry(("package",), limit=30.0),
    "npm": SourceEntry(("package",), limit=30.0),
    "composer": SourceEntry(("package",), limit=30.0),
    "bundles": SourceEntry(("package",)),
    "containers": SourceEntry(("container_image", "container"), limit=25.0),
    "php": SourceEntry(("php", "php_setting", "php_extension"), limit=60.0),
    "php_fpm": SourceEntry(("php_pool",), limit=15.0, quick=True),
    "web": SourceEntry(("virtual_host", "web_application"), limit=60.0),
    "databases": SourceEntry(("database",), limit=30.0),
    "listeners": SourceEntry(("listening_socket",), limit=20.0),
    "systemd": SourceEntry(("failed_unit", "timer"), limit=30.0, quick=True),
    "certificates": SourceEntry(("certificate",), limit=30.0),
    "users": SourceEntry(("user", "ssh_key")),
}
