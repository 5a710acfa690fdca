"""Write files so that a reader sees the old or the new content, never half of it."""

import os
from pathlib import Path


def write_atomically(
    path: Path, content: str | bytes, mode: int = 0o644, owner: tuple[int, int] | None = None
) -> None:
    """Replace ``path`` by ``content`` (text is UTF-8) in one step, durable when this returns.

    ``owner`` is a user and a group by number; without it, to the user who runs this.
    The temporary file is next to the target, as a rename is only atomic within one file system.
    Raises OSError, which names the file, and leaves the old one as it was.
    """
    try:
        _replace(path, content.encode() if isinstance(content, str) else content, mode, owner)
    except OSError as error:
        error.filename = error.filename or str(path)  # the error of a full disk names no file
        raise


def _replace(path: Path, data: bytes, mode: int, owner: tuple[int, int] | None) -> None:
    name = path.with_name(f".{path.name}.{os.urandom(4).hex()}")
    descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            if owner is not None:
                os.fchown(file.fileno(), *owner)
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        name.replace(path)
    except BaseException:
        name.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def make_public_folder(path: Path) -> None:
    """Make a folder, with missing parents, that all may read, independent of the umask.

    Its files are for programs of other users, who must not change it. Raises OSError.
    """
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for folder in missing:
        folder.chmod(folder.stat().st_mode & 0o7775 | 0o755)


def make_private_folder(path: Path) -> None:
    """Make a folder for its owner alone in a public one, where metrics may be as well. Raises OSError."""
    make_public_folder(path.parent)
    path.mkdir(mode=0o700, exist_ok=True)


def sync_folder(folder: Path) -> None:
    """Make a rename in ``folder`` durable: the entry is part of the folder, not of the file."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
