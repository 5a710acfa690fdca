"""What a store is: objects under keys, written once, with the time at which the store took them."""

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
    """A store did not do what it was asked.

    ``permanent``: trying again cannot help. ``denied``: these credentials may not do it; ``whose``: the
    store that knows them all the same. ``retry_after``: the seconds that the store asked us to wait.
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
        super().__init__(f"{store}: {key} is not there", permanent=True)
        self.key = key


@dataclass(frozen=True)
class ObjectInfo:
    """One object: size in bytes, the store's own time, its MD5 in hex where the store knows it ("" else)."""

    key: str
    size: int
    modified: datetime
    md5: str = ""


class Store(Protocol):
    """A place for objects. Keys are relative to the store's own prefix. Safe to use from several threads.

    Every method raises StoreError; one that is not ``permanent`` has already been tried several times.
    """

    name: str
    line: Line  # what was sent there, tries that failed included
    checks_md5: bool  # of what it is given: then it is worth taking

    @property
    def lacks(self) -> Sequence[str]:
        """What other stores of its kind have and it was found not to have, in words."""

    def prepare(self) -> None:
        """Make the bucket of a new store when it is not there, or say clearly why nothing can be stored."""

    def put(self, key: str, data: Buffer, *, sha256: str, md5: str = "") -> None:
        """Store an object once. ``sha256`` (hex) must be that of ``data``; the store checks what arrived.

        ``md5`` (hex) saves a store that needs it the work when it is known; a wrong one is refused there. The
        same content under the same key again is no error: an answer may have been lost.
        """

    def get(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        """The bytes from ``start``, at most ``length``. Raises ObjectMissingError."""

    def stat(self, key: str) -> ObjectInfo | None:
        """Size and time of an object, None when it is not there."""

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Every object whose key starts with ``prefix``, in order of keys. May lag behind by seconds."""

    def delete(self, key: str) -> None:
        """Remove an object; no error when it is not there."""

    def close(self) -> None:
        """Give back connections."""


def check_key(key: str) -> str:
    """``key`` itself, if it is one that every store takes literally. Raises ValueError."""
    if not _KEY.fullmatch(key) or len(key) > 900:
        raise ValueError(f"not a key of ours: {key!r}")
    return key


def get_small(store: Store, key: str, most: int = SMALL_BYTES) -> bytes:
    """All of an object that is small if it is one of ours. Raises a permanent StoreError for a larger one."""
    data = store.get(key, 0, most + 1)
    if len(data) > most:
        message = f"{store.name}: {key} has more than the {most} bytes that such an object of ours can have"
        raise StoreError(message, "it was damaged or forged", permanent=True)
    return data
