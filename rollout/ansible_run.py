"""Run a playbook of Leitstand's roles with Debian's ansible-core, and read what each host did."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from leitstand.errors import LeitstandError
from leitstand.process import open_stream

Line = dict[str, Any]
_WARNING = "WARNING: "  # begins the message of a debug task that names what could not be done
_END = 60.0  # seconds that Ansible may take to end after its last line


class AnsibleError(LeitstandError):
    """Ansible itself failed: it is missing, or cannot read its input."""


@dataclass
class HostResult:
    """What a playbook did on one host; ``diffs`` only of a dry run."""

    changed: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    diffs: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    unreachable: bool = False
    complete: bool = False  # whether Ansible counted it in the end

    @property
    def good(self) -> bool:
        """Whether every task of it succeeded."""
        return not self.problems and not self.unreachable


class Progress(Protocol):
    """Receives what happens while it happens."""

    def task(self, name: str) -> None:
        """A task begins."""

    def change(self, host: str, what: str) -> None:
        """Something was changed on a host."""


@dataclass(frozen=True)
class Playbook:
    """One call of ansible-playbook; ``folder`` has ansible.cfg and the roles."""

    folder: Path
    name: str
    inventory: Path
    hosts: Sequence[str]
    dry_run: bool = False

    def command(self) -> list[str]:
        """The command line; it contains no secret."""
        dry = ["--check", "--diff"] if self.dry_run else []
        chosen = ["--limit", ",".join(self.hosts)]
        # Without us nothing would be rolled back, and a second roll-out could start: so it ends with us.
        with_us = ["setpriv", "--pdeathsig", "KILL", "--"]
        what = ["-i", str(self.inventory), *chosen, *dry, str(self.folder / self.name)]
        return [*with_us, "ansible-playbook", *what]

    def environment(self) -> dict[str, str]:
        """The variables that choose our settings and our callback."""
        config = str(self.folder / "ansible.cfg")
        return {"ANSIBLE_CONFIG": config, "ANSIBLE_STDOUT_CALLBACK": "leitstand", "ANSIBLE_NOCOLOR": "1"}


def play(playbook: Playbook, progress: Progress) -> dict[str, HostResult]:
    """The result of each host of ``playbook``.

    Raises AnsibleError if Ansible ends before it has counted what each of them did.
    """
    with open_stream(playbook.command(), env=playbook.environment()) as stream:
        results = read_results(_objects(stream.stdout), progress)
        finished = stream.finish(_END)
    if unfinished := [host for host in playbook.hosts if not results.get(host, HostResult()).complete]:
        raise AnsibleError(
            f"Ansible did not finish on {', '.join(unfinished)}: {finished.last_words}",
            "run 'leitstand apply' again: it goes on from there",
        )
    return results


def _objects(lines: Iterable[bytes]) -> Iterator[Line]:
    """The JSON objects among the lines; Ansible itself prints others, such as warnings."""
    for line in lines:
        try:
            found = json.loads(line)
        except ValueError:
            continue
        if isinstance(found, dict):
            yield found


def read_results(lines: Iterable[Line], progress: Progress) -> dict[str, HostResult]:
    """The results per host from the lines of the callback ``leitstand`` (deploy/ansible/callback_plugins)."""
    results: dict[str, HostResult] = {}
    for line in lines:
        if line.get("kind") == "task":
            progress.task(str(line.get("task")))
        elif "host" in line:
            _take(results.setdefault(str(line["host"]), HostResult()), line)
            for what in _changes(line):
                progress.change(str(line["host"]), what)
    return results


def _changes(line: Line) -> list[str]:
    """What a task changed: as our own modules say, otherwise the task's name."""
    did = line.get("did")
    said = [str(each) for each in did] if isinstance(did, list) else []
    return (said or [str(line.get("task"))]) if line.get("status") == "changed" else []


def _take(result: HostResult, line: Line) -> None:
    status, task, message = (str(line.get(name, "")) for name in ("status", "task", "message"))
    if line.get("kind") == "recap":
        result.complete = True
    elif line.get("kind") == "diff":
        result.diffs.append(str(line.get("diff")))
    elif message.startswith(_WARNING):
        result.warnings.append(message.removeprefix(_WARNING))
    elif status == "changed":
        result.changed += _changes(line)
    elif status == "unreachable":
        result.unreachable = True
        result.problems.append(message)
    elif status == "failed":
        result.problems.append(f"{task}: {message}")
