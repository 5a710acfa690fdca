"""``leitstand deploy diff`` compares two leitstand.yml without a host, a secret or a shell."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.patience import patient
from rollout.difference.changes import Difference
from rollout.difference.text import LONGEST, MARK, markdown

BASE = """\
site: {name: Example}
hosts:
  control: {address: 192.0.2.1, roles: [leitstand]}
  web1: {address: 192.0.2.2, roles: [watched]}
services:
  www: {name: Website, url: "https://www.example.org/"}
"""
NEW = """\
site: {name: Example}
hosts:
  control: {address: 192.0.2.1, roles: [leitstand]}
  web1: {address: 192.0.2.3, roles: [watched]}
  web2: {address: 192.0.2.4, roles: [watched]}
services:
  www: {name: "Our website", url: "https://www.example.org/"}
probing: {interval: 30s}
"""
Done = subprocess.CompletedProcess[str]


def diff(folder: Path, *words: str) -> Done:
    argv = [sys.executable, "-m", "leitstand", "deploy", "diff", *words]
    return subprocess.run(argv, capture_output=True, text=True, timeout=patient(120), cwd=folder)


def git(folder: Path, *words: str) -> None:
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    subprocess.run(["git", "-C", str(folder), *identity, *words], check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    git(tmp_path, "init", "-q", "-b", "main")
    (tmp_path / "leitstand.yml").write_text(BASE)
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "$(touch planted)")
    (tmp_path / "leitstand.yml").write_text(NEW)
    return tmp_path


def test_hosts_services_alerts_and_targets_that_change_are_listed(repository: Path) -> None:
    done = diff(repository, "--base", "main")
    assert done.returncode == 0, done.stderr
    shown = done.stdout.splitlines()
    assert "~ web1.address: 192.0.2.2 → 192.0.2.3" in shown
    assert any(line.startswith("+ web2: ") for line in shown)
    assert "~ www.name: Website → Our website" in shown
    assert any(line.startswith(("+ probing", "+ interval")) for line in shown)
    alerts = shown[shown.index("alerts as rendered:") :]
    assert any(line.startswith("~ service_vp:ok.expr: max by (service, vantage)") for line in alerts)
    targets = shown[shown.index("targets as rendered:") :]
    assert any(line.startswith("+ ") and "192.0.2.4" in line for line in targets)
    assert any(re.match(r"~ prometheus/prometheus.yml \+\d+ -\d+", line) for line in shown)


def test_two_equal_files_are_no_change(repository: Path) -> None:
    done = diff(repository, "--base", "leitstand.yml", "--json")
    found = json.loads(done.stdout)
    assert (done.returncode, found["sections"], found["files"]) == (0, {}, [])


def test_a_folder_is_compared_with_the_folder_of_a_revision(tmp_path: Path) -> None:
    folder = tmp_path / "etc"
    folder.mkdir()
    (folder / "a.yml").write_text(BASE)
    git(tmp_path, "init", "-q", "-b", "main")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "first")
    (folder / "b.yml").write_text("probing: {interval: 30s}\n")
    done = diff(tmp_path, "--config", "etc", "--base", "main", "--json")
    assert done.returncode == 0, done.stderr
    sections = json.loads(done.stdout)["sections"]
    assert [name for name in sections if " as rendered" not in name] == ["probing"]


@pytest.mark.parametrize("broken", ["hosts: [", "hosts: {web1: {}}\n", "unknown: {}\n", "\xff"])
def test_an_invalid_base_is_named_and_everything_is_new(repository: Path, broken: str) -> None:
    (repository / "leitstand.yml").write_bytes(broken.encode("latin-1"))
    git(repository, "commit", "-q", "-a", "-m", "broken")
    (repository / "leitstand.yml").write_text(NEW)
    done = diff(repository, "--base", "main")
    assert done.returncode == 1, done.stderr
    assert done.stdout.startswith("note: the base is invalid, so everything is listed as new: ")
    assert any(line.startswith("+ web1") for line in done.stdout.splitlines())


@pytest.mark.parametrize(
    "revision", ["--help", "--output=planted", "$(touch planted)", "a; touch planted", "-c"]
)
def test_a_hostile_revision_is_only_a_name(repository: Path, revision: str) -> None:
    done = diff(repository, f"--base={revision}")
    assert done.returncode == 2
    assert "is neither a file nor a git revision" in done.stderr
    assert not list(repository.glob("**/planted"))


def test_a_branch_with_a_hostile_name_is_compared_as_any_other(repository: Path) -> None:
    name = "$(touch${IFS}planted)`id`"
    git(repository, "branch", "--", name)
    done = diff(repository, "--base", name, "--markdown")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(MARK)
    assert not list(repository.glob("**/planted"))


@given(st.lists(st.text(max_size=50), max_size=20))
def test_no_text_leaves_the_block_of_a_comment(texts: list[str]) -> None:
    comment = markdown(Difference("main", "", {"hosts": [f"+ {text}" for text in texts]})).splitlines()
    (begin,) = [number for number, line in enumerate(comment) if line.endswith("diff")][:1] or [0]
    fence = comment[begin].removesuffix("diff")
    closing = [number for number, line in enumerate(comment) if line.strip() == fence]
    assert closing == [len(comment) - 1]


def test_a_comment_is_never_longer_than_a_pull_request_takes() -> None:
    found = Difference("main", "", {"hosts": [f"+ host{number}: {'x' * 100}" for number in range(5000)]})
    assert len(markdown(found)) < LONGEST + 500
    assert "… cut" in markdown(found)
