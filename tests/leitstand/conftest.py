"""Runs the command line as a user does, in a process of its own."""

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from leitstand.cli import run as run_leitstand

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def corpus() -> Path:
    """The folder with ``broken`` and ``good`` configurations."""
    return Path(__file__).parent / "settings"


@pytest.fixture
def leitstand(tmp_path: Path) -> Run:
    """``leitstand(*arguments)`` in an empty folder, ``before`` put first; the rest is `subprocess.run`'s."""

    def run(
        *arguments: str | Path, before: Sequence[str] = (), **options: object
    ) -> subprocess.CompletedProcess[str]:
        settings = {"cwd": tmp_path, "capture_output": True, "text": True, "timeout": 120, **options}
        command = [*before, sys.executable, "-m", "leitstand", *map(str, arguments)]
        return subprocess.run(command, **settings)  # type: ignore[call-overload]

    return run


@pytest.fixture
def answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Like ``leitstand``, but in this process: for answers that do not depend on how a process starts."""

    def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        monkeypatch.chdir(tmp_path)
        words = [str(argument) for argument in arguments]
        capsys.readouterr()
        return subprocess.CompletedProcess(words, run_leitstand(words), *capsys.readouterr())

    return run


NOBODY = 65534


@pytest.fixture
def bound_by_permissions() -> list[str]:
    """Put before a command, makes root obey permissions: what is private to NOBODY is closed then."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to make files that are somebody else's")
    return ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"]


@pytest.fixture
def give_away() -> Callable[[Path, int], None]:
    """``give_away(path, mode)`` makes ``path`` NOBODY's."""

    def change(path: Path, mode: int) -> None:
        os.chown(path, NOBODY, NOBODY)
        path.chmod(mode)

    return change
