"""Reading one file out of an archive, and what that costs."""

import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from orchestrator.archive import ArchiveError, Kind
from orchestrator.archive.spool import CipherFile, Spool


def test_one_file_is_read_by_its_own_bytes_and_little_more(seal, entry):
    wanted = os.urandom(50_000)
    noise = [entry(b"noise %d" % number, os.urandom(1 << 20)) for number in range(10)]
    sealed = seal([*noise, entry(b"wanted", wanted), *noise[:0]])
    sealed.ranges.clear()
    assert sealed.content(b"wanted") == wanted
    assert sum(length for _, length in sealed.ranges) < len(wanted) + 1000


@pytest.mark.parametrize("size", [8 << 20, (8 << 20) + 1, (9 << 20) + 17])
def test_large_files_can_be_read_anywhere_once_proven(seal, entry, size):
    content = os.urandom(size)
    sealed = seal([entry(b"large", [content])])
    with sealed.reader().open(sealed.records[0]) as file:
        file.seek(size - 1000)
        assert file.read() == content[-1000:]
        file.seek(12345)
        assert file.read(100_000) == content[12345:112_345]


def test_the_temporary_data_of_a_large_file_is_encrypted(tmp_path):
    with CipherFile(tmp_path) as file:
        file.write(b"the secret of the house " * 1000)
        assert list(tmp_path.iterdir()) == []
        raw = os.pread(file._file.fileno(), 1 << 20, 0)
        assert b"secret" not in raw
        file.seek(4)
        assert file.read(6) == b"secret"


@pytest.mark.parametrize("compress", [True, False])
def test_a_spool_of_any_size_returns_what_was_written(compress):
    for blocks in ([], [b"a"], [os.urandom(5000)] * 100):
        spool = Spool(100_000, compress=compress)
        for block in blocks:
            spool.write(block)
        assert b"".join(spool.blocks()) == b"".join(blocks)


def test_several_threads_read_from_one_archive(seal, entry):
    contents = {b"%d" % number: os.urandom(300_000) for number in range(12)}
    sealed = seal(entry(path, content) for path, content in contents.items())
    reader = sealed.reader()
    with ThreadPoolExecutor(4) as pool:
        found = pool.map(lambda record: reader.open(record).read(), sealed.records * 3)
        assert list(found) == list(contents.values()) * 3


def test_links_give_their_text_and_folders_nothing(seal, entry):
    sealed = seal(
        [
            entry(b"folder", kind=Kind.DIRECTORY),
            entry(b"folder/link", kind=Kind.SYMLINK, link=b"../\xff target"),
            entry(b"folder/second", kind=Kind.HARDLINK, link=b"first"),
        ]
    )
    assert sealed.content(b"folder") == b""
    assert sealed.content(b"folder/link") == b"../\xff target"
    assert sealed.content(b"folder/second") == b"../first"
    assert sealed.verify() == []


def test_an_empty_archive_is_proven_and_reads_nothing_else(seal, run, tmp_path, password):
    sealed = seal([])
    assert sealed.verify() == []
    (tmp_path / "vol.zip").write_bytes(sealed.data)
    assert "Everything is Ok" in run("7z", "t", tmp_path / "vol.zip", stdin=f"{password}\n")


def test_a_failure_of_the_store_while_reading_is_passed_on(sealed_with_a_gap):
    with pytest.raises(ArchiveError, match="volume 3 is gone"):
        sealed_with_a_gap.verify()


@pytest.fixture
def sealed_with_a_gap(seal: Any, entry: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    sealed = seal([entry(b"a", os.urandom(9 << 20))])
    whole = sealed.read_range

    def read_range(offset: int, length: int) -> bytes:
        if 0 < offset < len(sealed.data) - 500 and offset + length > 6 << 20:
            raise ArchiveError("volume 3 is gone")
        return whole(offset, length)

    monkeypatch.setattr(sealed, "read_range", read_range)
    return sealed
