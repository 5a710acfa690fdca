"""What Ansible reports is read line by line; what it did not report did not happen."""

import json
import os
import signal
import subprocess
import sys
from io import StringIO
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.patience import patient
from lab.processes import wait_until
from rollout.ansible_run import AnsibleError, Playbook, play, read_results
from rollout.apply.shown import Shown

ALL = [
    {"kind": "task", "task": "exporter : Address"},
    {"kind": "result", "host": "web1", "task": "exporter : Address", "status": "changed", "message": ""},
    {
        "kind": "result",
        "host": "web2",
        "task": "exporter : Address",
        "status": "failed",
        "message": "no room",
    },
    {"kind": "result", "host": "web3", "task": "x", "status": "unreachable", "message": "no route"},
    {"kind": "result", "host": "web1", "task": "y", "status": "ok", "message": "WARNING: no certificate yet"},
    {"kind": "recap", "host": "web1", "changed": 1},
    {"kind": "recap", "host": "web2", "failures": 1},
    {"kind": "recap", "host": "web3", "unreachable": 1},
]
JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=4)


@pytest.fixture
def ansible(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program in Ansible's place; a test writes it."""
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    program = tmp_path / "ansible-playbook"
    program.touch(0o755)
    return program


def playbook(tmp_path: Path, *hosts: str) -> Playbook:
    return Playbook(tmp_path, "site.yml", tmp_path / "inventory.json", hosts)


def printing(lines: list[dict[str, Any]], then: str) -> str:
    text = "\n".join(json.dumps(line) for line in lines)
    return f"#!/bin/sh\ncat <<'END'\n[WARNING]: something of Ansible's own\n{text}\nEND\n{then}\n"


def test_each_host_gets_its_changes_problems_and_warnings(ansible: Path, tmp_path: Path) -> None:
    ansible.write_text(printing(ALL, "exit 2"))
    seen = StringIO()
    results = play(playbook(tmp_path, "web1", "web2", "web3"), Shown(seen))
    assert results["web1"].good
    assert results["web1"].changed == ["exporter : Address"]
    assert results["web1"].warnings == ["no certificate yet"]
    assert results["web2"].problems == ["exporter : Address: no room"]
    assert results["web3"].unreachable
    assert seen.getvalue() == "  web1: exporter : Address\n", "no task of a log that nothing changed"


def test_changes_of_our_own_modules_are_named_one_by_one() -> None:
    did = ["/etc/leitstand/exporter.nft", "restarted leitstand-exporter.service"]
    line = {"kind": "result", "host": "web1", "task": "exporter : Settings", "status": "changed", "did": did}
    seen = StringIO()
    assert read_results([line, {**line, "status": "ok"}], Shown(seen))["web1"].changed == did
    assert seen.getvalue() == "".join(f"  web1: {each}\n" for each in did)


@pytest.mark.parametrize("lines", [0, 1, 2, len(ALL) - 1])
def test_a_host_that_ansible_did_not_finish_is_never_good(ansible: Path, tmp_path: Path, lines: int) -> None:
    ansible.write_text(printing(ALL[:lines], "kill -9 $$"))
    with pytest.raises(AnsibleError, match=r"did not finish on .*web3") as caught:
        play(playbook(tmp_path, "web1", "web2", "web3"), Shown())
    assert "again" in caught.value.hint


@given(st.lists(st.dictionaries(st.sampled_from(["kind", "host", "task", "status", "message"]), JSON)))
def test_any_lines_are_read_and_none_makes_a_host_complete_but_its_recap(lines: list[dict[str, Any]]) -> None:
    results = read_results(lines, Shown())
    assert {host for host, result in results.items() if result.complete} == {
        str(line["host"]) for line in lines if line.get("kind") == "recap" and "host" in line
    }


RUN = """
import sys
from pathlib import Path
from rollout.ansible_run import Playbook, play
from rollout.apply.shown import Shown
play(Playbook(Path(sys.argv[1]), "site.yml", Path("i"), ["web1"]), Shown())
"""


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_ansible_ends_with_the_roll_out_however_that_ends(
    ansible: Path, tmp_path: Path, sent: signal.Signals
) -> None:
    note = tmp_path / "pid"
    ansible.write_text(f"#!/bin/sh\necho $$ >{note}.new\nmv {note}.new {note}\nexec sleep 300\n")
    argv = [sys.executable, "-c", RUN, str(tmp_path)]
    with subprocess.Popen(argv, stderr=subprocess.DEVNULL) as rollout:
        wait_until(note.exists, "Ansible to start")
        child = psutil.Process(int(note.read_text()))
        rollout.send_signal(sent)
        rollout.wait(patient(20))
    child.wait(patient(20))


def test_a_terminal_shows_the_current_task_and_no_control_character_of_a_host() -> None:
    class Terminal(StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    shown = Shown(terminal)
    shown.task("base : Install")
    shown.change("web1", "\x1b[2Jbase")
    assert (
        terminal.getvalue() == "\r\x1b[K  base : Install …\r\x1b[K  web1: \N{REPLACEMENT CHARACTER}[2Jbase\n"
    )
