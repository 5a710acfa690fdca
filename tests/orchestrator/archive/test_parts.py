"""The parts: cipher, names, deflate, volumes."""

import hashlib
import os
import subprocess
import sys
import threading
import tracemalloc
import zlib

import pytest
from Cryptodome.Cipher import AES
from Cryptodome.Util import Counter
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.archive import ArchiveError, VolumeSink, joined
from orchestrator.archive.aes import SLICE, CounterCipher, Sealer, derive
from orchestrator.archive.deflate import STREAM_END, Inflater, deflate_block
from orchestrator.archive.names import leaves_tree, path_of, stored_name

KEY = bytes(range(32))
CIPHER = CounterCipher(KEY)
# Long enough for the counter's third byte to move.
PLAIN = hashlib.shake_256(b"plain").digest(5 * SLICE + 77)


@pytest.fixture(scope="module")
def reference() -> bytes:
    counter = Counter.new(nbits=128, little_endian=True)
    return AES.new(KEY, AES.MODE_CTR, counter=counter).encrypt(PLAIN)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(start=st.integers(0, len(PLAIN)), length=st.integers(0, 2 * SLICE))
def test_the_cipher_is_the_reference_one_at_every_place(reference, start, length):
    part = PLAIN[start : start + length]
    assert CIPHER.apply(part, start) == reference[start : start + length]


def test_the_cipher_counts_on_where_slices_end_and_bytes_carry():
    far = (1 << 30) - 40
    counter = Counter.new(nbits=128, little_endian=True, initial_value=far // 16 + 1)
    skipped = far % 16
    expected = AES.new(KEY, AES.MODE_CTR, counter=counter).encrypt(bytes(skipped) + PLAIN[:500])[skipped:]
    assert CIPHER.apply(PLAIN[:500], far) == expected


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.lists(st.integers(0, 2 * SLICE), max_size=6))
def test_a_sealed_stream_does_not_depend_on_how_it_came(lengths):
    sealer, out, start = Sealer("password"), bytearray(), 0
    for length in lengths:
        for piece in sealer.pieces(PLAIN[start : start + length]):
            out += piece
        start = min(start + length, len(PLAIN))
    out += sealer.finish()
    keys = derive("password", sealer.header[:16])
    assert sealer.header[16:] == keys.verifier
    assert CounterCipher(keys.cipher).apply(out[:-10], 0) == PLAIN[:start]


def test_keys_do_not_show_what_they_are():
    keys = derive("password", bytes(16))
    assert repr(keys) == "Keys()"


@settings(max_examples=400, derandomize=True)
@given(st.binary(min_size=1).filter(lambda path: b"\0" not in path))
def test_every_path_comes_back_from_its_name(path):
    name = stored_name(path)
    assert path_of(name) == path
    assert "\\" not in name
    assert name.isprintable() or not name.isascii()


@settings(max_examples=400, derandomize=True)
@given(
    st.lists(
        st.sampled_from([b"%", b"25", b"FF", b"5C", b"\\", b"\xff", b"a", b"0A", b"\n", b"C:"]), min_size=1
    )
)
def test_paths_that_look_like_names_come_back_too(parts):
    path = b"".join(parts)
    assert path_of(stored_name(path)) == path


def test_ordinary_paths_are_their_own_names():
    for path in ("index.php", "50%20off.jpg", "wp-content/größe.txt", "a b/c:d", "100%.txt"):
        assert stored_name(path.encode()) == path


def test_troublesome_bytes_are_coded():
    assert stored_name(b"a\\b") == "a%5Cb"
    assert stored_name(b"caf\xe9") == "caf%E9"
    assert stored_name(b"C:/x") == "C%3A/x"
    assert stored_name(b"caf%E9") == "caf%25E9"


@pytest.mark.parametrize(
    ("path", "target", "leaves"),
    [
        (b"a/link", b"../b", False),
        (b"a/link", b"../../b", True),
        (b"link", b"/etc/passwd", True),
        (b"a/link", b"./.././b/", False),
        (b"a/link", b"b/../../..", True),
        (b"link", b"a/../b", True),  # a may be a link that leads up
        (b"link", b"..", True),
        (b"a/b/link", b"../../c", False),
    ],
)
def test_links_that_leave_the_tree_are_distinguished_from_those_that_stay(path, target, leaves):
    assert leaves_tree(path, target) is leaves


@pytest.mark.parametrize("sizes", [[1], [100_000, 100_000, 5], [0, 1 << 20, 0, 1 << 20]])
def test_blocks_deflated_apart_are_one_stream(sizes):
    text = b"".join(b"row %d of a table;\n" % number for number in range(200_000))
    blocks, start = [], 0
    for size in sizes:
        blocks.append(text[start : start + size])
        start += size
    befores = [b"", *blocks]
    deflated = b"".join(deflate_block(*pair, 3) for pair in zip(blocks, befores, strict=False)) + STREAM_END
    assert zlib.decompress(deflated, -15) == text[:start]
    inflater = Inflater(start)
    assert b"".join(inflater.feed(deflated)) == text[:start]
    inflater.finish()


def test_without_isal_archives_are_written_and_read_by_zlib():
    program = """
import sys, zlib
sys.modules["isal"] = None
from orchestrator.archive import Entry, Metadata, deflate
from orchestrator.archive.reader import SealedReader
from orchestrator.archive.writer import SealedWriter
assert deflate.fast is zlib
out, records = bytearray(), []
with SealedWriter(out.extend, "p", on_record=records.append, on_problem=print) as writer:
    writer.add(Entry(Metadata(path=b"a"), 9000, lambda: (b"text " * 1800,)))
    writer.add(Entry(Metadata(path=b"b"), None, lambda: (b"text " * 1800,) * 300))
    writer.close()
reader = SealedReader(lambda offset, length: bytes(out[offset:offset + length]), len(out), "p")
assert reader.verify(records) == []
assert [str(record.method) for record in records] == ["deflate", "deflate"]
print("good")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "good\n"


@pytest.mark.parametrize("volume_bytes", [1, 999, 1000, 5000, 1 << 20])
def test_volumes_joined_are_the_stream(volume_bytes):
    stream, volumes = os.urandom(5000), []
    with VolumeSink(volumes.append, volume_bytes) as sink:
        for start in range(0, len(stream), 700):
            sink.write(stream[start : start + 700])
        sink.close()
    assert b"".join(volume.data for volume in volumes) == stream
    assert [volume.index for volume in volumes] == list(range(1, len(volumes) + 1))
    assert {volume.size for volume in volumes[:-1]} <= {volume_bytes}
    for volume in volumes:
        assert volume.sha256 == hashlib.sha256(volume.data).digest()
        assert volume.md5 == hashlib.md5(volume.data).digest()
    read_range = joined(
        lambda index, at, size: bytes(volumes[index - 1].data[at : at + size]), [v.size for v in volumes]
    )
    for offset, length in ((0, 5000), (998, 4), (4990, 100), (6000, 5), (17, 0)):
        assert read_range(offset, length) == stream[offset : offset + length]


def test_large_volumes_wait_on_disk_and_leave_nothing_there(tmp_path):
    block, digests = os.urandom(1 << 20), []
    with VolumeSink(lambda volume: digests.append((volume.size, volume.sha256)), 20 << 20, tmp_path) as sink:
        for _ in range(45):
            sink.write(block)
        sink.close()
    expected = [20, 20, 5]
    assert digests == [(mib << 20, hashlib.sha256(block * mib).digest()) for mib in expected]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kept", [1, 8])
def test_volumes_that_wait_fill_no_memory_however_many_they_are(tmp_path, kept):
    block, waiting = bytes(1 << 20), []
    tracemalloc.start()
    with VolumeSink(waiting.append, 16 << 20, tmp_path, kept=kept) as sink:
        for _ in range(16 * kept):
            sink.write(block)
        sink.close()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(waiting) == kept
    assert peak < 40 << 20


def test_a_sink_given_up_delivers_nothing_more_and_leaves_nothing_on_disk(tmp_path):
    volumes = []
    with VolumeSink(volumes.append, 30 << 20, tmp_path) as sink:
        sink.write(bytes(50 << 20))
    assert [volume.size for volume in volumes] == [30 << 20]
    assert list(tmp_path.iterdir()) == []


def test_a_stream_of_nothing_makes_no_volume():
    volumes = []
    with VolumeSink(volumes.append, 10) as sink:
        sink.close()
    assert volumes == []


def test_a_failed_upload_stops_the_writer():
    def fail(_volume):
        raise ArchiveError("the store is full")

    with pytest.raises(ArchiveError, match="store is full"), VolumeSink(fail, 10) as sink:
        sink.write(bytes(100))
        sink.close()


def test_one_volume_is_under_way_while_the_next_one_fills():
    gate, begun = threading.Event(), []

    def slow(volume):
        begun.append(volume.index)
        gate.wait(10)

    with VolumeSink(slow, 10) as sink:
        sink.write(bytes(19))
        gate.set()
        sink.write(bytes(19))
        sink.close()
    assert begun == [1, 2, 3, 4]
