"""The systemd units of the collector and the page: valid, and locked up."""

import shutil
import subprocess
from pathlib import Path

import pytest

UNITS = sorted((Path(__file__).parents[2] / "deploy/systemd").glob("leitstand-status-*.service"))
pytestmark = pytest.mark.skipif(
    not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed"
)


def analyze(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True, check=False)


def test_each_program_has_a_unit_and_systemd_finds_nothing_wrong_with_it(tmp_path: Path) -> None:
    programs = ("collector", "page", "send")
    assert [unit.stem for unit in UNITS] == [f"leitstand-status-{program}" for program in programs]
    for beside in UNITS[0].parent.glob("leitstand-status-*.socket"):
        (tmp_path / beside.name).write_text(beside.read_text())
    for unit in UNITS:
        copy = tmp_path / unit.name
        copy.write_text(unit.read_text().replace("/opt/leitstand/bin/leitstand", "/bin/true"))
        told = analyze("verify", "--man=no", copy).stderr.splitlines()
        assert [line for line in told if unit.stem in line] == [], "of other units of this machine, anything"


def test_the_units_score_1_5_or_better(tmp_path: Path) -> None:
    gate = ("security", "--offline=yes", "--no-pager", "--threshold=15")
    for unit in UNITS:
        assert analyze(*gate, unit).returncode == 0
        weaker = tmp_path / unit.name
        weaker.write_text(unit.read_text().replace("PrivateDevices=yes\n", "").replace("SystemCall", "#"))
        assert analyze(*gate, weaker).returncode != 0
