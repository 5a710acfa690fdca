import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter import tree as tree_module
from exporter.tree import TooLarge, Tree


def test_a_link_out_of_the_root_leads_back_into_it(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("secret")
    root = tmp_path / "root"
    root.mkdir()
    for name, target in {
        "absolute": str(outside),
        "relative": "../outside",
        "far": "../" * 30 + str(outside),
    }.items():
        (root / name).symlink_to(target)
    tree = Tree(root)
    for name in ("absolute", "relative", "far", "../outside", f"..{outside}"):
        with pytest.raises(FileNotFoundError):
            tree.read(name)
        assert tree.stat(name) is None


def test_a_linked_folder_out_of_the_root_is_not_listed(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "file").write_text("secret")
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "linked").symlink_to(tmp_path / "outside")
    tree = Tree(tmp_path / "root")
    assert tree.names("linked") == []
    assert list(tree.glob("/linked/*")) == []


def test_a_link_within_the_root_is_followed_as_the_mounted_system_would(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "usr/share").mkdir(parents=True)
    (root / "usr/share/zone").write_text("here")
    (root / "localtime").symlink_to("/usr/share/zone")
    tree = Tree(root)
    assert tree.text("/localtime") == "here"
    assert tree.resolve("localtime") == "/usr/share/zone"


def test_a_loop_of_links_is_an_error_not_a_hang(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(OSError, match="too many links"):
        Tree(tmp_path).read("a")
    assert Tree(tmp_path).stat("a") is None


@pytest.mark.parametrize("is_host", [True, False])
def test_a_name_with_a_zero_byte_is_no_file_and_no_surprise(tmp_path: Path, is_host: bool) -> None:
    """Configurations that name files have such bytes after a crash."""
    tree = Tree(Path("/") if is_host else tmp_path)
    with pytest.raises(FileNotFoundError):
        tree.read("/a\0b")
    assert tree.stat("/a\0b") is None
    assert tree.names("/a\0b") == [*tree.glob("/a\0b/*")] == []
    assert tree.resolve("/a\0b") == "/a\0b"


def test_a_fifo_does_not_hold_the_reader(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(OSError, match="not a regular file"):
        Tree(tmp_path).read("fifo")


def test_a_file_beyond_the_limit_is_refused_and_one_at_the_limit_is_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * 100)
    assert len(Tree(tmp_path).read("file", 100)) == 100
    with pytest.raises(TooLarge):
        Tree(tmp_path).read("file", 99)


def test_a_folder_of_too_many_entries_is_left_out_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(51):
        (tmp_path / str(number)).touch()
    assert len(Tree(tmp_path).names("/")) == 51
    monkeypatch.setattr(tree_module, "MAXIMUM_ENTRIES", 50)
    tree = Tree(tmp_path)
    assert tree.names("/") == list(tree.glob("/*")) == []
    assert tree.cut == 2


def test_a_pattern_matches_as_the_shell_does(tmp_path: Path) -> None:
    for name in ("etc/b.conf", "etc/a.conf", "etc/.hidden.conf", "etc/c.off"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    tree = Tree(tmp_path)
    assert list(tree.glob("/etc/*.conf")) == ["/etc/a.conf", "/etc/b.conf"]
    assert list(tree.glob("etc/c.off")) == ["/etc/c.off"]
    assert list(tree.glob("/etc/../etc/[ab].conf")) == ["/etc/../etc/a.conf", "/etc/../etc/b.conf"]


@settings(max_examples=300, derandomize=True)
@given(st.lists(st.sampled_from(["..", ".", "a", "b", "", "etc"]), max_size=12).map("/".join))
def test_no_path_resolves_to_a_place_outside(path: str) -> None:
    resolved = Tree(Path("/proc/self/no-such-root")).resolve(path)
    assert resolved.startswith("/")
    assert ".." not in resolved.split("/")
