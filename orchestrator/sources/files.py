"""Files and folders of this machine.

Links are not followed: each name is checked with lstat in its open folder, and a file is only read if the
opened inode is the one that was checked. So users who can write in the tree cannot make us read elsewhere.
"""

import errno
import grp
import logging
import os
import pwd
import stat
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from leitstand.patterns import Patterns
from orchestrator.archive import Entry, Kind, Metadata, Problem
from orchestrator.config.settings import FilesSettings, source_label
from orchestrator.sources.patterns import Inclusion
from orchestrator.sources.reading import data_bytes, has_large_holes, read_file, read_packed
from orchestrator.sources.source import Report, SourceError

_log = logging.getLogger(__name__)
FirstNames = dict[tuple[int, int], bytes]  # of files with hard links: device and inode -> path
_CAP_SYS_ADMIN = 21
_UNREADABLE = (errno.ENODATA, errno.ENOTSUP, errno.EPERM, errno.EACCES)
_CACHE_TAG = "CACHEDIR.TAG"
_CACHE_SIGNATURE = b"Signature: 8a477f597d28d172789f06886806bc55"  # https://bford.info/cachedir/
_KINDS = {
    stat.S_IFREG: Kind.FILE,
    stat.S_IFDIR: Kind.DIRECTORY,
    stat.S_IFLNK: Kind.SYMLINK,
    stat.S_IFIFO: Kind.FIFO,
    stat.S_IFSOCK: Kind.SOCKET,
    stat.S_IFCHR: Kind.DEVICE,
    stat.S_IFBLK: Kind.DEVICE,
}


@dataclass
class _Folder:
    """An open folder of the walk: its descriptor, its path below the root, the remaining names."""

    descriptor: int
    relative: str
    names: Iterator[str]

    def child(self, name: str) -> str:
        return f"{self.relative}/{name}" if self.relative else name


@dataclass
class FilesSource:
    """A folder with everything in it, or one file.

    ``skip`` are absolute paths that are left out silently, ``stores`` folders whose contents are not saved:
    the next run would save what this one stores there.
    """

    settings: FilesSettings
    skip: frozenset[str] = frozenset()
    stores: Collection[Path] = ()
    sequential: bool = False
    label: str = ""
    tables: dict[bytes, dict[str, int]] = field(default_factory=dict)
    first_names: FirstNames = field(default_factory=dict)
    _closed: frozenset[tuple[int, int]] = frozenset()

    def __post_init__(self) -> None:
        self.label = source_label(self.settings)
        self.root = str(self.settings.files).rstrip("/")
        self.exclusion = Patterns(self.settings.exclude, self.root)

    def entries(self, report: Report) -> Iterator[Entry]:
        """The root, then everything below it in order of names."""
        try:
            # The root itself may be a symbolic link: the user named the place, not the link.
            status = Path(self.root or "/").stat()
            top = os.open(self.root or "/", os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            raise SourceError(f"{self.settings.files}: {error.strerror}", "is the path right?") from error
        try:
            if not os.geteuid() and not self.sees_trusted:
                what = "without CAP_SYS_ADMIN attributes trusted.* cannot be seen or saved"
                _log.warning("%s: %s", self.label, what)
            if self.settings.must_be_mounted and status.st_dev == Path("/").stat().st_dev:
                raise not_mounted(self.settings)
            yield self._entry(status, "", f"/proc/self/fd/{top}", report, follow=True)
            if stat.S_ISDIR(status.st_mode):
                yield from self._below(os.dup(top), status.st_dev, report)
        finally:
            os.close(top)

    def close(self) -> None:
        """Forget the names of hard links."""
        self.first_names.clear()

    def _below(self, top: int, device: int, report: Report) -> Iterator[Entry]:
        self._closed = frozenset(_inodes(self.stores))
        inclusion = Inclusion(self.settings.include, self.root)
        stack = [_Folder(top, "", iter(self._names(top)))]
        try:
            while stack:
                folder = stack[-1]
                name = next(folder.names, None)
                if name is None:
                    os.close(stack.pop().descriptor)
                    continue
                entry = self._look(folder, name, inclusion, report)
                if entry is None:
                    continue
                if inclusion.all:
                    yield entry
                else:
                    yield from inclusion.let_through(folder.child(name), entry)
                if entry.metadata.kind is Kind.DIRECTORY:
                    self._enter(stack, name, entry.metadata, device, report)
        finally:
            for folder in stack:
                os.close(folder.descriptor)

    def _look(self, folder: _Folder, name: str, inclusion: Inclusion, report: Report) -> Entry | None:
        relative = folder.child(name)
        if self.skip and f"{self.root}/{relative}" in self.skip:
            return None
        try:
            status = os.stat(name, dir_fd=folder.descriptor, follow_symlinks=False)
            is_folder = stat.S_ISDIR(status.st_mode)
            if self.exclusion.match(relative, is_folder):
                return None
            if not is_folder and not inclusion.means(relative, is_folder):
                return None
            if is_too_large(self.settings, status.st_size) and stat.S_ISREG(status.st_mode):
                return None
            return self._entry(status, relative, f"/proc/self/fd/{folder.descriptor}/{name}", report)
        except OSError as error:
            report(Problem(self._path(relative), _reason(error)))
            return None

    def _enter(
        self, stack: list[_Folder], name: str, metadata: Metadata, device: int, report: Report
    ) -> None:
        """Descend into a folder that was just checked, unless it is a cache or another file system."""
        folder = stack[-1]
        try:
            descriptor = os.open(
                name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder.descriptor
            )
        except OSError as error:
            report(Problem(metadata.path, _reason(error)))
            return
        try:
            names = self._names_to_enter(descriptor, metadata, device)
        except OSError as error:
            report(Problem(metadata.path, _reason(error)))
            names = []
        stack.append(_Folder(descriptor, folder.child(name), iter(names)))

    def _names_to_enter(self, descriptor: int, metadata: Metadata, device: int) -> list[str]:
        status = os.fstat(descriptor)
        if status.st_ino != metadata.inode:
            raise OSError(errno.ESTALE, "replaced while it was read")
        if self.settings.one_file_system and status.st_dev != device:
            _log.info("%s: left out, as it is another file system", os.fsdecode(metadata.path))
            return []
        if (status.st_dev, status.st_ino) in self._closed:
            _log.info("%s: a store of this job, its contents are left out", os.fsdecode(metadata.path))
            return []
        return self._names(descriptor)

    def _names(self, descriptor: int) -> list[str]:
        """The names in a folder, sorted; if it is left out, only the tag that says so."""
        if self.settings.exclude_caches and _is_cache(descriptor):
            return [_CACHE_TAG]
        # Some file systems list a name twice if it is renamed meanwhile.
        names = set(os.listdir(descriptor))
        tag = next((name for name in self.settings.exclude_if_present if name in names), None)
        return sorted(names) if tag is None else [tag]

    def _path(self, relative: str) -> bytes:
        return os.fsencode(f"{self.label}/{relative}" if relative else self.label)

    @property
    def sees_trusted(self) -> bool:
        return _has_capability(_CAP_SYS_ADMIN)

    def _entry(
        self, status: os.stat_result, relative: str, place: str, report: Report, *, follow: bool = False
    ) -> Entry:
        kind = _KINDS[stat.S_IFMT(status.st_mode)]
        path, link = self._path(relative), b""
        if kind is not Kind.DIRECTORY and status.st_nlink > 1:
            first = self.first_names.setdefault((status.st_dev, status.st_ino), path)
            kind, link = (kind, b"") if first == path else (Kind.HARDLINK, first)
        if kind is Kind.SYMLINK:
            link = os.fsencode(os.readlink(place))  # noqa: PTH115 - a Path would normalise the target
        lost: list[str] = []
        metadata = metadata_of(status, path, kind, link, _xattrs(place, follow, lost))
        for what in lost:
            report(Problem(path, what))
        if kind is not Kind.FILE:
            return Entry(metadata)
        if has_large_holes(status):
            metadata.sparse = status.st_size
            return Entry(metadata, data_bytes(status), self._blocks(relative, status, read_packed))
        return Entry(metadata, status.st_size, self._blocks(relative, status, read_file))

    def _blocks(
        self, relative: str, status: os.stat_result, read: Callable[..., Iterator[bytes]]
    ) -> Callable[[], Iterator[bytes]]:
        place = f"{self.root}/{relative}" if relative else self.root

        def blocks() -> Iterator[bytes]:
            try:
                yield from read(place, status, follow=not relative)
            except OSError as error:
                raise OSError(error.errno, _reason(error)) from error

        return blocks


def is_too_large(settings: FilesSettings, size: int) -> bool:
    return settings.exclude_larger is not None and size > settings.exclude_larger


def not_mounted(settings: FilesSettings) -> SourceError:
    return SourceError(
        f"{settings.files}: is on the file system of '/': is its own file system not mounted?",
        "mount it, or remove must_be_mounted",
    )


def _has_capability(number: int) -> bool:
    """Whether this process has an effective capability (capabilities(7)); proc(5), /proc/pid/status."""
    lines = Path("/proc/self/status").read_text().splitlines()
    effective = next((line.split()[1] for line in lines if line.startswith("CapEff:")), "0")
    return bool(int(effective, 16) >> number & 1)


def metadata_of(
    status: os.stat_result,
    path: bytes,
    kind: Kind,
    link: bytes = b"",
    xattrs: tuple[tuple[bytes, bytes], ...] = (),
) -> Metadata:
    """An inode's status as the archive keeps it."""
    return Metadata(
        path=path,
        kind=kind,
        mode=status.st_mode if kind is Kind.DEVICE else stat.S_IMODE(status.st_mode),
        uid=status.st_uid,
        gid=status.st_gid,
        user=_user_name(status.st_uid),
        group=_group_name(status.st_gid),
        mtime_ns=status.st_mtime_ns,
        link=link,
        xattrs=xattrs,
        ctime_ns=status.st_ctime_ns,
        inode=status.st_ino,
        device=status.st_rdev if kind is Kind.DEVICE else status.st_dev,
    )


def _inodes(folders: Iterable[Path]) -> Iterator[tuple[int, int]]:
    for folder in folders:
        with suppress(OSError):
            status = folder.stat()
            yield status.st_dev, status.st_ino


def _is_cache(descriptor: int) -> bool:
    with suppress(OSError):
        tag = os.open(_CACHE_TAG, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=descriptor)
        try:
            return os.read(tag, len(_CACHE_SIGNATURE)) == _CACHE_SIGNATURE
        finally:
            os.close(tag)
    return False


def _xattrs(place: str, follow: bool, lost: list[str]) -> tuple[tuple[bytes, bytes], ...]:
    """Extended attributes, including ACLs; none where the file system has none.

    ``lost`` gets a line for each that cannot be read.
    """
    try:
        names = os.listxattr(place, follow_symlinks=follow)
    except OSError as error:
        if error.errno not in (errno.ENOTSUP, errno.EPERM, errno.EACCES):
            raise
        if error.errno != errno.ENOTSUP:
            lost.append(f"its attributes cannot be read: {error.strerror}")
        return ()
    found = []
    for name in sorted(names):
        try:
            found.append((os.fsencode(name), os.getxattr(place, name, follow_symlinks=follow)))
        except OSError as error:
            if error.errno not in _UNREADABLE:
                raise
            if error.errno != errno.ENODATA:  # it was removed meanwhile
                lost.append(f"its attribute {name} cannot be read: {error.strerror}")
    return tuple(found)


def _reason(error: OSError) -> str:
    if error.errno == errno.ENOENT:
        return "vanished before it was read"
    return f"cannot be read: {error.strerror}"


@cache
def _user_name(uid: int) -> str:
    with suppress(KeyError):
        return pwd.getpwuid(uid).pw_name
    return ""


@cache
def _group_name(gid: int) -> str:
    with suppress(KeyError):
        return grp.getgrgid(gid).gr_name
    return ""


def sqlite_companions(path: Path) -> frozenset[str]:
    """A database file and the files that SQLite keeps next to it: saved by the database's own source."""
    return frozenset(f"{path}{end}" for end in ("", "-wal", "-shm", "-journal"))
