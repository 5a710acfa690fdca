"""The only place that starts other programs. No shell, always a time limit, a small environment.

Every program leads its own session: a time limit ends its children, too, and none can use our terminal.
It runs in /, by hand as under systemd, so the files in the current folder cannot affect it.
"""

import ctypes
import os
import re
import resource
import select
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, Self

from leitstand.errors import LeitstandError

# What a child may inherit: enough to find programs and use the user's language, and none of our secrets.
INHERITED = (
    *("PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TZ"),
    *("TMPDIR", "XDG_RUNTIME_DIR", "SSH_AUTH_SOCK"),
)
MOST_OUTPUT = 64 << 20  # bytes of a program's whole output that are kept; listings are far smaller
STDERR_KEPT = 65536  # bytes; the last messages of a program explain its failure
_ERROR = re.compile(r"\b(?:error|fatal|panic)\b", re.IGNORECASE)
# A line that continues the message before: indented, or as PostgreSQL's programs and servers mark it.
_MORE = re.compile(
    r"\s|(?:[\w./-]+: )?(?:detail|hint|context|line \d+|statement|command was): ", re.IGNORECASE
)
_LONGEST_WORDS = 1000  # characters
_PR_SET_DUMPABLE = 4  # linux/prctl.h
_GRACE = 5.0  # seconds for the kernel to end a killed program, and to read the rest of stderr


class ProcessError(LeitstandError):
    """Another program is missing, failed or took too long."""


@dataclass(frozen=True)
class Finished:
    """A program that ended: exit status (minus the signal number if killed by one) and both outputs.

    ``stdout`` is empty for a `Stream`, as its reader has consumed it; ``stderr`` has the last 64 KiB at most.
    """

    status: int
    stdout: bytes
    stderr: str

    @property
    def last_words(self) -> str:
        """The reason of a failure, in one line: the last message that names an error, else the last one."""
        found = messages(self.stderr)
        named = [message for message in found if _ERROR.search(message)]
        return (named or found or [f"exit status {self.status}"])[-1][:_LONGEST_WORDS]


def messages(text: str) -> list[str]:
    """A program's output, one line per message: continuation lines are joined to the line before."""
    found: list[str] = []
    for line in text.splitlines():
        if found and _MORE.match(line):
            found[-1] += f" {line.strip()}"
        elif line.strip():
            found.append(line.strip())
    return found


class Stream:
    """A program whose ``stdout`` is read while it runs. As a context manager it never outlives its block.

    Read ``stdout`` to its end, then call `finish`. `kill` may be called from any thread, at any time: the
    reader then sees the end of the file.
    """

    def __init__(self, name: str, process: subprocess.Popen[bytes]) -> None:
        self.stdout = _pipe(process.stdout)
        self._name, self._process = name, process
        self._last_words = _Tail(process.stderr) if process.stderr else None

    def finish(self, timeout: float) -> Finished:
        """Wait for the end. Closes ``stdout``: a program that still writes to it fails with SIGPIPE.

        Raises ProcessError if it is still running after ``timeout`` seconds, and kills it.
        """
        self.stdout.close()
        try:
            status = self._process.wait(timeout)
        except subprocess.TimeoutExpired as error:
            self.kill()
            raise _too_slow(self._name, timeout) from error
        return Finished(status, b"", self._last_words.text() if self._last_words else "")

    def terminate(self) -> None:
        """Ask the program to end (SIGTERM); it may clean up first. Nothing happens if it has ended."""
        self._process.terminate()

    def kill(self) -> None:
        """End the program and its children at once; nothing happens if it has ended."""
        _kill_group(self._process)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self.stdout.close()
        if self._last_words:
            self._last_words.text()


class _Tail:
    """Reads a pipe to its end in the background, so that its writer never blocks; keeps the last bytes."""

    def __init__(self, pipe: IO[bytes]) -> None:
        self._pipe, self._kept = pipe, b""
        self._reader = threading.Thread(target=self._read, name="stderr", daemon=True)
        self._reader.start()

    def _read(self) -> None:
        with self._pipe:
            while chunk := os.read(self._pipe.fileno(), STDERR_KEPT):
                self._kept = (self._kept + chunk)[-STDERR_KEPT:]

    def text(self) -> str:
        # A daemon that the program started may keep the pipe open, so the wait has a limit.
        self._reader.join(_GRACE)
        return self._kept.decode(errors="replace")


def keep_out_of_cores() -> None:
    """Disable core dumps of this program and its children: their memory contains keys and passwords.

    A limit of 0 is not enough where cores are piped to a program (core(5)); PR_SET_DUMPABLE is (prctl(2)).
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(OSError, AttributeError):  # no C library of this name: the limit must suffice
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment a child gets: the inherited names and ``extra``.

    Empty and relative entries of PATH are dropped, so no program is run from the working folder.
    """
    kept = {name: os.environ[name] for name in INHERITED if name in os.environ}
    found = {**kept, **(extra or {})}
    folders = [part for part in found.pop("PATH", "").split(os.pathsep) if part.startswith("/")]
    return found | ({"PATH": os.pathsep.join(folders)} if folders else {})


def run(
    argv: Sequence[str],
    *,
    timeout: float,
    stdin: bytes = b"",
    env: Mapping[str, str] | None = None,
    keep_output: bool = True,
) -> Finished:
    """Run a program to its end, with any exit status; without ``keep_output`` its output is dropped.

    Raises ProcessError if it does not exist, takes longer than ``timeout`` seconds or writes more than
    MOST_OUTPUT (then it and its children are killed). Never put a secret into ``argv``: every user of the
    machine can read it.
    """
    end = time.monotonic() + timeout
    process = _start(argv, env, subprocess.PIPE)
    try:
        errors = _Tail(_pipe(process.stderr))
        _feed(_pipe(process.stdin), stdin)
        output = _output(argv[0], _pipe(process.stdout), end, keep_output)
        process.wait(max(0.0, end - time.monotonic()))
    except (subprocess.TimeoutExpired, TimeoutError) as error:
        raise _too_slow(argv[0], timeout) from error
    finally:
        # Not `with process`: it would wait without limit for a program that we may not kill (sudo).
        _kill_group(process)
        _pipe(process.stdout).close()
    return Finished(process.returncode, output, errors.text())


def _feed(pipe: IO[bytes], data: bytes) -> None:
    """Write to a pipe and close it; in the background, as its reader may write before it reads."""

    def write() -> None:
        with suppress(BrokenPipeError), pipe:  # input that it does not read
            pipe.write(data)

    if data:
        threading.Thread(target=write, name="stdin", daemon=True).start()
    else:
        pipe.close()


def _output(name: str, pipe: IO[bytes], end: float, keep: bool) -> bytes:
    """Everything up to the end of the pipe. Raises TimeoutError, ProcessError."""
    parts: list[bytes] = []
    size, waiting = 0, select.poll()
    waiting.register(pipe, select.POLLIN)
    while True:
        left = end - time.monotonic()
        if left <= 0 or not waiting.poll(left * 1000):
            raise TimeoutError
        if not (data := os.read(pipe.fileno(), STDERR_KEPT)):
            return b"".join(parts)
        if keep:
            parts.append(data)
            size += len(data)
        if size > MOST_OUTPUT:
            raise ProcessError(f"{name}: wrote more than {MOST_OUTPUT >> 20} MiB", "it was killed")


def open_stream(
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    stdin: bytes | IO[bytes] | None = None,
    keep_errors: bool = True,
) -> Stream:
    """Start a program whose output is too large for memory; see `Stream`.

    ``stdin`` is its input: bytes, an open file (with a descriptor; the caller closes it), or nothing.
    Without ``keep_errors`` its stderr goes to ours, while it runs.
    Raises ProcessError if the program does not exist.
    """
    if isinstance(stdin, bytes):
        with _in_memory(stdin) as file:
            return Stream(argv[0], _start(argv, env, file, keep_errors))
    source = subprocess.DEVNULL if stdin is None else stdin
    return Stream(argv[0], _start(argv, env, source, keep_errors))


def _start(
    argv: Sequence[str], env: Mapping[str, str] | None, stdin: int | IO[bytes], keep_errors: bool = True
) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            list(argv),
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if keep_errors else None,
            env=environment(env),
            cwd="/",  # many programs read settings from their working folder
            start_new_session=True,
        )
    except FileNotFoundError as error:
        raise ProcessError(f"{argv[0]}: no such program", "install the package that contains it") from error
    except OSError as error:
        raise ProcessError(f"{argv[0]}: cannot be started: {error.strerror}") from error


def _in_memory(content: bytes) -> IO[bytes]:
    # A pipe would need a thread to feed it; a file on disk would expose it in plain text.
    file = open(os.memfd_create("stdin"), "w+b")  # noqa: PTH123, SIM115 - a descriptor has no path
    file.write(content)
    file.seek(0)
    return file


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    # Once it has been waited for, its process id may be another program's: then nothing is killed.
    if process.returncode is None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        with suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE)


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    if pipe is None:
        raise ValueError("the output is not a pipe")
    return pipe


def _too_slow(name: str, timeout: float) -> ProcessError:
    return ProcessError(f"{name}: took longer than {timeout:g} s", "it and its children were killed")
