"""What is no mistake by itself but rarely meant: `leitstand check` warns of it and ends well all the same."""

import stat
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

from pydantic import BaseModel

from leitstand.fleet import Finding, Fleet
from leitstand.problems import KeyPath

NamedFile = tuple[KeyPath, Path]


def of_fleet(fleet: Fleet, _: Fleet) -> Iterator[Finding]:
    """Hosts and services that are the same twice, and files that are not there."""
    for (one, host), (other, same) in combinations(fleet.hosts.items(), 2):
        if (host.address.lower(), host.exporter_port) == (same.address.lower(), same.exporter_port):
            what = f"has the address and port of '{one}': one machine would be measured as two"
            yield ("hosts", other, "address"), what, "is one of them mistyped?"
    for (one, service), (other, twin) in combinations(fleet.services.items(), 2):
        if (service.url, service.expect) == (twin.url, twin.expect):
            yield ("services", other, "url"), f"is what '{one}' asks for, too", "is one of them mistyped?"
    yield from faulty_files(named_files(fleet, ()))


def named_files(settings: object, path: KeyPath) -> Iterator[NamedFile]:
    """Every file that a setting names, and where the setting stands."""
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
    """A finding for each file that is not there, once. What may not be looked at is not known."""
    for file, path in {file: path for path, file in reversed([*files])}.items():
        try:
            status = file.stat()
        except PermissionError:
            yield path, f"{file} cannot be looked at by this user", "check again as root"
        except OSError as error:
            what = "is not there" if isinstance(error, FileNotFoundError) else str(error.strerror)
            yield path, f"{file}: {what}", _how_to_make(str(path[-1]))
        else:
            if not stat.S_ISREG(status.st_mode):
                yield path, f"{file} is no file", _how_to_make(str(path[-1]))


def _how_to_make(setting: str) -> str:
    return {
        "keys_file": "make it once: leitstand backup keys generate",
        "credentials_file": "an ini file, mode 0600, with access_key and secret_key",
        "identity_file": "ssh-keygen -t ed25519 -N '' -f FILE; then: leitstand backup authorize HOST",
        "known_hosts_file": "leitstand backup authorize HOST says how to fetch the host's key",
    }.get(setting, "make it before it is used; if it is on another machine, all is well")
