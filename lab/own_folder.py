"""The folder of one demo: locked while it runs, and emptied at its start."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LOCK = "demo.lock"


class FolderError(Exception):
    """The folder cannot be used; the message says why."""


@contextmanager
def own_folder(folder: Path) -> Iterator[Path]:
    """Create or empty ``folder``, and lock it. Only an empty folder or that of an ended demo is used.

    Raises FolderError. The kernel releases the lock when this process dies, however it dies.
    """
    try:
        if folder.exists() and any(folder.iterdir()) and not is_demo(folder):
            raise FolderError(f"{folder} is not empty and is not from a demo")
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise FolderError(f"{folder} cannot be used: {error.strerror}") from error
    try:
        _lock(descriptor, folder)
        empty(folder)
        yield folder
    finally:
        os.close(descriptor)


def is_demo(folder: Path) -> bool:
    """Whether a demo started here. A leitstand.yml alone may be a real one, with keys next to it."""
    return (folder / LOCK).exists()


def empty(folder: Path) -> None:
    """Remove what an earlier demo left, but not the lock. Raises FolderError."""
    try:
        for path in folder.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            elif path.name != LOCK:
                path.unlink()
    except OSError as error:
        raise FolderError(f"{error.filename} cannot be removed: {error.strerror}") from error


def _lock(descriptor: int, folder: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise FolderError(f"another demo is running in {folder}") from error
