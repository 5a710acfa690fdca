"""What is missing from a source is told: emptied, not mounted, attributes that may not be read."""

import errno
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.mounts import memory_file_system
from lab.sshd import Sshd
from leitstand.settings.hosts import Host
from orchestrator.archive import Problem
from orchestrator.authorize import authorize
from orchestrator.backup.shrunk import TIMES_TOLD
from orchestrator.config.settings import FilesSettings, Job
from orchestrator.sources import SourceError, open_sources
from orchestrator.sources.files import FilesSource

Site = Any


def empty(folder: Path) -> None:
    folder.rename(folder.with_name("away"))
    folder.mkdir()


def test_a_source_that_was_emptied_is_a_warning_a_problem_and_a_metric(site: Site) -> None:
    site.good("run", "site")
    (before,) = site.metric("files")
    assert site.metric("shrunk_sources") == [0]
    empty(site.www)
    ran = site.leitstand("run", "site")
    told = f"files{site.www}: 1 entries, {int(before) - 1} before: was it emptied, or is it not mounted?"
    assert (ran.status, ran.errors) == (1, [f"site: {told}"])
    assert "partial snapshot" in ran.stdout
    assert site.metric("shrunk_sources") == [1]
    status = site.leitstand("status", "--json")
    assert told in json.dumps(status.json(), ensure_ascii=False)


def test_it_is_reported_for_a_week_of_runs_and_then_accepted(site: Site) -> None:
    site.job["sources"] = site.job["sources"][:1]
    site.good("run", "site")
    empty(site.www)
    assert [site.leitstand("run", "site").status for _ in range(TIMES_TOLD + 1)] == [1] * TIMES_TOLD + [0]


def test_a_source_that_comes_back_or_has_other_settings_is_not_reported(site: Site) -> None:
    site.good("run", "site")
    site.job["sources"][0]["exclude"] = ["*"]
    site.good("run", "site")
    del site.job["sources"][0]["exclude"]
    site.good("run", "site")
    for path in list(site.www.iterdir())[:3]:
        path.rename(site.folder / f"away {path.name[:5]}")
    site.good("run", "site")


def test_one_emptied_source_of_several_is_reported_by_name(site: Site) -> None:
    (site.folder / "small").mkdir()
    (site.folder / "small" / "file").touch()
    site.job["sources"].append({"files": str(site.folder / "small")})
    site.good("run", "site")
    (site.folder / "small" / "file").unlink()
    ran = site.leitstand("run", "site")
    assert (ran.status, len(ran.errors)) == (1, 1)
    assert "small: 1 entries, 2 before" in ran.stderr


def test_fewer_files_than_there_must_be_leave_no_snapshot(site: Site) -> None:
    site.job["sources"][0]["minimum_files"] = 3
    site.good("run", "site")
    empty(site.www)
    ran = site.leitstand("run", "site")
    assert ran.status == 3
    assert "0 files, fewer than minimum_files, 3" in ran.errors[0]
    assert len(site.snapshots()) == 1


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Path]:
    if os.geteuid():
        pytest.skip("only root can mount")
    with memory_file_system(tmp_path / "disk of data", "64k") as place:
        yield place


def far(sshd: Sshd) -> Host:
    ssh = {"user": sshd.user, "port": sshd.port, "identity_file": str(sshd.identity)}
    return Host.model_validate(
        {"address": "127.0.0.1", "ssh": {**ssh, "known_hosts_file": str(sshd.known_hosts)}}
    )


@pytest.mark.parametrize("where", ["here", "far"])
def test_a_disk_that_must_be_mounted_and_is_not_fails_the_source(
    sshd: Sshd, mounted: Path, tmp_path: Path, where: str
) -> None:
    (tmp_path / "not mounted").mkdir()
    host = far(sshd) if where == "far" else None

    def entries(folder: Path) -> list[bytes]:
        files = {"files": str(folder), "must_be_mounted": True}
        document = {"host": "web1", "sources": [files], "stores": ["disk"], "keys_file": "/keys"}
        job = Job.model_validate(document)
        if host is not None:
            script = tmp_path / "read-web1"
            printed = authorize("web1", host, {"job": job})
            script.write_text(printed.script)
            script.chmod(0o755)
            sshd.allow(printed.line.replace(printed.script_path, str(script)))
        (source,) = open_sources(job, host)
        return [entry.path for entry in source.entries(lambda problem: None)]

    (mounted / "inside").mkdir()
    assert len(entries(mounted / "inside")) == 1
    with pytest.raises(SourceError, match="is on the file system of '/'"):
        entries(tmp_path / "not mounted")


@pytest.mark.parametrize("refused", ["listxattr", "getxattr"])
def test_attributes_that_may_not_be_read_are_a_problem_and_the_file_is_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: str
) -> None:
    (tmp_path / "file").write_text("content")
    os.setxattr(tmp_path / "file", "user.note", b"x")

    def refuse(*_: object, **__: object) -> bytes:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, refused, refuse)
    problems: list[Problem] = []
    entries = list(FilesSource(FilesSettings(files=tmp_path)).entries(problems.append))
    assert {entry.path.rpartition(b"/")[2] for entry in entries} >= {b"file"}
    told = [problem.what for problem in problems if problem.path.endswith(b"/file")]
    assert len(told) == 1
    assert "cannot be read: Operation not permitted" in told[0]


def test_attributes_hidden_by_a_missing_capability_are_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    source = FilesSource(FilesSettings(files=tmp_path))
    for has in (True, False):
        monkeypatch.setattr("orchestrator.sources.files._has_capability", lambda _number, has=has: has)
        caplog.clear()
        list(source.entries(lambda problem: None))
        assert ("attributes trusted.* cannot be seen" in caplog.text) is not has


@pytest.mark.skipif(os.geteuid() != 0, reason="only root sets attributes trusted.*")
def test_attributes_that_a_run_cannot_see_without_the_capability_are_reported(site: Site) -> None:
    os.setxattr(site.www / "empty", "trusted.overlay.opaque", b"y")
    site.good("run", "site")
    site.write()
    drop = ["setpriv", "--bounding-set", "-sys_admin", "--inh-caps", "-sys_admin", "--"]
    argv = [*drop, sys.executable, "-m", "leitstand", "backup", "run", "site", "--config", str(site.config)]
    repository = Path(__file__).parents[3]
    done = subprocess.run(argv, cwd=repository, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert "1 paths had attributes trusted.*, none is seen now" in done.stderr
    os.removexattr(site.www / "empty", "trusted.overlay.opaque")
    site.good("run", "site")  # which would see them
