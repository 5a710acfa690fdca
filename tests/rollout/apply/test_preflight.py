"""The preflight, by the system's own Ansible: a host that cannot be changed is named before it is touched."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from lab.fleet.base import own_release
from leitstand.share import share
from rollout.ansible_run import HostResult, Playbook, play
from rollout.apply.shown import Shown

pytestmark = pytest.mark.skipif(
    not shutil.which("ansible-playbook"), reason="the Debian package ansible-core is not installed"
)
DAY = 86400
SYSTEM = {"bookworm": "deb12", "trixie": "deb13", "noble": "ubuntu24.04"}[own_release()]
ARCHITECTURE = subprocess.run(
    ["dpkg", "--print-architecture"], capture_output=True, text=True, check=True
).stdout.strip()


def host(folder: Path, name: str, *, off: int = 0, wanted: str = "1.0", runs: str = "") -> dict[str, object]:
    """This machine, as a host whose clock is ``off`` seconds ahead, and that ``runs`` a release."""
    programs = folder / name
    programs.mkdir()
    (programs / "date").write_text(f"#!/bin/sh\nexpr $(/bin/date +%s) + {off}\n")
    (programs / "dpkg-query").write_text(f"#!/bin/sh\necho installed leitstand-exporter {runs}+{SYSTEM}\n")
    (programs / "python3").write_text(f'#!/bin/sh\nPATH={programs}:$PATH exec /usr/bin/python3 "$@"\n')
    for program in programs.iterdir():
        program.chmod(0o755)
    return {
        "ansible_connection": "local",
        "ansible_python_interpreter": str(programs / "python3"),
        "leitstand_roles": ["watched"],
        "leitstand_packages": str(folder),
        "leitstand_package_version": wanted,
    }


def preflight(folder: Path, hosts: dict[str, dict[str, object]]) -> dict[str, HostResult]:
    (folder / f"leitstand-exporter_1.0+{SYSTEM}_{ARCHITECTURE}.deb").touch()
    inventory = folder / "inventory.json"
    inventory.write_text(json.dumps({"all": {"hosts": hosts}}))
    results = play(Playbook(share("ansible"), "preflight.yml", inventory, tuple(hosts)), Shown())
    assert not any(result.changed for result in results.values()), "it changes nothing"
    return results


def test_a_clock_that_is_wrong_by_a_day_is_named_with_the_difference(tmp_path: Path) -> None:
    clocks = {"good": 0, "ahead": DAY, "behind": -DAY}
    results = preflight(tmp_path, {name: host(tmp_path, name, off=off) for name, off in clocks.items()})
    assert results["good"].good, results["good"].problems
    for name in ("ahead", "behind"):
        assert len(results[name].problems) == 1
        assert "its clock differs by 86" in results[name].problems[0]
        assert "time synchronisation" in results[name].problems[0]


def test_a_host_for_whose_system_there_is_no_package_is_named_with_the_file_that_is_missing(
    tmp_path: Path,
) -> None:
    hosts = {
        "package": host(tmp_path, "package"),
        "none": host(tmp_path, "none", wanted="2.0", runs="1.0"),
        "runs": host(tmp_path, "runs", wanted="2.0", runs="2.0"),
    }
    results = preflight(tmp_path, hosts)
    assert results["package"].good and results["runs"].good
    (problem,) = results["none"].problems
    assert f"there is no leitstand-exporter_2.0+{SYSTEM}_{ARCHITECTURE}.deb" in problem
    assert f"put it into {tmp_path}, or give its folder with --packages" in problem
