"""Ansible module: everything that Leitstand's roles ask about a host, in one round trip. Changes nothing."""

from __future__ import annotations

import grp
import json
import os
import platform
import shutil
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = """
module: leitstand_look
short_description: What the roles need to know about a host
description:
  - Returns C(python), C(distribution), C(distribution_version), C(architecture), C(time), and C(free_mib) on
    the root file system.
  - Returns C(versions), those of installed packages out of C(packages).
  - Returns C(interrupted), whether an installation was interrupted.
  - Returns C(releases), package files that are kept on the host, and C(newest), the one that came last.
  - Returns C(filters), whether it may have a packet filter, and C(members) of the group C(group).
  - With C(require_ready) it fails on a host with too old a Python, too little room or a wrong clock.
options:
  require_ready: {description: Fail on a host that cannot have a release., type: bool, default: false}
  packages: {description: Packages to look for., type: list, elements: str, default: []}
  group: {description: A group whose members are wanted., type: str, default: leitstand}
  releases: {description: Folder of package files., type: path, default: /var/cache/leitstand/releases}
"""
_FORMAT = "--showformat=${db:Status-Status} ${Package} ${Version}\\n"


def versions(text: str) -> dict[str, str]:
    """Package → version of each installed one, from lines of dpkg-query."""
    found = [line.split() for line in text.splitlines()]
    return {words[1]: words[2] for words in found if len(words) == 3 and words[0] == "installed"}


def newest(folder: str) -> str:
    """The package file that came last, from the record of leitstand_release; empty without one."""
    try:
        names = json.loads(Path(folder, "order.json").read_text(encoding="utf-8"))
        return str(names[-1])
    except (OSError, ValueError, LookupError, TypeError):
        return ""


def distribution() -> tuple[str, str]:
    """Name and version, such as Debian and 12, Ubuntu and 24.04; unknown if the system does not say."""
    try:
        found = platform.freedesktop_os_release()
    except (OSError, AttributeError):
        return "unknown", ""
    return found.get("ID", "").capitalize(), found.get("VERSION_ID", "")


def members(group: str) -> list[str]:
    """The users of a group; none if it does not exist."""
    try:
        return sorted(grp.getgrnam(group).gr_mem)
    except KeyError:
        return []


def main() -> None:
    """Run as a module."""
    module = AnsibleModule(
        {
            "packages": {"type": "list", "elements": "str", "default": []},
            "group": {"type": "str", "default": "leitstand"},
            "releases": {"type": "path", "default": "/var/cache/leitstand/releases"},
        },
        supports_check_mode=True,
    )

    def output(*argv: str) -> str:
        status, text, _ = module.run_command(list(argv))
        return str(text) if status == 0 else ""

    packages, folder = module.params["packages"], module.params["releases"]
    shown = module.run_command(["dpkg-query", "--show", _FORMAT, *packages])[1] if packages else ""
    name, version = distribution()
    updates = Path("/var/lib/dpkg/updates")
    module.exit_json(
        changed=False,
        python=platform.python_version(),
        distribution=name,
        distribution_version=version,
        architecture=platform.machine(),
        free_mib=shutil.disk_usage("/").free >> 20,
        versions=versions(shown),
        interrupted=bool(output("dpkg", "--audit") or (updates.is_dir() and any(updates.iterdir()))),
        releases=[path.name for path in Path(folder).glob("*.deb")],
        newest=newest(folder),
        filters=bool(shutil.which("nft", path=_path()))
        and module.run_command(["nft", "list", "tables"])[0] == 0,
        members=members(module.params["group"]),
        time=int(output("date", "+%s") or 0),
    )


def _path() -> str:
    return os.environ.get("PATH", "") + ":/usr/sbin:/sbin"


if __name__ == "__main__":
    main()
