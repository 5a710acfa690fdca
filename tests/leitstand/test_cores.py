"""Keys and passwords in the memory of a program are in no core."""

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

PREPARED = "from leitstand.process import keep_out_of_cores, run; keep_out_of_cores(); "


def with_large_cores() -> None:
    most = resource.getrlimit(resource.RLIMIT_CORE)[1]
    resource.setrlimit(resource.RLIMIT_CORE, (most, most))


def python(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    argv = [sys.executable, "-c", code]
    return subprocess.run(
        argv,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        preexec_fn=with_large_cores,
        check=False,
    )


def test_a_program_that_crashes_leaves_no_core(tmp_path: Path) -> None:
    done = python(f"{PREPARED} import os; os.abort()", tmp_path)
    assert done.returncode == -signal.SIGABRT
    assert list(tmp_path.iterdir()) == []


def test_no_other_program_reads_its_memory_and_none_that_it_starts_leaves_a_core(tmp_path: Path) -> None:
    code = (
        f"{PREPARED}import ctypes\n"
        "print(ctypes.CDLL(None).prctl(3))\n"
        "print(run(['cat', '/proc/self/limits'], timeout=9).stdout.decode())"
    )
    dumpable, *limits = python(code, tmp_path).stdout.splitlines()
    assert dumpable == "0"
    (cores,) = [line.split() for line in limits if line.startswith("Max core file size")]
    assert cores[4:6] == ["0", "0"]


@pytest.mark.parametrize("command", ["backup", "inventory", "exporter", "check"])
def test_every_command_forbids_cores_to_itself_and_its_children(command: str, tmp_path: Path) -> None:
    code = (
        "import resource, leitstand.cli as cli\n"
        "cli.run = lambda arguments=None: print(resource.getrlimit(resource.RLIMIT_CORE))\n"
        f"cli.main([{command!r}])"
    )
    assert python(code, tmp_path).stdout == "(0, 0)\n"
