"""The function of each source. Only the worker imports this, so the exporter itself loads none of them."""

from exporter.inventory import (
    addresses,
    apk,
    apt,
    bundles,
    composer,
    databases,
    dpkg,
    fpm,
    host,
    libraries,
    listeners,
    mail,
    npm,
    php,
    python,
    reboot,
    rpm,
    systemd,
    users,
    web,
)
from exporter.inventory.source import Context, Findings, Read


def certificates(context: Context) -> Findings:
    """Import late, in the process of this source: cryptography takes long to load."""
    from exporter.inventory.certificates import read

    return read(context)


def containers(context: Context) -> Findings:
    """Import late, as http.client brings ssl."""
    from exporter.inventory.containers import read

    return read(context)


READERS: dict[str, Read] = {
    "host": host.read,
    "addresses": addresses.read,
    "dpkg": dpkg.read,
    "apk": apk.read,
    "rpm": rpm.read,
    "apt": apt.read,
    "reboot": reboot.read,
    "libraries": libraries.read,
    "python": python.read,
    "npm": npm.read,
    "composer": composer.read,
    "bundles": bundles.read,
    "containers": containers,
    "php": php.read,
    "php_fpm": fpm.read,
    "web": web.read,
    "mail": mail.read,
    "databases": databases.read,
    "listeners": listeners.read,
    "systemd": systemd.read,
    "certificates": certificates,
    "users": users.read,
}
