"""The walker of local files: what it takes, what it leaves out, what it reports."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leitstand.patterns import Patterns
from orchestrator.archive import Entry, EntryChanged, Kind, Problem
from orchestrator.config.settings import FilesSettings
from orchestrator.sources import SourceError
from orchestrator.sources.files import FilesSource
from orchestrator.sources.patterns import Selection


def entries(root: Path, report: Callable[[Problem], None] | None = None, **more: object) -> dict[str, Entry]:
    """What the walker gives, by path below the root."""
    source = FilesSource(FilesSettings.model_validate({"files": str(root), **more}))
    label = os.fsencode(source.label)
    found = {
        os.fsdecode(entry.path[len(label) + 1 :]): entry for entry in source.entries(report or _no_problem)
    }
    source.close()
    return found


def _no_problem(problem: Problem) -> None:
    raise AssertionError(problem)


def content(entry: Entry) -> bytes:
    return b"".join(entry.blocks())


def test_a_folder_comes_before_what_is_in_it_and_names_are_in_order(tmp_path: Path) -> None:
    for name in ("b/2", "b/1", "a", "c/d/e"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert list(entries(tmp_path)) == ["", "a", "b", "b/1", "b/2", "c", "c/d", "c/d/e"]


def test_one_file_alone_can_be_a_source(tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("text")
    (found,) = entries(tmp_path / "notes").values()
    assert found.metadata.kind is Kind.FILE
    assert content(found) == b"text"


def test_the_root_may_be_a_link_but_nothing_below_it_is_followed(tmp_path: Path) -> None:
    (tmp_path / "real" / "sub").mkdir(parents=True)
    (tmp_path / "real" / "up").symlink_to(tmp_path)
    (tmp_path / "link").symlink_to("real")
    found = entries(tmp_path / "link")
    assert found[""].metadata.kind is Kind.DIRECTORY
    assert found["up"].metadata.kind is Kind.SYMLINK
    assert set(found) == {"", "sub", "up"}


def test_a_folder_that_is_not_there_fails_the_source(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="No such file"):
        entries(tmp_path / "missing")


def test_a_file_that_vanished_is_an_error_of_that_file(tmp_path: Path) -> None:
    (tmp_path / "gone").write_text("text")
    entry = entries(tmp_path)["gone"]
    (tmp_path / "gone").unlink()
    with pytest.raises(FileNotFoundError):
        content(entry)


def test_a_file_is_read_at_any_depth(tmp_path: Path) -> None:
    """Deeper than a path may be long: 4096 bytes."""
    folder = os.open(tmp_path, os.O_RDONLY)
    for _ in range(20):
        os.mkdir("d" * 250, dir_fd=folder)
        inner = os.open("d" * 250, os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = inner
    file = os.open("deep", os.O_CREAT | os.O_WRONLY, dir_fd=folder)
    os.write(file, b"content")
    os.close(file)
    os.close(folder)
    *_, (name, found) = entries(tmp_path).items()
    assert len(name) > 5000
    assert content(found) == b"content"


def test_a_file_replaced_by_a_link_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("text")
    entry = entries(tmp_path)["file"]
    (tmp_path / "file").unlink()
    (tmp_path / "file").symlink_to("/etc/passwd")
    with pytest.raises(OSError, match="symbolic links"):
        content(entry)


def test_a_folder_on_the_way_replaced_by_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "www").mkdir()
    (tmp_path / "www" / "file").write_text("ours")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "file").write_text("another secret")
    entry = entries(tmp_path)["www/file"]
    (tmp_path / "www").rename(tmp_path / "moved")
    (tmp_path / "www").symlink_to("elsewhere")
    with pytest.raises(OSError, match="replaced") as caught:
        content(entry)
    assert caught.value.errno == errno.ESTALE


def test_a_file_written_while_it_is_read_is_kept_and_reported(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"x" * 3_000_000)
    blocks = iter(entries(tmp_path)["log"].blocks())
    first = next(blocks)
    with (tmp_path / "log").open("ab") as file:
        file.write(b"more")
    rest = []
    with pytest.raises(EntryChanged):
        rest.extend(iter(blocks.__next__, None))
    assert len(first) == 1 << 20
    assert len(rest) == 2


def test_a_folder_that_cannot_be_opened_is_reported_and_the_rest_is_taken(tmp_path: Path) -> None:
    problems: list[Problem] = []
    source = FilesSource(FilesSettings(files=tmp_path))
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").touch()
    walk = source.entries(problems.append)
    names = [next(walk).path.rpartition(b"/")[2] for _ in range(3)]  # the root, a, a/file
    (tmp_path / "b" / "file").unlink()
    (tmp_path / "b").rmdir()
    names += [entry.path.rpartition(b"/")[2] for entry in walk]
    assert names[1:] == [b"a", b"file", b"c", b"file"]
    assert [problem.what for problem in problems] == ["vanished before it was read"]


def test_other_file_systems_are_not_entered_unless_asked(tmp_path: Path) -> None:
    found = entries(Path("/dev"), lambda problem: None, exclude=["pts", "fd"])
    assert "shm" in found
    assert not any(name.startswith("shm/") for name in found)
    assert found["null"].metadata.kind is Kind.DEVICE


@pytest.mark.parametrize(
    ("pattern", "left_out"),
    [
        ("*.log", {"a.log", "sub/b.log"}),
        ("cache", {"cache", "cache/x", "sub/cache", "sub/cache/y"}),
        ("cache/", {"cache", "cache/x", "sub/cache", "sub/cache/y"}),
        ("cache/*", {"cache/x"}),
        ("*/cache/*", {"cache/x", "sub/cache/y"}),
        ("sub/cache", {"sub/cache", "sub/cache/y"}),
        ("{root}/cache", {"cache", "cache/x"}),
        ("a.log/", set()),
        ("A.LOG", set()),
        ("[ab].log", {"a.log", "sub/b.log"}),
        ("/", set()),
    ],
)
def test_exclude_patterns(tmp_path: Path, pattern: str, left_out: set[str]) -> None:
    for name in ("a.log", "cache/x", "sub/b.log", "sub/cache/y"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    everything = set(entries(tmp_path))
    found = set(entries(tmp_path, exclude=[pattern.format(root=tmp_path)]))
    assert everything - found == left_out


@pytest.mark.parametrize(
    ("include", "exclude", "taken"),
    [
        (["*.log"], ["z.log"], {"a.log", "sub", "sub/b.log"}),
        (["cache"], [], {"cache", "cache/x", "sub", "sub/cache", "sub/cache/y", "sub/cache/z.log"}),
        (["sub/cache"], ["*.log"], {"sub", "sub/cache", "sub/cache/y"}),
        (["{root}/a.log", "nothing"], [], {"a.log"}),
        (["cache/"], ["sub"], {"cache", "cache/x"}),
    ],
)
def test_only_what_is_included_is_taken(
    tmp_path: Path, include: list[str], exclude: list[str], taken: set[str]
) -> None:
    for name in ("a.log", "cache/x", "sub/b.log", "sub/cache/y", "sub/cache/z.log", "other/deep/file"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    include = [pattern.format(root=tmp_path) for pattern in include]
    assert set(entries(tmp_path, include=include, exclude=exclude)) == {"", *taken}


def test_a_file_is_included_under_the_first_of_its_names_that_is(tmp_path: Path) -> None:
    (tmp_path / "first").write_text("content")
    (tmp_path / "second.jpg").hardlink_to(tmp_path / "first")
    assert entries(tmp_path, include=["*.jpg"])["second.jpg"].metadata.kind is Kind.FILE


_PART = st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=5)


@settings(derandomize=True, max_examples=200)
@given(st.lists(_PART, min_size=1, max_size=4), st.text(max_size=12))
def test_no_name_and_no_pattern_breaks_the_matching(parts: list[str], pattern: str) -> None:
    path = "/".join(parts)
    patterns = Patterns([pattern], "/root")
    assert patterns.match(path, True) >= patterns.match(path, False), "what is meant as a file is as a folder"
    literal = "".join(f"[{letter}]" if letter in "*?[" else letter for letter in path)
    if "!" not in literal:
        assert Patterns([f"/root/{literal}"], "/root").match(path, False)


def test_a_selection_means_a_folder_with_all_that_is_in_it() -> None:
    selection = Selection(["/var/www/uploads"])
    assert b"files/var/www/uploads" in selection
    assert b"files/var/www/uploads/a/b.jpg" in selection
    assert b"files/var/www/uploads2" not in selection
    assert b"anything" in Selection([])
    assert b"sqlite/srv/db.sqlite" in Selection(["*.sqlite"])
