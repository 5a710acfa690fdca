"""meta.json and COMMIT: a snapshot is whole when they say so, and nobody without the key can make them say
so.
"""

import hashlib
import json
from dataclasses import replace

import pytest

from orchestrator.archive import ArchiveError
from orchestrator.repository.commit import (
    Meta,
    committed_manifest,
    decode_meta,
    encode_commit,
    encode_meta,
)
from orchestrator.repository.volume_info import VolumeInfo

SNAPSHOT = "20261121T030000Z-BBBBBBBB"
KEY, MANIFEST = b"k" * 32, hashlib.sha256(b"manifest").digest()
META = Meta(
    snapshot=SNAPSHOT,
    host="web1",
    job="website",
    started="2026-11-21T03:00:00Z",
    finished="2026-11-21T03:05:00Z",
    generation=1,
    state="complete",
    entries=3,
    content_bytes=5000,
    archive_bytes=1010,
    manifest_bytes=600,
    layers=(SNAPSHOT,),
    volumes=(VolumeInfo(1, 1000, b"\1" * 32, b"\2" * 16), VolumeInfo(2, 10, b"\3" * 32, b"\4" * 16)),
)


@pytest.fixture
def commit() -> bytes:
    return encode_commit(SNAPSHOT, manifest_sha256=MANIFEST, meta=encode_meta(META), key=KEY)


def test_meta_comes_back_as_it_was():
    assert decode_meta(encode_meta(META)) == META


def test_a_commit_vouches_for_its_manifest_and_meta(commit):
    assert committed_manifest(commit, SNAPSHOT, meta=encode_meta(META), key=KEY) == MANIFEST


def test_every_flipped_byte_of_commit_is_found(commit):
    for position in range(len(commit)):
        for bit in (0x01, 0x20):
            damaged = bytearray(commit)
            damaged[position] ^= bit
            with pytest.raises(ArchiveError):
                committed_manifest(bytes(damaged), SNAPSHOT, meta=encode_meta(META), key=KEY)


def test_every_flipped_byte_of_meta_is_found_through_commit(commit):
    meta = encode_meta(META)
    for position in range(len(meta)):
        damaged = bytearray(meta)
        damaged[position] ^= 1
        with pytest.raises(ArchiveError):
            committed_manifest(commit, SNAPSHOT, meta=bytes(damaged), key=KEY)


@pytest.mark.parametrize(("snapshot", "key"), [("20261120T030000Z-AAAAAAAA", KEY), (SNAPSHOT, b"x" * 32)])
def test_a_commit_of_another_snapshot_or_key_is_refused(commit, snapshot, key):
    with pytest.raises(ArchiveError):
        committed_manifest(commit, snapshot, meta=encode_meta(META), key=key)


@pytest.mark.parametrize(
    "data", [b"", b"{}", b"[]", b"null", b"\xff", b'{"format": "leitstand-meta"}', b'{"format": []}']
)
def test_an_invalid_meta_json_is_refused(data):
    with pytest.raises(ArchiveError, match=r"meta\.json"):
        decode_meta(data)


def test_a_meta_that_contradicts_itself_is_refused():
    for wrong in (
        replace(META, archive_bytes=5),
        replace(META, state="perfect"),
        replace(META, volumes=META.volumes[::-1]),
        replace(META, volumes=META.volumes[:1]),
    ):
        with pytest.raises(ArchiveError, match="contradicts"):
            decode_meta(encode_meta(wrong))


@pytest.mark.parametrize(
    ("place", "number"),
    [
        *(("generation", number) for number in (0, -1, 2**63, True, "1")),
        *((name, -1) for name in ("entries", "content_bytes", "archive_bytes", "manifest_bytes")),
    ],
)
def test_a_number_that_none_can_be_is_damage_and_named(place, number):
    content = {**json.loads(encode_meta(META)), place: number}
    with pytest.raises(ArchiveError, match=f"meta.json is damaged: {place}"):
        decode_meta(json.dumps(content).encode())


def test_a_meta_of_a_later_version_is_refused_with_a_hint():
    content = {**json.loads(encode_meta(META)), "version": 3}
    with pytest.raises(ArchiveError, match="version 3") as caught:
        decode_meta(json.dumps(content).encode())
    assert caught.value.hint == "update Leitstand"
