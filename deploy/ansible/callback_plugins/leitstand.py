"""Ansible callback: what each host does, as one JSON object per line on standard output.

Kinds of lines: ``task`` (a task begins), ``result`` (host, task, status: ok, changed, failed, ignored,
unreachable; message; did, what was changed, of our own modules), ``recap`` (host; counts of ok, changed,
failures, unreachable, skipped). Results of tasks with ``no_log`` have no message.
https://docs.ansible.com/ansible/latest/dev_guide/developing_plugins.html#callback-plugins
"""

import json
from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: leitstand
type: stdout
short_description: Prints what each host does as JSON lines
description: Prints one JSON object per line.
requirements: []
"""
_LONGEST = 500  # characters of a message


class CallbackModule(CallbackBase):  # type: ignore[misc]
    """Prints JSON lines."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "leitstand"

    def _print(self, **line: Any) -> None:
        print(json.dumps(line), flush=True)  # noqa: T201 - this is what it is for

    def _result(self, result: Any, status: str) -> None:
        self._print(
            kind="result",
            host=result._host.get_name(),
            task=result._task.get_name(),
            status=status,
            message=_message(result._result, hidden=bool(result._task.no_log)),
            did=result._result.get("did", []),
        )

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:
        """A task begins."""
        self._print(kind="task", task=task.get_name())

    def v2_runner_on_ok(self, result: Any) -> None:
        """A host finished a task."""
        self._result(result, "changed" if result._result.get("changed") else "ok")

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        """A host failed in a task."""
        self._result(result, "ignored" if ignore_errors else "failed")

    def v2_runner_on_unreachable(self, result: Any) -> None:
        """A host did not answer."""
        self._result(result, "unreachable")

    def v2_on_file_diff(self, result: Any) -> None:
        """With ``--diff``: what changes in a file; nothing of a task with ``no_log``."""
        if result._task.no_log or not result._result.get("changed"):
            return
        for diff in _as_list(result._result.get("diff")):
            if text := self._get_diff(diff):
                self._print(
                    kind="diff", host=result._host.get_name(), task=result._task.get_name(), diff=text
                )

    def v2_playbook_on_stats(self, stats: Any) -> None:
        """The end: counts per host."""
        for host in sorted(stats.processed):
            self._print(kind="recap", host=host, **stats.summarize(host))


def _message(answer: dict[str, Any], *, hidden: bool) -> str:
    if hidden or answer.get("_ansible_no_log"):
        return "(hidden)"
    last_error = str(answer.get("stderr", "")).strip().splitlines()[-1:]
    return ": ".join(part for part in (str(answer.get("msg", "")), *last_error) if part)[:_LONGEST]


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value] if value else []
