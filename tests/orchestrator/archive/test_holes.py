"""Holes of files cost nothing: not read, not sent, hardly stored; after a restore they are holes again."""

import errno
import json
import os
import subprocess
import tracemalloc
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.sshd import Sshd
from orchestrator.archive import EntryChanged
from orchestrator.archive.sparse import MEMBER, SUFFIX, Unpacking, packed
from orchestrator.sources.reading import read_file, read_packed

Site = Any
TERABYTE = 1 << 40
PIECES = {0: b"head" * 1000, 5_000_000_000: b"middle" * 100_000, TERABYTE - 4096: b"end"}


def write_sparse(path: Path, size: int, pieces: dict[int, bytes]) -> None:
    with path.open("wb") as file:
        file.truncate(size)
        for offset, data in pieces.items():
            file.seek(offset)
            file.write(data)


def read_pieces(path: Path, pieces: dict[int, bytes]) -> dict[int, bytes]:
    with path.open("rb") as file:
        return {offset: os.pread(file.fileno(), len(data), offset) for offset, data in pieces.items()}


def far(site: Site, sshd: Sshd) -> None:
    ssh = {"user": sshd.user, "port": sshd.port, "identity_file": str(sshd.identity)}
    ssh["known_hosts_file"] = str(sshd.known_hosts)
    site.document["hosts"]["far"] = {"address": "127.0.0.1", "ssh": ssh}
    site.job["host"] = "far"


@pytest.fixture(params=["here", "far"])
def log(request: pytest.FixtureRequest, site: Site, sshd: Sshd) -> Path:
    """A log of a terabyte that was hardly written, the only file of its job."""
    if request.param == "far":
        far(site, sshd)
    folder = site.folder / "logs"
    folder.mkdir()
    path: Path = folder / "lastlog"
    try:
        write_sparse(path, TERABYTE, PIECES)
    except OSError:
        pytest.skip("this file system has no files of a terabyte")
    site.job["sources"] = [{"files": str(folder)}]
    return path


def test_a_terabyte_of_holes_costs_what_its_data_costs(site: Site, log: Path, tmp_path: Path) -> None:
    """Read, hashed or deflated, it would take a quarter of an hour each time."""
    stored = site.good("run", "site", "--json").json()
    assert stored["content_bytes"] < 2_000_000
    assert stored["stored_bytes"] < 100_000
    site.good("verify", "site")
    site.good("drill", "site")
    site.good("restore", "site", "--target", tmp_path / "out")
    restored = tmp_path / "out" / "files" / log.relative_to("/")
    assert restored.stat().st_size == TERABYTE
    assert restored.stat().st_blocks * 512 < 2_000_000
    assert restored.stat().st_mtime_ns == log.stat().st_mtime_ns
    assert read_pieces(restored, PIECES) == PIECES
    (row,) = map(json.loads, site.good("ls", "site", "lastlog", "--json").stdout.splitlines())
    assert row["size"] == TERABYTE


def test_smaller_holes_are_part_of_the_content_s_sha256(
    site: Site, rsync: Callable[[Path, Path], str], tmp_path: Path
) -> None:
    write_sparse(site.www / "image", 300_000_000, {3_000_000: b"x" * 5000, 299_999_000: b"y"})
    site.good("run", "site")
    site.good("verify", "site")
    site.good("restore", "site", "--target", tmp_path / "out")
    assert rsync(site.www, site.restored(tmp_path / "out")) == ""
    assert (site.restored(tmp_path / "out") / "image").stat().st_blocks * 512 < 1_000_000
    (row,) = map(json.loads, site.good("ls", "site", "image", "--json").stdout.splitlines())
    done = subprocess.run(["sha256sum", site.www / "image"], capture_output=True, text=True, check=True)
    assert row["sha256"] == done.stdout.split()[0]


def test_packed_content_comes_back_in_place_and_on_standard_output(site: Site, tmp_path: Path) -> None:
    size, pieces = (1 << 30) + 12_345, {4096: b"a" * 4096, (1 << 30) + 12_000: b"b" * 345}
    write_sparse(site.www / "log", size, pieces)
    site.good("run", "site")
    site.good("restore", "site", "log", "--target", tmp_path / "out")
    restored = site.restored(tmp_path / "out") / "log"
    restored.write_text("changed meanwhile")
    site.good("restore", "site", "log", "--target", tmp_path / "out", "--into-existing")
    assert (restored.stat().st_size, read_pieces(restored, pieces)) == (size, pieces)
    with site.start("cat", "site", site.www / "log") as process:
        found = subprocess.run(["cmp", "-", restored], stdin=process.stdout, check=False)
    assert found.returncode == 0


@st.composite
def sparse_files(draw: st.DrawFn) -> tuple[int, list[tuple[int, bytes]]]:
    position, pieces = 0, []
    for _ in range(draw(st.integers(0, 40))):
        position += draw(st.integers(0, 1 << 33))
        data = draw(st.binary(max_size=600))
        pieces.append((position, data))
        position += len(data)
    return position + draw(st.integers(0, 1 << 33)), pieces


@given(file=sparse_files(), cut=st.integers(1, 3000))
@settings(max_examples=60, deadline=None)
def test_packed_content_unpacks_to_the_same_bytes_at_any_cut(
    file: tuple[int, list[tuple[int, bytes]]], cut: int
) -> None:
    size, pieces = file
    extents = array("q", [number for offset, data in pieces for number in (offset, len(data))])
    whole = b"".join(packed(size, extents, (data for _, data in pieces)))
    found: dict[int, int] = {}
    position = 0

    def write(data: bytes) -> None:
        nonlocal position
        found.update(enumerate(data, position))
        position += len(data)

    def skip(length: int) -> None:
        nonlocal position
        assert length >= 0
        position += length

    unpacking = Unpacking(size, write, skip)
    for start in range(0, len(whole), cut):
        unpacking.feed(whole[start : start + cut])
    unpacking.finish()
    assert position == size
    assert found == {offset + index: byte for offset, data in pieces for index, byte in enumerate(data)}


def test_gnu_tar_unpacks_it_without_us(tmp_path: Path) -> None:
    extents = array("q", [4096, 512, 1 << 33, 5])
    archive = tmp_path / f"lastlog{SUFFIX}"
    archive.write_bytes(b"".join(packed(1 << 34, extents, [b"abcd" * 128, b"defgh"])))
    done = subprocess.run(["tar", "-xf", archive, "-C", tmp_path], capture_output=True, check=True)
    assert done.stderr == b""
    content = tmp_path / MEMBER.decode()
    assert content.stat().st_size == 1 << 34
    pieces = {4096: b"abcd" * 128, 1 << 33: b"defgh"}
    assert read_pieces(content, pieces) == pieces


def test_names_of_a_file_in_two_sources_stay_one_file(site: Site, tmp_path: Path) -> None:
    (site.folder / "other").mkdir()
    (site.folder / "other" / "again").hardlink_to(site.www / "uploads" / "photo.jpg")
    site.job["sources"].append({"files": str(site.folder / "other")})
    site.good("run", "site")
    site.good("verify", "site")
    site.good("restore", "site", "--target", tmp_path / "out")
    first = site.restored(tmp_path / "out") / "uploads" / "photo.jpg"
    other = tmp_path / "out" / "files" / (site.folder / "other" / "again").relative_to("/")
    assert first.samefile(other)
    site.good("restore", "site", "again", "--target", tmp_path / "alone")
    (alone,) = (tmp_path / "alone").rglob("again")
    assert alone.read_bytes() == first.read_bytes()


@pytest.mark.parametrize("answer", ["no such call", "nonsense"])
def test_a_file_system_that_does_not_report_holes_loses_no_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    write_sparse(tmp_path / "file", 3_000_000, {1_500_000: b"middle"})

    def seek(_descriptor: int, offset: int, _how: int) -> int:
        if answer == "no such call":
            raise OSError(errno.EINVAL, "Invalid argument")
        return offset

    content = (tmp_path / "file").read_bytes()
    status = (tmp_path / "file").stat()
    monkeypatch.setattr(os, "lseek", seek)
    assert b"".join(read_file(str(tmp_path / "file"), status)) == content


def test_a_file_that_grows_behind_its_holes_is_read_to_the_size_it_had(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_sparse(path, 3_000_000, {})
    blocks = read_file(str(path), path.stat())
    first = next(blocks)
    with path.open("ab") as file:
        file.write(b"more")
    rest = []
    with pytest.raises(EntryChanged):
        rest.extend(blocks)
    assert first + b"".join(rest) == bytes(3_000_000)


def test_a_file_of_very_many_holes_takes_little_memory_on_its_way_in_and_out() -> None:
    size = 1 << 40
    extents = array("q", [number for at in range(0, size, size >> 17) for number in (at, 512)])
    data, found = bytes(1 << 20), [0]

    def write(piece: bytes) -> None:
        found[0] += len(piece)

    def skip(length: int) -> None:
        found[0] += length

    tracemalloc.start()
    unpacking = Unpacking(size, write, skip)
    for block in packed(size, extents, [data] * 64):
        for start in range(0, len(block), 1 << 20):
            unpacking.feed(block[start : start + (1 << 20)])
    unpacking.finish()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found == [size]
    assert peak < 20_000_000


def test_a_file_of_more_holes_than_are_listed_is_saved_and_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.sources.reading.MOST_PIECES", 3)
    file = tmp_path / "holes"
    with file.open("wb") as opened:
        for at in range(10):
            opened.seek(at << 20)
            opened.write(b"piece %d" % at)
        opened.truncate(20 << 20)
    found = bytearray()
    unpacking = Unpacking(20 << 20, found.extend, lambda length: found.extend(bytes(length)))
    for block in read_packed(str(file), file.stat()):
        unpacking.feed(block)
    unpacking.finish()
    assert bytes(found) == file.read_bytes()
