"""Settings that are valid but rarely intended: `leitstand check` warns about them and still succeeds."""

import ipaddress
import os
import shlex
import stat
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

from pydantic import BaseModel

from leitstand.settings.fleet import Fleet
from leitstand.settings.problems import Finding, KeyPath
from leitstand.trust import Distrust, distrust, exposed

NamedFile = tuple[KeyPath, Path]


def of_fleet(fleet: Fleet, _: Fleet) -> Iterator[Finding]:
    """Duplicate hosts and services, and missing files."""
    for (one, host), (other, same) in combinations(fleet.hosts.items(), 2):
        if (_normal(host.address), host.exporter_port) == (_normal(same.address), same.exporter_port):
            what = f"has the same address and port as '{one}': one machine would be monitored as two"
            yield ("hosts", other, "address"), what, "is one of them mistyped?"
    for (one, service), (other, twin) in combinations(fleet.services.items(), 2):
        if (_normal(service.url), service.expect) == (_normal(twin.url), twin.expect):
            yield ("services", other, "url"), f"is also the URL of '{one}'", "is one of them mistyped?"
    yield from faulty_files(named_files(fleet, ()))


def _normal(address: str) -> str:
    """An address or URL in one form for all of its spellings."""
    try:
        return ipaddress.ip_address(address).compressed
    except ValueError:
        place, slashes, rest = address.rpartition("://")
        host, _, path = rest.partition("/")
        return f"{place}{slashes}{host.rstrip('.').lower()}/{path}".rstrip("/")


def named_files(settings: object, path: KeyPath) -> Iterator[NamedFile]:
    """Every file named by a setting, with the setting's path."""
    if isinstance(settings, BaseModel):
        for name, value in settings:
            if name.endswith("_file") and isinstance(value, Path):
                yield (*path, name), value
            else:
                yield from named_files(value, (*path, name))
    elif isinstance(settings, (dict, list)):
        for key, value in settings.items() if isinstance(settings, dict) else enumerate(settings):
            yield from named_files(value, (*path, key))


def faulty_files(files: Iterator[NamedFile]) -> Iterator[Finding]:
    """One finding per file that is missing, not a file, or exposed; one that is not accessible is unknown."""
    for file, path in {file: path for path, file in reversed([*files])}.items():
        try:
            status = file.stat()
        except PermissionError:
            yield path, f"{file} cannot be checked by this user", "check again as root"
        except OSError as error:
            what = "does not exist" if isinstance(error, FileNotFoundError) else str(error.strerror)
            yield path, f"{file}: {what}", _how_to_make(path)
        else:
            if not stat.S_ISREG(status.st_mode):
                yield path, f"{file} is not a file", _how_to_make(path)
            elif found := _exposed(path, file):
                yield path, f"{found.place} {found.what}", found.cure


def _exposed(path: KeyPath, file: Path) -> Distrust | None:
    """How a file is open to others; only checked by root, who usually owns them."""
    setting = str(path[-1])
    if os.geteuid() != 0:
        return None
    if path[0] == "alerts" or "exporter" in path:  # of the users that Alertmanager and Prometheus run as
        if setting in ("ca_file", "cert_file") or not file.stat().st_mode & stat.S_IROTH:
            return None
        return Distrust(file, "can be read by every user", f"chmod o= {shlex.quote(str(file))}")
    if setting in ("ca_file", "known_hosts_file", "service_file"):
        return distrust(file)
    return exposed(file, stat.S_IRWXO if setting == "credentials_file" else stat.S_IRWXG | stat.S_IRWXO)


def _how_to_make(path: KeyPath) -> str:
    setting = str(path[-1])
    if "deploy" in path and setting == "identity_file":
        return "ssh-keygen -t ed25519 -f FILE; then: ssh-copy-id -i FILE.pub USER@HOST"
    return {
        "keys_file": "create it once: leitstand backup keys generate",
        "credentials_file": "an ini file, mode 0600, with access_key and secret_key",
        "identity_file": "ssh-keygen -t ed25519 -N '' -f FILE; then: leitstand backup authorize HOST",
        "known_hosts_file": "leitstand backup authorize HOST says how to fetch the host's key",
    }.get(setting, "create it before it is used, unless it is on another machine")
