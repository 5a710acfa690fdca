"""The demo as a user starts it."""

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil
import pytest

from lab.fleet import fleet_impossible
from lab.fleet.base import CACHE
from lab.own_folder import LOCK, own_folder
from lab.processes import wait_until
from lab.show import LiveLine, table_lines

REPOSITORY = Path(__file__).resolve().parent.parent.parent

pytestmark = [pytest.mark.slow, pytest.mark.alone]


ENDS = (signal.SIGKILL, signal.SIGINT, signal.SIGTERM)


@contextmanager
def a_demo(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """``./demo`` started, its output in a file beside its state."""
    folder.mkdir()
    with (folder / "output").open("w") as output:
        process = subprocess.Popen(
            [str(REPOSITORY / "demo"), "--folder", str(folder / "state")],
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


@pytest.fixture(scope="module")
def demos(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[dict[signal.Signals, tuple[subprocess.Popen[str], Path]]]:
    """One demo for each way to end it, all started at the same time."""
    folder = tmp_path_factory.mktemp("demos")
    with ExitStack() as started:
        yield {
            number: (started.enter_context(a_demo(folder / number.name)), folder / number.name / "output")
            for number in ENDS
        }


def test_demo_prints_its_usage() -> None:
    ran = subprocess.run([str(REPOSITORY / "demo"), "--help"], capture_output=True, text=True, check=True)
    assert "./demo --once" in ran.stdout
    assert "--incident" in ran.stdout


@pytest.mark.parametrize("name", ["precious", "leitstand.yml"])
def test_demo_refuses_a_folder_that_is_not_its_own(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("data")
    ran = subprocess.run(
        [str(REPOSITORY / "demo"), "--folder", str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 2
    assert "hint:" in ran.stderr
    assert (tmp_path / name).read_text() == "data"


def test_a_folder_is_meant_from_where_the_demo_was_called(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "precious").write_text("data")
    argv = [str(REPOSITORY / "demo"), "--folder", "mine"]
    ran = subprocess.run(argv, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert ran.returncode == 2
    assert ran.stderr.startswith(f"error: {tmp_path}/mine is not empty and is not from a demo\n")


def test_a_second_demo_in_the_same_folder_is_refused_and_harms_nothing(tmp_path: Path) -> None:
    argv = [str(REPOSITORY / "demo"), "--once", "--folder", str(tmp_path / "state")]
    with own_folder(tmp_path / "state") as folder:
        (folder / "leitstand.yml").write_text("site: {}")
        ran = subprocess.run(argv, capture_output=True, text=True, check=False)
        assert (folder / "leitstand.yml").read_text() == "site: {}"
    assert ran.returncode == 2
    assert ran.stderr == f"error: another demo is running in {folder}\n  hint: choose another --folder\n"


def test_an_ended_demo_makes_room_for_the_next(tmp_path: Path) -> None:
    with own_folder(tmp_path / "state") as folder:
        (folder / "logs").mkdir()
        (folder / "leitstand.yml").write_text("site: {}")
    with own_folder(tmp_path / "state") as folder:
        assert [path.name for path in folder.iterdir()] == [LOCK]


def test_a_check_that_is_interrupted_is_not_a_good_one(tmp_path: Path) -> None:
    argv = [str(REPOSITORY / "demo"), "--once", "--folder", str(tmp_path / "state")]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert any("Swift" in line for line in process.stdout)
        process.send_signal(signal.SIGINT)
        assert process.wait(200) == 130
        assert process.stdout.read().endswith("stopped; nothing is left running\n")
        assert "interrupted before the end" in process.stderr.read()


def test_a_table_that_does_not_fit_is_printed_in_blocks() -> None:
    rows = [("status page", "http://127.0.0.1:8080/", "ok     answers")]
    assert table_lines(rows, None)[1] == "  status page  http://127.0.0.1:8080/  ok     answers"
    assert table_lines(rows, 80) == table_lines(rows, None)
    assert table_lines(rows, 40) == ["  status page: ok answers", "      http://127.0.0.1:8080/"]


def test_without_a_terminal_the_state_is_printed_when_it_changes(capsys: pytest.CaptureFixture[str]) -> None:
    line = LiveLine()
    for text in ("all run", "all run", "site down", "all run"):
        line.show(text)
    told = [each.split("  ")[-1] for each in capsys.readouterr().out.splitlines()]
    assert told == ["all run", "site down", "all run"]


def stays(output: str) -> bool:
    """Whether the table is there and the live line below it: Ctrl-C is the right end from here on."""
    return re.search(r"status page  .*^  \d\d:\d\d:\d\d  ", output, re.DOTALL | re.MULTILINE) is not None


def runs(process: psutil.Process) -> bool:
    """Whether it is there, and not only its status, for which not every machine's first process asks."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.parametrize("number", ENDS)
def test_a_demo_that_ends_leaves_no_process_behind(
    demos: dict[signal.Signals, tuple[subprocess.Popen[str], Path]], number: signal.Signals
) -> None:
    demo, output = demos[number]
    wait_until(lambda: stays(output.read_text()) or demo.poll() is not None, "the demo's live line", 600)
    assert demo.poll() is None, output.read_text()
    children = psutil.Process(demo.pid).children(recursive=True)
    assert len(children) >= 9, output.read_text()
    demo.send_signal(number)
    demo.wait(200)
    wait_until(lambda: not any(map(runs, children)), f"the end of {children}")
    if number != signal.SIGKILL:
        assert demo.returncode == 0, output.read_text()


IMPOSSIBLE = fleet_impossible()


@pytest.mark.skipif(IMPOSSIBLE is not None, reason=str(IMPOSSIBLE))
def test_a_demo_of_a_roll_out_that_is_interrupted_leaves_no_host_behind(tmp_path: Path) -> None:
    output = tmp_path / "output"
    with output.open("w") as stream:
        demo = subprocess.Popen(
            [REPOSITORY / "demo", "--fleet", "--once"],
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        what = "the hosts to be up"
        wait_until(lambda: "apt install" in output.read_text() or demo.poll() is not None, what, 600)
        if "were not built" in output.read_text():
            pytest.skip(output.read_text().splitlines()[-2])
        assert demo.poll() is None, output.read_text()
        children = psutil.Process(demo.pid).children(recursive=True)
        own = list(CACHE.glob(f"fleets/{demo.pid}-*"))
        assert own, "its hosts are in a folder with the demo's process in its name"
        demo.send_signal(signal.SIGINT)
        assert demo.wait(200) == 130, output.read_text()
    finally:
        demo.kill()
        demo.wait()
    wait_until(lambda: not any(map(runs, children)), f"the end of {children}")
    assert not any(path.exists() for path in own)
    assert output.read_text().endswith("interrupted before the end\nstopped; nothing is left running\n")
