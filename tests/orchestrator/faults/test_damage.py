"""Damage in the store: every byte, every object. Found, named, and never restored as if it were whole."""

import hashlib
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from leitstand.errors import LeitstandError
from orchestrator.repository.keys import KeyRing
from orchestrator.repository.layout import SnapshotName
from orchestrator.repository.snapshot import open_snapshot
from orchestrator.restore.owners import Owners
from orchestrator.restore.restore import restore
from orchestrator.sources.patterns import Selection
from orchestrator.state.context import Context, keys_of
from orchestrator.stores import ObjectInfo, ObjectMissingError, Store
from orchestrator.verify.full import verify_snapshot

Site = Any
Swift = Any


class Altered:
    """A store as it was read once, but for what ``change`` puts in an object's place."""

    def __init__(self, store: Store, prefix: str) -> None:
        self.name = store.name
        self.objects = {info.key: (info, store.get(info.key)) for info in store.list(prefix)}
        self.changed: dict[str, bytes] = {}

    def change(self, key: str, data: bytes) -> None:
        self.changed = {key: data}

    def get(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        if key not in self.objects:
            raise ObjectMissingError(self.name, key)
        data = self.changed.get(key, self.objects[key][1])
        return data[start:] if length is None else data[start : start + length]

    def stat(self, key: str) -> ObjectInfo | None:
        return self.objects[key][0] if key in self.objects else None

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        return (info for key, (info, _) in sorted(self.objects.items()) if key.startswith(prefix))


def complaint(store: Any, name: SnapshotName, keys: KeyRing) -> str:
    """All that verify says; nothing when all is good."""
    try:
        with open_snapshot(store, name, keys) as snapshot:
            return "\n".join(map(str, verify_snapshot(snapshot).findings))
    except LeitstandError as error:
        return f"{error.message}\n{error.hint}"


@pytest.mark.slow
def test_every_flipped_byte_is_found_and_its_object_named(small: Site) -> None:
    place, keys, altered = tiny_snapshot(small)
    assert complaint(altered, place, keys) == ""
    unnoticed = []
    for key, (_, good) in altered.objects.items():
        for position in range(len(good)):
            altered.change(key, flipped(good, position))
            said = complaint(altered, place, keys)
            if key.rpartition("/")[2] not in said:
                unnoticed.append((key, position, said))
    assert unnoticed == []


@pytest.mark.slow
def test_no_flipped_byte_of_the_archive_is_restored(small: Site, tmp_path: Path) -> None:
    place, keys, altered = tiny_snapshot(small)
    contents = {path.read_bytes() for path in small.www.iterdir()}
    key = place.key("vol.zip")
    good, refused = altered.objects[key][1], 0
    for position in range(len(good)):
        altered.change(key, flipped(good, position))
        target = tmp_path / "out"
        try:
            with open_snapshot(altered, place, keys) as snapshot:
                restore(snapshot, target, Selection(()), Owners(may_give=False))
        except LeitstandError:
            refused += 1
        found = {path.read_bytes() for path in target.rglob("*") if path.is_file()}
        assert found <= contents, f"byte {position}"
        shutil.rmtree(target, ignore_errors=True)
    assert refused > 40, "a flip in a file's bytes is refused; in what stands between them it is not read"


def flipped(data: bytes, position: int) -> bytes:
    return data[:position] + bytes([data[position] ^ (1 << position % 8)]) + data[position + 1 :]


def tiny_snapshot(site: Site) -> tuple[SnapshotName, KeyRing, Altered]:
    (site.www / "photo.jpg").unlink()
    (site.www / "notes").write_text("zwei Zeilen\n" * 20)
    site.good("run", "site")
    (name,) = site.snapshots()
    context = Context.load(site.config)
    place = SnapshotName("here", "site", name)
    with context.stores(context.job("site")) as (store,):
        return place, keys_of(context.job("site")), Altered(store, place.key(""))


def verdict(site: Site, snapshot: str) -> str:
    """What verify prints about a snapshot that is not good."""
    ran = site.leitstand("verify", "site", "--snapshot", snapshot)
    assert ran.status == 3, ran.stdout
    assert "Traceback" not in ran.stderr
    said: str = ran.stderr
    return said


@pytest.fixture
def two(small: Site) -> tuple[str, str]:
    """Two snapshots, the older first."""
    small.good("run", "site")
    (small.www / "index.html").write_text("<h1>Neu</h1>")
    small.good("run", "site")
    older, newer = small.snapshots()
    return older, newer


def assert_not_restored(site: Site, snapshot: str, target: Path) -> None:
    contents = {b"<h1>Willkommen</h1>", *(path.read_bytes() for path in site.www.iterdir())}
    site.leitstand("restore", "site", "--snapshot", snapshot, "--target", target)
    found = [path for path in target.rglob("*") if path.is_file()] if target.exists() else []
    assert {path.read_bytes() for path in found} <= contents


@pytest.mark.parametrize("name", ["vol.zip.001", "vol.zip.003", "manifest.zip", "meta.json"])
@pytest.mark.parametrize("harm", ["missing", "truncated", "longer", "of the other snapshot"])
def test_an_object_that_is_not_the_one_that_was_stored(
    small: Site, two: tuple[str, str], name: str, harm: str, tmp_path: Path
) -> None:
    older, newer = two
    path = small.objects(newer)[name]
    good = path.read_bytes()
    other = small.objects(older)[name].read_bytes()
    path.unlink()
    if harm != "missing":
        path.write_bytes({"truncated": good[: len(good) // 2], "longer": good + b"x"}.get(harm, other))
    assert name in verdict(small, newer)
    assert_not_restored(small, newer, tmp_path / "out")
    small.good("verify", "site", "--snapshot", older)


def test_an_extra_volume_is_found(small: Site, two: tuple[str, str]) -> None:
    first = small.objects(two[1])["vol.zip.001"]
    shutil.copy(first, first.with_name("vol.zip.999"))
    assert "vol.zip.999: does not belong to this snapshot" in verdict(small, two[1])


def test_two_volumes_that_changed_places_are_found(small: Site, two: tuple[str, str], tmp_path: Path) -> None:
    first, second = (small.objects(two[1])[f"vol.zip.00{number}"] for number in (1, 2))
    kept = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(kept)
    said = verdict(small, two[1])
    assert "vol.zip.001" in said
    assert "vol.zip.002" in said
    assert_not_restored(small, two[1], tmp_path / "out")


def test_the_commit_of_another_snapshot_vouches_for_nothing(
    small: Site, two: tuple[str, str], tmp_path: Path
) -> None:
    shutil.copy(small.objects(two[0])["COMMIT"], small.objects(two[1])["COMMIT"])
    assert "COMMIT" in verdict(small, two[1])
    assert_not_restored(small, two[1], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_snapshot_without_commit_does_not_exist(small: Site, two: tuple[str, str], tmp_path: Path) -> None:
    small.objects(two[1])["COMMIT"].unlink()
    assert small.snapshots() == [two[0]]
    ran = small.leitstand("restore", "site", "--snapshot", two[1], "--target", tmp_path / "out")
    assert ran.status == 3
    assert "no complete snapshot" in ran.errors[0]


@pytest.mark.parametrize("names", [("manifest.zip",), ("manifest.zip", "meta.json", "COMMIT")])
def test_an_old_manifest_in_a_new_snapshot_is_found(
    small: Site, two: tuple[str, str], names: tuple[str, ...], tmp_path: Path
) -> None:
    for name in names:
        shutil.copy(small.objects(two[0])[name], small.objects(two[1])[name])
    said = verdict(small, two[1])
    assert "manifest.zip" in said or "COMMIT" in said
    assert_not_restored(small, two[1], tmp_path / "out")


def test_a_whole_old_snapshot_under_a_new_name_is_found(small: Site, two: tuple[str, str]) -> None:
    """Somebody who may write to the store wants an old state to be taken for the newest."""
    folder = small.objects(two[0])["COMMIT"].parent
    shutil.copytree(folder, folder.with_name("20301231T000000Z-aaaaaaaa"))
    assert "COMMIT" in verdict(small, "20301231T000000Z-aaaaaaaa")


def test_flipped_bytes_in_swift_are_found(
    small: Site, swift: Swift, tmp_path: Path, clear_line: Callable[..., str]
) -> None:
    generator = random.Random(20261121)
    small.document["stores"]["swift"] = swift.settings(prefix=f"damage/{tmp_path.name}", tries=1)
    small.job["stores"] = ["swift"]
    small.good("run", "site")
    (snapshot,) = small.snapshots("swift")
    context = Context.load(small.config)
    with context.stores(context.job("site")) as (store,):
        for info in list(store.list(f"here/site/{snapshot}/")):
            good = store.get(info.key)
            damaged = flipped(good, generator.randrange(len(good)))
            replace_object(store, info.key, damaged)
            assert info.key.rpartition("/")[2] in verdict(small, snapshot)
            replace_object(store, info.key, good)
    small.good("verify", "site")


def replace_object(store: Store, key: str, data: bytes) -> None:
    store.delete(key)
    store.put(key, data, sha256=hashlib.sha256(data).hexdigest())
