"""The manifest: what goes in comes out, whatever the names; what is damaged, forged or hostile is refused."""

import io
import os
import subprocess
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.archive import ArchiveError, FileRecord, Kind, Metadata, Method, Problem, WrongPasswordError
from orchestrator.repository.manifest import (
    Manifest,
    ManifestHeader,
    ManifestReader,
    ManifestWriter,
    Row,
    VolumeInfo,
    decode,
    encode,
)

PASSWORD = "CORRECTHORSEBATTERYSTAPLE2345672"
OLD, NEW = "20261120T030000Z-AAAAAAAA", "20261121T030000Z-BBBBBBBB"
HEADER = ManifestHeader(NEW, "web1", "website", "2026-11-21T03:00:00Z", (NEW, OLD))
VOLUMES = (VolumeInfo(1, 1000, b"\1" * 32, b"\2" * 16), VolumeInfo(2, 10, b"\3" * 32, b"\4" * 16))
RECORD = FileRecord(Metadata(path=b"index.php"), 10, b"\7" * 32, 1, 60, 8, Method.DEFLATE)

parts = st.binary(min_size=1, max_size=20).filter(
    lambda part: not {0, 47} & {*part} and part not in (b".", b"..")
)
paths = st.lists(parts, min_size=1, max_size=4).map(b"/".join)
naturals = st.integers(0, 1 << 63)
texts = st.text(max_size=10)
attributes = st.lists(st.tuples(parts, st.binary(max_size=40)), max_size=3).map(tuple)
metadata = st.builds(
    Metadata,
    path=paths,
    kind=st.sampled_from(Kind),
    mode=st.integers(0, 0o7777),
    uid=naturals,
    gid=naturals,
    user=texts,
    group=texts,
    mtime_ns=st.integers(-(1 << 63), 1 << 63),
    link=paths,
    xattrs=attributes,
    ctime_ns=naturals,
    inode=naturals,
    device=naturals,
)
digests = st.binary(min_size=32, max_size=32)
records = st.builds(
    FileRecord,
    metadata,
    naturals,
    digests,
    st.integers(0, (1 << 32) - 1),
    naturals,
    naturals,
    st.sampled_from(Method),
    texts,
)
tables = st.none() | st.dictionaries(texts, naturals, max_size=3)
rows = st.builds(Row, records, st.sampled_from([NEW, OLD]), tables)


def manifest_of(*given_rows: Row, problems: tuple[Problem, ...] = ()) -> Manifest:
    return Manifest(HEADER, given_rows, problems, VOLUMES)


def row_with(**changes: object) -> Row:
    return Row(replace(RECORD, metadata=Metadata(**{"path": b"a", **changes})), NEW)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    st.lists(rows, max_size=4, unique_by=lambda row: row.record.path),
    st.lists(st.builds(Problem, paths, texts), max_size=2),
)
def test_any_input_is_read_back_unchanged(given_rows, problems):
    manifest = manifest_of(*given_rows, problems=tuple(problems))
    assert decode(encode(manifest, PASSWORD), PASSWORD) == manifest


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.lists(rows, max_size=5, unique_by=lambda row: row.record.path), st.sets(st.integers(0, 4)))
def test_only_the_rows_that_are_wanted_are_given(given_rows, numbers):
    wanted = {row.record.path for number, row in enumerate(given_rows) if number in numbers}
    reader = ManifestReader(io.BytesIO(encode(manifest_of(*given_rows), PASSWORD)), PASSWORD)
    asked = []
    found = list(reader.rows(lambda path: asked.append(path) or path in wanted))
    assert asked == [row.record.path for row in given_rows]
    assert found == [row for row in given_rows if row.record.path in wanted]


def test_a_long_manifest_is_written_row_by_row_not_kept_until_the_end():
    file = io.BytesIO()
    writer = ManifestWriter(file, PASSWORD, HEADER)
    for number in range(10_000):
        writer.add(replace(RECORD, metadata=Metadata(path=b"%d" % number), sha256=os.urandom(32)))
    before_the_end = len(file.getvalue())
    writer.close(VOLUMES)
    assert before_the_end > 0.5 * len(file.getvalue())


def test_seven_zip_shows_one_line_of_json_for_each_file(tmp_path):
    (tmp_path / "manifest.zip").write_bytes(encode(manifest_of(Row(RECORD, NEW, {"wp_posts": 12})), PASSWORD))
    argv = ["7z", "x", "-so", tmp_path / "manifest.zip"]
    lines = subprocess.run(
        argv, input=f"{PASSWORD}\n", capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert '"path":"index.php"' in lines[1]
    assert '"tables":{"wp_posts":12}' in lines[1]
    assert '"end"' in lines[2]


def test_neither_names_nor_contents_show_without_the_password():
    data = encode(manifest_of(Row(RECORD, NEW)), PASSWORD)
    assert b"index" not in data
    with pytest.raises(WrongPasswordError):
        decode(data, "wrong")


def test_every_flipped_byte_is_found():
    data = bytearray(encode(manifest_of(Row(RECORD, NEW), problems=(Problem(b"x", "gone"),)), PASSWORD))
    for position in range(len(data)):
        data[position] ^= 0x20
        with pytest.raises(ArchiveError):
            decode(bytes(data), PASSWORD)
        data[position] ^= 0x20
    assert decode(bytes(data), PASSWORD).problems == (Problem(b"x", "gone"),)


@pytest.mark.parametrize("cut", [0, 1, 10, 22, 100, 300])
def test_a_manifest_cut_short_is_found(cut):
    data = encode(manifest_of(*[Row(RECORD, NEW)]), PASSWORD)
    for damaged in (data[: len(data) - cut - 1], data[cut + 1 :], data + bytes(cut + 1)):
        with pytest.raises(ArchiveError):
            decode(damaged, PASSWORD)


@pytest.mark.parametrize("path", [b"/etc/passwd", b"../x", b"a/../../x", b"a//b", b".", b"a/"])
def test_paths_that_lead_out_of_the_tree_are_refused(path):
    data = encode(manifest_of(row_with(path=path)), PASSWORD)
    with pytest.raises(ArchiveError, match="refused"):
        decode(data, PASSWORD)


def test_a_hard_link_to_a_path_outside_is_refused():
    data = encode(manifest_of(row_with(kind=Kind.HARDLINK, link=b"../../etc/shadow")), PASSWORD)
    with pytest.raises(ArchiveError, match="refused"):
        decode(data, PASSWORD)


def test_a_path_given_twice_is_refused():
    data = encode(manifest_of(Row(RECORD, NEW), row_with(), Row(RECORD, OLD)), PASSWORD)
    with pytest.raises(ArchiveError, match="twice"):
        decode(data, PASSWORD)


def test_a_layer_that_the_header_does_not_name_is_refused():
    data = encode(manifest_of(Row(RECORD, "20200101T000000Z-CCCCCCCC")), PASSWORD)
    with pytest.raises(ArchiveError, match="unknown layer"):
        decode(data, PASSWORD)


def test_a_manifest_of_a_later_version_is_refused_with_a_hint(monkeypatch):
    monkeypatch.setattr("orchestrator.repository.manifest.VERSION", 2)
    data = encode(manifest_of(), PASSWORD)
    monkeypatch.undo()
    with pytest.raises(ArchiveError, match="version") as caught:
        decode(data, PASSWORD)
    assert caught.value.hint == "update Leitstand"


def test_an_unfinished_manifest_does_not_open():
    file = io.BytesIO()
    writer = ManifestWriter(file, PASSWORD, HEADER)
    writer.add(RECORD)
    del writer
    with pytest.raises(ArchiveError):
        ManifestReader(file, PASSWORD)


def test_the_reader_streams_rows_as_often_as_asked():
    file = io.BytesIO()
    writer = ManifestWriter(file, PASSWORD, HEADER)
    for number in range(20_000):
        writer.add(replace(RECORD, metadata=Metadata(path=b"folder/%d" % number)))
    end = writer.close(VOLUMES)
    reader = ManifestReader(file, PASSWORD)
    assert reader.end == end
    assert end.content_bytes == 200_000
    side_by_side = zip(reader.rows(), reader.rows(), strict=True)
    assert sum(1 for one, other in side_by_side if one == other) == 20_000
