"""The demo as a user starts it."""

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from lab.processes import wait_until

REPOSITORY = Path(__file__).resolve().parent.parent.parent

pytestmark = pytest.mark.slow


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """``./demo`` started, its output in a file beside its folder."""
    with (tmp_path / "output").open("w") as output:
        process = subprocess.Popen(
            [str(REPOSITORY / "demo"), "--folder", str(tmp_path / "state")],
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        yield process
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def test_demo_says_how_it_is_used() -> None:
    ran = subprocess.run([str(REPOSITORY / "demo"), "--help"], capture_output=True, text=True, check=True)
    assert "./demo --once" in ran.stdout
    assert "--incident" in ran.stdout


def test_demo_refuses_a_folder_that_is_not_its_own(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("data")
    ran = subprocess.run(
        [str(REPOSITORY / "demo"), "--folder", str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 2
    assert "hint:" in ran.stderr
    assert (tmp_path / "precious").read_text() == "data"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_demo_that_ends_leaves_no_process_behind(
    demo: subprocess.Popen[str], tmp_path: Path, number: signal.Signals
) -> None:
    output = tmp_path / "output"
    wait_until(
        lambda: "status page  " in output.read_text() or demo.poll() is not None, "the demo's table", 180
    )
    assert demo.poll() is None, output.read_text()
    children = psutil.Process(demo.pid).children(recursive=True)
    assert len(children) >= 9, output.read_text()
    demo.send_signal(number)
    demo.wait(30)
    _, alive = psutil.wait_procs(children, timeout=20)
    assert not alive
    if number != signal.SIGKILL:
        assert demo.returncode == 0, output.read_text()
