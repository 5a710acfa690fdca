#!/usr/bin/env python3
# ruff: noqa: T201 - what it prints is what it is for
"""Stands for apt-get, dpkg, systemctl and their like on a made-up machine, kept as files in $MACHINE.

installed/NAME and auto/NAME are packages, enabled/NAME units, started/NAME what ran and must not. A package
has a unit of its name. While $MACHINE/gate is there, an installation waits, as for a slow download.
"""

import os
import signal
import sys
import time
from pathlib import Path

MACHINE = Path(os.environ["MACHINE"])
POLICY = Path(os.environ["LEITSTAND_ROOT"]) / "usr" / "sbin" / "policy-rc.d"
NEEDED_BY = {"library": {"server"}, "server": {"admins-own"}}  # what must go with it


def names(folder: str) -> set[str]:
    return {path.name for path in (MACHINE / folder).iterdir()}


def put(folder: str, name: str) -> None:
    (MACHINE / folder / name).touch()


def apt_get(words: list[str]) -> int:
    packages = [word for word in words if word not in ("install", "remove", "purge") and word[0] != "-"]
    packages = [word for word in packages if "::" not in word]
    if "check" in words:
        locked = (MACHINE / "locked").exists()
        print("E: Could not get lock /var/lib/dpkg/lock-frontend" if locked else "")
    elif "install" in words and "-s" in words:
        new = sorted(set(packages) - names("installed"))
        print(*(f"Inst {name} (1.0 Debian:12 [amd64])" for name in new), sep="\n")
    elif "install" in words:
        return install(packages)
    elif "-s" in words:
        gone = {*packages, *(other for name in packages for other in NEEDED_BY.get(name, set()))}
        print(*(f"Remv {name} [1.0]" for name in sorted(gone & names("installed"))), sep="\n")
    elif {"remove", "purge"} & set(words):
        for name in packages:
            for folder in ("installed", "auto", "enabled"):
                (MACHINE / folder / name).unlink(missing_ok=True)
    return 0


def install(packages: list[str]) -> int:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    put("waiting", str(os.getpid()))
    while (MACHINE / "gate").exists():
        time.sleep(0.01)
    for name in packages:
        put("installed", name)
        put("enabled", name)
        if not POLICY.exists() or "exit 101" not in POLICY.read_text():
            put("started", name)
    return 0


def systemctl(words: list[str]) -> int:
    verb, unit = [word for word in words if word[0] != "-"][:2]
    name = unit.removesuffix(".service")
    if verb == "is-enabled":
        print("enabled" if name in names("enabled") else "disabled")
    elif verb == "disable":
        (MACHINE / "enabled" / name).unlink(missing_ok=True)
    return 3 if verb == "is-active" else 0


def main() -> int:
    name, words = Path(sys.argv[0]).name, sys.argv[1:]
    if name == "apt-get":
        return apt_get(words)
    if name == "systemctl":
        return systemctl(words)
    if name == "apt-mark" and words[0] == "auto":
        for package in words[1:]:
            put("auto", package)
    elif name == "apt-mark":
        print(*sorted(names("auto")), sep="\n")
    elif name == "dpkg-query":
        print(*(f"installed {package}" for package in sorted(names("installed"))), sep="\n")
    elif name == "dpkg" and words[0] == "-L":
        print(f"/.\n/lib/systemd/system/{words[1]}.service")
    return 0


if __name__ == "__main__":
    sys.exit(main())
