"""The host's inventory: software, web, users, certificates. Collected in the background."""

from exporter.inventory.source import SourceEntry

SOURCES: dict[str, SourceEntry] = {
    "host": SourceEntry("name, hardware, distribution and kernel of the host", ("host",), quick=True),
    "addresses": SourceEntry(
        "IP addresses, default routes and DNS servers", ("address", "default_route", "dns_server"), quick=True
    ),
    "dpkg": SourceEntry(
        "installed packages of Debian and Ubuntu",
        ("package",),
        watches=("/var/lib/dpkg/status", "/var/lib/apt/extended_states"),
        quick=True,
    ),
    "apk": SourceEntry(
        "installed packages of Alpine",
        ("package",),
        watches=("/lib/apk/db/installed", "/usr/lib/apk/db/installed", "/etc/apk/world"),
        quick=True,
    ),
    "rpm": SourceEntry(
        "installed packages of RPM-based systems",
        ("package",),
        watches=(
            # Without -shm, which every reader touches.
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
        "pending updates, from apt's package lists",
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
    "reboot": SourceEntry("reasons why the host needs a reboot", ("reboot_reason",), quick=True),
    "libraries": SourceEntry("running programs that use replaced libraries", ("stale_library",), limit=30.0),
    "python": SourceEntry("installed Python packages", ("package",), limit=30.0),
    "npm": SourceEntry("installed npm packages", ("package",), limit=30.0),
    "composer": SourceEntry("packages installed by Composer", ("package",), limit=30.0),
    "bundles": SourceEntry("applications installed by snap and Flatpak", ("package",)),
    "containers": SourceEntry(
        "images, running containers and volumes of Docker and Podman",
        ("container_image", "container", "container_volume"),
        limit=25.0,
    ),
    "php": SourceEntry(
        "PHP versions, important settings and extensions", ("php", "php_setting", "php_extension"), limit=60.0
    ),
    "php_fpm": SourceEntry("pools of PHP-FPM and their status", ("php_pool",), limit=15.0, quick=True),
    "web": SourceEntry("virtual hosts and web applications", ("virtual_host", "web_application"), limit=60.0),
    "mail": SourceEntry("folders where mail is kept", ("mail_store",)),
    "databases": SourceEntry("database servers and their versions", ("database",), limit=30.0),
    "listeners": SourceEntry("listening sockets and their programs", ("listening_socket",), limit=20.0),
    "systemd": SourceEntry("failed units and timers", ("failed_unit", "timer"), limit=30.0, quick=True),
    "certificates": SourceEntry("TLS certificates and their expiry", ("certificate",), limit=30.0),
    "users": SourceEntry("users with a login shell, their sudo rights and SSH keys", ("user", "ssh_key")),
}
