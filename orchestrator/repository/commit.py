"""``meta.json`` and ``COMMIT``: a snapshot's public description, and the proof that it is authentic."""

import hashlib
import hmac
import json
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, FailFast, Field, ValidationError

from orchestrator.archive.entry import ArchiveError
from orchestrator.repository.volume_info import VolumeInfo, volume_from_json, volume_to_json

META_VERSION = 2  # version 1 does not name the snapshot before it
COMMIT_VERSION = 1
META_BYTES, COMMIT_BYTES = (16 << 20, 1 << 20)  # the most that is read: others may write there
MOST_VOLUMES = 80_000  # keeps meta.json below its limit
_META_FORMAT, _COMMIT_FORMAT = "leitstand-meta", "leitstand-commit"
_STATES = ("complete", "partial")
_LARGEST = 2**63 - 1
_NO_JSON = "it is not valid JSON"


@dataclass(frozen=True, slots=True, kw_only=True)
class Meta:
    """Facts that everyone with read access to the store may know: no file names, no secrets.

    ``started`` and ``finished`` are UTC in ISO 8601. ``volumes`` are those of this snapshot's archive, in
    order. ``previous`` is the newest snapshot that each store which got this one had before it; "": none.
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
    previous: str = ""


def _is_a_time(text: str) -> str:
    if datetime.fromisoformat(text).utcoffset() is None:
        raise ValueError("a time without its zone")
    return text


_Count = Annotated[int, Field(ge=0, le=_LARGEST)]
_Time = Annotated[str, AfterValidator(_is_a_time)]
_Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class _Strict(BaseModel):
    """JSON that we may not have written: every type and number is validated."""

    # Unknown keys are refused below: pydantic would collect an error for each of a million.
    model_config = ConfigDict(strict=True, extra="ignore")


class _Head(_Strict):
    format: str
    version: int


class _Volume(_Strict):
    index: int = Field(ge=1, le=_LARGEST)
    size: int = Field(ge=1, le=_LARGEST)
    sha256: _Sha256
    md5: str = Field(default="", pattern="^([0-9a-f]{32})?$")


class _Meta(_Strict):
    format: str
    version: int
    snapshot: str
    host: str
    job: str
    started: _Time
    finished: _Time
    generation: int = Field(ge=1, le=_LARGEST)
    state: str
    entries: _Count
    content_bytes: _Count
    archive_bytes: _Count
    manifest_bytes: _Count
    layers: Annotated[list[str], FailFast()]
    volumes: Annotated[list[_Volume], FailFast()]


class _Meta2(_Meta):
    previous: str


class _Commit(_Strict):
    format: str
    version: int
    snapshot: str
    manifest_sha256: _Sha256
    meta_sha256: _Sha256
    hmac_sha256: _Sha256


class OtherKeysError(ArchiveError):
    """COMMIT belongs to this snapshot and meta.json, but was not made with these keys."""


_Model = TypeVar("_Model", bound=BaseModel)


def encode_meta(meta: Meta) -> bytes:
    volumes = [volume_to_json(volume) for volume in meta.volumes]
    return _json({"format": _META_FORMAT, "version": META_VERSION, **asdict(meta), "volumes": volumes})


def decode_meta(data: bytes) -> Meta:
    """Raises ArchiveError when the data is not a meta.json of a version this program knows."""
    version = _version(data, _META_FORMAT, META_VERSION, "meta.json")
    model = _Meta if version == 1 else _Meta2
    parsed = _parsed(data, "meta.json")
    content = _understood(model, parsed, "meta.json").model_dump()
    _refuse_unknown(parsed, model, "meta.json")
    for volume in parsed["volumes"]:
        _refuse_unknown(volume, _Volume, "meta.json")
    del content["format"], content["version"]
    volumes = tuple(volume_from_json(volume) for volume in content.pop("volumes"))
    meta = Meta(**{**content, "layers": tuple(content["layers"]), "volumes": volumes})
    complete = meta.state in _STATES and meta.archive_bytes == sum(volume.size for volume in volumes)
    if not complete or [volume.index for volume in volumes] != list(range(1, len(volumes) + 1)):
        raise ArchiveError("meta.json contradicts itself in its volumes or its state")
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
    _version(commit, _COMMIT_FORMAT, COMMIT_VERSION, "COMMIT")
    content = _understood(_Commit, _parsed(commit, "COMMIT"), "COMMIT")
    manifest_sha256 = bytes.fromhex(content.manifest_sha256)
    # COMMIT has only one encoding, so any other byte means another COMMIT.
    if not hmac.compare_digest(
        commit, encode_commit(snapshot, manifest_sha256=manifest_sha256, meta=meta, key=key)
    ):
        raise _why_not(content, snapshot, meta)
    return manifest_sha256


def _why_not(content: _Commit, snapshot: str, meta: bytes) -> ArchiveError:
    """Distinguish keys of another fleet from damage: only the HMAC depends on the keys."""
    if (content.snapshot, content.meta_sha256) == (snapshot, hashlib.sha256(meta).hexdigest()):
        return OtherKeysError(
            "these keys do not match this snapshot's COMMIT",
            "was the snapshot made with this key file? If it was, COMMIT is damaged or forged",
        )
    return ArchiveError(
        "COMMIT does not vouch for this meta.json and snapshot",
        "it is damaged or forged, or belongs to another snapshot",
    )


def _json(content: dict[str, Any]) -> bytes:
    return json.dumps(content, indent=1).encode() + b"\n"


def _version(data: bytes, form: str, newest: int, name: str) -> int:
    head = _understood(_Head, _parsed(data, name), name)
    if head.format != form:
        raise ArchiveError(f"{name} is damaged: {_NO_JSON}")
    if not 1 <= head.version <= newest:
        raise ArchiveError(
            f"{name} has version {head.version}, which this Leitstand does not know", "update Leitstand"
        )
    return head.version


def _parsed(data: bytes, name: str) -> Any:
    # Parsed, millions of tiny values would take gigabytes. Ours are longer, and there are two lists of them.
    if data.count(b"[") > 2 or any(data.count(each) > 50 + len(data) // 25 for each in (b"{", b":", b",")):
        raise ArchiveError(f"{name} is damaged: {_NO_JSON}")
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ArchiveError(f"{name} is damaged: {_NO_JSON}") from error


def _understood(model: type[_Model], content: Any, name: str) -> _Model:
    try:
        return model.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(map(str, first["loc"])) or _NO_JSON
        raise ArchiveError(f"{name} is damaged: {where}: {first['msg']}") from error


def _refuse_unknown(content: dict[str, Any], model: type[BaseModel], name: str) -> None:
    for key in content:
        if key not in model.model_fields:
            raise ArchiveError(f"{name} is damaged: it has an unknown key '{key[:40]}'")
