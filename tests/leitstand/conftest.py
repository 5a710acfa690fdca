"""Runs the command line as a user does, in a process of its own."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def corpus() -> Path:
    """The folder with ``broken`` and ``good`` configurations."""
    return Path(__file__).parent


@pytest.fixture
def leitstand(tmp_path: Path) -> Run:
    """``leitstand(*arguments)`` in an empty folder; further keywords as for `subprocess.run`."""

    def run(*arguments: str | Path, **options: object) -> subprocess.CompletedProcess[str]:
        settings = {"cwd": tmp_path, "capture_output": True, "text": True, "timeout": 60, **options}
        command = [sys.executable, "-m", "leitstand", *map(str, arguments)]
        return subprocess.run(command, **settings)  # type: ignore[call-overload]

    return run


@pytest.fixture
def as_nobody() -> dict[str, int]:
    """Keywords that make `subprocess.run` give up root's rights; skips where there are none to give up."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to become somebody else")
    return {"user": 65534, "group": 65534}
