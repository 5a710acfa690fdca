"""A volume as ``meta.json`` and the manifest describe it."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class VolumeInfo:
    """One volume of this snapshot's own archive; ``index`` starts at 1, ``md5`` may be empty."""

    index: int
    size: int
    sha256: bytes
    md5: bytes


def volume_to_json(volume: VolumeInfo) -> dict[str, Any]:
    """A volume as JSON, as in ``meta.json``."""
    row = {"index": volume.index, "size": volume.size, "sha256": volume.sha256.hex()}
    return {**row, "md5": volume.md5.hex()} if volume.md5 else row


def volume_from_json(content: dict[str, Any]) -> VolumeInfo:
    """The inverse of ``volume_to_json``. Raises KeyError, TypeError and ValueError."""
    index, size = content.pop("index"), content.pop("size")
    sha256, md5 = bytes.fromhex(content.pop("sha256")), bytes.fromhex(content.pop("md5", ""))
    if content or min(index, size) < 1 or len(sha256) != 32 or len(md5) not in (0, 16):
        raise ValueError("not a volume")
    return VolumeInfo(index, size, sha256, md5)
