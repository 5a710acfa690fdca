"""A disk that fills up: one clear line, and nothing half-made is ever taken for whole."""

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from lab.mounts import memory_file_system

Site = Any
Swift = Any
TreeOf = Callable[[Path], dict[bytes, tuple[Any, ...]]]


@pytest.fixture
def snapshot(site: Site) -> str:
    site.good("run", "site")
    (name,) = site.snapshots()
    return name


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 400 KiB, in memory."""
    if os.geteuid():
        pytest.skip("only root can mount a small file system")
    with memory_file_system(tmp_path / "small", "400k") as place:
        yield place


def test_a_full_disk_in_a_restore_is_one_clear_line(
    site: Site, snapshot: str, small_disk: Path, tree: TreeOf
) -> None:
    target = small_disk / "out"
    ran = site.leitstand("restore", "site", "--target", target)
    assert ran.status == 3
    assert len(ran.errors) == 1
    assert "No space left on device" in ran.errors[0]
    whole = tree(site.www)
    staged = next(target.iterdir())
    found = {path.name: path for path in staged.rglob("*") if path.is_file() and not path.is_symlink()}
    assert found
    assert all(path.read_bytes() in {each[4] for each in whole.values()} for path in found.values())
    # With room, the same command goes on.
    subprocess.run(["mount", "-o", "remount,size=9m", str(small_disk)], check=True)
    site.good("restore", "site", "--target", target)
    assert tree(site.restored(target)) == whole


def test_a_full_disk_in_a_run_is_one_clear_line(site: Site, small_disk: Path) -> None:
    (site.www / "large").write_bytes(os.urandom(1_000_000))
    site.document["stores"]["disk"]["path"] = str(small_disk)
    ran = site.leitstand("run", "site")
    assert ran.status == 3
    assert len(ran.errors) == 1
    assert "No space left on device" in ran.errors[0]
    assert [path for path in small_disk.rglob("*") if path.is_file()] == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small file system")
def test_a_full_state_folder_is_reported_with_its_path(site: Site) -> None:
    site.job["schedule"] = "every 6h"
    with memory_file_system(site.folder / "state", "64k") as state:
        site.good("run", "site")
        with suppress(OSError), (state / "fill").open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
        ran = site.good("run", "site")
        told = [line for line in ran.stderr.splitlines() if "No space left" in line]
        assert told
        assert all(f"{state}/backup/" in line for line in told)
