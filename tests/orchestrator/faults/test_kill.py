"""kill -9 at a hundred random moments: what was complete stays restorable, what was not is never listed."""

import json
import os
import random
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.patience import patient

pytestmark = pytest.mark.slow
Site = Any
TreeOf = Callable[[Path], dict[bytes, tuple[Any, ...]]]
# Has all modules loaded and forks for each command: a killed process each time, without a second of start.
# It keeps the number of a process that ended until it is asked for its status: nobody kills a stranger by it.
NURSERY = """
import json, os, sys
import orchestrator.cli.group, orchestrator.archive, orchestrator.verify.drill, orchestrator.stores.s3_client
from leitstand.cli import run
session = orchestrator.stores.s3_client._session()
session.client("s3", region_name="x", aws_access_key_id="x", aws_secret_access_key="x")
while line := sys.stdin.readline():
    pid = os.fork()
    if not pid:
        null = os.open("/dev/null", os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(null, descriptor)
        try:
            os._exit(run(json.loads(line)))
        finally:
            os._exit(99)
    print(pid, flush=True)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    print("ended", flush=True)
    sys.stdin.readline()
    print(os.waitpid(pid, 0)[1], flush=True)
"""


class Nursery:
    """Runs commands in processes of their own and kills them after a while."""

    def __init__(self, site: Site, process: subprocess.Popen[bytes]) -> None:
        self.site, self.process = site, process
        self.killed = 0
        self.usual = 0.0  # seconds: what the last command took that nobody killed; a machine's speed changes

    def run(self, *arguments: object, seconds: float = 600) -> int:
        """Its wait status; killed after ``seconds`` (the status is 9 then)."""
        self.site.write()
        argv = ["backup", *map(str, arguments), "--config", str(self.site.config)]
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(argv).encode() + b"\n")
        self.process.stdin.flush()
        pid = int(self.process.stdout.readline())
        begun = time.monotonic()
        if not select.select([self.process.stdout], [], [], seconds)[0]:
            os.kill(pid, signal.SIGKILL)
        assert self.process.stdout.readline() == b"ended\n"
        self.process.stdin.write(b"\n")
        self.process.stdin.flush()
        status = int(self.process.stdout.readline())
        self.killed += status == signal.SIGKILL
        if status == 0:
            self.usual = time.monotonic() - begun
        return status


@pytest.fixture
def nursery(small: Site) -> Iterator[Nursery]:
    argv = [sys.executable, "-c", NURSERY]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as process:
        try:
            yield Nursery(small, process)
        finally:
            process.kill()


def assert_only_whole_ones(site: Site, proven: set[tuple[str, str]], stores: tuple[str, ...]) -> None:
    """Every snapshot that is listed is whole, the last byte of it."""
    for store in stores:
        for snapshot in set(site.snapshots(store)) - {name for where, name in proven if where == store}:
            site.good("verify", "site", "--store", store, "--snapshot", snapshot)
            proven.add((store, snapshot))


def test_a_run_killed_at_forty_moments(nursery: Nursery, swift: Any, tree: TreeOf, tmp_path: Path) -> None:
    site, generator = nursery.site, random.Random(1)
    site.document["stores"]["swift"] = swift.settings(prefix=f"kill/{tmp_path.name}")
    site.job["stores"] = ["swift", "disk"]
    assert nursery.run("run", "site") == 0
    proven: set[tuple[str, str]] = set()
    for _ in range(40):
        nursery.run("run", "site", seconds=generator.uniform(0, 1.1 * nursery.usual))
        assert_only_whole_ones(site, proven, ("swift", "disk"))
    assert nursery.killed >= 20, "most of them were killed"
    assert nursery.run("run", "site") == 0, "no lock or lease of a dead run is in the way"
    for number, (store, snapshot) in enumerate(sorted(proven)[:: max(1, len(proven) // 4)]):
        target = tmp_path / f"out-{number}"
        site.good("restore", "site", "--store", store, "--snapshot", snapshot, "--target", target)
        assert tree(site.restored(target)) == tree(site.www)
    assert not list((tmp_path / "scratch").iterdir()), "nothing is left in the scratch folder"


def test_a_restore_killed_at_thirty_moments_goes_on(nursery: Nursery, tree: TreeOf, tmp_path: Path) -> None:
    site, generator = nursery.site, random.Random(2)
    for number in range(60):
        (site.www / f"page-{number:02}").write_bytes(os.urandom(4000))
    site.good("run", "site")
    assert nursery.run("restore", "site", "--target", tmp_path / "whole") == 0
    usual, contents = nursery.usual, {path.read_bytes() for path in site.www.iterdir()}
    target = tmp_path / "out"
    for _ in range(30):
        is_first = not target.exists()  # one that goes on takes less
        status = nursery.run("restore", "site", "--target", target, seconds=generator.uniform(0, usual))
        usual = nursery.usual if is_first and status == 0 else usual
        found = [path for path in target.rglob("*") if path.is_file() and "leitstand-part" not in path.name]
        assert {path.read_bytes() for path in found} <= contents, "what has its name is whole"
        done = site.restored(target).exists() and not list(target.rglob("*leitstand*"))
        if status == 0 or done:  # it may have been killed in its last moment: another one would be refused
            assert tree(site.restored(target)) == tree(site.www)
            shutil.rmtree(target)
    if not site.restored(target).exists() or list(target.rglob("*leitstand*")):
        site.good("restore", "site", "--target", target)
    assert tree(site.restored(target)) == tree(site.www)
    assert nursery.killed >= 10
    assert not list(target.rglob("*leitstand*")), "no rest of the killed ones"


@pytest.mark.parametrize("moved", [0, 1, 2])
def test_a_restore_ended_while_it_gives_folders_their_names_goes_on(
    site: Site, tree: TreeOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moved: int
) -> None:
    site.good("run", "site")
    target, moves, really = tmp_path / "out", iter(range(moved)), Path.rename

    def rename(path: Path, to: Path) -> Path:
        if path.parent.parent == target and next(moves, None) is None:
            raise KeyboardInterrupt
        return really(path, to)

    def end(_: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", rename)
        patch.setattr(Path, "rmdir", end)
        assert site.leitstand("restore", "site", "--target", target).status == 130
    site.good("restore", "site", "--target", target)
    assert tree(site.restored(target)) == tree(site.www)
    assert sorted(path.name for path in target.iterdir()) == ["files", "sqlite"]


def test_a_prune_killed_at_twenty_moments(nursery: Nursery, tree: TreeOf, tmp_path: Path) -> None:
    site, generator = nursery.site, random.Random(3)
    site.job["keep"], site.job["prune"] = {"last": 2, "grace": "1s"}, {"most_percent": 100}
    for _ in range(12):
        site.good("run", "site")
    kept = site.snapshots()[-2:]
    assert nursery.run("prune", "site", "--dry-run") == 0
    proven: set[tuple[str, str]] = set()
    for _ in range(20):
        nursery.run("prune", "site", seconds=generator.uniform(0, 1.1 * nursery.usual))
        assert_only_whole_ones(site, proven, ("disk",))
        assert site.snapshots()[-2:] == kept, "what is to stay stays"
    assert nursery.killed >= 8
    deadline = time.monotonic() + patient(120)
    while site.snapshots() != kept:
        assert time.monotonic() < deadline, "prune ends its work in the end"
        site.good("prune", "site")
    site.good("restore", "site", "--target", tmp_path / "out")
    assert tree(site.restored(tmp_path / "out")) == tree(site.www)


def test_a_verify_killed_at_ten_moments_changes_nothing(nursery: Nursery) -> None:
    site, generator = nursery.site, random.Random(4)
    site.good("run", "site")
    before = {path: path.read_bytes() for path in site.disk.rglob("*") if path.is_file()}
    assert nursery.run("verify", "site") == 0
    for _ in range(10):
        nursery.run("verify", "site", seconds=generator.uniform(0, nursery.usual))
    assert nursery.killed >= 5
    assert {path: path.read_bytes() for path in site.disk.rglob("*") if path.is_file()} == before
    site.good("verify", "site")
