"""The door to other programs: time limits that hold, nothing left behind, no secret handed on."""

import gc
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lab.patience import patient
from leitstand.process import STDERR_KEPT, Finished, ProcessError, open_stream, run

LONG = "600"  # seconds; no test waits so long
PATIENCE = patient(60)  # seconds; far more than a busy machine needs
FORK = f"sleep {LONG} & echo $! > $TMPDIR/pids; echo $$ >> $TMPDIR/pids; "


def is_running(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def wait_until_gone(*processes: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while any(map(is_running, processes)):
        assert time.monotonic() < deadline, f"still there: {[one for one in processes if is_running(one)]}"
        time.sleep(0.01)


def written() -> list[int]:
    """The whole lines of what FORK wrote so far."""
    text = Path("pids").read_text() if Path("pids").exists() else ""
    return [int(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


@pytest.fixture
def pids(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Reads the process numbers that FORK wrote."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path))

    def read() -> list[int]:
        deadline = time.monotonic() + PATIENCE
        while len(found := written()) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        return found

    return read


def test_a_program_runs_in_the_root_folder_and_not_in_the_current_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(["pwd"], timeout=PATIENCE).stdout == b"/\n"
    with open_stream(["pwd"]) as stream:
        assert stream.stdout.read() == b"/\n"


def test_both_outputs_and_the_exit_status_are_returned():
    done = run(["sh", "-c", "cat; echo sorry >&2; exit 3"], timeout=PATIENCE, stdin=b"x" * 1_000_000)
    assert (done.status, done.stdout, done.stderr) == (3, b"x" * 1_000_000, "sorry\n")


def test_more_output_than_fits_into_memory_ends_the_program_unless_it_is_not_kept():
    with pytest.raises(ProcessError, match="yes: wrote more than 64 MiB"):
        run(["yes"], timeout=PATIENCE)
    done = run(["head", "--bytes=70M", "/dev/zero"], timeout=PATIENCE, keep_output=False)
    assert (done.status, done.stdout) == (0, b"")


def test_a_program_that_is_not_there_is_one_line_and_a_hint():
    with pytest.raises(ProcessError, match="no-such-program: no such program") as caught:
        run(["no-such-program"], timeout=1)
    assert "install" in caught.value.hint


def test_a_file_that_is_not_a_program_is_reported(tmp_path):
    file = tmp_path / "notes"
    file.write_text("not a program")
    with pytest.raises(ProcessError, match="notes: cannot be started: Permission denied"):
        run([str(file)], timeout=1)


@pytest.mark.parametrize("end", [f"sleep {LONG}", "exit 0"], ids=["parent waits", "parent is gone"])
def test_a_time_limit_ends_the_program_and_its_children(pids, end):
    for limit in (0.3, 3, 30):
        with pytest.raises(ProcessError, match=f"sh: took longer than {limit} s"):
            run(["sh", "-c", FORK + end], timeout=limit)
        if len(written()) >= 2:  # on a busy machine, a program may be killed before it has any child
            break
    wait_until_gone(*pids())


def test_a_program_that_ended_leaves_no_zombie():
    numbers = [int(run(["sh", "-c", "echo $$"], timeout=PATIENCE).stdout) for _ in range(5)]
    assert not any(Path(f"/proc/{number}").exists() for number in numbers)


def test_an_interrupt_ends_the_program_too(pids):
    # It begins when it is given its input: by then, it is ours to end.
    script = (
        "from leitstand.process import run\n"
        f"run(['sh', '-c', 'read go; {FORK} sleep {LONG}'], timeout={LONG}, stdin=b'go\\n')"
    )
    with subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE, text=True) as ours:
        running = pids()
        ours.send_signal(signal.SIGINT)
        assert "KeyboardInterrupt" in ours.communicate(timeout=PATIENCE)[1]
    wait_until_gone(*running)


def test_a_daemon_that_keeps_the_output_open_is_waited_for_a_moment_only(pids):
    daemon = f"setsid sleep {LONG} >&- & echo $! > $TMPDIR/pids; echo $$ >> $TMPDIR/pids"
    script = f"from leitstand.process import run; run(['sh', '-c', {daemon!r}], timeout={LONG})"
    done = subprocess.run([sys.executable, "-c", script], timeout=PATIENCE, check=False)
    os.kill(pids()[0], signal.SIGKILL)
    assert done.returncode == 0


def test_no_secret_of_ours_reaches_a_program(monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "geheim")
    monkeypatch.setenv("LANG", "de_DE.UTF-8")
    shown = run(["env"], timeout=PATIENCE, env={"EXTRA": "1"}).stdout.decode().splitlines()
    assert "LANG=de_DE.UTF-8" in shown
    assert "EXTRA=1" in shown
    assert not [line for line in shown if "geheim" in line]


def test_a_program_cannot_ask_on_our_terminal():
    assert run(["sh", "-c", "exec 3</dev/tty"], timeout=PATIENCE).status != 0


def test_a_stream_is_read_while_the_program_runs():
    with open_stream(["sh", "-c", "echo first; read line; echo $line"], stdin=b"second\n") as stream:
        assert stream.stdout.readline() == b"first\n"
        assert stream.stdout.read() == b"second\n"
        assert stream.finish(PATIENCE).status == 0


def test_a_stream_without_input_reads_nothing_and_a_file_is_read_from_its_position(tmp_path):
    (tmp_path / "input").write_bytes(b"skipped,read")
    with (tmp_path / "input").open("rb", buffering=0) as file, open_stream(["cat"], stdin=file) as stream:
        assert stream.stdout.read() == b"skipped,read"
    with open_stream(["cat"]) as stream:
        assert stream.stdout.read() == b""


def test_many_words_on_stderr_neither_block_nor_fill_memory():
    talk = "seq 1 300000 >&2; echo done; echo last >&2"
    with open_stream(["sh", "-c", talk]) as stream:
        assert stream.stdout.read() == b"done\n"
        words = stream.finish(PATIENCE).stderr
    assert words.endswith("300000\nlast\n")
    assert len(words) == STDERR_KEPT


def test_a_stream_that_is_given_up_ends_with_its_children(pids):
    with open_stream(["sh", "-c", FORK + f"sleep {LONG}"]):
        running = pids()
        assert all(map(is_running, running))
    wait_until_gone(*running)


def test_a_stream_killed_from_another_thread_comes_to_its_end():
    with open_stream(["sh", "-c", f"echo here; sleep {LONG}"]) as stream:
        assert stream.stdout.readline() == b"here\n"
        killer = threading.Timer(0.2, stream.kill)
        killer.start()
        assert stream.stdout.read() == b""
        killer.join()
        assert stream.finish(PATIENCE).status == -9


def test_a_stream_that_does_not_finish_in_time_is_killed(pids):
    with open_stream(["sh", "-c", FORK + f"exec sleep {LONG} >&-"]) as stream:
        running = pids()
        with pytest.raises(ProcessError, match=r"took longer than 0\.2 s"):
            stream.finish(0.2)
    wait_until_gone(*running)


def test_output_that_is_left_unread_fails_the_program():
    with open_stream(["yes"]) as stream:
        assert stream.stdout.read(2) == b"y\n"
        assert stream.finish(PATIENCE).status == -13


def test_streams_leave_no_descriptor_open():
    def descriptors() -> int:
        gc.collect()  # what other tests left behind is closed now, not in between
        return len(list(Path("/proc/self/fd").iterdir()))

    with open_stream(["true"], stdin=b"x") as stream:
        stream.finish(PATIENCE)
    before = descriptors()
    for _ in range(10):
        with open_stream(["true"], stdin=b"x") as stream:
            stream.finish(PATIENCE)
    assert descriptors() <= before


def test_arguments_are_never_a_shell_line():
    assert run(["echo", "$(id); `id` | cat"], timeout=PATIENCE).stdout == b"$(id); `id` | cat\n"
    assert not re.search(
        r"shell\s*=\s*True", Path(sys.modules["leitstand.process"].__file__ or "").read_text()
    )


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (
            "pg_dump: error: query failed: ERROR:  permission denied for large object 7\n"
            "pg_dump: detail: Query was: SELECT 1\n",
            "pg_dump: error: query failed: ERROR:  permission denied for large object 7"
            " pg_dump: detail: Query was: SELECT 1",
        ),
        (
            "pg_dump: error: connection to server on socket failed: FATAL:  permission denied\n"
            "DETAIL:  User does not have CONNECT privilege.\n",
            "pg_dump: error: connection to server on socket failed: FATAL:  permission denied"
            " DETAIL:  User does not have CONNECT privilege.",
        ),
        (
            'pg_restore: error: could not execute query: ERROR:  role "pol" does not exist\n'
            "Command was: CREATE POLICY p;\n\n\npg_restore: warning: errors ignored on restore: 1\n",
            'pg_restore: error: could not execute query: ERROR:  role "pol" does not exist'
            " Command was: CREATE POLICY p;",
        ),
        (
            "Warning: mysqldump: unknown variable 'loose-x'\n"
            'mysqldump: Got error: 1045: "Access denied"\n-- a last line\n',
            'mysqldump: Got error: 1045: "Access denied"',
        ),
        ("half\nbroken\n", "broken"),
        ("", "exit status 7"),
    ],
)
def test_the_error_itself_is_shown_and_not_the_line_below_it(said, told):
    assert Finished(7, b"", said).last_words == told
