"""The preflight, by the system's own Ansible: a host with a wrong clock is named before it is touched."""

import json
import shutil
from pathlib import Path

import pytest

from leitstand.share import share
from rollout.ansible_run import Playbook, play
from rollout.apply.shown import Shown

pytestmark = pytest.mark.skipif(
    not shutil.which("ansible-playbook"), reason="the Debian package ansible-core is not installed"
)
DAY = 86400


def host(folder: Path, name: str, off: int) -> dict[str, object]:
    """This machine, as a host whose clock is ``off`` seconds ahead."""
    programs = folder / name
    programs.mkdir()
    (programs / "date").write_text(f"#!/bin/sh\nexpr $(/bin/date +%s) + {off}\n")
    (programs / "python3").write_text(f'#!/bin/sh\nPATH={programs}:$PATH exec /usr/bin/python3 "$@"\n')
    for program in programs.iterdir():
        program.chmod(0o755)
    return {"ansible_connection": "local", "ansible_python_interpreter": str(programs / "python3")}


def test_a_clock_that_is_wrong_by_a_day_is_named_with_the_difference(tmp_path: Path) -> None:
    hosts = {name: host(tmp_path, name, off) for name, off in (("good", 0), ("ahead", DAY), ("behind", -DAY))}
    inventory = tmp_path / "inventory.json"
    inventory.write_text(json.dumps({"all": {"hosts": hosts}}))
    results = play(Playbook(share("ansible"), "preflight.yml", inventory, tuple(hosts)), Shown())
    assert results["good"].good, results["good"].problems
    for name in ("ahead", "behind"):
        assert len(results[name].problems) == 1
        assert "its clock differs by 86" in results[name].problems[0]
        assert "time synchronisation" in results[name].problems[0]
    assert not any(result.changed for result in results.values()), "it changes nothing"
