"""``python -m lab.mutants``: its table, and what it says without its tool."""

import shlex
import subprocess
import sys
import tomllib

import pytest

from lab.mutants import ROOT

TABLE = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["leitstand"]["mutants"]


@pytest.mark.parametrize("module", TABLE)
def test_a_module_to_mutate_and_its_tests_exist(module: str) -> None:
    tests = [word for word in shlex.split(TABLE[module]) if word.startswith("tests/")]
    assert tests
    assert [path for path in (module, *tests) if not (ROOT / path).exists()] == []


def test_without_cosmic_ray_one_line_explains_how_to_install_it() -> None:
    argv = [sys.executable, "-m", "lab.mutants", "--tool", "no-such-tool"]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: no-such-tool: not found\n  hint: ")
    assert "Traceback" not in done.stderr
