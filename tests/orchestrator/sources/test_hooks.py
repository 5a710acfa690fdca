"""Programs around a run: before it, after it whatever happened, and when it failed."""

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.processes import wait_until
from lab.sshd import Sshd

Site = Any
TreeOf = Callable[[Path], dict[bytes, tuple[Any, ...]]]


def noting(log: Path, *, status: int = 0) -> list[str]:
    """A hook that writes down what it was told."""
    line = '"$LEITSTAND_HOOK $LEITSTAND_STATE $LEITSTAND_JOB $LEITSTAND_HOST"'
    return ["sh", "-c", f'echo {line} >> "{log}"; exit {status}']


@pytest.fixture
def hooked(site: Site) -> Site:
    """The site with one hook of each kind, each noting its call."""
    log = site.folder / "hooks.log"
    site.job["hooks"] = {when: [noting(log)] for when in ("before", "after", "failure")}
    return site


def calls(site: Site) -> list[str]:
    log = site.folder / "hooks.log"
    return log.read_text().splitlines() if log.exists() else []


def test_hooks_run_around_a_good_run(hooked: Site) -> None:
    hooked.good("run", "site")
    assert calls(hooked) == ["before running site here", "after complete site here"]


def test_files_made_by_a_hook_are_saved_and_files_removed_by_one_are_not(site: Site, tmp_path: Path) -> None:
    export = site.www / "export"
    site.job["hooks"] = {"before": [["cp", str(site.www / "index.html"), str(export)]]}
    site.job["hooks"]["after"] = [["rm", str(export)]]
    site.good("run", "site")
    assert not export.exists()
    site.good("restore", "site", "--target", tmp_path / "out")
    assert (site.restored(tmp_path / "out") / "export").read_text() == "<h1>Willkommen</h1>"


def test_a_failed_hook_before_fails_the_run_and_everything_is_cleaned_up(hooked: Site) -> None:
    log = hooked.folder / "hooks.log"
    hooked.job["hooks"]["before"] = [["sh", "-c", "echo no space left >&2; exit 5"], noting(log)]
    failed = hooked.leitstand("run", "site")
    assert failed.status == 3
    assert failed.errors == ["site: hook before: sh on this host failed: no space left"]
    assert calls(hooked) == ["failure failed site here", "after failed site here"]
    assert list(hooked.disk.rglob("*")) == []


def test_hooks_are_informed_of_a_failed_run(hooked: Site) -> None:
    hooked.job["sources"] = [{"command": ["false"], "name": "fails"}]
    assert hooked.leitstand("run", "site").status == 3
    assert calls(hooked)[1:] == ["failure failed site here", "after failed site here"]


@pytest.mark.parametrize("gone", ["keys", "credentials"])
def test_hooks_are_informed_of_a_run_that_fails_before_it_begins(hooked: Site, gone: str) -> None:
    if gone == "keys":
        (hooked.folder / "keys").unlink()
    else:
        swift = {"type": "s3", "endpoint": "http://127.0.0.1:1", "bucket": "backups"}
        hooked.document["stores"]["swift"] = {**swift, "credentials_file": str(hooked.folder / "none")}
        hooked.job["stores"] = ["swift"]
    assert hooked.leitstand("run", "site").status in (2, 3)
    assert calls(hooked) == ["failure failed site here", "after failed site here"]


def test_a_store_without_a_snapshot_is_a_failure_to_the_hooks(hooked: Site) -> None:
    hooked.document["stores"]["gone"] = {"type": "folder", "path": str(hooked.folder / "not mounted")}
    hooked.job["stores"] = ["disk", "gone"]
    assert hooked.leitstand("run", "site").status == 3
    assert calls(hooked)[1:] == ["failure failed site here", "after failed site here"]
    assert len(hooked.snapshots()) == 1


def test_a_file_that_cannot_be_read_makes_a_partial_run(hooked: Site) -> None:
    hooked.job["sources"] = [{"files": "/proc/sys/vm"}]  # not even root may read some of these
    assert hooked.leitstand("run", "site").status == 1
    assert calls(hooked)[-1] == "after partial site here"


def test_a_clean_up_that_fails_is_a_warning_and_does_not_stop_the_next_one(hooked: Site) -> None:
    log = hooked.folder / "hooks.log"
    hooked.job["hooks"]["after"] = [noting(log, status=7), noting(log)]
    ran = hooked.leitstand("run", "site")
    assert ran.status == 1
    assert any("hook after: sh on this host failed: exit status 7" in line for line in ran.errors)
    assert calls(hooked)[1:] == ["after complete site here"] * 2
    assert len(hooked.snapshots()) == 1
    status = hooked.leitstand("status", "--json").json()
    assert "hook after" in status[0]["problem"]


def test_a_hook_that_takes_too_long_is_ended(hooked: Site) -> None:
    hooked.job["hooks"].update(before=[["sleep", "1000"]], timeout="3s")
    failed = hooked.leitstand("run", "site")
    assert failed.status == 3
    assert failed.errors == ["site: hook before: sleep: took longer than 3 s"]
    assert calls(hooked) == ["failure failed site here", "after failed site here"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_run_that_is_broken_off_cleans_up(hooked: Site, number: signal.Signals) -> None:
    gate = hooked.folder / "gate"
    os.mkfifo(gate)
    hooked.job["sources"] = [{"files": str(hooked.www)}, {"command": ["cat", str(gate)], "name": "waits"}]
    with hooked.start("run", "site") as run, gate.open("w"):  # opens when the run reads it
        run.send_signal(number)
        assert run.wait(120) == 130
    assert calls(hooked)[1:] == ["failure interrupted site here", "after interrupted site here"]
    assert list(hooked.disk.rglob("*")) == []
    assert hooked.leitstand("status", "--json").json()[0]["problem"] == "the last run was interrupted"


def test_a_second_signal_does_not_break_off_the_clean_up(hooked: Site) -> None:
    log = hooked.folder / "hooks.log"
    gate, slow = hooked.folder / "gate", hooked.folder / "slow"
    os.mkfifo(gate)
    os.mkfifo(slow)
    hooked.job["sources"] = [{"command": ["cat", str(gate)], "name": "waits"}]
    hooked.job["hooks"]["after"] = [["cat", str(slow)], noting(log)]
    with hooked.start("run", "site") as run:
        with gate.open("w"):
            run.terminate()
            with slow.open("w"):  # the clean-up is under way
                run.terminate()
        assert run.wait(120) == 130
    assert calls(hooked)[-1] == "after interrupted site here"


def test_a_signal_does_not_break_off_the_clean_up_of_a_good_run(hooked: Site) -> None:
    slow = hooked.folder / "slow"
    os.mkfifo(slow)
    hooked.job["hooks"]["after"] = [["cat", str(slow)], noting(hooked.folder / "hooks.log")]
    with hooked.start("run", "site") as run:
        with slow.open("w"):
            run.terminate()
            with pytest.raises(subprocess.TimeoutExpired):
                run.wait(0.3)
        assert run.wait(120) == 130
    assert calls(hooked)[-1] == "after complete site here"
    assert len(hooked.snapshots()) == 1


def test_hooks_of_a_far_host_run_there_behind_the_forced_command(hooked: Site, tmp_path: Path) -> None:
    log = hooked.folder / "hooks.log"
    there = f'[ -n "$SSH_CONNECTION" ] && echo far >> "{log}"'
    hooked.job["hooks"]["before"].append(["sh", "-c", there])
    with Sshd(tmp_path / "sshd") as sshd:
        ssh = {"user": sshd.user, "port": sshd.port, "identity_file": str(sshd.identity)}
        ssh["known_hosts_file"] = str(sshd.known_hosts)
        hooked.document["hosts"]["far"] = {"address": "127.0.0.1", "ssh": ssh}
        hooked.job.update(host="far", sources=[{"files": str(hooked.www)}])
        told = hooked.good("authorize", "far", "--json").json()
        script = tmp_path / "read-far"
        script.write_text(told["script"])
        script.chmod(0o755)
        sshd.allow(told["line"].replace(told["script_path"], str(script)))
        hooked.good("run", "site")
    assert calls(hooked) == ["before running site far", "far", "after complete site far"]


@pytest.fixture
def btrfs(tmp_path: Path) -> Iterator[Path]:
    """A btrfs on a loop device; skipped where the kernel has none or does not let us mount."""
    if os.geteuid() or "btrfs" not in Path("/proc/filesystems").read_text():
        pytest.skip("needs root and a kernel with btrfs")
    if shutil.which("mkfs.btrfs") is None:
        pytest.skip("mkfs.btrfs is not installed (Debian: btrfs-progs)")
    image, mount = tmp_path / "image", tmp_path / "data"
    with image.open("wb") as file:
        file.truncate(120 << 20)
    mount.mkdir()
    subprocess.run(["mkfs.btrfs", "--quiet", str(image)], check=True)
    mounted = subprocess.run(["mount", "-o", "loop", str(image), str(mount)], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"mounting is refused here: {mounted.stderr.strip()}")
    try:
        yield mount
    finally:
        subprocess.run(["umount", "--lazy", str(mount)], check=True)


def recipe(name: str, replaced: dict[str, str]) -> dict[str, Any]:
    """The job of a recipe in the documentation, with other places in it."""
    import yaml

    text = (Path(__file__).parents[3] / "docs" / "backups-recipes.md").read_text()
    (block,) = [part for part in text.split("```yaml\n")[1:] if part.startswith(f"# {name}\n")]
    block = block.partition("```")[0]
    for old, new in replaced.items():
        assert old in block
        block = block.replace(old, new)
    (job,) = yaml.safe_load(block)["backups"].values()
    return dict(job)


def test_the_btrfs_recipe_saves_one_moment_of_a_tree_that_changes(
    site: Site, btrfs: Path, tree: TreeOf, tmp_path: Path
) -> None:
    subprocess.run(["btrfs", "--quiet", "subvolume", "create", str(btrfs / "www")], check=True)
    shutil.copytree(site.www, btrfs / "www", symlinks=True, dirs_exist_ok=True, ignore=lambda *_: {"pipe"})
    job = recipe("btrfs", {"/srv/www": f"{btrfs}/www", "/srv/.leitstand-www": f"{btrfs}/.leitstand-www"})
    change = ["sh", "-c", f"echo late > {btrfs}/www/late; rm -r {btrfs}/www/uploads"]
    job["hooks"]["before"].append(change)
    site.job.update(sources=job["sources"], hooks=job["hooks"])
    before = tree(btrfs / "www")
    subprocess.run(["btrfs", "--quiet", "subvolume", "snapshot", f"{btrfs}/www", f"{btrfs}/.leitstand-www"])
    site.good("run", "site")  # the snapshot above is what a run that died left behind
    assert (btrfs / "www" / "late").exists()
    assert not (btrfs / ".leitstand-www").exists(), "the clean-up removed it"
    site.good("restore", "site", "--target", tmp_path / "out")
    restored = tmp_path / "out" / "files" / (btrfs / ".leitstand-www").relative_to("/")
    assert tree(restored) == before
    wait_until(lambda: not (btrfs / ".leitstand-www").exists(), "the snapshot to go")
