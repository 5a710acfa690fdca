"""One run of a job at a time on this machine: flock, which the kernel gives back when its owner dies."""

import fcntl
import os
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from leitstand.errors import LeitstandError
from leitstand.files import make_private_folder, write_atomically


class JobBusyError(LeitstandError):
    """Another run of this job is under way."""


@contextmanager
def job_lock(state: Path, job: str) -> Iterator[str]:
    """Hold the job's lock; gives the state folder's mark. Raises JobBusyError at once when another has it."""
    folder = state / "locks"
    try:
        make_private_folder(folder)
        descriptor = os.open(
            folder / f"{job}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
        )
    except OSError as error:
        raise LeitstandError(
            f"{error.filename}: {error.strerror}", "paths.state must be a folder that this user may write to"
        ) from error
    try:
        _take(descriptor, job)
        yield _mark(folder / f"{job}.mark")
    finally:
        os.close(descriptor)


def _mark(path: Path) -> str:
    """A mark that distinguishes this lock from the job's lock in other state folders: random, made once."""
    try:
        return path.read_text()
    except FileNotFoundError:
        mark = secrets.token_hex(16)
        write_atomically(path, mark, mode=0o600)
        return mark


def _take(descriptor: int, job: str) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.pread(descriptor, 200, 0).decode(errors="replace").strip()
        raise JobBusyError(
            f"{job}: another run is under way ({owner or 'unknown owner'})", "wait for it to end"
        ) from None
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"process {os.getpid()} on {socket.gethostname()}".encode(), 0)
