"""Make small archives, read them back, and let other programs look at them."""

import os
import stat
import subprocess
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from orchestrator.archive import ArchiveSummary, Entry, FileRecord, Kind, Metadata, Problem
from orchestrator.archive.reader import SealedReader
from orchestrator.archive.writer import SealedWriter

PASSWORD = "CORRECTHORSEBATTERYSTAPLE2345672"


@dataclass
class Sealed:
    """An archive in memory and what its writer told of it."""

    data: bytearray = field(default_factory=bytearray)
    records: list[FileRecord] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    summary: ArchiveSummary | None = None
    ranges: list[tuple[int, int]] = field(default_factory=list)

    def read_range(self, offset: int, length: int) -> bytes:
        self.ranges.append((offset, length))
        return bytes(self.data[offset : offset + length])

    def reader(self, password: str = PASSWORD) -> SealedReader:
        return SealedReader(self.read_range, len(self.data), password)

    def verify(self, records: Iterable[FileRecord] | None = None) -> list[Problem]:
        return self.reader().verify(self.records if records is None else records)

    def record(self, path: bytes) -> FileRecord:
        return next(record for record in self.records if record.path == path)

    def content(self, path: bytes) -> bytes:
        return self.reader().open(self.record(path)).read()


@pytest.fixture
def password() -> str:
    return PASSWORD


@pytest.fixture
def entry() -> Callable[..., Entry]:
    """An entry of given content: bytes, or any iterable of blocks (then of unknown size)."""

    def make(path: bytes, content: Any = b"", **metadata: Any) -> Entry:
        known = isinstance(content, bytes)
        blocks = (content,) if known else content
        return Entry(Metadata(path=path, **metadata), len(content) if known else None, lambda: blocks)

    return make


@pytest.fixture
def seal() -> Callable[..., Sealed]:
    """Write entries into an archive in memory."""

    def make(entries: Iterable[Entry], password: str = PASSWORD, **options: Any) -> Sealed:
        sealed = Sealed()
        with SealedWriter(
            sealed.data.extend,
            password,
            on_record=sealed.records.append,
            on_problem=sealed.problems.append,
            **options,
        ) as writer:
            for one in entries:
                writer.add(one)
            sealed.summary = writer.close()
        return sealed

    return make


@pytest.fixture
def empty_sealed() -> Sealed:
    return Sealed()


@pytest.fixture
def entries_of() -> Callable[[Path], Iterator[Entry]]:
    """A folder's content as entries, as a source of files gives them."""

    def walk(root: Path) -> Iterator[Entry]:
        seen: dict[int, bytes] = {}
        for folder, folders, files in os.walk(os.fsencode(root)):
            for name in sorted(folders + files):
                path = folder + b"/" + name
                yield _entry_of(path, os.path.relpath(path, os.fsencode(root)), seen)

    return walk


def _entry_of(path: bytes, name: bytes, seen: dict[int, bytes]) -> Entry:
    state = os.lstat(path)
    kinds = {stat.S_IFDIR: Kind.DIRECTORY, stat.S_IFLNK: Kind.SYMLINK, stat.S_IFIFO: Kind.FIFO}
    kind = kinds.get(stat.S_IFMT(state.st_mode), Kind.FILE)
    link = os.fsencode(Path(os.fsdecode(path)).readlink()) if kind is Kind.SYMLINK else b""
    if kind is Kind.FILE and state.st_nlink > 1:
        if state.st_ino in seen:
            kind, link = Kind.HARDLINK, seen[state.st_ino]
        seen.setdefault(state.st_ino, name)
    metadata = Metadata(
        path=name,
        kind=kind,
        mode=stat.S_IMODE(state.st_mode),
        uid=state.st_uid,
        gid=state.st_gid,
        mtime_ns=state.st_mtime_ns,
        link=link,
    )
    return Entry(metadata, state.st_size, lambda: _blocks(path))


def _blocks(path: bytes) -> Iterator[bytes]:
    with Path(os.fsdecode(path)).open("rb") as file:
        while block := file.read(1 << 20):
            yield block


@pytest.fixture
def run() -> Callable[..., str]:
    """Run another program; its output, or a failure that shows it."""

    def call(*argv: Any, stdin: str | None = None, folder: Path | None = None) -> str:
        done = subprocess.run(
            [str(each) for each in argv],
            input=stdin,
            capture_output=True,
            text=True,
            cwd=folder,
            errors="replace",
            env={**os.environ, "LC_ALL": "C.UTF-8"},  # others give names back in the user's own encoding
        )
        assert done.returncode == 0, f"{argv}: {done.stdout} {done.stderr}"
        return done.stdout + done.stderr

    return call


@pytest.fixture
def unseal(run: Callable[..., str], tmp_path: Path) -> Callable[[Sealed], Path]:
    """Let 7-Zip take the inner ZIP out of an archive; the password goes by stdin."""

    def take(sealed: Sealed) -> Path:
        outer = tmp_path / "vol.zip"
        outer.write_bytes(sealed.data)
        run("7z", "x", "-y", f"-o{tmp_path}", outer, stdin=f"{PASSWORD}\n")
        return tmp_path / "backup.zip"

    return take
