"""What the server asks of a client: TLS, who may enter, how often, and which headers every answer carries."""

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
    """At most one request an ``interval`` (seconds) in the long run, and ``burst`` at once."""

    def __init__(self, interval: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.terms = (interval, burst)
        self._interval, self._burst, self._clock = interval, burst, clock
        self._lock = threading.Lock()
        self._tokens, self._at = float(burst), clock()

    def allows(self) -> bool:
        """Take a token; False when there is none."""
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
    """One version of the web configuration, ready to be applied. The default asks for nothing.

    ``context`` is the TLS side of a new connection; ``allowed_names`` the subject alternative names of which
    a client's certificate must have one (empty: any); ``users`` have their bcrypt hashes.
    """

    context: "ssl.SSLContext | None" = None
    allowed_names: frozenset[str] = frozenset()
    users: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    headers: tuple[tuple[str, str], ...] = ()
    limiter: RateLimiter | None = None

    def continuing(self, before: "Rules") -> "Rules":
        """These rules, with the count of requests so far when the rate limit is the same as before."""
        if self.limiter and before.limiter and self.limiter.terms == before.limiter.terms:
            return replace(self, limiter=before.limiter)
        return self

    def admits(self, certificate: Mapping[str, Any] | None) -> bool:
        """Whether a client with this verified certificate (``SSLSocket.getpeercert()``) may go on."""
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
        """How they were read; None when there is nothing to read."""


class NoRules:
    """Everybody may enter, without TLS."""

    def __init__(self) -> None:
        self._rules = Rules()

    def current(self) -> Rules:
        """The same rules for ever."""
        return self._rules

    def state(self) -> None:
        """There is nothing to read."""


def _names(certificate: Mapping[str, Any]) -> set[str]:
    return {
        canonical_name(value.strip()) if kind == "IP Address" else value
        for kind, value in certificate.get("subjectAltName", ())
        if kind in ("DNS", "email", "URI", "IP Address")
    }


def canonical_name(name: str) -> str:
    """An IP address in its one short form (OpenSSL writes ``0:0:0:0:0:0:0:1``); any other name as it is."""
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        return name


def basic_credentials(header: str) -> tuple[str, bytes] | None:
    """User and password of an ``Authorization`` header; None when it has none (RFC 7617)."""
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, colon, password = base64.b64decode(encoded, validate=True).partition(b":")
    except (binascii.Error, ValueError):
        return None
    return (user.decode("utf-8", "replace"), password) if colon else None
