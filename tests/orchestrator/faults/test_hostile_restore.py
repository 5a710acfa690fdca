"""Snapshots made by somebody who has the keys and means harm: refused, named, nothing written outside."""

import hashlib
import io
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator.archive import FileRecord, Kind, Metadata, Method
from orchestrator.repository.commit import decode_meta, encode_commit, encode_meta
from orchestrator.repository.manifest import ManifestReader, ManifestWriter, Row
from orchestrator.state.context import Context, keys_of

Site = Any
ClearLine = Callable[..., str]


@dataclass
class Forger:
    """Puts other rows into a good snapshot, with a true COMMIT over them."""

    site: Site
    snapshot: str

    def forge(self, change: Callable[[list[Row]], Sequence[FileRecord]]) -> None:
        """The snapshot as our own writer would have made it, had it not refused."""
        keys = keys_of(Context.load(self.site.config).job("site"))
        folder = next(self.site.disk.rglob("COMMIT")).parent
        password = keys.archive_password(self.snapshot, 1)
        reader = ManifestReader(io.BytesIO((folder / "manifest.zip").read_bytes()), password)
        file = io.BytesIO()
        writer = ManifestWriter(file, password, reader.header)
        for record in change(list(reader.rows())):
            writer.add(record)
        writer.close(reader.end.volumes)
        manifest = file.getvalue()
        meta = replace(decode_meta((folder / "meta.json").read_bytes()), manifest_bytes=len(manifest))
        text = encode_meta(meta)
        commit = encode_commit(
            self.snapshot,
            manifest_sha256=hashlib.sha256(manifest).digest(),
            meta=text,
            key=keys.commit_key(1),
        )
        for name, data in {"manifest.zip": manifest, "meta.json": text, "COMMIT": commit}.items():
            (folder / name).write_bytes(data)


@pytest.fixture
def forger(small: Site) -> Forger:
    small.good("run", "site")
    (snapshot,) = small.snapshots()
    return Forger(small, snapshot)


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder beside the target, with something to steal and to overwrite."""
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "secret").write_text("not yours")
    return folder


def the_file(rows: list[Row], path: bytes) -> FileRecord:
    """The photograph of the snapshot under another path."""
    record = next(row.record for row in rows if row.record.path.endswith(b"photo.jpg"))
    return replace(record, metadata=replace(record.metadata, path=path))


def bare(path: bytes, kind: Kind, link: bytes = b"") -> FileRecord:
    """A row without content."""
    metadata = Metadata(path=path, kind=kind, mode=0o777, link=link)
    return FileRecord(metadata, 0, hashlib.sha256(b"").digest(), 0, 0, 0, Method.NONE)


def assert_nothing_outside(outside: Path, target: Path) -> None:
    assert [path.name for path in outside.iterdir()] == ["secret"]
    assert (outside / "secret").read_text() == "not yours"
    assert (outside / "secret").stat().st_nlink == 1
    assert {path.name for path in target.parent.iterdir()} <= KNOWN | {target.name, "outside"}
    visible = [path for path in target.iterdir() if not path.name.startswith(".")] if target.exists() else []
    assert visible == [], "nothing has its final name"


KNOWN = {"disk", "state", "scratch", "metrics", "www", "guestbook.sqlite", "keys", "leitstand.yml"}


@pytest.mark.parametrize(
    "path",
    [
        b"../escaped",
        b"files/../../escaped",
        b"/escaped",
        b"files//escaped",
        b"files/./x",
        b"..",
        b"a\0b",
        b"",
    ],
)
def test_a_path_out_of_the_folder_is_refused(
    forger: Forger, outside: Path, clear_line: ClearLine, path: bytes
) -> None:
    forger.forge(lambda rows: [the_file(rows, path)])
    target = forger.site.folder / "out"
    clear_line(forger.site.leitstand("restore", "site", "--target", target), "not a path inside a folder")
    assert_nothing_outside(outside, target)
    assert not Path("/escaped").exists()
    assert forger.site.leitstand("verify", "site").status == 3


def test_nothing_is_written_through_a_link(forger: Forger, outside: Path, clear_line: ClearLine) -> None:
    door = os.fsencode(outside)
    forger.forge(lambda rows: [bare(b"door", Kind.SYMLINK, door), the_file(rows, b"door/photo.jpg")])
    target = forger.site.folder / "out"
    clear_line(forger.site.leitstand("restore", "site", "--target", target), "door")
    assert_nothing_outside(outside, target)


def test_a_folder_that_is_a_link_gets_no_rights_of_ours(
    forger: Forger, outside: Path, clear_line: ClearLine
) -> None:
    """The same path as folder and as link: the folder's mode must not be set on where the link leads."""
    before = outside.stat().st_mode
    door = os.fsencode(outside)
    forger.forge(lambda rows: [bare(b"door", Kind.DIRECTORY), bare(b"door", Kind.SYMLINK, door)])
    clear_line(forger.site.leitstand("restore", "site", "--target", forger.site.folder / "out"))
    assert outside.stat().st_mode == before
    assert_nothing_outside(outside, forger.site.folder / "out")


@pytest.mark.parametrize("link", [b"../outside/secret", b"/etc/hostname", b"door/secret"])
def test_no_second_name_is_made_for_a_file_outside(
    forger: Forger, outside: Path, clear_line: ClearLine, link: bytes
) -> None:
    door = os.fsencode(outside)
    forger.forge(lambda rows: [bare(b"door", Kind.SYMLINK, door), bare(b"stolen", Kind.HARDLINK, link)])
    target = forger.site.folder / "out"
    clear_line(forger.site.leitstand("restore", "site", "--target", target))
    assert_nothing_outside(outside, target)


def test_a_path_that_is_there_twice_is_refused(forger: Forger, outside: Path, clear_line: ClearLine) -> None:
    forger.forge(lambda rows: [the_file(rows, b"twice"), the_file(rows, b"twice")])
    target = forger.site.folder / "out"
    clear_line(forger.site.leitstand("restore", "site", "--target", target), "twice")
    assert_nothing_outside(outside, target)


def test_more_bytes_than_in_the_manifest_are_not_written(
    forger: Forger, outside: Path, clear_line: ClearLine
) -> None:
    """A bomb: the data inflates to a gigabyte, the row speaks of ten bytes."""
    (forger.site.www / "bomb").write_bytes(bytes(200_000_000))
    for path in forger.site.disk.iterdir():
        path.rename(forger.site.folder / "state" / path.name)
    shutil.rmtree(forger.site.folder / "state" / "backup")  # else the first snapshot is missed
    forger.site.good("run", "site")
    (forger.snapshot,) = forger.site.snapshots()

    def shrunk(rows: list[Row]) -> list[FileRecord]:
        record = next(row.record for row in rows if row.record.path.endswith(b"bomb"))
        assert record.length < 1_000_000
        return [replace(record, size=10)]

    forger.forge(shrunk)
    target = forger.site.folder / "out"
    clear_line(forger.site.leitstand("restore", "site", "--target", target), "bomb")
    assert sum(path.stat().st_blocks for path in target.rglob("*")) * 512 < 1_000_000
    assert_nothing_outside(outside, target)


@pytest.mark.parametrize("place", [(1 << 60, 100), (0, 1 << 60)], ids=["far away", "endless"])
def test_a_row_that_points_outside_the_archive_is_refused(
    forger: Forger, outside: Path, clear_line: ClearLine, place: tuple[int, int]
) -> None:
    forger.forge(lambda rows: [replace(the_file(rows, b"x"), offset=place[0], length=place[1])])
    target = forger.site.folder / "out"
    clear_line(forger.site.leitstand("restore", "site", "--target", target), "x: ")
    assert_nothing_outside(outside, target)


def links_out(outside: Path) -> list[FileRecord]:
    """Two ways out of the target and one that stays in it, with a second name each."""
    ways = {b"door": os.fsencode(outside), b"files/climb": b"../../outside", b"files/inside": b"../door"}
    links = [bare(path, Kind.SYMLINK, link) for path, link in ways.items()]
    return [*links, bare(b"door again", Kind.HARDLINK, b"door")]


def test_a_link_that_leads_outside_is_made_and_named_but_never_followed(
    forger: Forger, outside: Path
) -> None:
    """Web sites have such links: they come back as they were, and whoever restores can look at them."""
    forger.forge(lambda rows: links_out(outside))
    target = forger.site.folder / "out"
    ran = forger.site.good("restore", "site", "--target", target)
    assert ran.errors == [
        "2 symbolic links lead out of the target:",
        f"door -> {outside}",
        "files/climb -> ../../outside",
    ]
    assert (target / "door").readlink() == outside
    assert [path.name for path in outside.iterdir()] == ["secret"]
    told = forger.site.good("restore", "site", "--target", target, "--into-existing", "--json").json()
    assert (told["outside_links"], len(told["outside"])) == (2, 2)


def test_links_that_lead_outside_are_refused_on_demand(forger: Forger, outside: Path) -> None:
    forger.forge(lambda rows: links_out(outside))
    target = forger.site.folder / "out"
    words = ("restore", "site", "--target", target, "--outside-links", "refuse")
    ran = forger.site.leitstand(*words)
    assert ran.status == 1
    assert f"door: refused: it leads out of the target, to {outside}" in ran.errors
    assert "door again: another name of door, which was not restored" in ran.errors
    assert sorted(os.fsdecode(path.relative_to(target)) for path in target.rglob("*")) == [
        "files",
        "files/inside",
    ]
    (target / "door").symlink_to(outside)
    assert forger.site.leitstand(*words, "--into-existing").status == 1
    assert not (target / "door").is_symlink(), "what stands there is not taken for the snapshot's"
    assert [path.name for path in outside.iterdir()] == ["secret"]


def changed(**values: Any) -> FileRecord:
    """A named pipe with odd facts."""
    record = bare(b"odd", values.pop("kind", Kind.FIFO))
    return replace(record, metadata=replace(record.metadata, **values))


ONLY_ROOT_GIVES_OWNERS = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files to others")


@pytest.mark.parametrize(
    "record",
    [
        pytest.param(changed(uid=1 << 70), marks=ONLY_ROOT_GIVES_OWNERS),
        pytest.param(changed(gid=-7), marks=ONLY_ROOT_GIVES_OWNERS),
        changed(kind=Kind.DEVICE, mode=0o020600, device=1 << 80),
        changed(kind=Kind.DEVICE, mode=0o020600, device=-1),
        changed(kind=Kind.SYMLINK, link=b"a\0b"),
        changed(kind=Kind.SYMLINK, link=b""),
        changed(xattrs=((b"", b"x"),)),
        changed(xattrs=((b"user.a\0b", b"x"),)),
    ],
    ids=["uid", "gid", "device", "device -1", "NUL", "no link", "name", "NUL in name"],
)
def test_facts_that_no_system_takes_are_one_clear_line(
    forger: Forger, outside: Path, clear_line: ClearLine, record: FileRecord
) -> None:
    forger.forge(lambda rows: [record])
    target = forger.site.folder / "out"
    clear_line(forger.site.leitstand("restore", "site", "--target", target), "odd: ")
    assert_nothing_outside(outside, target)


def test_a_device_of_no_type_is_not_made(forger: Forger) -> None:
    forger.forge(lambda rows: [changed(kind=Kind.DEVICE, mode=0o600, device=259)])
    target = forger.site.folder / "out"
    ran = forger.site.leitstand("restore", "site", "--target", target)
    assert (ran.status, list(target.iterdir())) == (1, [])
    assert ran.errors == ["odd: a device of an older snapshot, which does not record its type"]


@pytest.fixture
def careless(tmp_path: Path) -> Iterator[Path]:
    """A file system that does not tell capital letters from small ones."""
    if os.geteuid():
        pytest.skip("only root can mount a file system")
    assert shutil.which("lowntfs-3g"), "this test needs ntfs-3g: see the packages in ./check"
    image, place = tmp_path / "state" / "image", tmp_path / "careless"
    place.mkdir()
    with image.open("wb") as file:
        file.truncate(20_000_000)
    subprocess.run(["mkntfs", "-qF", str(image)], check=True, capture_output=True)
    subprocess.run(["lowntfs-3g", "-o", "ignore_case,permissions", str(image), str(place)], check=True)
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


@pytest.mark.parametrize(
    "pair", [(b"Readme", b"README"), (b"Folder/x", b"folder/y")], ids=["files", "folders"]
)
def test_names_that_would_become_one_are_refused_where_they_do(
    forger: Forger, careless: Path, clear_line: ClearLine, pair: tuple[bytes, bytes]
) -> None:
    forger.forge(lambda rows: [the_file(rows, path) for path in pair])
    ran = forger.site.leitstand("restore", "site", "--target", careless / "out")
    line = clear_line(ran, "are one name on this file system")
    assert all(path.split(b"/")[0].decode() in line for path in pair)
    forger.site.good("restore", "site", "--target", forger.site.folder / "elsewhere")
    assert all((forger.site.folder / "elsewhere" / os.fsdecode(path)).is_file() for path in pair)
