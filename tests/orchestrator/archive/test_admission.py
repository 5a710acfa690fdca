"""The one rule of what a row may be: what it lets in a restore makes, on a real file system."""

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.archive import Kind, Metadata
from orchestrator.archive.admission import LONGEST_PART, Descent, refusal
from orchestrator.restore.owners import Owners
from orchestrator.restore.tree import Tree

AROUND = [0, 1, 0o7777, 0o10000, 1 << 20, 1 << 31, (1 << 32) - 2, (1 << 32) - 1, 1 << 62, 1 << 63, 1 << 64]
NUMBERS = st.sampled_from([*AROUND, *(-each for each in AROUND)]) | st.integers()
NAMES = st.binary(max_size=300) | st.sampled_from([b"..", b".", b"a/b", b"a" * 255, b"a" * 256, b"\xff\n"])
TEXTS = st.text(max_size=20) | st.sampled_from(["root", "a\0b", "\udcff", "n" * 300])
XATTRS = st.lists(
    st.tuples(
        st.sampled_from([b"user.a", b"", b"user.", b"nonsense", b"user.\xff", b"user." + b"n" * 300]) | NAMES,
        st.binary(max_size=100) | st.sampled_from([b"", b"x" * 5000, b"x" * 65_536, b"x" * 65_537]),
    ),
    max_size=2,
)
DEVICES = NUMBERS | st.builds(os.makedev, st.integers(0, 5000), st.integers(0, 1 << 21))
KINDS = [Kind.FILE, Kind.DIRECTORY, Kind.SYMLINK, Kind.FIFO, Kind.SOCKET, Kind.DEVICE]
STRANGE: dict[str, st.SearchStrategy[object]] = {
    "path": NAMES,
    "mode": st.sampled_from([0, 0o7777, 0o20644, 0o60644, 0o100644, 0o10000, -1]),
    "uid": NUMBERS,
    "gid": NUMBERS,
    "user": TEXTS,
    "group": TEXTS,
    "mtime_ns": NUMBERS | st.integers(-(10**40), 10**40),
    "link": NAMES | st.just(b"l" * 4095) | st.just(b"l" * 4096),
    "xattrs": XATTRS.map(tuple),
    "device": DEVICES,
}


@st.composite
def rows(draw: st.DrawFn) -> Metadata:
    """A good row but for some strange values."""
    kind = draw(st.sampled_from(KINDS))
    good = {"path": b"a", "link": b"b", "mode": 0o20644 if kind is Kind.DEVICE else 0o644}
    strange = draw(st.sets(st.sampled_from(sorted(STRANGE)), max_size=2))
    return Metadata(kind=kind, **{**good, **{name: draw(STRANGE[name]) for name in strange}})


def make(tree: Tree, metadata: Metadata) -> None:
    match metadata.kind:
        case Kind.DIRECTORY:
            tree.make_folder(metadata.path)
            tree.finish_folder(metadata)
        case Kind.SYMLINK:
            tree.make_link(metadata)
        case Kind.FILE:
            with tree.new_file(metadata) as file:
                file.write(b"content")
        case _:
            tree.make_node(metadata)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes all that a row may be")
@given(metadata=rows())
@settings(max_examples=500, deadline=None)
def test_every_accepted_path_can_be_restored(metadata: Metadata) -> None:
    # A device of old snapshots, without its type, is left out by a restore.
    if refusal(metadata) or (metadata.kind is Kind.DEVICE and not metadata.mode >> 12):
        return
    with tempfile.TemporaryDirectory() as folder, Tree(Path(folder), Owners(may_give=True)) as tree:
        make(tree, metadata)
        assert os.path.lexists(os.fsencode(folder) + b"/" + metadata.path)


def test_paths_at_their_limits() -> None:
    good = [b"a" * LONGEST_PART, b"/".join([b"d"] * 2000)]
    bad = [b"a" * (LONGEST_PART + 1), b"/a", b"a/../b", b"a//b", b"a\0"]
    assert [bool(refusal(Metadata(path=path))) for path in (*good, *bad)] == [False] * 2 + [True] * 5


def test_a_walk_goes_down_folder_by_folder() -> None:
    descent = Descent()
    folders = {"r", "r/d", "r/f", "r/f/g"}
    walk = ["r", "r/d", "r/d/x", "r/e", "r/e/x", "r/d/y", "r/f", "r/f/g", "r/f/g/x", "r/f/y", "q", "r/z"]
    refused = [path for path in walk if descent.refusal(path.encode(), path in folders)]
    assert refused == ["r/e/x", "r/d/y", "q"]
