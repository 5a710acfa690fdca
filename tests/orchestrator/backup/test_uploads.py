"""Volumes on their way to the stores: their names, and stores that drop out."""

import threading
from pathlib import Path

import pytest

from orchestrator.archive import VolumeSink
from orchestrator.backup.uploads import Lane, Uploads
from orchestrator.config.stores import FolderSettings
from orchestrator.repository.layout import SnapshotName
from orchestrator.repository.volume_info import volume_from_json, volume_to_json
from orchestrator.stores import StoreError
from orchestrator.stores.folder import FolderStore

NAME = SnapshotName("host", "job", "20261121T030000Z-abcdefgh")


def send(folder: Path, size: int, in_flight: int = 1) -> Lane:
    lane = Lane(FolderStore("disk", FolderSettings(type="folder", path=folder)))
    uploads = Uploads([lane], NAME, 1000, in_flight)
    with VolumeSink(uploads.deliver, 1000, folder) as sink:
        sink.write(b"x" * size)
        sink.close()
    uploads.finish()
    return lane


@pytest.mark.parametrize("in_flight", [1, 3])
@pytest.mark.parametrize(
    ("size", "names"),
    [
        (1, ["vol.zip"]),
        (999, ["vol.zip"]),
        (1000, ["vol.zip"]),
        (1001, ["vol.zip.001", "vol.zip.002"]),
        (3000, ["vol.zip.001", "vol.zip.002", "vol.zip.003"]),
    ],
)
def test_volumes_are_named_as_7zip_and_the_reader_expect(
    tmp_path: Path, size: int, names: list[str], in_flight: int
) -> None:
    send(tmp_path, size, in_flight)
    stored = sorted(path for path in tmp_path.rglob("*") if path.is_file())
    assert [path.name for path in stored] == names
    assert [path.name for path in stored] == [key.rpartition("/")[2] for key in NAME.volume_keys(len(names))]
    assert sum(path.stat().st_size for path in stored) == size


def test_the_only_volume_loses_its_first_name_when_it_has_its_last(tmp_path: Path) -> None:
    lane = Lane(FolderStore("disk", FolderSettings(type="folder", path=tmp_path)))
    put, delete, deleted = lane.store.put, lane.store.delete, threading.Event()
    early: list[bool] = []

    def slow_put(key: str, data: bytes, *, sha256: str, md5: str = "") -> None:
        early.append(key.endswith("vol.zip") and deleted.wait(0.2))
        put(key, data, sha256=sha256, md5=md5)

    lane.store.put = slow_put  # type: ignore[method-assign,assignment]
    lane.store.delete = lambda key: (deleted.set(), delete(key))[0]  # type: ignore[method-assign,assignment]
    uploads = Uploads([lane], NAME, 1000, 1)
    with VolumeSink(uploads.deliver, 1000, tmp_path) as sink:
        sink.write(b"x" * 1000)
        sink.close()
    uploads.finish()
    assert early == [False, False]
    assert [path.name for path in tmp_path.rglob("vol*")] == ["vol.zip"]


def test_objects_of_an_unfinished_run_are_removed_commit_first(tmp_path: Path) -> None:
    lane = send(tmp_path, 2500)
    lane.put(NAME.key("COMMIT"), b"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
    removed: list[str] = []
    delete = lane.store.delete
    lane.store.delete = lambda key: (removed.append(key.rpartition("/")[2]), delete(key))[0]  # type: ignore[method-assign,assignment]
    lane.clean_up()
    assert removed == ["COMMIT", "vol.zip.003", "vol.zip.002", "vol.zip.001"]
    assert list(tmp_path.iterdir()) == []


def test_a_store_that_dropped_out_gets_nothing_more_and_without_any_the_run_ends(tmp_path: Path) -> None:
    good = Lane(FolderStore("good", FolderSettings(type="folder", path=tmp_path)))
    gone = Lane(FolderStore("gone", FolderSettings(type="folder", path=tmp_path / "missing")))
    uploads = Uploads([gone, good], NAME, 1000, 1)
    with VolumeSink(uploads.deliver, 1000) as sink:
        sink.write(b"x" * 2500)
        sink.close()
    uploads.finish()
    assert good.error is None
    assert "no folder" in str(gone.error)
    assert len(gone.keys) == 1, "nothing was tried after the first error"
    alone = Uploads([gone], NAME, 1000, 1)
    with pytest.raises(StoreError, match="no folder"), VolumeSink(alone.deliver, 1000) as sink:
        sink.write(b"x" * 2500)
        sink.close()
    alone.abort()


def test_no_md5_is_taken_where_no_store_checks_it(tmp_path: Path) -> None:
    lane = Lane(FolderStore("disk", FolderSettings(type="folder", path=tmp_path)))
    uploads = Uploads([lane], NAME, 1000, 1)
    with VolumeSink(uploads.deliver, 1000, md5=lane.store.checks_md5) as sink:
        sink.write(b"x" * 10)
        sink.close()
    uploads.finish()
    assert [volume.md5 for volume in uploads.volumes] == [b""]
    assert lane.error is None
    assert volume_from_json(volume_to_json(uploads.volumes[0])) == uploads.volumes[0]
