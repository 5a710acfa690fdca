"""Which commit runs can be told, wherever git keeps it."""

import os
import runpy
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from leitstand.version import release, revision

ROOT = Path(__file__).parents[2]
described = runpy.run_path(str(ROOT / "hatch_build.py"))["version"]


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
def test_an_invalid_commit_does_not_count(tmp_path: Path, head: str) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "HEAD").write_text(head)
    assert revision(tmp_path / "leitstand") == ""


def test_a_version_needs_no_git(tmp_path: Path) -> None:
    assert revision(tmp_path / "leitstand") == ""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with a single commit."""
    shutil.copytree(ROOT / "leitstand", tmp_path / "checkout/leitstand", ignore=lambda *_: ["__pycache__"])
    git(tmp_path / "checkout", "init", "-q")
    git(tmp_path / "checkout", "commit", "-q", "--allow-empty", "-m", "first")
    return tmp_path / "checkout"


def commit(checkout: Path) -> str:
    return git(checkout, "rev-parse", "--short=12", "HEAD")


@pytest.mark.parametrize("annotated", [[], ["-a", "-m", "notes"]])
def test_a_build_has_the_version_of_the_tag_or_leads_to_the_next(
    checkout: Path, annotated: list[str]
) -> None:
    assert described(checkout) == f"0.1.0.dev1+g{commit(checkout)}"
    git(checkout, "tag", *annotated, "v0.3.9")
    git(checkout, "tag", "v1.0.0rc1")
    assert described(checkout) == "0.3.9"
    git(checkout, "commit", "-q", "--allow-empty", "-m", "second")
    git(checkout, "commit", "-q", "--allow-empty", "-m", "third")
    assert described(checkout) == f"0.3.10.dev2+g{commit(checkout)}"


def test_a_build_of_changed_files_is_not_the_release(checkout: Path) -> None:
    git(checkout, "add", "leitstand")
    git(checkout, "commit", "-q", "-m", "files")
    git(checkout, "tag", "v0.3.9")
    (checkout / "leitstand" / "new.py").touch()  # not committed, as a build may have left it
    assert described(checkout) == "0.3.9"
    (checkout / "leitstand" / "cli.py").write_text("changed")
    assert described(checkout) == f"0.3.10.dev0+g{commit(checkout)}"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root builds the checkouts of others")
def test_root_builds_the_checkout_of_another_user_with_its_version(checkout: Path) -> None:
    git(checkout, "tag", "v0.3.9")
    os.chown(checkout / ".git", 65534, 65534)
    os.chown(checkout, 65534, 65534)
    assert described(checkout) == "0.3.9"


def test_a_build_without_git_has_a_version_as_well(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    head = commit(checkout)
    git(checkout, "tag", "v0.3.9")
    monkeypatch.setenv("PATH", "/nonexistent")
    assert described(checkout) == f"0.1.0.dev0+g{head}"


def test_an_unpacked_archive_in_the_checkout_of_something_else_is_not_described_by_that(
    checkout: Path,
) -> None:
    git(checkout, "tag", "v9.9.9")
    shutil.copytree(checkout / "leitstand", checkout / "archive" / "leitstand")
    assert described(checkout / "archive") == "0.1.0.dev0"


def test_a_running_program_reports_its_built_version_or_commit(checkout: Path) -> None:
    package = checkout / "leitstand"
    assert release(package) == f"0.dev0+g{commit(checkout)}"
    (package / "share").mkdir()
    (package / "share" / "version").write_text("0.3.9\n")
    assert release(package) == "0.3.9"
