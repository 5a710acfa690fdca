"""Features of S3 that a store does not support: learned from its refusals, and then not used any more."""

import threading
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

# Parameters of PutObject that a store may refuse, and their purpose.
OPTIONAL: Mapping[str, str] = {
    "IfNoneMatch": "If-None-Match, which prevents overwriting (keys are never reused anyway)",
    "ChecksumSHA256": "x-amz-checksum-sha256 (the signature holds the same SHA-256)",
    "ContentMD5": "Content-MD5 (the signature holds the SHA-256)",
}
ETAGS = "ETags that are the MD5 of an object, as when a bucket is encrypted (SHA-256 is compared instead)"
LISTING = "the second version of listings (the first is used)"
# A refusal with one of these codes is about the data, the key or the credentials, not about headers.
_ABOUT_SOMETHING_ELSE = (
    *("AuthorizationHeaderMalformed", "ExpiredToken", "InvalidToken", "TokenRefreshRequired"),
    *("BadDigest", "InvalidDigest", "IncompleteBody", "XAmzContentSHA256Mismatch", "RequestTimeout"),
    *("EntityTooLarge", "EntityTooSmall", "InvalidBucketName", "KeyTooLong", "KeyTooLongError"),
    "MissingContentLength",
)


@dataclass
class Dialect:
    """The features that a store is known to lack. Thread-safe."""

    _lacks: set[str] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def lacks(self) -> list[str]:
        with self._lock:
            return sorted(OPTIONAL.get(each, each) for each in self._lacks)

    def knows(self, what: str) -> bool:
        """Whether the store is not known to lack something."""
        return what not in self._lacks

    def learn(self, lacking: Collection[str]) -> list[str]:
        """Note what a store lacks; returns what was not known before, in words."""
        with self._lock:
            new = sorted(OPTIONAL.get(each, each) for each in set(lacking) - self._lacks)
            self._lacks |= set(lacking)
        return new

    def ways(self) -> Iterator[frozenset[str]]:
        """Parameters to omit from a PutObject, fewest first: known to be missing, then more each time."""
        known = frozenset(self._lacks & OPTIONAL.keys())
        left = [each for each in OPTIONAL if each not in known]
        for count in range(len(left) + 1):
            for more in combinations(left, count):
                yield known | frozenset(more)


def refuses_a_header(code: str, status: int) -> bool:
    """Whether a refusal may be caused by a header that the store does not know."""
    return status == 501 or (status == 400 and code not in _ABOUT_SOMETHING_ELSE)


def is_encrypted(answer: Mapping[str, Any]) -> bool:
    """Whether the store reports an object as encrypted: then its ETag may not be an MD5."""
    return bool(answer.get("ServerSideEncryption") or answer.get("SSECustomerAlgorithm"))
