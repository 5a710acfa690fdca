"""Objects as files in a folder: a second disk, a mounted share."""

import errno
import hashlib
import os
import secrets
import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from io import BufferedReader
from pathlib import Path

from leitstand.files import sync_folder
from orchestrator.archive.mapped_memory import Buffer
from orchestrator.config.stores import FolderSettings
from orchestrator.stores.limit import Line
from orchestrator.stores.store import ObjectInfo, ObjectMissingError, StoreError, check_key

_TEMPORARY = ".partial-"
_NO_FILE = "exists, but is not a regular file"
_LAST_SECOND = datetime(9999, 12, 30, tzinfo=UTC).timestamp()
_CHANGED = (errno.ENOENT, errno.ENOTEMPTY, errno.EEXIST)  # another run removed the folder, or wrote to it
_FOLDER_TRIES = 20
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS)  # exFAT, FAT and some shares have no hard links


class FolderStore:
    """A store in a folder. A file gets its name only when all of it is on the disk."""

    checks_md5 = False
    lacks = ()

    def __init__(self, name: str, settings: FolderSettings, credit: Path | None = None) -> None:
        self.name, self.root = name, settings.path
        self.line = Line(settings.upload_limit, credit)

    def prepare(self) -> None:
        """The folder must exist: creating it could fill the root disk when a disk is not mounted."""
        if not self.root.is_dir():
            raise StoreError(
                f"{self.name}: there is no folder {self.root}", "mount the disk, or mkdir it", permanent=True
            )

    def put(self, key: str, data: Buffer, *, sha256: str, md5: str = "") -> None:
        """Write a temporary file, sync, then link it to its final name: linking never replaces a file."""
        self.prepare()
        path = self._path(key)
        temporary = path.with_name(f"{_TEMPORARY}{secrets.token_hex(8)}")
        try:
            if _write_durably(self._create(temporary), data, self.line) != sha256:
                message = f"{self.name}: {key}: the data to store has another SHA-256 than expected"
                raise StoreError(message, permanent=True)
            self._link(temporary, path, sha256)
        except OSError as error:
            raise self._error(key, error) from error
        finally:
            temporary.unlink(missing_ok=True)

    def _create(self, path: Path) -> int:
        """A new, empty file, open for writing. Another run may remove the empty folder meanwhile."""
        for left in reversed(range(_FOLDER_TRIES)):
            try:
                self._make_folders(path)
                return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            except (FileNotFoundError, FileExistsError):
                self.prepare()
                if not left:
                    raise
        raise AssertionError("unreachable: the last try returns or raises")

    def _make_folders(self, path: Path) -> None:
        # mkdir(parents=True) would make the outer ones accessible to all users.
        for folder in reversed(path.relative_to(self.root).parents[:-1]):
            (self.root / folder).mkdir(mode=0o700, exist_ok=True)

    def _link(self, temporary: Path, path: Path, sha256: str) -> None:
        try:
            path.hardlink_to(temporary)
        except FileExistsError:
            if _sha256(path) != sha256:
                raise StoreError(
                    f"{self.name}: {path} exists with other content",
                    "nothing is ever overwritten",
                    permanent=True,
                ) from None
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            temporary.rename(path)  # the name is free, or the link would have failed as above
        sync_folder(path.parent)

    def get(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        try:
            with _open(self._path(key)) as file:
                file.seek(start)
                return file.read(-1 if length is None else length)
        except (FileNotFoundError, NotADirectoryError):
            raise ObjectMissingError(self.name, key) from None
        except OSError as error:
            raise self._error(key, error) from error

    def stat(self, key: str) -> ObjectInfo | None:
        """Size and modification time of a file."""
        try:
            return _info(key, self._path(key))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise self._error(key, error) from error

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Walk only the folder that the prefix names. A disk that is not mounted is not an empty store."""
        self.prepare()
        folder = self.root / prefix.rpartition("/")[0]
        try:
            infos = [info for path in _files(folder) if (info := self._listed(path)) is not None]
        except OSError as error:
            raise self._error(prefix, error) from error
        yield from sorted((info for info in infos if info.key.startswith(prefix)), key=lambda info: info.key)

    def _listed(self, path: Path) -> ObjectInfo | None:
        try:
            return _info(path.relative_to(self.root).as_posix(), path)
        except (FileNotFoundError, NotADirectoryError):  # another run has removed it since
            return None

    def delete(self, key: str) -> None:
        """Remove a file, and the folders that this leaves empty."""
        path = self._path(key)
        try:
            path.unlink(missing_ok=True)
            for folder in path.parents:
                if folder == self.root or any(folder.iterdir()):
                    break
                folder.rmdir()
        except OSError as error:
            if error.errno not in _CHANGED:
                raise self._error(key, error) from error

    def close(self) -> None:
        """Does nothing: no file is kept open."""

    def _path(self, key: str) -> Path:
        return self.root / check_key(key)

    def _error(self, key: str, error: OSError) -> StoreError:
        return StoreError(f"{self.name}: {self.root / key}: {error.strerror}", permanent=True)


def _write_durably(descriptor: int, data: Buffer, line: Line) -> str:
    """Write, sync and close; the SHA-256 (hex) of what was written."""
    digest = hashlib.sha256()
    with os.fdopen(descriptor, "wb") as file:
        for piece in line.pieces(data):
            digest.update(piece)
            file.write(piece)
        file.flush()
        os.fsync(descriptor)
    return digest.hexdigest()


def _open(path: Path) -> BufferedReader:
    """A regular file. Nothing else is an object: reading a pipe could block, a link may lead anywhere."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):  # a link; a socket
            raise FileNotFoundError(errno.ENOENT, _NO_FILE, path) from error
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise FileNotFoundError(errno.ENOENT, _NO_FILE, path)
    return os.fdopen(descriptor, "rb")


def _sha256(path: Path) -> str:
    with _open(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _files(folder: Path) -> Iterator[Path]:
    """Everything below a folder that is not a folder. Raises OSError: unreadable is not absent."""

    def fail(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError | NotADirectoryError):  # another run has removed it since
            raise error

    for place, _, names in os.walk(folder, onerror=fail):
        yield from (Path(place, name) for name in names if not name.startswith(_TEMPORARY))


def _info(key: str, path: Path) -> ObjectInfo | None:
    """None for anything that is not a regular file, and so not an object."""
    status = path.lstat()
    if not stat.S_ISREG(status.st_mode):
        return None
    return ObjectInfo(key, status.st_size, datetime.fromtimestamp(_sane(status.st_mtime), UTC))


def _sane(seconds: float) -> float:
    """A file's time, limited to valid dates: anyone who can write there can set any time."""
    return min(max(seconds, 0), _LAST_SECOND)
