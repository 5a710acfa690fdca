"""The keys of a snapshot's objects: ``<host>/<job>/<UTC>-<random>/`` and the names below it. Pure."""

import re
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime

MANIFEST, META, COMMIT = "manifest.zip", "meta.json", "COMMIT"
MARK = "PRUNE"  # since when prune has wanted to delete the snapshot
HOLD = "KEEP"  # prune must never delete the snapshot
LEASE, CANARY = "lease", "canary"  # folders next to the snapshots: of runs in progress, of `doctor`
SINGLE_VOLUME = "vol.zip"
_ID = re.compile(r"([0-9]{8}T[0-9]{6}Z)-[a-z2-7]{8}")
_OBJECT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_LETTERS = "234567abcdefghijklmnopqrstuvwxyz"  # those of base32, in sort order
_TIME = "%Y%m%dT%H%M%SZ"
_YEARS = range(1970, 9999)  # of any clock; leaves room for a time zone and a few days


@dataclass(frozen=True, order=True)
class SnapshotName:
    """One snapshot of a job. The names of one job sort by start time."""

    host: str
    job: str
    id: str

    def key(self, name: str) -> str:
        """The key of one of this snapshot's objects."""
        return f"{self.host}/{self.job}/{self.id}/{name}"

    def volume_keys(self, count: int) -> list[str]:
        """The keys of all volumes: a single ``vol.zip``, or ``vol.zip.001`` and so on, as 7-Zip expects."""
        if count == 1:
            return [self.key(SINGLE_VOLUME)]
        return [self.key(volume_name(index)) for index in range(1, count + 1)]

    def sibling(self, snapshot_id: str) -> "SnapshotName":
        """Another snapshot of the same job, such as a layer."""
        return SnapshotName(self.host, self.job, snapshot_id)

    @property
    def began(self) -> datetime:
        """When the run started, by the clock of its machine."""
        return datetime.strptime(self.id.partition("-")[0], _TIME).replace(tzinfo=UTC)


def volume_name(index: int) -> str:
    """The name of volume ``index`` (from 1) if there are several."""
    return f"{SINGLE_VOLUME}.{index:03}"


def new_snapshot(host: str, job: str, now: datetime) -> SnapshotName:
    """A unique name: the time in seconds, its milliseconds in two letters, and 30 random bits.

    So names sort by time also within a second.
    """
    high, low = divmod(now.microsecond // 1000, len(_LETTERS))
    random = "".join(secrets.choice(_LETTERS) for _ in range(6))
    letters = f"{_LETTERS[high]}{_LETTERS[low]}{random}"
    return SnapshotName(host, job, f"{now.astimezone(UTC).strftime(_TIME)}-{letters}")


def job_prefix(host: str, job: str) -> str:
    return f"{host}/{job}/"


def parse_key(key: str) -> tuple[SnapshotName, str] | None:
    """The snapshot and the object's name in it; None for foreign objects."""
    parts = key.split("/")
    if len(parts) != 4 or not is_snapshot_id(parts[2]) or not is_object_name(parts[3]):
        return None
    return SnapshotName(parts[0], parts[1], parts[2]), parts[3]


def is_object_name(text: str) -> bool:
    """Whether this is a valid name of an object; others who can write to a store may choose any."""
    return _OBJECT.fullmatch(text) is not None


def is_snapshot_id(text: str) -> bool:
    """Whether a text is the name of a snapshot, with a time that exists."""
    found = _ID.fullmatch(text)
    if found is None:
        return False
    try:
        return datetime.strptime(found[1], _TIME).replace(tzinfo=UTC).year in _YEARS
    except ValueError:
        return False
