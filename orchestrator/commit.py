"""``meta.json`` and ``COMMIT``: what a snapshot says of itself in the open, and the proof that it is
whole."""

import base64
import hashlib
import hmac
import json
import re
from dataclasses import asdict, dataclass
from typing import Any, Literal

from orchestrator.archive.entry import ArchiveError
from orchestrator.manifest import VolumeInfo

META_VERSION = 1
COMMIT_VERSION = 1


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
    raise NotImplementedError


def decode_meta(data: bytes) -> Meta:
    """Raises ArchiveError when the data is not a meta.json of a version this program knows."""
    raise NotImplementedError


def encode_commit(snapshot: str, *, manifest_sha256: bytes, meta: bytes, key: bytes) -> bytes:
    """``meta`` is the encoded meta.json, ``key`` KeyRing.commit_key of its generation."""
    raise NotImplementedError


def verify_commit(commit: bytes, snapshot: str, *, manifest_sha256: bytes, meta: bytes, key: bytes) -> None:
    """Raises ArchiveError unless COMMIT belongs to this snapshot, manifest and meta.json and was made with
    ``key``."""
    raise NotImplementedError


def committed_manifest(commit: bytes, snapshot: str, *, meta: bytes, key: bytes) -> bytes:
    """The manifest's SHA-256 that COMMIT vouches for, once it and meta.json are proven. Raises
    ArchiveError."""
    raise NotImplementedError
