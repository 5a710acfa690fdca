"""Ansible action: leitstand_look, between two looks at our clock, so that a slow answer is no difference."""

import time
from typing import Any

from ansible.plugins.action import ActionBase

_PYTHON = (3, 11)
_ROOM = 300  # MiB that a release needs
_CLOCK = 5  # seconds that a clock may be wrong


class ActionModule(ActionBase):  # type: ignore[misc]
    """Runs the module; with ``require_ready`` it fails on a host that cannot have a release."""

    def run(self, tmp: Any = None, task_vars: Any = None) -> dict[str, Any]:
        """One round trip."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        args = dict(self._task.args)
        require_ready = args.pop("require_ready", False)
        before = int(time.time())
        result.update(self._execute_module(module_args=args, task_vars=task_vars))
        if require_ready and not result.get("failed") and "time" in result:
            wrong = max(before - result["time"], result["time"] - int(time.time()))
            if problem := _problem(result, wrong):
                result.update(failed=True, msg=problem)
        return result


def _problem(found: dict[str, Any], wrong: int) -> str:
    """Why the host cannot have a release; empty if it can. ``wrong``: seconds that its clock differs."""
    python = found["python"]
    if tuple(int(part) for part in python.split(".")[:2]) < _PYTHON:
        return f"has Python {python}; Leitstand needs 3.11 or newer (Debian 12, Ubuntu 24.04)"
    if found["free_mib"] < _ROOM:
        return f"has {found['free_mib']} MiB left on /; a release needs {_ROOM} MiB"
    if wrong > _CLOCK:
        cure = "set up time synchronisation, such as systemd-timesyncd"
        return f"its clock differs by {wrong} s from this machine's; {cure}"
    return ""
