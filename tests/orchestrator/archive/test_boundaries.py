"""The exact numbers at which a format changes, and content that is at the edge of a limit."""

import io
import random
import struct
import zipfile
import zlib
from itertools import pairwise

import pytest

from orchestrator.archive import Metadata, Method
from orchestrator.archive.deflate import DAMAGED, STREAM_END, Inflater, deflate_block, shrink
from orchestrator.archive.holes import ZEROS
from orchestrator.archive.inner import HeaderFields, central_header, common, end_records

MIB = 1 << 20
TIME_FIELD, ZIP64_END = b"UT\5\0", b"PK\6\6"


def deflated(content: bytes) -> bytes:
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    return compressor.compress(content) + compressor.flush()


def inflated(stream: bytes, size: int, piece: int) -> bytes:
    inflater = Inflater(size)
    blocks = [
        block for at in range(0, len(stream), piece) for block in inflater.feed(stream[at : at + piece])
    ]
    inflater.finish()
    assert all(len(block) <= MIB for block in blocks)
    return b"".join(blocks)


@pytest.mark.parametrize("piece", [1, 7, 1000, 1 << 30])
@pytest.mark.parametrize("size", [0, 1, MIB - 1, MIB, MIB + 1, 2 * MIB, 2 * MIB + 1, 5 * MIB + 17])
def test_very_compressible_content_of_any_size_is_good(size: int, piece: int) -> None:
    content = (b"0123456789" * (size // 10 + 1))[:size]
    assert inflated(deflated(content), size, piece) == content


@pytest.mark.parametrize("kib", [32, 256])
@pytest.mark.parametrize(("zeros", "worth"), [(0, False), (10, False), (60, True), (999, True)])
def test_content_that_shrinks_by_a_percent_is_stored_as_it_is(kib: int, zeros: int, worth: bool) -> None:
    generator = random.Random(1)
    content = b"".join(generator.randbytes(1024 - zeros) + bytes(zeros) for _ in range(kib))
    assert (shrink(content, 1) is not None) == worth


def test_a_large_file_is_judged_by_its_first_64_kib() -> None:
    head = random.Random(1).randbytes(64 << 10)
    assert shrink(head + bytes(MIB), 1) is None
    assert shrink(bytes(64 << 10) + head, 1) is not None


def test_a_block_that_repeats_the_one_before_it_takes_hardly_any_room() -> None:
    block = random.Random(1).randbytes(16 << 10)
    assert len(deflate_block(block, block, 1)) < 1000


def test_blocks_of_zeros_between_others_come_back_in_their_places() -> None:
    blocks = [ZEROS, b"a" * 100, ZEROS, ZEROS, b"b" * len(ZEROS), b"c", ZEROS]
    deflated = [deflate_block(block, before, 1) for before, block in pairwise([b"", *blocks])]
    content = b"".join(blocks)
    assert inflated(b"".join([*deflated, STREAM_END]), len(content), 1 << 30) == content


@pytest.mark.parametrize("wrong", [-1, 1])
@pytest.mark.parametrize("size", [1, MIB, MIB + 1, 3 * MIB])
def test_a_byte_more_or_less_than_in_the_manifest_is_damage(size: int, wrong: int) -> None:
    with pytest.raises(DAMAGED):
        inflated(deflated(bytes(size)), size + wrong, 1 << 30)


@pytest.mark.parametrize("after", [b"\0", b"PK"])
def test_bytes_behind_the_end_of_the_stream_are_damage(after: bytes) -> None:
    with pytest.raises(DAMAGED):
        inflated(deflated(bytes(2 * MIB)) + after, 2 * MIB, 1 << 30)


def test_a_stream_that_breaks_off_is_damage() -> None:
    stream = deflated(bytes(range(256)) * 10_000)
    for cut in (1, 2, len(stream) // 2):
        with pytest.raises(DAMAGED):
            inflated(stream[:-cut], 2_560_000, 1 << 30)


@pytest.mark.parametrize(
    ("entries", "start", "length", "is_large"),
    [
        (0, 0, 0, False),
        (65_534, 10, 20, False),
        (65_535, 10, 20, True),
        (65_536, 10, 20, True),
        (1, 0xFFFF_FFFE, 20, False),
        (1, 0xFFFF_FFFF, 20, True),
        (1, 10, 0xFFFF_FFFE, False),
        (1, 10, 0xFFFF_FFFF, True),
    ],
)
def test_the_long_form_of_the_end_begins_where_the_short_one_has_no_room(
    entries: int, start: int, length: int, is_large: bool
) -> None:
    """All bits set in the short form mean: see the long one (APPNOTE 4.4.1.4)."""
    end = end_records(entries, start, length)
    assert end.startswith(ZIP64_END) == is_large
    short = struct.unpack("<4s4H2LH", end[-22:])
    assert short[3:7] == (min(entries, 0xFFFF),) * 2 + (min(length, 0xFFFF_FFFF), min(start, 0xFFFF_FFFF))
    if is_large:
        assert struct.unpack("<2Q2Q", end[24:56]) == (entries, entries, length, start)


def test_an_archive_without_entries_is_one() -> None:
    with zipfile.ZipFile(io.BytesIO(end_records(0, 0, 0))) as archive:
        assert archive.namelist() == []


@pytest.mark.parametrize(
    ("seconds", "fits"),
    [(0, True), (-1, True), (2**31 - 1, True), (2**31, False), (-(2**31), True), (-(2**31) - 1, False)],
)
def test_a_time_is_written_where_four_bytes_hold_it(seconds: int, fits: bool) -> None:
    extra = common(Metadata(path=b"x", mtime_ns=seconds * 10**9)).extra
    assert extra.startswith(TIME_FIELD) == fits
    if fits:
        assert struct.unpack("<i", extra[5:9]) == (seconds,)


@pytest.mark.parametrize(("number", "fits"), [(0, True), (2**32 - 1, True), (2**32, False), (-1, False)])
@pytest.mark.parametrize("name", ["uid", "gid"])
def test_an_owner_is_written_where_four_bytes_hold_it(name: str, number: int, fits: bool) -> None:
    extra = common(Metadata(path=b"x", **{name: number})).extra
    assert (b"ux\x0b\0\1\4" in extra) == fits


@pytest.mark.parametrize(
    ("value", "is_large"), [(0xFFFF_FFFE, False), (0xFFFF_FFFF, True), (0x1_0000_0000, True)]
)
@pytest.mark.parametrize("place", ["length", "size", "header"])
def test_a_row_of_the_directory_has_a_long_form_where_four_bytes_are_too_few(
    place: str, value: int, is_large: bool
) -> None:
    numbers = {"header": 7, "length": 8, "size": 9, place: value}
    row = central_header(
        common(Metadata(path=b"x")), HeaderFields(method=Method.STORE, crc32=0, streamed=False, **numbers)
    )
    length, size, header = (*struct.unpack("<2L", row[20:28]), *struct.unpack("<L", row[42:46]))
    assert {"header": header, "length": length, "size": size} == numbers | {place: min(value, 0xFFFF_FFFF)}
    extra = row[47:]
    assert extra.startswith(struct.pack("<2H", 1, 8)) == is_large
    if is_large:
        assert struct.unpack("<Q", extra[4:12]) == (value,)


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        *((early, (1980, 1, 1, 0, 0, 0)) for early in (-(2**40), 0, 315_532_799, 315_532_801)),
        (315_532_802, (1980, 1, 1, 0, 0, 2)),
        (1_791_201_781, (2026, 10, 5, 12, 3, 0)),
        (4_354_819_197, (2107, 12, 31, 23, 59, 56)),
        *((late, (2107, 12, 31, 23, 59, 58)) for late in (4_354_819_198, 4_354_819_200, 2**40)),
    ],
)
def test_a_time_outside_the_years_of_a_zip_is_the_nearest_in_them(seconds: int, told: tuple[int]) -> None:
    clock, date = common(Metadata(path=b"x", mtime_ns=seconds * 10**9)).stamp
    day = (date >> 9) + 1980, date >> 5 & 15, date & 31
    assert (*day, clock >> 11, clock >> 5 & 63, 2 * (clock & 31)) == told
