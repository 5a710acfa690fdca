"""Damaged and forged archives: found, and the file named where it can be."""

import os
import struct
import threading
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.archive import ArchiveError, Kind, Method, WrongPasswordError
from orchestrator.archive.reader import SealedReader
from orchestrator.archive.sealed_zip import SealedZipFile

PASSWORD = "CORRECTHORSEBATTERYSTAPLE2345672"
WHOLE = b""


@pytest.fixture
def sealed(seal: Any, entry: Any) -> Any:
    folder = entry(b"folder", kind=Kind.DIRECTORY)
    stream = [b"INSERT INTO posts;\n" * 5000] * 3
    return seal(
        [
            folder,
            entry(b"folder/a.php", b"<?php " * 900),
            entry(b"dump.sql", stream),
            entry(b"b", os.urandom(900)),
        ]
    )


@pytest.fixture
def inner(sealed: Any, unseal: Any) -> bytes:
    return unseal(sealed).read_bytes()


def resealed(inner: bytes, name: str = "backup.zip") -> SealedReader:
    out = bytearray()
    archive = SealedZipFile(out.extend, PASSWORD)
    entry = archive.start(name)
    entry.write(inner)
    entry.close()
    archive.close()
    return reader_of(bytes(out))


def reader_of(data: bytes) -> SealedReader:
    return SealedReader(lambda offset, length: data[offset : offset + length], len(data), PASSWORD)


def paths(problems):
    return [problem.path for problem in problems]


@settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_flipped_bit_is_found_in_any_place(sealed, place, bit):
    position = int(place * len(sealed.data))
    damaged = bytearray(sealed.data)
    damaged[position] ^= 1 << bit
    try:
        problems = reader_of(bytes(damaged)).verify(sealed.records)
    except ArchiveError:
        return
    assert problems


def test_verifying_leaves_no_thread_behind_even_when_the_store_fails(sealed):
    def read_range(offset, length):
        if broken:
            raise OSError("connection reset")
        return sealed.data[offset : offset + length]

    broken = False
    reader, threads = SealedReader(read_range, len(sealed.data), PASSWORD), threading.active_count()
    assert not reader.verify(sealed.records)
    assert threading.active_count() == threads
    broken = True
    with pytest.raises(OSError, match="reset"):
        reader.verify(sealed.records)
    assert threading.active_count() == threads


def test_flipped_bytes_of_both_ends_are_found(sealed):
    ends = [*range(100), *range(len(sealed.data) - 400, len(sealed.data), 2)]
    for position in ends:
        damaged = bytearray(sealed.data)
        damaged[position] ^= 0x40
        try:
            problems = reader_of(bytes(damaged)).verify(sealed.records)
        except ArchiveError:
            continue
        assert problems, position


@pytest.mark.parametrize("path", [b"folder/a.php", b"dump.sql", b"b"])
def test_the_damaged_file_is_named_and_no_other(sealed, path):
    record = sealed.record(path)
    # The inner ZIP starts behind 71 bytes of header, salt and verifier: docs/archive-format.md.
    sealed.data[89 + record.offset + record.length // 2] ^= 1
    assert paths(sealed.verify()) == [WHOLE, path]


CHANGES = {
    "one byte missing": lambda data: data[:-1],
    "half missing": lambda data: data[: len(data) // 2],
    "one byte after": lambda data: data + b"\0",
    "one byte before": lambda data: b"\0" + data,
    "nothing there": lambda _data: b"",
}


@pytest.mark.parametrize("change", CHANGES)
def test_missing_and_additional_bytes_are_found(sealed, change):
    try:
        problems = reader_of(CHANGES[change](bytes(sealed.data))).verify(sealed.records)
    except ArchiveError:
        return
    assert WHOLE in paths(problems)


def test_a_range_that_comes_back_short_is_found(sealed):
    data = bytes(sealed.data)
    reader = SealedReader(
        lambda offset, length: data[offset : min(offset + length, 1500)], len(data), PASSWORD
    )
    assert WHOLE in paths(reader.verify(sealed.records))
    with pytest.raises(ArchiveError):
        reader.open(sealed.record(b"b"))


def test_a_wrong_password_is_reported_as_such(sealed):
    with pytest.raises(WrongPasswordError, match="password") as caught:
        sealed.reader("WRONGHORSEBATTERY")
    assert "WRONGHORSE" not in "".join(caught.value.lines())


def test_another_entry_name_is_refused(inner):
    with pytest.raises(ArchiveError):
        resealed(inner, "backup.tar")


def test_an_entry_that_the_manifest_lacks_is_found(sealed, inner):
    assert WHOLE in paths(resealed(inner).verify(sealed.records[:-1]))
    assert WHOLE in paths(resealed(inner).verify([]))


def test_an_entry_that_the_archive_lacks_is_found_and_named(seal, entry, sealed):
    more = seal([entry(b"x" * 40, b"more")]).records[0]
    last = sealed.records[-1]
    missing = replace(more, offset=last.offset + last.length + 80)
    assert missing.path in paths(sealed.verify([*sealed.records, missing]))


def test_overlapping_entries_are_refused(sealed):
    records = list(sealed.records)
    records[-1] = replace(records[-1], offset=records[-2].offset + 10)
    assert paths(sealed.verify(records)) == [WHOLE, records[-1].path]


def test_bytes_before_between_and_after_the_inner_zip_are_found(sealed, inner):
    assert WHOLE in paths(resealed(b"\0" * 40 + inner).verify(sealed.records))
    assert WHOLE in paths(resealed(inner + b"\0" * 40).verify(sealed.records))
    assert WHOLE in paths(resealed(inner[:-22] + b"\0" * 40 + inner[-22:]).verify(sealed.records))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"folder/a.php", b"folder/../../"),
        (b"\x08\x00", b"\x0c\x00"),
        (b"\x80\x81", b"\xff\xa1"),
        (b"PK\1\2", b"PK\1\3"),
    ],
)
def test_a_central_directory_that_contradicts_the_local_headers_is_found(sealed, inner, old, new):
    directory = inner.index(b"PK\1\2")
    changed = inner[:directory] + inner[directory:].replace(old, new[: len(old)], 1)
    assert changed != inner
    assert paths(resealed(changed).verify(sealed.records)) == [WHOLE, WHOLE]


def test_a_bomb_is_not_unpacked(seal, entry):
    sealed = seal([entry(b"bomb", b"\0" * (30 << 20))])
    record = replace(sealed.records[0], size=1000)
    given_out = []
    with pytest.raises(ArchiveError, match="more than the manifest says"):
        sealed.reader().copy(record, given_out.append)
    assert sum(map(len, given_out)) <= 1000
    assert b"bomb" in paths(sealed.verify([record]))


def test_records_that_point_outside_of_the_archive_are_refused(sealed):
    for changes in ({"offset": 1 << 40}, {"length": 1 << 40}, {"offset": -5}, {"length": -1}):
        record = replace(sealed.record(b"b"), **changes)
        with pytest.raises(ArchiveError):
            sealed.reader().open(record)
        assert sealed.verify([record])


def test_a_stream_that_ends_early_or_goes_on_is_found(seal, entry):
    sealed = seal([entry(b"a", b"text " * 5000)])
    record = sealed.records[0]
    assert record.method is Method.DEFLATE
    for wrong in (replace(record, length=record.length - 3), replace(record, size=record.size + 1)):
        with pytest.raises(ArchiveError, match="ends early"):
            sealed.reader().open(wrong)


def test_swapped_volumes_are_found(sealed):
    half = len(sealed.data) // 2
    swapped = bytes(sealed.data[half : 2 * half] + sealed.data[:half] + sealed.data[2 * half :])
    with pytest.raises(ArchiveError):
        reader_of(swapped)


@pytest.mark.parametrize("method", ["ZipCrypto", "AES128", "AES192"])
def test_weaker_encryption_is_refused(tmp_path, inner, run, method):
    (tmp_path / "backup.zip").write_bytes(inner)
    run(
        "7z",
        "a",
        "-tzip",
        "-mx=0",
        f"-mem={method}",
        f"-p{PASSWORD}",
        tmp_path / "weak.zip",
        tmp_path / "backup.zip",
    )
    with pytest.raises(ArchiveError):
        reader_of((tmp_path / "weak.zip").read_bytes())


def test_an_archive_of_ae_1_is_refused(sealed):
    field = sealed.data.index(struct.pack("<2HH", 0x9901, 7, 2))
    sealed.data[field + 4] = 1
    with pytest.raises(ArchiveError):
        sealed.reader()
