"""What of S3 a store does not take: found by its refusals, and left out for as long as it is open."""

import threading
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

# Parameters of PutObject that a store may refuse, and what they are for.
OPTIONAL: Mapping[str, str] = {
    "IfNoneMatch": "If-None-Match, against one object replacing another (keys are never used twice anyway)",
    "ChecksumSHA256": "x-amz-checksum-sha256 (the signature holds the same SHA-256)",
    "ContentMD5": "Content-MD5 (the signature holds the SHA-256)",
}
ETAGS = "ETags that are the MD5 of an object, as when a bucket is encrypted (SHA-256 is compared instead)"
LISTING = "the second version of listings (the first is used)"
# A refusal with one of these codes is about the data, the key or who asks, whatever headers came along.
_ABOUT_SOMETHING_ELSE = (
    *("AuthorizationHeaderMalformed", "ExpiredToken", "InvalidToken", "TokenRefreshRequired"),
    *("BadDigest", "InvalidDigest", "IncompleteBody", "XAmzContentSHA256Mismatch", "RequestTimeout"),
    *("EntityTooLarge", "EntityTooSmall", "InvalidBucketName", "KeyTooLong", "KeyTooLongError"),
    "MissingContentLength",
)


@dataclass
class Dialect:
    """What a store lacks, as far as it is known. Safe to use from several threads."""

    _lacks: set[str] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def lacks(self) -> list[str]:
        """What it lacks, in words."""
        with self._lock:
            return sorted(OPTIONAL.get(each, each) for each in self._lacks)

    def knows(self, what: str) -> bool:
        """Whether the store is not known to lack something."""
        return what not in self._lacks

    def learn(self, lacking: Collection[str]) -> list[str]:
        """Note what a store lacks; what of it is new, in words."""
        with self._lock:
            new = sorted(OPTIONAL.get(each, each) for each in set(lacking) - self._lacks)
            self._lacks |= set(lacking)
        return new

    def ways(self) -> Iterator[frozenset[str]]:
        """What to leave out of a PutObject, the least first: what is lacking, and more of it each time."""
        known = frozenset(self._lacks & OPTIONAL.keys())
        left = [each for each in OPTIONAL if each not in known]
        for count in range(len(left) + 1):
            for more in combinations(left, count):
                yield known | frozenset(more)


def refuses_a_header(code: str, status: int) -> bool:
    """Whether a refusal may mean a header that the store does not know."""
    return status == 501 or (status == 400 and code not in _ABOUT_SOMETHING_ELSE)


def is_encrypted(answer: Mapping[str, Any]) -> bool:
    """Whether the store says that an object is encrypted there: then its ETag may be no MD5."""
    return bool(answer.get("ServerSideEncryption") or answer.get("SSECustomerAlgorithm"))
