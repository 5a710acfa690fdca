"""Take everything off hosts that a roll-out put there. Backups, and the keys that open them, stay."""

import json
import shutil
import tempfile
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from leitstand.errors import UsageError
from leitstand.settings.words import did_you_mean
from leitstand.share import share
from rollout.ansible_run import AnsibleError, HostResult, Playbook, play
from rollout.apply.deployments import Deployments
from rollout.apply.shown import Shown

Variables = Mapping[str, Any]
_LOCAL = "local"


@dataclass
class Removal:
    """What came out: hosts without Leitstand, problems and warnings, hosts left as they were."""

    removed: list[str] = field(default_factory=list)
    changes: dict[str, list[str]] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    untouched: list[str] = field(default_factory=list)

    def take(self, results: Mapping[str, HostResult]) -> None:
        """Add the results of a playbook."""
        for host, result in results.items():
            self.changes[host] = result.changed
            self.warnings += [f"{host}: {text}" for text in result.warnings]
            if result.good:
                self.removed.append(host)
            else:
                self.problems[host] = result.problems[0]


def chosen_hosts(deployments: Deployments, names: Collection[str]) -> dict[str, Variables]:
    """Host → its variables in the newest roll-out that had it; the leitstand host last.

    Without ``names`` all hosts of the newest roll-out. Raises UsageError for one that no roll-out had, and
    for the leitstand host while it cares for others that are not removed as well.
    """
    inventories = [inventory for one in deployments.all() if (inventory := _inventory(one.inventory))]
    if not inventories:
        raise UsageError("no roll-out was made from this host", "run it on the leitstand host")
    known = {host: variables for inventory in inventories for host, variables in inventory.items()}
    for name in names:
        if name not in known:
            raise UsageError(f"no roll-out had a host '{name}'", did_you_mean(name, list(known)))
    hosts = {name: known[name] for name in names or inventories[-1]}
    own = next((name for name, variables in hosts.items() if _is_leitstand(variables)), None)
    if own and (left := [name for name in inventories[-1] if name not in hosts]):
        what = f"'{own}' is the leitstand host, which {', '.join(left)} would be left without"
        raise UsageError(what, "leave --host out to remove all, or name them as well")
    last = {own: hosts.pop(own)} if own else {}
    return hosts | last


def _is_leitstand(variables: Variables) -> bool:
    return "leitstand" in variables["leitstand_roles"]


def _inventory(file: Path) -> dict[str, Variables]:
    """Host → all its variables; none if the roll-out ended before it was written."""
    with suppress(OSError, ValueError, KeyError):
        group = json.loads(file.read_text(encoding="utf-8"))["all"]
        return {host: {**group["vars"], **variables} for host, variables in group["hosts"].items()}
    return {}


def remove(hosts: Mapping[str, Variables], shown: Shown, *, dry_run: bool) -> Removal:
    """Remove it from ``hosts``; from the leitstand host only if all others succeeded.

    Afterwards this program's own files may be gone: everything that is needed is loaded and copied before.
    """
    removal = Removal()
    with tempfile.TemporaryDirectory(prefix="leitstand-remove-") as name:
        folder = Path(name)
        shutil.copytree(share("ansible"), folder / "ansible")
        inventory = folder / "inventory.json"
        inventory.write_text(json.dumps({"all": {"hosts": hosts}}))
        own = [host for host, variables in hosts.items() if _is_leitstand(variables)]
        for part in ([host for host in hosts if host not in own], own):
            if removal.problems:
                removal.untouched += part
            elif part:
                shown.line(", ".join(part))
                _play(Playbook(folder / "ansible", "remove.yml", inventory, part, dry_run), shown, removal)
    return removal


def _play(playbook: Playbook, shown: Shown, removal: Removal) -> None:
    try:
        removal.take(play(playbook, shown))
    except AnsibleError as error:
        removal.problems.update(dict.fromkeys(playbook.hosts, error.message))
