"""What others who may write to a store can do with one object: be named, and be passed over."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.refusing_s3 import RefusingS3
from leitstand.errors import LeitstandError
from orchestrator.archive import ArchiveError, Volume
from orchestrator.backup.uploads import Uploads
from orchestrator.config.stores import S3Settings
from orchestrator.repository.commit import META_BYTES, MOST_VOLUMES, Meta, decode_meta, encode_meta
from orchestrator.repository.layout import SnapshotName, is_snapshot_id, parse_key
from orchestrator.repository.volume_info import VolumeInfo
from orchestrator.stores import StoreError, get_small, open_store
from orchestrator.stores.store import check_key

Site = Any
Harm = Callable[[Path], None]
NEWER = "20991231T000000Z-aaaaaaaa"


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def link_to_itself(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


def link_to_endless_zeros(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def three_gigabytes(path: Path) -> None:
    os.truncate(path, 3 << 30)


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def deep(path: Path) -> None:
    path.write_bytes(b"[" * 200_000)


def many_lists(path: Path) -> None:
    path.write_bytes(b'{"format":"leitstand-meta","version":2,"volumes":[' + b"[]," * 3_000_000 + b"[]]}")


def with_value(key: str, value: object) -> Harm:
    def harm(path: Path) -> None:
        path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))

    harm.__name__ = f"{key}={str(value)[:9]}"
    return harm


def of_the_far_future(path: Path) -> None:
    os.utime(path, (1 << 45, 1 << 45))


META_HARMS = [
    *(pipe, link_to_itself, link_to_endless_zeros, three_gigabytes, folder, deep, many_lists),
    *(with_value("entries", "x"), with_value("content_bytes", 10**400), with_value("started", "soon")),
    *(with_value("volumes", {"index": 1}), with_value("host", ["here"]), with_value("more", 1)),
    *(with_value("archive_bytes", 1.5), with_value("generation", True), with_value("layers", "x" * 16)),
]
COMMIT_HARMS = [three_gigabytes, deep, with_value("manifest_sha256", 7), of_the_far_future]


@pytest.fixture
def planted(site: Site) -> tuple[Site, str, Path]:
    """A good snapshot and, under a newer name, a copy of it to be harmed."""
    site.job["sources"] = site.job["sources"][1:]
    site.job["keep"] = {"last": 1}
    site.good("run", "site")
    (good,) = site.snapshots()
    jobs = site.disk / "here" / "site"
    shutil.copytree(jobs / good, jobs / NEWER)
    return site, good, jobs / NEWER


@pytest.mark.parametrize(
    ("name", "harm"),
    [*(("meta.json", harm) for harm in META_HARMS), *(("COMMIT", harm) for harm in COMMIT_HARMS)],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
def test_no_object_stops_a_command(
    planted: tuple[Site, str, Path], tmp_path: Path, name: str, harm: Harm
) -> None:
    site, good, place = planted
    harm(place / name)
    rows = {row["snapshot"]: row["state"] for row in site.good("list", "site", "--json").json()}
    assert rows[good] == "complete"
    assert rows[NEWER] in ("unreadable", "forged")
    restored = site.good("restore", "site", "--target", tmp_path / "out", "--json")
    assert restored.json()["snapshot"] == good
    assert f"{NEWER} is skipped" in restored.stderr
    actions = {row["snapshot"]: row["action"] for row in site.leitstand("prune", "site", "--json").json()}
    assert actions == {good: "keep", NEWER: "refuse"}
    ran = site.leitstand("verify", "site")
    assert (ran.status, NEWER in ran.stderr, good in ran.stdout) == (3, True, True)
    site.good("run", "site")


@pytest.mark.parametrize("harm", [pipe, link_to_itself, folder])
def test_a_commit_that_is_not_a_file_does_not_count(planted: tuple[Site, str, Path], harm: Harm) -> None:
    site, good, place = planted
    harm(place / "COMMIT")
    assert site.snapshots() == [good]
    site.good("verify", "site")


@pytest.mark.parametrize("harm", [pipe, link_to_itself, link_to_endless_zeros, folder])
def test_a_volume_that_is_no_file_is_missing(site: Site, tmp_path: Path, harm: Harm) -> None:
    site.good("run", "site")
    (volume,) = site.disk.rglob("vol.zip.002")
    harm(volume)
    for command in (("verify", "site"), ("verify", "site", "--share", "1/1")):
        ran = site.leitstand(*command)
        assert (ran.status, "vol.zip.002: is missing" in ran.stderr) == (3, True)
    ran = site.leitstand("restore", "site", "--target", tmp_path / "out")
    assert ran.status == 3
    assert (tmp_path / "out").exists(), "the rest is restored"


@pytest.mark.parametrize("name", ["00010101T000000Z-aaaaaaaa", "99991231T235959Z-aaaaaaaa"])
def test_no_name_at_the_calendar_s_ends_stops_a_command(site: Site, name: str) -> None:
    site.good("run", "site")
    place = site.disk / "here" / "site" / name
    place.mkdir()
    (place / "COMMIT").write_bytes(b"x")
    for zone in ("Europe/Berlin", "America/New_York"):
        site.document["site"] = {"name": {"en": "Lab"}, "languages": ["en"], "time_zone": zone}
        for command in ("list", "verify", "prune", "run"):
            site.good(command, "site")
        site.good("status")


@pytest.mark.parametrize(
    "content",
    [b"[" * 4000, b"{}", b'{"host": 1, "pid": "x", "place": []}', b"\xff", b"null", b"9" * 4000, b"x" * 9000],
)
def test_no_lease_of_a_stranger_stops_a_run_for_good(site: Site, content: bytes) -> None:
    lease = site.disk / "here" / "site" / "lease"
    lease.mkdir(parents=True)
    for name in ("aaaaaaaaaaaaaaaa.000001", "odd name", "aaaaaaaaaaaaaaaa.000001\n"):
        (lease / name).write_bytes(content)
    (lease / "odd folder").mkdir()
    (lease / "odd folder" / "aaaaaaaaaaaaaaaa.000001").write_bytes(content)
    ran = site.leitstand("run", "site")
    assert (ran.status, "unknown owner" in ran.errors[0]) == (3, True)
    for path in lease.rglob("*"):
        os.utime(path, (1_600_000_000,) * 2)
    site.good("run", "site")


@given(st.text(max_size=12))
@settings(derandomize=True, max_examples=200)
def test_names_are_ours_as_a_whole_or_not_at_all(more: str) -> None:
    good = "20261121T030000Z-bbbbbbbb"
    assert is_snapshot_id(good)
    for name in {good + more, more + good} - {good}:
        assert not is_snapshot_id(name)
    for key in (f"web1/website/{good}\n/COMMIT", f"web1/website/{good}/COMMIT\n"):
        assert parse_key(key) is None
        with pytest.raises(ValueError, match="not a key"):
            check_key(key)
    assert not is_snapshot_id("\uff12\uff10\uff12\uff161121T030000Z-bbbbbbbb")


@given(st.binary(max_size=300))
@settings(derandomize=True, max_examples=200)
def test_any_invalid_meta_json_is_one_error(data: bytes) -> None:
    with pytest.raises(ArchiveError):
        decode_meta(data)


def test_a_meta_json_of_the_most_volumes_can_be_read_and_one_more_is_refused(tmp_path: Path) -> None:
    size = 4 << 30
    volumes = tuple(VolumeInfo(n, size, b"\1" * 32, b"\2" * 16) for n in range(1, MOST_VOLUMES + 1))
    meta = Meta(
        snapshot="s",
        host="h",
        job="j",
        generation=1,
        state="complete",
        layers=("s",),
        **dict.fromkeys(("started", "finished"), "2026-11-21T03:00:00Z"),
        **dict.fromkeys(("entries", "content_bytes", "manifest_bytes"), 1),
        archive_bytes=MOST_VOLUMES * size,
        volumes=volumes,
    )
    encoded = encode_meta(meta)
    assert len(encoded) < META_BYTES
    assert decode_meta(encoded) == meta
    uploads = Uploads([], SnapshotName("h", "j", NEWER), size, 1)
    with pytest.raises(LeitstandError, match="more than 80000 volumes"):
        uploads.deliver(Volume(MOST_VOLUMES + 1, memoryview(b""), b"", b""))


def test_a_server_that_ignores_ranges_is_not_read_to_its_end(tmp_path: Path) -> None:
    credentials = tmp_path / "s3.ini"
    credentials.touch(mode=0o600)
    credentials.write_text("[default]\naccess_key = key\nsecret_key = secret\n")
    with RefusingS3(ranges=False) as server:
        chosen = S3Settings.model_validate(
            {
                "type": "s3",
                "endpoint": server.url,
                "bucket": "backups",
                "credentials_file": credentials,
                "tries": 2,
            }
        )
        store = open_store("far", chosen)
        server.objects["backups/small"], server.objects["backups/large"] = b"small", bytes(50_000_000)
        assert store.get("small", 0, 100) == b"small"
        assert get_small(store, "small") == b"small"
        for read in (lambda: store.get("large", 0, 100), lambda: store.get("small", 2, 2)):
            with pytest.raises(StoreError, match="more than the requested range"):
                read()
        with pytest.raises(StoreError, match="more than"):
            get_small(store, "large")
        store.close()
