"""A restored tree is never left, whatever the names and links in a snapshot say."""

import os
from pathlib import Path

import pytest

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
