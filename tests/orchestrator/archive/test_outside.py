"""Programs that know nothing of Leitstand open what it wrote."""

import io
import os
import zipfile
from pathlib import Path

import pytest
import pyzipper

from orchestrator.archive import VolumeSink
from orchestrator.archive.names import stored_name

TEXT = b"<?php echo 'Willkommen';\n" * 400


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A folder with one of everything."""
    root = tmp_path / "tree"
    (root / "wp content/ärger").mkdir(parents=True)
    (root / "empty folder").mkdir()
    (root / "index.php").write_bytes(TEXT)
    (root / "index.php").chmod(0o640)
    (root / "empty").touch()
    (root / "picture.jpg").write_bytes(os.urandom(300_000))
    (root / "wp content/ärger/50%20off.txt").write_bytes(b"x")
    (root / ("long" * 60)).write_bytes(b"long name")
    (root / "run.sh").write_bytes(b"#!/bin/sh\n")
    (root / "run.sh").chmod(0o4755)
    (root / "current").symlink_to("wp content/ärger")
    (root / "broken").symlink_to("/nowhere/at all")
    (root / "wp content/second name").hardlink_to(root / "index.php")
    with (root / "sparse").open("wb") as file:
        file.truncate(9 << 20)
        file.seek(5 << 20)
        file.write(b"island")
    for index, path in enumerate(sorted(root.rglob("*"))):
        if not path.is_symlink():
            os.utime(path, ns=(0, (1_700_000_000 + index) * 10**9 + 123))
    return root


def kept(root: Path, times: bool = True) -> dict[str, tuple[object, ...]]:
    """What of a folder must come back the same."""
    found: dict[str, tuple[object, ...]] = {}
    for path in root.rglob("*"):
        state = path.lstat()
        target = str(path.readlink()) if path.is_symlink() else None
        content = target or (b"" if path.is_dir() else path.read_bytes())
        time = int(state.st_mtime) if times and not path.is_symlink() and not path.is_dir() else 0
        found[str(path.relative_to(root))] = (state.st_mode & 0o170777, time, content)
    return found


def test_seven_zip_tests_the_sealed_archive_with_the_password_from_stdin(
    tree, seal, entries_of, run, tmp_path, password
):
    sealed = seal(entries_of(tree))
    (tmp_path / "vol.zip").write_bytes(sealed.data)
    assert "Everything is Ok" in run("7z", "t", tmp_path / "vol.zip", stdin=f"{password}\n")
    assert sealed.summary.archive_bytes == len(sealed.data)


def test_names_and_contents_are_hidden_without_the_password(tree, seal, entries_of):
    sealed = seal(entries_of(tree))
    assert b"index.php" not in sealed.data
    assert b"second" not in sealed.data
    assert zipfile.ZipFile(io.BytesIO(sealed.data)).namelist() == ["backup.zip"]


def test_bsdtar_reads_both_layers_and_restores_the_tree(tree, seal, entries_of, run, tmp_path, password):
    (tmp_path / "vol.zip").write_bytes(seal(entries_of(tree)).data)
    run("bsdtar", "--passphrase", password, "-xf", tmp_path / "vol.zip", "-C", tmp_path)
    (tmp_path / "out").mkdir()
    run("bsdtar", "-xpf", tmp_path / "backup.zip", "-C", tmp_path / "out")
    expected = kept(tree)
    # A hard link is a symbolic link to its first name in the ZIP: its content is there, its kind in the
    # manifest.
    found = kept(tmp_path / "out")
    assert found.pop("wp content/second name")[2] == "../index.php"
    del expected["wp content/second name"]
    assert found == expected
    assert (tmp_path / "out/wp content/second name").read_bytes() == TEXT


def test_seven_zip_restores_the_tree_from_the_inner_zip(tree, seal, entries_of, run, unseal, tmp_path):
    inner = unseal(seal(entries_of(tree)))
    assert "Everything is Ok" in run("7z", "t", inner)
    # Without -snld20 7-Zip leaves out links that climb, even those that stay inside.
    run("7z", "x", "-snld20", f"-o{tmp_path / 'out'}", inner)
    found, expected = kept(tmp_path / "out", times=False), kept(tree, times=False)
    # 7-Zip puts the output folder before absolute links, and restores no set-user-ID bit.
    for path in ("wp content/second name", "run.sh", "broken"):
        del found[path], expected[path]
    assert found == expected
    assert (tmp_path / "out/wp content/second name").read_bytes() == TEXT


def test_python_reads_every_entry_of_the_inner_zip(tree, seal, entries_of, unseal):
    sealed = seal(entries_of(tree))
    with zipfile.ZipFile(unseal(sealed)) as inner:
        assert inner.testzip() is None
        names = [stored_name(record.path) for record in sealed.records]
        assert [info.filename.rstrip("/") for info in inner.infolist()] == names
        assert inner.read("index.php") == TEXT
        assert inner.getinfo("run.sh").external_attr >> 16 == 0o104755


def test_stock_pyzipper_reads_the_sealed_archive(tree, seal, entries_of, password):
    sealed = seal(entries_of(tree))
    with pyzipper.AESZipFile(io.BytesIO(sealed.data)) as archive:
        archive.setpassword(password.encode())
        inner = zipfile.ZipFile(io.BytesIO(archive.read("backup.zip")))
    assert inner.read("index.php") == TEXT


def test_owner_and_time_travel_in_the_unix_extra_fields(seal, entry, unseal):
    time = 1_600_000_001
    sealed = seal([entry(b"a", b"x", uid=70_000, gid=12, mtime_ns=time * 10**9 + 5, mode=0o600)])
    with zipfile.ZipFile(unseal(sealed)) as inner:
        extra = inner.getinfo("a").extra
    assert extra == (
        b"UT\x05\x00\x01"
        + time.to_bytes(4, "little")
        + b"ux\x0b\x00\x01\x04"
        + (70_000).to_bytes(4, "little")
        + b"\x04"
        + (12).to_bytes(4, "little")
    )


def test_seven_zip_opens_the_first_of_many_volumes(tree, seal, entries_of, run, tmp_path, password):
    sealed = seal(entries_of(tree))
    with VolumeSink(lambda v: (tmp_path / f"vol.zip.{v.index:03}").write_bytes(v.data), 50_000) as sink:
        sink.write(sealed.data)
        sink.close()
    assert len(list(tmp_path.glob("vol.zip.*"))) > 5
    assert "Everything is Ok" in run("7z", "t", tmp_path / "vol.zip.001", stdin=f"{password}\n")


def test_names_of_any_bytes_come_back(seal, entry, run, unseal):
    paths = [bytes([byte]) + b"x" for byte in range(1, 256) if byte not in b"/"] + [
        b"C:x",
        b"a\\..\\b",
        b"%FFx",
        b"%ff",
    ]
    sealed = seal([entry(path, path) for path in paths])
    assert [record.path for record in sealed.records] == paths
    assert sealed.verify() == []
    inner = unseal(sealed)
    assert "Everything is Ok" in run("7z", "t", inner)
    with zipfile.ZipFile(inner) as archive:
        assert sorted(archive.namelist()) == sorted({stored_name(path) for path in paths})
        assert all(archive.read(stored_name(path)) == path for path in paths)


def test_more_entries_than_a_small_zip_can_count(seal, entry, run, unseal):
    sealed = seal(entry(b"folder/%06d" % number) for number in range(66_000))
    assert sealed.verify() == []
    inner = unseal(sealed)
    assert "Files: 66000" in run("7z", "t", inner)
    assert run("bsdtar", "-tf", inner).count("\n") == 66_000
    with zipfile.ZipFile(inner) as archive:
        assert len(archive.infolist()) == 66_000


def test_special_files_are_in_the_manifest_only(tmp_path, seal, entries_of, unseal):
    os.mkfifo(tmp_path / "pipe")
    sealed = seal(entries_of(tmp_path))
    assert [(record.path, record.metadata.kind, record.method) for record in sealed.records] == [
        (b"pipe", "fifo", "none")
    ]
    assert sealed.verify() == []
    assert zipfile.ZipFile(unseal(sealed)).namelist() == []
