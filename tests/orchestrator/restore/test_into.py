"""Restores into a folder that holds something: overwritten, what is extra removed, nothing else touched."""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

Site = Any
TreeOf = Callable[[Path], dict[bytes, tuple[Any, ...]]]


@pytest.fixture
def target(site: Site, tmp_path: Path) -> Path:
    """The whole site, restored."""
    site.good("run", "site")
    site.good("restore", "site", "--target", tmp_path / "out")
    return tmp_path / "out"


def spoil(www: Path, outside: Path) -> None:
    """What people and intruders do to a site."""
    changed = www / "index.html"
    changed.unlink()
    changed.write_text("<h1>Gehackt!!!</h1>"[:19])
    os.utime(changed, ns=(1_700_000_000_123_456_789, 1_700_000_000_123_456_789))
    (www / "shell.php").write_text("<?php")
    (www / "new" / "deep").mkdir(parents=True)
    (www / "new" / "deep" / "file").touch()
    (www / "way out").symlink_to(outside)
    (www / "new" / "way out").symlink_to(outside)
    (www / "secret.php").chmod(0o666)
    os.setxattr(www / "empty", "user.extra", b"1")
    (www / "uploads" / "photo.jpg").unlink()
    # A link in place of a folder, a folder in place of a file.
    (www / "closed" / "inside").unlink()
    (www / "closed").rmdir()
    (www / "closed").symlink_to(outside)
    (www / "sparse").unlink()
    (www / "sparse").mkdir()
    (www / "sparse" / "file").touch()


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    folder = tmp_path / "outside"
    folder.mkdir(mode=0o750)
    (folder / "inside").write_text("not ours")
    return folder


def test_delete_extra_makes_a_restored_folder_what_the_snapshot_was(
    site: Site, target: Path, outside: Path, tree: TreeOf
) -> None:
    whole, around = tree(site.restored(target)), tree(outside)
    spoil(site.restored(target), outside)
    spoilt = tree(site.restored(target))
    dry = site.good("restore", "site", "--target", target, "--delete-extra", "--dry-run")
    place = site.restored(target).relative_to(target)
    told = [line.removeprefix("would be removed: ") for line in dry.stdout.splitlines()[:-1]]
    names = [
        "closed",
        "new/ with everything in it",
        "shell.php",
        "sparse/ with everything in it",
        "way out",
    ]
    assert told == [f"{place}/{name}" for name in names]
    assert tree(site.restored(target)) == spoilt, "a dry run changes nothing"
    ran = site.good("restore", "site", "--target", target, "--delete-extra")
    assert "5 removed there" in ran.stdout
    assert tree(site.restored(target)) == whole
    assert tree(outside) == around


def test_without_delete_extra_a_folder_that_is_named_keeps_what_is_its_own(
    site: Site, target: Path, tree: TreeOf
) -> None:
    whole, www = tree(site.restored(target)), site.restored(target)
    (www / "index.html").write_text("changed")
    (www / "own").write_text("stays")
    refused = site.leitstand("restore", "site", "--target", target)
    assert refused.status == 2
    assert "is not empty" in refused.errors[0]
    site.good("restore", "site", "--target", target, "--into-existing", "*/index.html")
    assert (www / "index.html").read_text() == "<h1>Willkommen</h1>"
    site.good("restore", "site", "--target", target, "--into-existing")
    assert (www / "own").read_text() == "stays"
    (www / "own").unlink()
    os.utime(www, ns=(0, site.www.stat().st_mtime_ns))
    assert tree(www) == whole


def test_a_file_with_a_second_name_elsewhere_is_replaced_and_not_written(
    site: Site, target: Path, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    inside = site.restored(target) / "secret.php"
    elsewhere.hardlink_to(inside)
    elsewhere.chmod(0o604)
    site.good("restore", "site", "--target", target, "--delete-extra")
    assert elsewhere.stat().st_mode & 0o777 == 0o604
    assert inside.stat().st_mode & 0o777 == 0o640
    assert inside.stat().st_nlink == 1


def test_delete_extra_is_refused_where_it_would_remove_what_is_not_of_the_job(
    site: Site, target: Path, outside: Path
) -> None:
    others = set(outside.iterdir())
    for more in ([], ["--dry-run"]):
        ran = site.leitstand("restore", "site", "--target", outside, "--delete-extra", *more)
        assert ran.status == 2
        assert "was not made by a restore of site" in ran.errors[0]
        ran = site.leitstand(
            "restore", "site", "--target", outside, "--delete-extra", "--into-existing", *more
        )
        assert ran.status == 2
        assert "came from site; --delete-extra would remove everything" in ran.errors[0]
    with_pattern = site.leitstand("restore", "site", "--target", target, "--delete-extra", "*.php")
    assert (with_pattern.status, "leave out the patterns" in with_pattern.stderr) == (2, True)
    link = outside.parent / "link"
    link.symlink_to(target)
    through = site.leitstand("restore", "site", "--target", link, "--delete-extra")
    assert (through.status, "is not a folder" in through.errors[0]) == (2, True)
    assert set(outside.iterdir()) == others


def test_a_target_without_a_note_of_its_restore_needs_to_be_named_twice(
    site: Site, target: Path, tree: TreeOf
) -> None:
    whole = tree(site.restored(target))
    os.removexattr(target, "user.leitstand.restored")
    (target / "stray").touch()
    assert site.leitstand("restore", "site", "--target", target, "--delete-extra").status == 2
    assert (target / "stray").exists()
    site.good("restore", "site", "--target", target, "--delete-extra", "--into-existing")
    assert not (target / "stray").exists()
    assert tree(site.restored(target)) == whole


@pytest.fixture
def mounted(site: Site, target: Path, outside: Path) -> Iterator[list[Path]]:
    """Two places in the target where another folder of the same file system is mounted."""
    www = site.restored(target)
    places = [www / "extra" / "below" / "mount", www / "uploads"]
    done: list[Path] = []
    try:
        for place in places:
            place.mkdir(parents=True, exist_ok=True)
            mount = subprocess.run(["mount", "--bind", outside, place], capture_output=True, check=False)
            if mount.returncode:
                pytest.skip("needs the right to mount")
            done.append(place)
        yield places
    finally:
        for place in done:
            subprocess.run(["umount", "--lazy", place], check=True)


def test_nothing_is_removed_from_what_is_mounted_in_the_target(
    site: Site, target: Path, outside: Path, mounted: list[Path]
) -> None:
    (site.restored(target) / "extra" / "file").touch()
    (site.restored(target) / "extra" / "below" / "file").touch()
    ran = site.leitstand("restore", "site", "--target", target, "--delete-extra")
    assert ran.status == 1, ran.stderr
    assert "something is mounted there" in ran.stderr
    assert (outside / "inside").read_text() == "not ours"
    assert str(mounted[0]) in Path("/proc/self/mountinfo").read_text()
    names = {path.name for path in (site.restored(target) / "extra").rglob("*")}
    assert names == {"below", "mount", "inside", *(path.name for path in outside.iterdir())}


def test_a_damaged_snapshot_takes_nothing_away(site: Site, target: Path) -> None:
    (site.restored(target) / "extra").touch()
    (site.restored(target) / "uploads" / "photo.jpg").unlink()
    for volume in site.disk.rglob("vol.zip*"):
        volume.write_bytes(bytes(volume.stat().st_size))
    ran = site.leitstand("restore", "site", "--target", target, "--delete-extra")
    assert ran.status == 3
    assert (site.restored(target) / "extra").exists()


def test_paths_that_the_snapshot_could_not_read_are_not_extra(site: Site, tmp_path: Path) -> None:
    site.job["sources"] = [{"files": "/proc/sys/vm"}]  # not even root may read some of these
    assert site.leitstand("run", "site").status == 1
    into = ("restore", "site", "--target", tmp_path / "out", "--delete-extra")
    site.leitstand(*into)
    vm = tmp_path / "out" / "files" / "proc" / "sys" / "vm"
    vm.chmod(0o755)  # for those who are not root
    (vm / "compact_memory").write_text("nowhere else")
    (vm / "intruder").touch()
    assert (
        "compact_memory: the run could not read it; it is left" in site.leitstand(*into, "--dry-run").stderr
    )
    assert site.leitstand(*into).status == 1
    assert (vm / "compact_memory").read_text() == "nowhere else"
    assert not (vm / "intruder").exists()
