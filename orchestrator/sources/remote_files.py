"""Files of another host, read over SSH by its own GNU tar: nothing of ours is installed there.

It may send anything: `tar_stream` reads it, it can harm no other source, and is limited by the job's
``limits``.
"""

import os
import select
import stat
import time
from array import array
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, field

from leitstand.patterns import Patterns
from leitstand.process import STDERR_KEPT, Finished, ProcessError
from orchestrator.archive import Entry, Kind, Metadata, Problem
from orchestrator.archive.admission import Descent
from orchestrator.archive.sparse import LARGE_HOLES, packed
from orchestrator.config.limits import Limits
from orchestrator.config.settings import FilesSettings, source_label
from orchestrator.sources.files import is_too_large, not_mounted
from orchestrator.sources.patterns import Inclusion
from orchestrator.sources.source import Report, SourceError
from orchestrator.sources.ssh import Transport
from orchestrator.sources.tar_complaints import complaints, last_words, other_complaints
from orchestrator.sources.tar_patterns import tar_cannot, tar_excludes
from orchestrator.sources.tar_stream import FILES, Member, TarError, TarReader

END_SECONDS, STAT_SECONDS = 60.0, 60.0
SILENT_SECONDS = 3600.0  # a host that sends nothing for this long hangs, perhaps in a file system
_NO_FOLDER = "Cannot open: Not a directory"
_KINDS = {
    **dict.fromkeys(FILES, Kind.FILE),
    b"1": Kind.HARDLINK,
    b"2": Kind.SYMLINK,
    b"3": Kind.DEVICE,
    b"4": Kind.DEVICE,
    b"5": Kind.DIRECTORY,
    b"6": Kind.FIFO,
}
_LONGEST_START = 100  # bytes of output that is not a tar, in messages
_LONGEST_TOLD = 1024  # bytes of a refused path in messages
_DEVICE_TYPES = {b"3": stat.S_IFCHR, b"4": stat.S_IFBLK}


@dataclass
class RemoteFilesSource:
    """A folder of another host with all in it, or one file. ``skip``: absolute paths left out silently."""

    settings: FilesSettings
    transport: Transport
    skip: frozenset[str] = frozenset()
    limits: Limits = field(default_factory=Limits)
    sequential: bool = True
    label: str = ""
    env: Mapping[str, str] = field(default_factory=lambda: {"LC_ALL": "C"})  # tar's words are parsed
    tables: Mapping[bytes, Mapping[str, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.label = source_label(self.settings)
        self.root = str(self.settings.files).rstrip("/")
        self.exclusion = Patterns(self.settings.exclude, self.root)

    def entries(self, report: Report) -> Iterator[Entry]:
        """The root, then what is below it, in the order of tar."""
        if self.settings.must_be_mounted:
            self._require_mount()
        walk = _Walk(self, report)
        finished = yield from walk.read(self.argv())
        if not walk.seen and _NO_FOLDER in finished.stderr:
            finished = yield from walk.read(self.argv_of_file())
        walk.judge(finished)

    def close(self) -> None:
        """Does nothing: tar ended with its last block."""

    def argv(self) -> tuple[str, ...]:
        """The tar command: deterministic, so that a forced command can allow exactly this one.

        It starts in the root, which may be a link, as the user chose it. So no name above it can match a
        pattern.
        """
        settings = self.settings
        options = ["--one-file-system"] if settings.one_file_system else []
        options += ["--exclude-caches"] if settings.exclude_caches else []
        options += [f"--exclude-tag={name}" for name in settings.exclude_if_present]
        # If we leave out an entry that tar sent, it may be the one with the content of a hard link.
        apart = settings.include or settings.exclude_larger is not None
        apart = apart or any(map(tar_cannot, settings.exclude))
        options += ["--hard-dereference"] if apart else []
        options += list(tar_excludes(settings.exclude, self.skip, self.root))
        return (*_tar(), *options, f"--directory={self.root or '/'}", "--", ".")

    def argv_of_file(self) -> tuple[str, ...]:
        """The tar command to try if the root turns out not to be a folder.

        It follows links and ignores exclusions: a key that runs it on a folder must get one empty row and no
        more.
        """
        folder, _, name = self.root.rpartition("/")
        return (*_tar(), "--dereference", "--no-recursion", f"--directory={folder or '/'}", "--", name)

    def argv_of_mount(self) -> tuple[str, ...]:
        """The command that prints the devices of ``/`` and of the root, one per line."""
        return ("stat", "--dereference", "--format=%d", "--", "/", self.root or "/")

    def _require_mount(self) -> None:
        try:
            finished = self.transport.run(self.argv_of_mount(), timeout=STAT_SECONDS, env=self.env)
        except ProcessError as error:
            raise SourceError(f"{self.label}: {error.message}", error.hint) from error
        if finished.status:
            reason = f"stat on {self.transport.name}: {last_words(finished.stderr)}"
            raise SourceError(f"{self.label}: {reason}", self.transport.hint(finished))
        # The last two words: a shell may have printed something before.
        if len(set(finished.stdout.split()[-2:])) < 2:
            raise not_mounted(self.settings)

    def path(self, relative: str) -> bytes:
        """The path in the archive of a path below the root."""
        return os.fsencode(f"{self.label}/{relative}" if relative else self.label)


def _tar() -> tuple[str, ...]:
    form = ("--create", "--file=-", "--format=pax", "--quoting-style=escape", "--sort=name")
    return ("tar", *form, "--sparse", "--xattrs", "--xattrs-include=*")


@dataclass
class _Sent:
    """The output of tar. Raises SourceError if nothing comes for too long, or more than the job's limits."""

    descriptor: int
    source: RemoteFilesSource
    received: int = 0
    start: bytes = b""

    def __post_init__(self) -> None:
        self._end = time.monotonic() + self.source.limits.time.total_seconds()

    def read(self, size: int) -> bytes:
        waiting = select.poll()
        waiting.register(self.descriptor, select.POLLIN)
        label, host, limits = self.source.label, self.source.transport.name, self.source.limits
        if not waiting.poll(SILENT_SECONDS * 1000):
            raise SourceError(
                f"{label}: {host} sent nothing for {SILENT_SECONDS:.0f} s", "does a file system hang there?"
            )
        data = os.read(self.descriptor, size)
        self.received += len(data)
        self.start = self.start or data[:_LONGEST_START]
        if self.received > limits.bytes:
            raise limits.exceeded(label, "bytes")
        if time.monotonic() > self._end:
            raise limits.exceeded(label, "time")
        return data


class _Walk:
    def __init__(self, source: RemoteFilesSource, report: Report) -> None:
        self.source, self.report, self.seen = source, report, 0
        self._inclusion = Inclusion(source.settings.include, source.root)
        self._skipping = ""  # the folder that is being left out
        self._descent = Descent()
        self._folders = array("q")  # hashes: there may be millions

    def read(self, argv: tuple[str, ...]) -> Generator[Entry, None, Finished]:
        """The entries of this tar command; then how it ended."""
        source = self.source
        try:
            with source.transport.open_stream(argv, env=source.env) as stream:
                sent = _Sent(stream.stdout.fileno(), source)
                try:
                    yield from self._members(TarReader(sent.read))
                except TarError as error:
                    self._refuse_text(sent.start)
                    raise self._broken(error, stream.finish(END_SECONDS)) from error
                return stream.finish(END_SECONDS)
        except ProcessError as error:
            raise SourceError(f"{source.label}: {error.message}", error.hint) from error

    def _refuse_text(self, start: bytes) -> None:
        """Raise SourceError if something else was written before the tar, or instead of it."""
        line = start.partition(b"\n")[0].decode(errors="replace").strip()
        if not self.seen and line.isprintable() and line:
            raise SourceError(
                f"{self.source.label}: {self.source.transport.name} sent text before its files: {line}",
                "does its shell print that (.bashrc), or is this user not allowed to run commands there?",
            )

    def _broken(self, error: TarError, finished: Finished) -> SourceError:
        """The error for an incomplete tar: messages of tar or ssh explain it better."""
        source = self.source
        said = last_words(finished.stderr) if finished.status > 0 else ""
        return SourceError(
            f"{source.label}: {source.transport.name} sent an incomplete or damaged tar: {error}"
            + (said and f" ({said})"),
            source.transport.hint(finished),
        )

    def judge(self, finished: Finished) -> None:
        """Report the complaints of tar; raise SourceError if it did not finish."""
        source = self.source
        found = list(complaints(finished.stderr))
        if finished.status not in (0, 1, 2) or not self.seen or (finished.status == 2 and not found):
            reason = last_words(finished.stderr) or f"exit status {finished.status}"
            raise SourceError(
                f"{source.label}: reading it on {source.transport.name} failed: {reason}",
                source.transport.hint(finished),
            )
        complained = {source.path(_relative(each.path)): each for each in found}
        changed = {hash(path) for path, each in complained.items() if each.changed}
        # Names come and go in a folder while it is read; problems of files are reported per file.
        folders = changed.intersection(self._folders)
        for path, complaint in complained.items():
            if not (complaint.changed and hash(path) in folders):
                self.report(Problem(path, complaint.reason))
        for line in other_complaints(finished.stderr):
            self.report(Problem(source.path(""), line))
        if len(finished.stderr.encode()) >= STDERR_KEPT:
            self.report(Problem(source.path(""), "tar complained of more files than are listed"))

    def _members(self, reader: TarReader) -> Iterator[Entry]:
        for member in reader.members():
            self.seen += 1
            if self.seen > self.source.limits.entries:
                raise self.source.limits.exceeded(self.source.label, "entries")
            yield from self._entries(reader, member)

    def _entries(self, reader: TarReader, member: Member) -> Iterator[Entry]:
        """The member as an entry, after the folders that lead to it; nothing if it is left out."""
        kind = _KINDS.get(member.type, Kind.FILE)
        # The first one is the root, under any name.
        relative = _relative(os.fsdecode(member.name)) if self.seen > 1 else ""
        if self._is_left_out(relative, kind):
            return
        if relative and kind is Kind.FILE and is_too_large(self.source.settings, member.size):
            return
        metadata = self._metadata(member, kind, relative)
        is_folder = kind is Kind.DIRECTORY
        refused = member.problem and f"refused: {member.problem}"
        if refused := refused or self._descent.refusal(metadata.path, is_folder):
            self.report(Problem(metadata.path[:_LONGEST_TOLD], refused))
            return
        if is_folder:
            self._folders.append(hash(metadata.path))
        entry = self._file(reader, member, metadata) if kind is Kind.FILE else Entry(metadata)
        yield from self._inclusion.let_through(relative, entry)

    def _file(self, reader: TarReader, member: Member, metadata: Metadata) -> Entry:
        stored, extents = reader.stored(), member.extents
        if extents is None or member.size - stored < LARGE_HOLES:
            return Entry(metadata, member.size, lambda: self._whole(reader.blocks(member)))
        metadata.sparse = member.size
        return Entry(metadata, stored, lambda: packed(member.size, extents, self._whole(reader.data())))

    def _whole(self, blocks: Iterator[bytes]) -> Iterator[bytes]:
        try:
            yield from blocks
        except TarError as error:
            source = self.source
            raise SourceError(
                f"{source.label}: {source.transport.name} stopped sending in the middle"
            ) from error

    def _is_left_out(self, relative: str, kind: Kind) -> bool:
        """Whether to leave it out; tar did so where it could."""
        if not relative:
            return False
        if self._skipping and relative.startswith(self._skipping):
            return True
        is_folder = kind is Kind.DIRECTORY
        left_out = self.source.exclusion.match(relative, is_folder)
        if left_out and is_folder:
            self._skipping = f"{relative}/"
        return left_out or not (is_folder or self._inclusion.means(relative, is_folder))

    def _metadata(self, member: Member, kind: Kind, relative: str) -> Metadata:
        return Metadata(
            path=self.source.path(relative),
            kind=kind,
            mode=member.mode & 0o7777 | _DEVICE_TYPES.get(member.type, 0),
            uid=member.uid,
            gid=member.gid,
            user=member.user,
            group=member.group,
            mtime_ns=member.mtime_ns,
            link=self._link(member, kind),
            xattrs=member.xattrs,
            device=_device(*member.device) if kind is Kind.DEVICE else 0,
        )

    def _link(self, member: Member, kind: Kind) -> bytes:
        if kind is Kind.HARDLINK:
            return self.source.path(_relative(os.fsdecode(member.link)))
        return member.link if kind is Kind.SYMLINK else b""


def _relative(name: str) -> str:
    """A member's path below the root. Any other path that a host sends is refused."""
    return "" if name == "." else name.removeprefix("./")


def _device(major: int, minor: int) -> int:
    try:
        return os.makedev(major, minor)
    except OverflowError:
        return -1  # impossible; it is refused
