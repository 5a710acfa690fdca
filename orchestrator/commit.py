"""``meta.json`` and ``COMMIT``: what a snapshot says of itself in the open, and the proof of it."""

import hashlib
import hmac
import json
from dataclasses import asdict, dataclass
from typing import Any, Literal

from orchestrator.archive.entry import ArchiveError
from orchestrator.manifest import VolumeInfo, volume_from_json, volume_to_json

META_VERSION = 1
COMMIT_VERSION = 1
_META_FORMAT, _COMMIT_FORMAT = "leitstand-meta", "leitstand-commit"
_STATES = ("complete", "partial")


@dataclass(frozen=True, slots=True, kw_only=True)
class Meta:
    """What anyone who may read the store may know: no file names, no secrets.

    ``started`` and ``finished`` are UTC in ISO 8601. ``volumes`` are those of this snapshot's archive, in
    order.
    """

    snapshot: str
    host: str
    job: str
    started: str
    finished: str
    generation: int
    state: Literal["complete", "partial"]
    entries: int
    content_bytes: int
    archive_bytes: int
    manifest_bytes: int
    layers: tuple[str, ...]
    volumes: tuple[VolumeInfo, ...]


def encode_meta(meta: Meta) -> bytes:
    """The bytes of ``meta.json``."""
    volumes = [volume_to_json(volume) for volume in meta.volumes]
    return _json({"format": _META_FORMAT, "version": META_VERSION, **asdict(meta), "volumes": volumes})


def decode_meta(data: bytes) -> Meta:
    """Raises ArchiveError when the data is not a meta.json of a version this program knows."""
    content = _parsed(data, _META_FORMAT, META_VERSION, "meta.json")
    try:
        volumes = tuple(volume_from_json(volume) for volume in content.pop("volumes"))
        meta = Meta(**{**content, "layers": tuple(content["layers"]), "volumes": volumes})
        complete = meta.state in _STATES and meta.archive_bytes == sum(volume.size for volume in volumes)
        in_order = [volume.index for volume in volumes] == list(range(1, len(volumes) + 1))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ArchiveError(f"meta.json is damaged: {error}") from error
    if not complete or not in_order:
        raise ArchiveError("meta.json contradicts itself: its volumes or its state are not as it says")
    return meta


def encode_commit(snapshot: str, *, manifest_sha256: bytes, meta: bytes, key: bytes) -> bytes:
    """The bytes of COMMIT; ``meta`` is the encoded meta.json, ``key`` the commit key of its generation."""
    signed = {
        "format": _COMMIT_FORMAT,
        "version": COMMIT_VERSION,
        "snapshot": snapshot,
        "manifest_sha256": manifest_sha256.hex(),
        "meta_sha256": hashlib.sha256(meta).hexdigest(),
    }
    return _json({**signed, "hmac_sha256": hmac.digest(key, _json(signed), "sha256").hex()})


def committed_manifest(commit: bytes, snapshot: str, *, meta: bytes, key: bytes) -> bytes:
    """The manifest's SHA-256 that COMMIT vouches for, with it and meta.json proven. Raises ArchiveError."""
    content = _parsed(commit, _COMMIT_FORMAT, COMMIT_VERSION, "COMMIT")
    try:
        manifest_sha256 = bytes.fromhex(content["manifest_sha256"])
    except (KeyError, TypeError, ValueError) as error:
        raise ArchiveError("COMMIT is damaged") from error
    # COMMIT can be written in one way only, so whatever differs from it by a byte is not it.
    if not hmac.compare_digest(
        commit, encode_commit(snapshot, manifest_sha256=manifest_sha256, meta=meta, key=key)
    ):
        raise _why_not(content, snapshot, meta)
    return manifest_sha256


def _why_not(content: dict[str, Any], snapshot: str, meta: bytes) -> ArchiveError:
    """Tell keys of another fleet from damage: only the HMAC depends on the keys."""
    if (content.get("snapshot"), content.get("meta_sha256")) == (snapshot, hashlib.sha256(meta).hexdigest()):
        return ArchiveError(
            "these keys do not fit this snapshot's COMMIT",
            "is it the keys file that the snapshot was made with? If it is, COMMIT was damaged or forged",
        )
    return ArchiveError(
        "COMMIT does not vouch for this meta.json and snapshot",
        "it was damaged or forged, or belongs to another snapshot",
    )


def _json(content: dict[str, Any]) -> bytes:
    return json.dumps(content, indent=1).encode() + b"\n"


def _parsed(data: bytes, form: str, version: int, name: str) -> dict[str, Any]:
    try:
        content = json.loads(data)
        found = content.pop("format"), content.pop("version")
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise ArchiveError(f"{name} is damaged: it is not the JSON it should be") from error
    if found != (form, version):
        raise ArchiveError(
            f"{name} is of version {found[1]}, which this program does not know", "update Leitstand"
        )
    return dict(content)
