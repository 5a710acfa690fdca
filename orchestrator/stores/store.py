"""The interface of a store: objects under keys, written once, with the time at which the store got them."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from leitstand.errors import LeitstandError
from orchestrator.archive.mapped_memory import Buffer
from orchestrator.stores.limit import Line

_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*")
SMALL_BYTES = 1 << 20


class StoreError(LeitstandError):
    """A call of a store failed.

    ``permanent``: a retry cannot help. ``denied``: these credentials lack the permission; ``whose``: the
    store, if it surely knows them. ``retry_after``: the seconds that the store asked us to wait.
    """

    def __init__(
        self,
        message: str,
        hint: str = "",
        *,
        permanent: bool = False,
        denied: bool = False,
        retry_after: float = 0,
        whose: str = "",
    ) -> None:
        super().__init__(message, hint)
        self.permanent, self.denied, self.retry_after, self.whose = permanent, denied, retry_after, whose


class ObjectMissingError(StoreError):
    """There is no object under this key."""

    def __init__(self, store: str, key: str) -> None:
        super().__init__(f"{store}: {key} does not exist", permanent=True)
        self.key = key


@dataclass(frozen=True)
class ObjectInfo:
    """One object: size in bytes, the store's own time, MD5 in hex ("" where the store has none)."""

    key: str
    size: int
    modified: datetime
    md5: str = ""


class Store(Protocol):
    """A place for objects. Keys are relative to the store's own prefix. Thread-safe.

    Every method raises StoreError; one that is not ``permanent`` has already been tried several times.
    """

    name: str
    line: Line  # counts what was sent, including failed tries
    checks_md5: bool  # whether ``put`` uses ``md5``, so that computing it is worthwhile

    @property
    def lacks(self) -> Sequence[str]:
        """Features of its kind of store that it was found to lack, in words."""

    def prepare(self) -> None:
        """Create the missing bucket of a new store, or raise a clear error if nothing can be stored."""

    def put(self, key: str, data: Buffer, *, sha256: str, md5: str = "") -> None:
        """Store an object once. ``sha256`` (hex) must be that of ``data``; the store checks what arrived.

        ``md5`` (hex) saves a store that needs it the work; the store refuses a wrong one. Storing the same
        content under the same key again is not an error: an answer may have been lost.
        """

    def get(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        """The bytes from ``start``, at most ``length``. Raises ObjectMissingError."""

    def stat(self, key: str) -> ObjectInfo | None:
        """Size and time of an object, None if it does not exist."""

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Every object whose key starts with ``prefix``, in order of keys. May lag behind by seconds."""

    def delete(self, key: str) -> None:
        """Remove an object; no error if it does not exist."""

    def close(self) -> None:
        """Close connections."""


def check_key(key: str) -> str:
    """``key`` itself, if every store takes it literally. Raises ValueError."""
    if not _KEY.fullmatch(key) or len(key) > 900:
        raise ValueError(f"not a key of ours: {key!r}")
    return key


def get_small(store: Store, key: str, most: int = SMALL_BYTES) -> bytes:
    """All of an object that is small if we wrote it. Raises a permanent StoreError for a larger one."""
    data = store.get(key, 0, most + 1)
    if len(data) > most:
        message = f"{store.name}: {key} is larger than {most} bytes, the limit for such an object"
        raise StoreError(message, "it was damaged or forged", permanent=True)
    return data
