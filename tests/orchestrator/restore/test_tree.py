"""A restored tree is never left, whatever the names and links in a snapshot say."""

import hashlib
import os
import stat
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.archive import Kind, Metadata
from orchestrator.restore.owners import Owners
from orchestrator.restore.tree import Tree

IS_ROOT = os.geteuid() == 0


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "file").write_text("not ours")
    return folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    root.mkdir()
    return root


def write(tree: Tree, path: bytes, content: bytes = b"content") -> None:
    with tree.new_file(Metadata(path=path)) as file:
        file.write(content)


def test_nothing_is_written_through_a_link(root: Path, outside: Path) -> None:
    with Tree(root, Owners(may_give=IS_ROOT)) as tree:
        tree.make_link(Metadata(path=b"way", kind=Kind.SYMLINK, link=os.fsencode(outside)))
        with pytest.raises(OSError, match="Not a directory"):
            write(tree, b"way/new")
        with pytest.raises(OSError, match="Not a directory"):
            write(tree, b"way/deeper/new")
        with pytest.raises(OSError, match="Not a directory"):
            tree.make_link(Metadata(path=b"way/link", kind=Kind.SYMLINK, link=b"x"))
        with pytest.raises(OSError, match="Not a directory"):
            tree.make_node(Metadata(path=b"way/pipe", kind=Kind.FIFO))
    assert [path.name for path in outside.iterdir()] == ["file"]


def test_a_file_takes_the_place_of_a_link_and_does_not_follow_it(root: Path, outside: Path) -> None:
    with Tree(root, Owners(may_give=IS_ROOT)) as tree:
        tree.make_link(Metadata(path=b"name", kind=Kind.SYMLINK, link=os.fsencode(outside / "file")))
        write(tree, b"name")
    assert (root / "name").read_text() == "content"
    assert not (root / "name").is_symlink()
    assert (outside / "file").read_text() == "not ours"


def test_metadata_of_a_folder_that_is_a_link_are_not_set(root: Path, outside: Path) -> None:
    before = outside.stat()
    (root / "folder").symlink_to(outside)
    with Tree(root, Owners(may_give=True)) as tree, pytest.raises(OSError, match="symbolic links"):
        tree.finish_folder(Metadata(path=b"folder", kind=Kind.DIRECTORY, mode=0o777, uid=1000))
    assert (outside.stat().st_mode, outside.stat().st_uid) == (before.st_mode, before.st_uid)


@pytest.mark.parametrize("path", [b"../x", b"a/../../x", b"..", b"", b"/etc/x", b"a/./b", b"a//b", b"a/\0"])
def test_paths_that_climb_are_refused(root: Path, path: bytes) -> None:
    with Tree(root, Owners(may_give=True)) as tree, pytest.raises(ValueError, match="path"):
        write(tree, path)
    assert not [found for found in root.parent.rglob("*") if found.is_file()]


def test_a_file_that_could_not_be_proven_never_gets_its_name(root: Path) -> None:
    with Tree(root, Owners(may_give=True)) as tree, pytest.raises(RuntimeError):  # noqa: SIM117
        with tree.new_file(Metadata(path=b"folder/file")) as file:
            file.write(b"half of it")
            raise RuntimeError("the SHA-256 is another one")
    assert not [found for found in root.rglob("*") if found.is_file()]


def test_rights_of_another_owner_are_not_taken_over(root: Path) -> None:
    with (
        Tree(root, Owners(may_give=False)) as tree,
        tree.new_file(Metadata(path=b"tool", mode=0o6755)) as file,
    ):
        file.write(b"#!/bin/sh\n")
    assert oct((root / "tool").stat().st_mode)[-4:] == "0755"


@pytest.mark.skipif(not IS_ROOT, reason="only root gives files to others")
def test_owners_are_found_by_name(root: Path) -> None:
    metadata = Metadata(path=b"file", user="nobody", uid=4711, group="no such group", gid=4712)
    with Tree(root, Owners(may_give=True)) as tree, tree.new_file(metadata):
        pass
    status = (root / "file").stat()
    assert ((root / "file").owner(), status.st_gid) == ("nobody", 4712)
    with Tree(root, Owners(may_give=True, numeric=True)) as tree, tree.new_file(metadata):
        pass
    assert (root / "file").stat().st_uid == 4711


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize(("exact", "mode"), [(False, 0o700), (True, 0o555)])
def test_a_folder_of_an_earlier_restore_can_be_written_again_and_one_of_others_is_left(
    root: Path, outside: Path, exact: bool, mode: int
) -> None:
    (root / "there").mkdir()
    (root / "there").chmod(0o555)
    (root / "way").symlink_to(outside)
    outside.chmod(0o755)
    with Tree(root, Owners(may_give=IS_ROOT), exact=exact) as tree:
        tree.make_folder(b"new")
        tree.make_folder(b"there")
        if not exact:
            with pytest.raises(OSError, match="Not a directory"):
                tree.make_folder(b"way")
    assert (mode_of(root / "new"), mode_of(root / "there")) == (0o700, mode)
    assert mode_of(outside) == 0o755


@pytest.mark.parametrize(("kind", "is_it"), [(Kind.FIFO, stat.S_ISFIFO), (Kind.SOCKET, stat.S_ISSOCK)])
def test_pipes_and_sockets_come_back_as_what_they_were(root: Path, kind: Kind, is_it: Any) -> None:
    with Tree(root, Owners(may_give=IS_ROOT)) as tree:
        tree.make_node(Metadata(path=b"node", kind=kind, mode=0o640, mtime_ns=10**18))
    status = (root / "node").lstat()
    assert is_it(status.st_mode)
    assert (stat.S_IMODE(status.st_mode), status.st_mtime_ns) == (0o640, 10**18)


def test_no_other_user_reads_a_file_while_it_is_written(root: Path) -> None:
    before = os.umask(0)
    try:
        with (
            Tree(root, Owners(may_give=IS_ROOT)) as tree,
            tree.new_file(Metadata(path=b"file", mode=0o644)),
        ):
            assert [mode_of(path) for path in root.iterdir()] == [0o600]
    finally:
        os.umask(before)
    assert mode_of(root / "file") == 0o644


ENTRIES = ((1, 7, -1), (2, 7, 65534), (4, 5, -1), (16, 7, -1), (32, 5, -1))  # acl(5); 65534 may write
ACL = struct.pack("<I", 2) + b"".join(struct.pack("<HHi", *entry) for entry in ENTRIES)
DEFAULT_ACL = "system.posix_acl_default"


@pytest.mark.parametrize("exact", [False, True])
def test_restored_files_inherit_no_access_from_the_folder_around_them(root: Path, exact: bool) -> None:
    try:
        os.setxattr(root, DEFAULT_ACL, ACL)
    except OSError:
        pytest.skip("this file system has no access control lists")
    with Tree(root, Owners(may_give=IS_ROOT), exact=exact) as tree:
        write(tree, b"file")
    assert "system.posix_acl_access" not in os.listxattr(root / "file")
    assert (DEFAULT_ACL in os.listxattr(root)) == exact, "that of others is theirs"


def test_where_others_wrote_a_file_is_kept_only_if_it_has_the_content_to_restore(root: Path) -> None:
    content = b"content"
    for name in ("same", "linked", "sparse", "other"):
        (root / name).write_bytes(content)
    (root / "other").write_bytes(b"CONTENT")
    (root / "longer").write_bytes(content * 2)
    (root / "second").hardlink_to(root / "linked")
    (root / "folder").mkdir()
    wanted = len(content), hashlib.sha256(content).digest()
    with Tree(root, Owners(may_give=IS_ROOT), exact=True) as tree:
        kept = {
            path.name: tree.has_file(
                Metadata(path=os.fsencode(path.name), sparse=path.name == "sparse"), *wanted
            )
            for path in root.iterdir()
        }
        assert not tree.has_file(Metadata(path=b"missing"), *wanted)
    assert [name for name, is_kept in kept.items() if is_kept] == ["same"]


NET_RAW = struct.pack("<5I", 0x0200_0001, 1 << 13, 0, 0, 0)  # capabilities(7), as of ping


@pytest.mark.skipif(not IS_ROOT, reason="only root gives capabilities")
@pytest.mark.parametrize("may_give", [True, False])
def test_capabilities_come_back_only_where_owners_do(root: Path, may_give: bool) -> None:
    metadata = Metadata(path=b"ping", xattrs=((b"security.capability", NET_RAW), (b"user.note", b"1")))
    with Tree(root, Owners(may_give=may_give)) as tree, tree.new_file(metadata):
        pass
    expected = {"user.note"} | ({"security.capability"} if may_give else set())
    assert set(os.listxattr(root / "ping")) == expected


@pytest.mark.skipif(not IS_ROOT, reason="only root may set what the system keeps")
def test_attributes_that_others_added_go_and_those_of_the_system_stay(root: Path) -> None:
    (root / "file").touch()
    for name in ("user.added", "trusted.system"):
        os.setxattr(root / "file", name, b"1")
    with Tree(root, Owners(may_give=True), exact=True) as tree:
        assert tree.has_file(Metadata(path=b"file"), 0, hashlib.sha256().digest())
    assert os.listxattr(root / "file") == ["trusted.system"]


BLOCK = 64 << 10
PIECES = st.sampled_from([bytes(BLOCK), bytes(64) + b"x", bytes(BLOCK - 1) + b"x", b"x", b"y" * 70_000])


@given(st.lists(PIECES, max_size=6), st.integers(0, 3))
def test_zeros_become_holes_and_nothing_else_does(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[bytes], skipped: int
) -> None:
    root = tmp_path_factory.mktemp("root")
    with (
        Tree(root, Owners(may_give=IS_ROOT)) as tree,
        tree.new_file(Metadata(path=b"file")) as file,
    ):
        for piece in pieces:
            file.write(piece)
        file.skip(skipped * BLOCK)
    content = b"".join(pieces) + bytes(skipped * BLOCK)
    assert (root / "file").read_bytes() == content
    if not any(content):
        assert (root / "file").stat().st_blocks == 0
