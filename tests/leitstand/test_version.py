"""Which commit runs can be told, wherever git keeps it."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from leitstand.version import revision


def git(folder: Path, *words: str) -> str:
    who = ("-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "init.defaultBranch=main")
    done = subprocess.run(["git", *who, *words], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def on_a_branch(checkout: Path) -> Path:
    return checkout


def on_a_branch_with_a_slash(checkout: Path) -> Path:
    git(checkout, "checkout", "-q", "-b", "team/one")
    return checkout


def detached(checkout: Path) -> Path:
    git(checkout, "checkout", "-q", "--detach")
    return checkout


def packed(checkout: Path) -> Path:
    git(checkout, "pack-refs", "--all")
    assert not (checkout / ".git" / "refs" / "heads" / "main").exists()
    return checkout


def in_a_further_work_tree(checkout: Path) -> Path:
    git(checkout, "worktree", "add", "-q", "../further")
    return checkout.parent / "further"


@pytest.mark.parametrize(
    "arrange", [on_a_branch, on_a_branch_with_a_slash, detached, packed, in_a_further_work_tree]
)
def test_the_commit_of_a_checkout_is_found(tmp_path: Path, arrange: Callable[[Path], Path]) -> None:
    (checkout := tmp_path / "checkout").mkdir()
    git(checkout, "init", "-q")
    git(checkout, "commit", "-q", "--allow-empty", "-m", "first")
    commit = git(checkout, "rev-parse", "HEAD")
    assert revision(arrange(checkout) / "leitstand") == commit[:12]


@pytest.mark.parametrize("head", ["", "ref: refs/heads/none", "ref: ../../../etc/passwd", "\x1b[2J", "junk"])
def test_what_is_no_commit_is_none(tmp_path: Path, head: str) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "HEAD").write_text(head)
    assert revision(tmp_path / "leitstand") == ""


def test_without_git_there_is_none(tmp_path: Path) -> None:
    assert revision(tmp_path / "leitstand") == ""
