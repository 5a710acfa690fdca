"""Which form of an answer a client wants, from its Accept and Accept-Encoding headers (RFC 9110 12.5)."""

import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

_LONGEST = 2048  # characters of a header; Prometheus sends 300, and a long one could cost 100 ms
_GZIP_LEVEL = 1  # level 9 costs 13 to 17 times the CPU for 15 to 20 % fewer bytes


@dataclass(frozen=True)
class Offer:
    """A media type that can be served, and the ``Content-Type`` it is served as."""

    media_type: str
    parameters: Mapping[str, str]
    content_type: str


TEXT = Offer("text/plain", {"version": "0.0.4"}, "text/plain; version=0.0.4; charset=utf-8")
OPENMETRICS = Offer(
    "application/openmetrics-text",
    {"version": "1.0.0"},
    "application/openmetrics-text; version=1.0.0; charset=utf-8",
)
OPENMETRICS_0_0_1 = Offer(
    "application/openmetrics-text",
    {"version": "0.0.1"},
    "application/openmetrics-text; version=0.0.1; charset=utf-8",
)
METRICS_OFFERS = (TEXT, OPENMETRICS, OPENMETRICS_0_0_1)


@dataclass(frozen=True)
class _Range:
    media_type: str
    quality: float
    parameters: Mapping[str, str] = field(default_factory=dict)

    def matches(self, offer: Offer) -> bool:
        """Whether the offer falls into this range. Parameters the offer does not speak of do not count."""
        major, _, minor = self.media_type.partition("/")
        own_major, _, own_minor = offer.media_type.partition("/")
        if major not in ("*", own_major) or minor not in ("*", own_minor):
            return False
        return all(self.parameters.get(name, value) == value for name, value in offer.parameters.items())

    @property
    def precision(self) -> tuple[bool, bool, int]:
        """How closely the range describes what it matches: the closest one decides."""
        major, _, minor = self.media_type.partition("/")
        return major != "*", minor != "*", len(self.parameters)


def choose_metrics(accept: str) -> Offer:
    """The form of metrics a client likes best; text when it likes several equally, or none of them.

    Text for none: a scrape that gets a form it did not ask for may still read it, one that gets a 406 cannot.
    Text also for a list too long to be read.
    """
    return _best(accept) if len(accept) <= _LONGEST else TEXT


@lru_cache(maxsize=64)
def _best(accept: str) -> Offer:
    ranges = _ranges(accept)
    best = max(METRICS_OFFERS, key=lambda offer: _quality(ranges, offer))
    return best if _quality(ranges, best) > 0 else TEXT


def _quality(ranges: list[_Range], offer: Offer) -> float:
    matching = [candidate for candidate in ranges if candidate.matches(offer)]
    return max(matching, key=lambda candidate: candidate.precision).quality if matching else 0.0


def _ranges(accept: str) -> list[_Range]:
    return [_range(item) for item in (accept or "*/*").split(",") if item.strip()]


def _range(item: str) -> _Range:
    media_type, *rest = (part.strip() for part in item.split(";"))
    pairs = {
        name.strip().lower(): value.strip().strip('"') for name, _, value in (p.partition("=") for p in rest)
    }
    quality = _parse_quality(pairs.pop("q", "1"))
    return _Range(media_type.lower(), quality, pairs)


def _parse_quality(text: str) -> float:
    """A weight from 0 to 1; what is none counts as 0, so that it is never preferred."""
    try:
        value = float(text)
    except ValueError:
        return 0.0
    return min(1.0, max(0.0, value)) if math.isfinite(value) else 0.0


def wants_gzip(accept_encoding: str) -> bool:
    """Whether the client takes gzip at least as gladly as the bytes as they are."""
    return len(accept_encoding) <= _LONGEST and _prefers_gzip(accept_encoding)


@lru_cache(maxsize=64)
def _prefers_gzip(accept_encoding: str) -> bool:
    codings = {
        item.media_type: item.quality for item in map(_range, accept_encoding.split(",")) if item.media_type
    }
    anything = codings.get("*", 0.0)
    quality = codings.get("gzip", codings.get("x-gzip", anything))
    return quality > 0 and quality >= codings.get("identity", 0.0)


def gzip(body: bytes) -> bytes:
    """The body in gzip's form, without a time in its header: equal bodies have equal bytes."""
    return zlib.compress(body, _GZIP_LEVEL, wbits=31)
