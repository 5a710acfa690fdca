"""Ansible module: units of systemd run, now and after a reboot, and act on files that changed."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = """
module: leitstand_units
short_description: Many units enabled, started, reloaded and restarted, in one round trip
description:
  - Units are taken in the given order. One that has a C(restart) or C(reload) topic among C(topics), or noted
    on the host by leitstand_files, does so; one that is down is started. Without either nothing is done.
  - C(check) has commands that must accept the configuration before anything restarts or reloads.
  - A topic's note is removed when all units have acted.
options:
  units:
    description:
      - "Keys: name, restart and reload (topics), check (commands), after_stop (a unit to stop first, as a
        socket takes new addresses only while its service is down), only_running (not enabled or started).
        A name alone is a unit that restarts when the topic of its own name is among them."
    type: list
    elements: raw
    required: true
  notes: {description: Folder of the notes., type: path, default: /run/leitstand-apply}
  topics: {description: What changed in this run., type: list, elements: str, default: []}
"""
_SHOWN = ("Id", "LoadState", "ActiveState", "UnitFileState", "NeedDaemonReload")
Shown = dict  # name of a property → value


class RefusedError(Exception):
    """What cannot be done, in one line."""


def parsed(text: str) -> dict[str, Shown]:
    """Unit → its properties, from ``systemctl show``: blocks of NAME=VALUE."""
    blocks = [dict(line.split("=", 1) for line in block.splitlines()) for block in text.strip().split("\n\n")]
    return {block["Id"]: block for block in blocks if "Id" in block}


class Units:
    """The units of one task on this host."""

    def __init__(self, module: Any, units: list[dict[str, Any]], topics: set[str]) -> None:
        self._module, self._units, self._topics = module, units, topics
        self._done: list[str] = []
        self._shown: dict[str, Shown] = {}

    def act(self) -> list[str]:
        """Make them so; what was done. Raises RefusedError."""
        self._look()
        if not self._module.check_mode:
            self._check()
            if self._topics or any(shown.get("NeedDaemonReload") == "yes" for shown in self._shown.values()):
                self._run("daemon-reload")
                self._look()
        if off := [
            name for name in self._names(only_running=False) if self._of(name, "UnitFileState") == "disabled"
        ]:
            self._do(f"enabled {', '.join(off)}", "enable", "--quiet", *off)
        for unit in self._units:
            self._one(unit)
        if self._done and not self._module.check_mode:
            self._look()
            self._require_active()
        return self._done

    def _names(self, *, only_running: bool = True) -> list[str]:
        return [unit["name"] for unit in self._units if only_running or not unit.get("only_running")]

    def _of(self, name: str, what: str) -> str:
        return str(self._shown.get(name, {}).get(what, ""))

    def _look(self) -> None:
        properties = f"--property={','.join(_SHOWN)}"
        self._shown = parsed(self._run("show", properties, "--", *self._names()))

    def _pending(self, unit: dict[str, Any], verb: str) -> bool:
        return bool(self._topics.intersection(unit.get(verb, [])))

    def _check(self) -> None:
        for unit in self._units:
            if self._pending(unit, "restart") or self._pending(unit, "reload"):
                for command in unit.get("check", []):
                    status, out, errors = self._module.run_command(shlex.split(command))
                    if status:
                        raise RefusedError(
                            f"{command.split()[0]}: {_last(errors) or _last(out) or f'exit status {status}'}"
                        )

    def _one(self, unit: dict[str, Any]) -> None:
        name = unit["name"]
        is_active = self._of(name, "ActiveState") in ("active", "activating", "reloading")
        if unit.get("only_running") and not is_active:
            return
        if self._pending(unit, "restart"):
            if other := unit.get("after_stop"):
                self._do("", "stop", other)
            self._do(f"restarted {name}", "restart", name)
        elif not is_active:
            self._do(f"started {name}", "start", name)
        elif self._pending(unit, "reload"):
            self._do(f"reloaded {name}", "reload", name)

    def _require_active(self) -> None:
        for name in self._names(only_running=False):
            if (state := self._of(name, "ActiveState")) not in ("active", "activating", "reloading"):
                raise RefusedError(f"{name} is {state or 'unknown'}; see: journalctl --unit {name}")

    def _do(self, what: str, *words: str) -> None:
        if not self._module.check_mode:
            self._run(*words)
        if what:
            self._done.append(what)

    def _run(self, *words: str) -> str:
        status, out, errors = self._module.run_command(["systemctl", *words])
        if status:
            raise RefusedError(f"systemctl {' '.join(words[:3])}: {_last(errors) or f'exit status {status}'}")
        return str(out)


def _last(text: str) -> str:
    return (text.strip().splitlines() or [""])[-1][:300]


def notes(folder: Path, units: list[dict[str, Any]]) -> set[Path]:
    """The notes of leitstand_files that concern these units."""
    wanted = {topic for unit in units for verb in ("restart", "reload") for topic in unit.get(verb, [])}
    return {path for path in folder.iterdir() if path.name in wanted} if folder.is_dir() else set()


def main() -> None:
    """Run as a module."""
    arguments = {
        "units": {"type": "list", "elements": "raw", "required": True},
        "topics": {"type": "list", "elements": "str", "default": []},
        "notes": {"type": "path", "default": "/run/leitstand-apply"},
    }
    module = AnsibleModule(arguments, supports_check_mode=True)
    given = module.params["units"]
    units = [{"name": unit, "restart": [unit]} if isinstance(unit, str) else unit for unit in given]
    noted = notes(Path(module.params["notes"]), units)
    try:
        done = Units(module, units, {*module.params["topics"], *(path.name for path in noted)}).act()
    except RefusedError as problem:
        module.fail_json(msg=str(problem))
    if not module.check_mode:
        for path in noted:
            path.unlink(missing_ok=True)
    module.exit_json(changed=bool(done), did=done)


if __name__ == "__main__":
    main()
