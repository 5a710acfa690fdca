"""Files of another host, read over SSH by its own tar: it needs nothing of ours.

Format: POSIX pax (IEEE Std 1003.1, pax interchange format) as GNU tar writes it.
"""

import os
import re
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation

from leitstand.process import Finished, ProcessError
from orchestrator.archive import Entry, Kind, Metadata, Problem
from orchestrator.config import FilesSource as FilesSettings
from orchestrator.config import source_label
from orchestrator.sources.patterns import Exclusion
from orchestrator.sources.source import Report, SourceError
from orchestrator.transport import Transport

BLOCK_BYTES = 1 << 20
END_SECONDS = 60.0
_XATTR = "SCHILY.xattr."
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
# What GNU tar says of single files, in the language that LC_ALL=C gives.
_COMPLAINT = re.compile(
    r"^tar: (?P<path>.*): (?:Warning: )?"
    r"(?P<what>Cannot (?:open|stat|read|savedir|readlink)[^:]*: .*|file changed as we read it"
    r"|File removed before we read it|File shrank by .*)$"
)


@dataclass
class RemoteFilesSource:
    """A folder of another host with all that is in it. ``skip`` are absolute paths left out silently."""

    settings: FilesSettings
    transport: Transport
    skip: frozenset[str] = frozenset()
    sequential: bool = True
    label: str = ""
    env: Mapping[str, str] = field(default_factory=lambda: {"LC_ALL": "C"})  # tar's words are parsed
    tables: Mapping[bytes, Mapping[str, int]] = field(default_factory=dict)
    _skipped: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.label = source_label(self.settings)
        self.root = str(self.settings.files).rstrip("/")
        self.exclusion = Exclusion(self.settings.exclude, self.root)

    def entries(self, report: Report) -> Iterator[Entry]:
        """The root, then what is below it as tar finds it."""
        seen = 0
        try:
            with self.transport.open_stream(self.argv(), env=self.env) as stream:
                for entry in self._members(stream.stdout):
                    seen += 1
                    yield entry
                while stream.stdout.read(BLOCK_BYTES):
                    pass  # tar pads its last record; an unread rest would end it by SIGPIPE
                finished = stream.finish(END_SECONDS)
        except ProcessError as error:
            raise SourceError(f"{self.label}: {error.message}", error.hint) from error
        self._judge(finished, seen, report)

    def close(self) -> None:
        """tar ended with its last block."""

    def argv(self) -> tuple[str, ...]:
        """The tar call: deterministic, so that a forced command can allow just this one."""
        settings = self.settings
        options = ["--create", "--file=-", "--format=pax", "--quoting-style=literal", "--sort=name"]
        options += ["--xattrs", "--xattrs-include=*"]
        options += ["--one-file-system"] if settings.one_file_system else []
        options += ["--exclude-caches"] if settings.exclude_caches else []
        options += list(tar_excludes(settings.exclude, self.root))
        return ("tar", *options, "--directory=/", "--", self.root.lstrip("/") or ".")

    def _members(self, file: object) -> Iterator[Entry]:
        try:
            with tarfile.open(fileobj=file, mode="r|", bufsize=BLOCK_BYTES) as archive:  # type: ignore[call-overload]
                for member in archive:
                    archive.members = []  # else the library keeps every member of a million
                    entry = self._entry(archive, member)
                    if entry is not None:
                        yield entry
        except (tarfile.TarError, EOFError, OSError) as error:
            # An empty stream is tar's failure, and its exit status tells why.
            if not isinstance(error, tarfile.ReadError) or "empty" not in str(error):
                raise SourceError(
                    f"{self.label}: what {self.transport.name} sent is no whole tar: {error}"
                ) from error

    def _entry(self, archive: tarfile.TarFile, member: tarfile.TarInfo) -> Entry | None:
        kind = _KINDS.get(member.type)
        place = "/" + member.name.strip("/").removeprefix("./")
        relative = place.removeprefix(self.root).lstrip("/")
        if kind is None or place in self.skip or self._is_excluded(relative, kind):
            return None
        metadata = self._metadata(member, kind, place)
        if kind is not Kind.FILE:
            return Entry(metadata)
        return Entry(metadata, member.size, lambda: self._blocks(archive, member))

    def _blocks(self, archive: tarfile.TarFile, member: tarfile.TarInfo) -> Iterator[bytes]:
        try:
            file = archive.extractfile(member)
            while file is not None and (block := file.read(BLOCK_BYTES)):
                yield block
        except tarfile.TarError as error:
            raise SourceError(f"{self.label}: {self.transport.name} stopped sending in the middle") from error

    def _is_excluded(self, relative: str, kind: Kind) -> bool:
        """tar left out what it could; patterns for folders only are ours, with all that is below."""
        parent = relative.rpartition("/")[0]
        if parent and parent in self._skipped:
            excluded = True
        else:
            excluded = bool(relative) and self.exclusion.excludes(relative, kind is Kind.DIRECTORY)
        if excluded and kind is Kind.DIRECTORY:
            self._skipped.add(relative)
        return excluded

    def _metadata(self, member: tarfile.TarInfo, kind: Kind, place: str) -> Metadata:
        return Metadata(
            path=self._path(place),
            kind=kind,
            mode=member.mode & 0o7777,
            uid=member.uid,
            gid=member.gid,
            user=member.uname,
            group=member.gname,
            mtime_ns=_nanoseconds(member),
            link=self._link(member, kind),
            xattrs=tuple(_xattrs(member.pax_headers)),
            device=os.makedev(member.devmajor, member.devminor) if kind is Kind.DEVICE else 0,
        )

    def _path(self, place: str) -> bytes:
        return os.fsencode(f"files{place}".rstrip("/"))

    def _link(self, member: tarfile.TarInfo, kind: Kind) -> bytes:
        if kind is Kind.HARDLINK:
            return self._path("/" + member.linkname.strip("/").removeprefix("./"))
        return os.fsencode(member.linkname) if kind is Kind.SYMLINK else b""

    def _judge(self, finished: Finished, seen: int, report: Report) -> None:
        """Report what tar complained of; raise SourceError when it did not get to its end."""
        complaints = [match for line in finished.stderr.splitlines() if (match := _COMPLAINT.match(line))]
        if finished.status not in (0, 1, 2) or not seen or (finished.status == 2 and not complaints):
            last = [
                line for line in finished.stderr.strip().splitlines() if "Exiting with failure" not in line
            ]
            reason = last[-1] if last else f"exit status {finished.status}"
            raise SourceError(
                f"{self.label}: reading it on {self.transport.name} failed: {reason}",
                "try: ssh to this host as the user who runs the backup",
            )
        for complaint in complaints:
            report(Problem(self._path("/" + complaint["path"].strip("/")), _reason(complaint["what"])))


def tar_excludes(patterns: Iterable[str], root: str) -> Iterator[str]:
    """The patterns as GNU tar understands them; what it cannot say (folders only) is left to us."""
    for pattern in patterns:
        if pattern.endswith("/") or not pattern:
            continue
        text = pattern.replace("\\", "\\\\")
        if "/" not in text:
            yield from ("--no-anchored", "--wildcards", "--no-wildcards-match-slash", f"--exclude={text}")
        else:
            inner = text.lstrip("/") if text.startswith("/") else _below(text, root)
            yield from ("--anchored", "--wildcards", "--wildcards-match-slash", f"--exclude={inner}")


def _below(pattern: str, root: str) -> str:
    place = root.lstrip("/")
    joint = "" if pattern.startswith("*") else "/"
    return f"{place}{joint}{pattern}"


def _nanoseconds(member: tarfile.TarInfo) -> int:
    # tarfile gives a float, which is exact to some hundred nanoseconds only.
    with suppress(InvalidOperation, KeyError):
        return int(Decimal(member.pax_headers["mtime"]) * 1_000_000_000)
    return int(member.mtime * 1_000_000_000)


def _xattrs(headers: Mapping[str, str]) -> Iterator[tuple[bytes, bytes]]:
    for name, value in sorted(headers.items()):
        if name.startswith(_XATTR):
            yield os.fsencode(name.removeprefix(_XATTR)), value.encode("utf-8", "surrogateescape")


def _reason(complaint: str) -> str:
    if "No such file" in complaint or "removed before" in complaint:
        return "vanished before it was read"
    if complaint.startswith("Cannot"):
        return f"cannot be read: {complaint.rsplit(': ', 1)[-1]}"
    return "changed while it was read"
