"""The server's rules for clients: TLS, users, rate limit, and the headers of every response."""

import base64
import binascii
import ipaddress
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import ssl  # loads OpenSSL, which an exporter without TLS does not need


class RateLimiter:
    """On average at most one request per ``interval`` (seconds), and up to ``burst`` at once."""

    def __init__(self, interval: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.terms = (interval, burst)
        self._interval, self._burst, self._clock = interval, burst, clock
        self._lock = threading.Lock()
        self._tokens, self._at = float(burst), clock()

    def allows(self) -> bool:
        """Take a token; False if there is none."""
        with self._lock:
            now = self._clock()
            self._tokens = min(self._burst, self._tokens + (now - self._at) / self._interval)
            self._at = now
            if self._tokens < 1:
                return False
            self._tokens -= 1
            return True


@dataclass(frozen=True)
class Rules:
    """One version of the web configuration, ready to be applied. The default requires nothing.

    ``context`` is for TLS on new connections; a client's certificate must have one of the subject alternative
    names ``allowed_names`` (empty: any); ``users`` have their bcrypt hashes.
    """

    context: "ssl.SSLContext | None" = None
    allowed_names: frozenset[str] = frozenset()
    users: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    headers: tuple[tuple[str, str], ...] = ()
    limiter: RateLimiter | None = None

    def continuing(self, before: "Rules") -> "Rules":
        """These rules, with the former request count if the rate limit has not changed."""
        if self.limiter and before.limiter and self.limiter.terms == before.limiter.terms:
            return replace(self, limiter=before.limiter)
        return self

    def admits(self, certificate: Mapping[str, Any] | None) -> bool:
        """Whether a client with this verified certificate (``SSLSocket.getpeercert()``) is allowed."""
        return not self.allowed_names or not self.allowed_names.isdisjoint(_names(certificate or {}))


@dataclass(frozen=True)
class RulesState:
    """Whether the files on disk are the rules in force, and when those were read (Unix time)."""

    valid: bool
    loaded: float


class RulesSource(Protocol):
    """Where the rules come from."""

    def current(self) -> Rules:
        """The rules in force."""

    def state(self) -> RulesState | None:
        """How they were read; None without a file."""


class NoRules:
    """Everyone is allowed, without TLS."""

    def __init__(self) -> None:
        self._rules = Rules()

    def current(self) -> Rules:
        """The same rules at all times."""
        return self._rules

    def state(self) -> None:
        """None: there is no file."""


def _names(certificate: Mapping[str, Any]) -> set[str]:
    return {
        canonical_name(value.strip()) if kind == "IP Address" else value
        for kind, value in certificate.get("subjectAltName", ())
        if kind in ("DNS", "email", "URI", "IP Address")
    }


def canonical_name(name: str) -> str:
    """An IP address in its one short form (OpenSSL writes ``0:0:0:0:0:0:0:1``); any other name unchanged."""
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        return name


def basic_credentials(header: str) -> tuple[str, bytes] | None:
    """User and password of an ``Authorization`` header; None without them (RFC 7617)."""
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, colon, password = base64.b64decode(encoded, validate=True).partition(b":")
    except (binascii.Error, ValueError):
        return None
    return (user.decode("utf-8", "replace"), password) if colon else None
