"""Files of another host, read over SSH by its own GNU tar: it needs nothing of ours.

Format: POSIX pax (IEEE Std 1003.1, pax interchange format) as GNU tar writes it.
"""

import os
import select
import stat
import tarfile
from collections.abc import Generator, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation

from leitstand.process import STDERR_KEPT, Finished, ProcessError
from orchestrator.archive import Entry, Kind, Metadata, Problem
from orchestrator.archive.names import refuse_hostile
from orchestrator.config import FilesSource as FilesSettings
from orchestrator.config import source_label
from orchestrator.sources.files import is_too_large
from orchestrator.sources.patterns import Inclusion, Patterns
from orchestrator.sources.source import Report, SourceError
from orchestrator.sources.tar_complaints import Complaint, complaints, last_words
from orchestrator.sources.tar_patterns import tar_cannot, tar_excludes
from orchestrator.transport import Transport

BLOCK_BYTES = 1 << 20
END_SECONDS = 60.0
SILENT_SECONDS = 3600.0  # a host that sends nothing for so long, a file system of its own gone, say, hangs
_XATTR = "SCHILY.xattr."
_NO_FOLDER = "Cannot open: Not a directory"
_KINDS = {
    tarfile.REGTYPE: Kind.FILE,
    tarfile.AREGTYPE: Kind.FILE,
    tarfile.CONTTYPE: Kind.FILE,
    tarfile.DIRTYPE: Kind.DIRECTORY,
    tarfile.SYMTYPE: Kind.SYMLINK,
    tarfile.LNKTYPE: Kind.HARDLINK,
    tarfile.FIFOTYPE: Kind.FIFO,
    tarfile.CHRTYPE: Kind.DEVICE,
    tarfile.BLKTYPE: Kind.DEVICE,
}
_DEVICE_TYPES = {tarfile.CHRTYPE: stat.S_IFCHR, tarfile.BLKTYPE: stat.S_IFBLK}


@dataclass
class RemoteFilesSource:
    """A folder of another host with all that is in it, or one file.

    ``skip`` are absolute paths left out silently.
    """

    settings: FilesSettings
    transport: Transport
    skip: frozenset[str] = frozenset()
    sequential: bool = True
    label: str = ""
    env: Mapping[str, str] = field(default_factory=lambda: {"LC_ALL": "C"})  # tar's words are parsed
    tables: Mapping[bytes, Mapping[str, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.label = source_label(self.settings)
        self.root = str(self.settings.files).rstrip("/")
        self.exclusion = Patterns(self.settings.exclude, self.root)

    def entries(self, report: Report) -> Iterator[Entry]:
        """The root, then what is below it as tar finds it."""
        walk = _Walk(self)
        finished = yield from walk.read(self.argv())
        if not walk.seen and _NO_FOLDER in finished.stderr:
            finished = yield from walk.read(self.argv_of_file())
        walk.judge(finished, report)

    def close(self) -> None:
        """tar ended with its last block."""

    def argv(self) -> tuple[str, ...]:
        """The tar call: deterministic, so that a forced command can allow just this one.

        It starts in the root, which may be a link: the user named the place. So no name above it can match a
        pattern.
        """
        settings = self.settings
        options = ["--one-file-system"] if settings.one_file_system else []
        options += ["--exclude-caches"] if settings.exclude_caches else []
        options += [f"--exclude-tag={name}" for name in settings.exclude_if_present]
        # Where we leave out what tar sent, that may be the name with which a file's content came.
        apart = settings.include or settings.exclude_larger is not None
        apart = apart or any(map(tar_cannot, settings.exclude))
        options += ["--hard-dereference"] if apart else []
        options += list(tar_excludes(settings.exclude, self.skip, self.root))
        return (*_tar(), *options, f"--directory={self.root or '/'}", "--", ".")

    def argv_of_file(self) -> tuple[str, ...]:
        """The tar call that is tried when the root turns out to be no folder.

        It follows links and knows nothing of what is excluded: a key that runs it on a folder must get one
        empty row and no more.
        """
        folder, _, name = self.root.rpartition("/")
        return (*_tar(), "--dereference", "--no-recursion", f"--directory={folder or '/'}", "--", name)

    def path(self, relative: str) -> bytes:
        """The path in the archive of what is below the root."""
        return os.fsencode(f"{self.label}/{relative}" if relative else self.label)


def _tar() -> tuple[str, ...]:
    form = ("--create", "--file=-", "--format=pax", "--quoting-style=escape", "--sort=name")
    return ("tar", *form, "--xattrs", "--xattrs-include=*")


@dataclass(frozen=True)
class _Sent:
    """What tar sends, as `tarfile` reads it. Raises SourceError when nothing comes for too long."""

    descriptor: int
    source: RemoteFilesSource

    def read(self, size: int) -> bytes:
        waiting = select.poll()
        waiting.register(self.descriptor, select.POLLIN)
        if not waiting.poll(SILENT_SECONDS * 1000):
            raise SourceError(
                f"{self.source.label}: {self.source.transport.name} sent nothing for {SILENT_SECONDS:.0f} s",
                "does a file system hang there?",
            )
        return os.read(self.descriptor, size)


class _Walk:
    """One reading of a source."""

    def __init__(self, source: RemoteFilesSource) -> None:
        self.source, self.seen = source, 0
        self._inclusion = Inclusion(source.settings.include, source.root)
        self._skipping = ""  # the folder that is left out with all that is in it
        self._folders: set[int] = set()

    def read(self, argv: tuple[str, ...]) -> Generator[Entry, None, Finished]:
        """What this call of tar sends; how it ended."""
        source = self.source
        try:
            with source.transport.open_stream(argv, env=source.env) as stream:
                sent = _Sent(stream.stdout.fileno(), source)
                yield from self._members(sent)
                while sent.read(BLOCK_BYTES):
                    pass  # tar pads its last record; an unread rest would end it by SIGPIPE
                return stream.finish(END_SECONDS)
        except ProcessError as error:
            raise SourceError(f"{source.label}: {error.message}", error.hint) from error

    def judge(self, finished: Finished, report: Report) -> None:
        """Report what tar complained of; raise SourceError when it did not get to its end."""
        source = self.source
        found = list(complaints(finished.stderr))
        if finished.status not in (0, 1, 2) or not self.seen or (finished.status == 2 and not found):
            reason = last_words(finished.stderr) or f"exit status {finished.status}"
            raise SourceError(
                f"{source.label}: reading it on {source.transport.name} failed: {reason}",
                "try: ssh to this host as the user who runs the backup",
            )
        for complaint in found:
            path = source.path(_relative(complaint.path))
            if not self._is_a_folder_that_changed(path, complaint):
                report(Problem(path, complaint.reason))
        if len(finished.stderr.encode()) >= STDERR_KEPT:
            report(Problem(source.path(""), "tar complained of more files than are listed"))

    def _is_a_folder_that_changed(self, path: bytes, complaint: Complaint) -> bool:
        """Names come and go in a folder while it is read; what became of each file is told of the file."""
        return complaint.changed and hash(path) in self._folders

    def _members(self, file: object) -> Iterator[Entry]:
        try:
            with tarfile.open(fileobj=file, mode="r|", bufsize=BLOCK_BYTES) as archive:  # type: ignore[call-overload]
                for member in archive:
                    archive.members = []  # else the library keeps every member of a million
                    self.seen += 1
                    yield from self._entries(archive, member)
        except (tarfile.TarError, EOFError, OSError) as error:
            # An empty stream is tar's failure, and its exit status tells why.
            if not isinstance(error, tarfile.ReadError) or "empty" not in str(error):
                raise SourceError(
                    f"{self.source.label}: what {self.source.transport.name} sent is no whole tar: {error}"
                ) from error

    def _entries(self, archive: tarfile.TarFile, member: tarfile.TarInfo) -> Iterator[Entry]:
        """The member as an entry, after folders that lead to it; nothing if it is left out."""
        kind = _KINDS.get(member.type)
        # The first one is the root, whatever tar calls it.
        relative = _relative(member.name) if self.seen > 1 else ""
        if kind is None or self._is_left_out(relative, kind):
            return
        if relative and kind is Kind.FILE and is_too_large(self.source.settings, member.size):
            return
        metadata = self._metadata(member, kind, relative)
        if kind is Kind.DIRECTORY:
            self._folders.add(hash(metadata.path))
        if kind is Kind.FILE:
            entry = Entry(metadata, member.size, lambda: self._blocks(archive, member))
        else:
            entry = Entry(metadata)
        yield from self._inclusion.let_through(relative, entry)

    def _blocks(self, archive: tarfile.TarFile, member: tarfile.TarInfo) -> Iterator[bytes]:
        try:
            file = archive.extractfile(member)
            while file is not None and (block := file.read(BLOCK_BYTES)):
                yield block
        except tarfile.TarError as error:
            source = self.source
            raise SourceError(
                f"{source.label}: {source.transport.name} stopped sending in the middle"
            ) from error

    def _is_left_out(self, relative: str, kind: Kind) -> bool:
        """Whether we leave it out; tar did so where it could."""
        if not relative:
            return False
        if self._skipping and relative.startswith(self._skipping):
            return True
        is_folder = kind is Kind.DIRECTORY
        left_out = self.source.exclusion.match(relative, is_folder)
        if left_out and is_folder:
            self._skipping = f"{relative}/"
        return left_out or not (is_folder or self._inclusion.means(relative, is_folder))

    def _metadata(self, member: tarfile.TarInfo, kind: Kind, relative: str) -> Metadata:
        return Metadata(
            path=self.source.path(relative),
            kind=kind,
            mode=member.mode & 0o7777 | _DEVICE_TYPES.get(member.type, 0),
            uid=member.uid,
            gid=member.gid,
            user=member.uname,
            group=member.gname,
            mtime_ns=_nanoseconds(member),
            link=self._link(member, kind),
            xattrs=tuple(_xattrs(member.pax_headers)),
            device=os.makedev(member.devmajor, member.devminor) if kind is Kind.DEVICE else 0,
        )

    def _link(self, member: tarfile.TarInfo, kind: Kind) -> bytes:
        if kind is Kind.HARDLINK:
            return refuse_hostile(self.source.path(_relative(member.linkname)))
        return os.fsencode(member.linkname) if kind is Kind.SYMLINK else b""


def _relative(name: str) -> str:
    """A member's path below the root. Whatever else a host may send is refused with its path."""
    return "" if name == "." else name.removeprefix("./")


def _nanoseconds(member: tarfile.TarInfo) -> int:
    # tarfile gives a float, which is exact to some hundred nanoseconds only.
    with suppress(InvalidOperation, KeyError):
        return int(Decimal(member.pax_headers["mtime"]) * 1_000_000_000)
    return int(member.mtime * 1_000_000_000)


def _xattrs(headers: Mapping[str, str]) -> Iterator[tuple[bytes, bytes]]:
    for name, value in sorted(headers.items()):
        if name.startswith(_XATTR):
            # GNU tar codes what would end a pax keyword (xheader.c, xattr_encode_keyword).
            plain = name.removeprefix(_XATTR).replace("%3D", "=").replace("%25", "%")
            yield os.fsencode(plain), value.encode("utf-8", "surrogateescape")
