"""What only shows with much: 64-bit sizes and offsets, and memory that stays flat."""

import os
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path

import pytest

from orchestrator.archive import Entry, Metadata, Method, VolumeSink, joined
from orchestrator.archive.aes import OVERHEAD
from orchestrator.archive.inner import (
    HeaderFields,
    central_header,
    common,
    descriptor,
    end_records,
    local_header,
)
from orchestrator.archive.reader import SealedReader
from orchestrator.archive.sealed_zip import frame
from orchestrator.archive.unseal import _lengths
from orchestrator.archive.writer import SealedWriter

MIB, GIB = 1 << 20, 1 << 30


def test_entries_behind_four_gigabytes_are_found_by_other_programs(tmp_path, run):
    """The headers as the writer makes them, around a hole in the file in place of 5 GiB of zeros."""
    first, second = common(Metadata(path=b"image.raw")), common(Metadata(path=b"behind.txt"))
    inner = tmp_path / "backup.zip"
    with inner.open("wb") as file:
        hole = HeaderFields(0, Method.STORE, 0, 5 * GIB, 5 * GIB, True)
        file.write(local_header(first, hole))
        file.seek(5 * GIB, os.SEEK_CUR)
        file.write(descriptor(hole))
        place = HeaderFields(file.tell(), Method.STORE, zlib.crc32(b"found"), 5, 5, False)
        file.write(local_header(second, place) + b"found")
        start = file.tell()
        directory = central_header(first, hole) + central_header(second, place)
        file.write(directory + end_records(2, start, len(directory)))
    assert run("7z", "x", "-so", inner, "behind.txt").startswith("found")
    assert run("bsdtar", "-xOf", inner, "behind.txt") == "found"
    with zipfile.ZipFile(inner) as archive:
        assert archive.read("behind.txt") == b"found"
        assert archive.getinfo("image.raw").file_size == 5 * GIB


def test_the_length_of_the_data_follows_from_that_of_the_archive_at_every_size():
    near_two_gib = range(2 * GIB - 150, 2 * GIB + 10)
    for length in (0, 1, 100, *near_two_gib, 4 * GIB - 1, 4 * GIB, 1 << 50):
        head, tail = frame("backup.zip", length, length)
        total = len(head) + OVERHEAD + length + len(tail)
        assert _lengths(lambda _offset, _length: b"", total, "backup.zip", False) == (length, length)


@pytest.mark.slow
def test_an_archive_of_more_than_four_gigabytes_is_opened_by_seven_zip(tmp_path, run, password):
    noise, records, problems, sizes = os.urandom(MIB), [], [], []
    behind = Entry(Metadata(path=b"behind.txt"), 5, lambda: (b"found",))

    def keep(volume):
        (tmp_path / f"vol.zip.{volume.index:03}").write_bytes(volume.data)
        sizes.append(volume.size)

    with (
        VolumeSink(keep, 1 << 30, tmp_path) as sink,
        SealedWriter(sink.write, password, on_record=records.append, on_problem=problems.append) as writer,
    ):
        writer.add(Entry(Metadata(path=b"noise"), None, lambda: (noise for _ in range(4200))))
        writer.add(behind)
        writer.close()
        sink.close()
    assert sum(sizes) > 4 * GIB
    assert "Everything is Ok" in run("7z", "t", tmp_path / "vol.zip.001", stdin=f"{password}\n")

    def read_volume(index, at, length):
        with (tmp_path / f"vol.zip.{index:03}").open("rb") as volume:
            return os.pread(volume.fileno(), length, at)

    reader = SealedReader(joined(read_volume, sizes), sum(sizes), password)
    assert reader.open(records[1]).read() == b"found"
    assert reader.verify(records) == []


MEMORY = """
import os, sys
from pathlib import Path
from orchestrator.archive import Entry, Metadata, VolumeSink, joined
from orchestrator.archive.reader import SealedReader
from orchestrator.archive.writer import SealedWriter
from orchestrator.repository.manifest import ManifestHeader, ManifestReader, ManifestWriter
folder, files, size = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
block, sizes = bytes(1 << 19) + os.urandom(1 << 19), []
def keep(volume):
    (folder / f"vol.zip.{volume.index:03}").write_bytes(volume.data)
    sizes.append(volume.size)
def blocks():
    left = size
    while left:
        yield block[-min(left, len(block)):]
        left -= min(left, len(block))
with (folder / "manifest.zip").open("w+b") as file:
    manifest = ManifestWriter(file, "p", ManifestHeader("s", "h", "j", "now", ("s",)))
    with (
        VolumeSink(keep, 64 << 20, folder) as sink,
        SealedWriter(sink.write, "p", on_record=manifest.add, on_problem=print) as writer,
    ):
        for number in range(files):
            writer.add(Entry(Metadata(path=b"folder/with a long name/%09d" % number), size, blocks))
        writer.close()
        sink.close()
    manifest.close(())
    def read_volume(index, at, length):
        with (folder / f"vol.zip.{index:03}").open("rb") as volume:
            return os.pread(volume.fileno(), length, at)
    reader = SealedReader(joined(read_volume, sizes), sum(sizes), "p")
    assert reader.verify(row.record for row in ManifestReader(file, "p").rows()) == []
# Not ru_maxrss: a child starts with its parent's.
print(int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) // 1024)
"""


def peak_mib(folder: Path, files: int, size: int) -> int:
    folder.mkdir()
    argv = [sys.executable, "-c", MEMORY, str(folder), str(files), str(size)]
    return int(subprocess.run(argv, capture_output=True, text=True, check=True).stdout)


@pytest.mark.slow
def test_memory_stays_flat_from_writing_to_verifying(tmp_path):
    # One open volume of 64 MiB is delivered while the next one is written to disk.
    assert peak_mib(tmp_path / "few", 100, 100) < 90
    assert peak_mib(tmp_path / "many", 60_000, 10) < 150
    assert peak_mib(tmp_path / "large", 1, GIB) < 190
