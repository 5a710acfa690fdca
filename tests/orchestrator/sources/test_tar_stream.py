"""The strict reader of tar: it reads what others write, and breaks on nothing."""

import io
import tarfile

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from orchestrator.sources.tar_stream import TarError, TarReader

PARTS = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=60)
PATHS = st.lists(PARTS.filter(lambda part: part not in (".", "..")), min_size=1, max_size=6).map("/".join)
TYPES = [bytes([letter]) for letter in b"051263"]  # file, folder, links, pipe, device


@st.composite
def members(draw: st.DrawFn) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo("./" + draw(PATHS))
    info.type = draw(st.sampled_from(TYPES))
    info.mode = draw(st.integers(0, 0o7777))
    info.uid, info.gid = draw(st.integers(0, (1 << 32) - 2)), draw(st.integers(0, (1 << 32) - 2))
    info.uname, info.gname = draw(PARTS)[:30], draw(PARTS)[:30]
    info.mtime = draw(st.integers(-(1 << 40), 1 << 40))
    content = draw(st.binary(max_size=3000)) if info.type == tarfile.REGTYPE else b""
    info.size = len(content)
    if info.type in (tarfile.SYMTYPE, tarfile.LNKTYPE):
        info.linkname = draw(PATHS)
    if info.type == tarfile.CHRTYPE:
        info.devmajor, info.devminor = draw(st.integers(0, 4095)), draw(st.integers(0, (1 << 20) - 1))
    return info, content


def written(rows: list[tuple[tarfile.TarInfo, bytes]], form: int) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=form, errors="surrogateescape") as archive:
        for info, content in rows:
            archive.addfile(info, io.BytesIO(content))
    return file.getvalue()


def cut(data: bytes, size: int) -> TarReader:
    file = io.BytesIO(data)
    return TarReader(lambda most: file.read(min(most, size)))


@given(
    rows=st.lists(members(), max_size=6),
    form=st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]),
    size=st.integers(1, 5000),
)
@settings(max_examples=80, deadline=None)
def test_files_written_by_another_library_are_read(
    rows: list[tuple[tarfile.TarInfo, bytes]], form: int, size: int
) -> None:
    reader, found = cut(written(rows, form), size), []
    for member in reader.members():
        assert member.problem == ""
        found.append((member, b"".join(reader.blocks(member))))
    assert len(found) == len(rows)
    for (member, content), (info, expected) in zip(found, rows, strict=True):
        assert (member.name.decode(), member.type, content) == (info.name, info.type, expected)
        assert (member.mode, member.uid, member.gid) == (info.mode, info.uid, info.gid)
        assert (member.mtime_ns, member.link.decode()) == (info.mtime * 10**9, info.linkname)
        if info.type == tarfile.CHRTYPE:
            assert member.device == (info.devmajor, info.devminor)


NAMES = ["./" + "n" * 150, "./b"]
SAMPLE = written([(tarfile.TarInfo(name), b"") for name in NAMES], tarfile.PAX_FORMAT)


@given(
    place=st.integers(0, len(SAMPLE) - 1),
    junk=st.binary(min_size=1, max_size=40),
    removed=st.integers(0, 600),
    unread=st.booleans(),
)
@example(place=len(SAMPLE) - 1, junk=b"\1", removed=1, unread=True)
@settings(max_examples=300, deadline=None)
def test_any_input_is_read_or_refused(place: int, junk: bytes, removed: int, unread: bool) -> None:
    data = SAMPLE[:place] + junk + SAMPLE[place + removed :]
    reader = cut(data, 1 << 16)
    try:
        for member in reader.members():
            if not unread and not member.problem:
                assert sum(map(len, reader.blocks(member))) == member.size
    except TarError:
        return


@pytest.mark.parametrize("length", range(1, len(SAMPLE.rstrip(b"\0")) + 1023, 97))
def test_a_stream_that_was_cut_anywhere_is_not_whole(length: int) -> None:
    with pytest.raises(TarError):
        list(cut(SAMPLE[:length], 1 << 16).members())
