"""What the writer does with files that behave, and with files that do not."""

import gc
import hashlib
import os
import threading

import pytest

from leitstand.errors import LeitstandError
from orchestrator.archive import ArchiveError, Entry, EntryChanged, Kind, Metadata, Method
from orchestrator.archive.writer import SealedWriter

MIB = 1 << 20


def failing(blocks, error):
    def give():
        yield from blocks
        raise error

    return give


def test_every_record_has_size_and_hash_of_the_content(seal, entry):
    contents = {b"a": b"", b"b": b"text " * 1000, b"c": os.urandom(70_000)}
    sealed = seal(entry(path, content) for path, content in contents.items())
    for record in sealed.records:
        assert record.size == len(contents[record.path])
        assert record.sha256 == hashlib.sha256(contents[record.path]).digest()
        assert sealed.content(record.path) == contents[record.path]
    assert [record.method for record in sealed.records] == [Method.STORE, Method.DEFLATE, Method.STORE]


@pytest.mark.parametrize("size", [MIB - 1, MIB, MIB + 1, 5 * MIB + 7])
@pytest.mark.parametrize("compressible", [True, False])
def test_a_stream_of_any_length_and_block_size_comes_back(seal, entry, size, compressible):
    content = (
        (b"INSERT INTO posts VALUES (1, 'text');\n" * (size // 38 + 1))[:size]
        if compressible
        else os.urandom(size)
    )
    blocks = [content[start : start + 99_991] for start in range(0, size, 99_991)]
    sealed = seal([entry(b"before", b"1"), entry(b"dump.sql", blocks), entry(b"after", b"2")])
    assert sealed.verify() == []
    assert sealed.content(b"dump.sql") == content
    assert sealed.content(b"after") == b"2"
    assert sealed.record(b"dump.sql").method is (Method.DEFLATE if compressible else Method.STORE)


def test_a_stream_of_nothing_is_an_empty_file(seal, entry):
    sealed = seal([entry(b"dump.sql", [])])
    assert sealed.verify() == []
    assert sealed.content(b"dump.sql") == b""


def test_entries_given_as_streams_in_this_thread_keep_their_order(empty_sealed, password):
    threads = set()

    def blocks():
        threads.add(threading.get_ident())
        yield b"x" * 10

    with SealedWriter(
        empty_sealed.data.extend,
        password,
        on_record=empty_sealed.records.append,
        on_problem=empty_sealed.problems.append,
    ) as writer:
        for size, path in (
            (10, b"small"),
            (None, b"unknown"),
            (20 * MIB, b"said to be large"),
            (10, b"last"),
        ):
            writer.add_stream(Entry(Metadata(path=path), size, blocks))
        writer.close()
    assert [record.path for record in empty_sealed.records] == [
        b"small",
        b"unknown",
        b"said to be large",
        b"last",
    ]
    assert threads == {threading.get_ident()}
    assert empty_sealed.verify() == []


def test_a_stream_of_many_files_holds_every_kind_of_path(empty_sealed, entry, password):
    entries = [
        entry(b"folder", kind=Kind.DIRECTORY),
        entry(b"folder/link", kind=Kind.SYMLINK, link=b"target"),
        Entry(Metadata(path=b"emptied"), 50 * MIB, failing([], EntryChanged())),
        Entry(Metadata(path=b"gone"), 50, failing([b"half"], OSError(5, "Input/output error"))),
        entry(b"last", b"1"),
    ]
    with SealedWriter(
        empty_sealed.data.extend,
        password,
        on_record=empty_sealed.records.append,
        on_problem=empty_sealed.problems.append,
    ) as writer:
        for one in entries:
            writer.add_stream(one)
        writer.close()
    found = {record.path: (record.size, record.problem) for record in empty_sealed.records}
    assert found == {
        b"folder": (0, ""),
        b"folder/link": (6, ""),
        b"emptied": (0, "changed while it was read"),
        b"last": (1, ""),
    }
    assert [(problem.path, problem.what) for problem in empty_sealed.problems] == [
        (b"emptied", "changed while it was read"),
        (b"gone", "Input/output error"),
    ]
    assert empty_sealed.verify() == []


def test_a_vanished_or_unreadable_file_is_reported_and_left_out(seal, entry):
    gone = Entry(Metadata(path=b"gone"), 5, failing([], FileNotFoundError(2, "No such file or directory")))
    large = Entry(Metadata(path=b"large"), 50 * MIB, failing([], PermissionError(13, "Permission denied")))
    sealed = seal([entry(b"a", b"1"), gone, large, entry(b"b", b"2")])
    assert [(problem.path, problem.what) for problem in sealed.problems] == [
        (b"gone", "No such file or directory"),
        (b"large", "Permission denied"),
    ]
    assert [record.path for record in sealed.records] == [b"a", b"b"]
    assert sealed.verify() == []


@pytest.mark.parametrize("blocks", [[b"new content"], [b"x" * MIB] * 9])
def test_a_file_that_changed_is_kept_and_reported(seal, blocks):
    size = sum(map(len, blocks))
    sealed = seal([Entry(Metadata(path=b"log"), size, failing(blocks, EntryChanged()))])
    assert [problem.what for problem in sealed.problems] == ["changed while it was read"]
    assert sealed.record(b"log").problem == "changed while it was read"
    assert sealed.content(b"log") == b"".join(blocks)
    assert sealed.verify() == []


def test_a_large_file_that_breaks_off_is_kept_and_reported(seal):
    blocks = [b"x" * MIB] * 6
    sealed = seal([Entry(Metadata(path=b"disk"), 9 * MIB, failing(blocks, OSError(5, "Input/output error")))])
    assert [problem.what for problem in sealed.problems] == ["cut short: Input/output error"]
    assert sealed.content(b"disk") == b"".join(blocks)
    assert sealed.verify() == []


def test_a_file_that_grew_far_beyond_its_listed_size_is_saved_whole(seal, entry):
    content = [os.urandom(MIB) for _ in range(11)]
    grown = Entry(Metadata(path=b"log"), 10, lambda: iter(content))
    sealed = seal([entry(b"a", b"1"), grown, entry(b"b", b"2")])
    assert sealed.content(b"log") == b"".join(content)
    assert sealed.verify() == []


def test_a_dump_that_breaks_off_leaves_no_archive(empty_sealed, entry, password):
    dump = Entry(Metadata(path=b"dump.sql"), None, failing([b"x" * 3 * MIB], OSError(32, "Broken pipe")))
    with (
        pytest.raises(ArchiveError, match=r"dump\.sql.*Broken pipe"),
        SealedWriter(
            empty_sealed.data.extend,
            password,
            on_record=empty_sealed.records.append,
            on_problem=empty_sealed.problems.append,
        ) as writer,
    ):
        writer.add(entry(b"a", b"1"))
        writer.add(dump)
        writer.close()
    gc.collect()
    with pytest.raises(ArchiveError):
        empty_sealed.reader()
    assert b"PK\5\6" not in empty_sealed.data


def test_an_error_of_the_source_itself_fails_the_archive(seal):
    broken = Entry(Metadata(path=b"dump"), 10, failing([], LeitstandError("mysqldump ended with status 2")))
    with pytest.raises(LeitstandError, match="status 2"):
        seal([broken])


def test_an_error_of_the_sink_fails_the_archive(entry, password):
    def full(_data):
        raise OSError(28, "No space left on device")

    with (
        pytest.raises(OSError, match="No space left"),
        SealedWriter(full, password, on_record=lambda _: None, on_problem=lambda _: None) as writer,
    ):
        writer.add(entry(b"a", os.urandom(3 * MIB)))
        writer.close()


def test_a_writer_is_of_no_use_after_close_or_abort(entry, empty_sealed, password):
    for end in ("close", "abort"):
        writer = SealedWriter(empty_sealed.data.extend, password, on_record=print, on_problem=print)
        getattr(writer, end)()
        with pytest.raises(ArchiveError, match="closed or aborted"):
            writer.add(entry(b"a"))
        with pytest.raises(ArchiveError, match="closed or aborted"):
            writer.close()


@pytest.mark.parametrize("path", [b"", b"/etc/passwd", b"../x", b"a/../b", b"a//b", b"a/", b"./a", b"a\0b"])
def test_paths_that_lead_out_of_the_tree_are_never_written(seal, entry, path):
    with pytest.raises(ArchiveError, match="refused"):
        seal([entry(path, b"x")])


def test_threads_change_nothing_in_what_is_stored(seal, entry):
    entries = [entry(b"%d" % number, b"%d " % number * 2000) for number in range(300)]
    one, four = (seal(entries, threads=threads) for threads in (1, 4))
    assert one.records == four.records
    assert one.summary == four.summary


def test_salts_are_always_fresh(seal, entry):
    first, second = (seal([entry(b"a", b"same content" * 100)]) for _ in range(2))
    assert first.data[60:] != second.data[60:]
    same = sum(a == b for a, b in zip(first.data[80:-200], second.data[80:-200], strict=True))
    assert same < len(first.data) // 10
