"""The watch list: the few packages whose versions are worth a series on every host at every scrape.

A million package series cost Prometheus more than 2 GB; some twenty per host cost nothing that shows.
"""

import fnmatch
import re
from collections.abc import Iterable, Sequence

from exporter.inventory.source import Item

# Shell patterns of package names over Debian's, Alpine's and Red Hat's naming.
WATCHED = (
    "linux-image-[0-9]*", "kernel", "kernel-core", "linux-lts", "linux-virt",
    "libc6", "glibc", "musl", "systemd", "sudo", "bash",
    "openssl", "openssl-libs", "libssl[13]*", "gnutls", "libgnutls30*", "ca-certificates",
    "openssh-server", "openssh-client", "openssh", "curl", "libcurl4*",
    "nginx", "apache2", "httpd", "haproxy", "varnish", "caddy",
    "php*-fpm", "php*-cli", "php-common", "libapache2-mod-php*", "python3", "nodejs",
    "docker-ce", "docker.io",
    "containerd", "containerd.io", "podman", "runc",
    "mariadb-server", "mysql-server", "postgresql-[0-9]*", "redis-server", "valkey-server",
    "postfix", "exim4-daemon-*", "dovecot-core", "bind9", "unbound", "samba", "leitstand",
)  # fmt: skip
MAXIMUM_WATCHED = 60
SYSTEM_MANAGERS = ("dpkg", "apk", "rpm")


def watched(packages: Iterable[Item], patterns: Sequence[str]) -> list[tuple[str, str]]:
    """(name, version) of the system's packages that match a pattern, sorted, each once."""
    wanted = re.compile("|".join(map(fnmatch.translate, patterns)) or r"(?!)")
    return sorted(
        {
            (str(item["name"]), str(item["version"]))
            for item in packages
            if item["manager"] in SYSTEM_MANAGERS and wanted.match(str(item["name"]))
        }
    )
