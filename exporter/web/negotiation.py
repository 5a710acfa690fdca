"""Which form of a response a client wants, from its Accept and Accept-Encoding headers (RFC 9110 12.5)."""

import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

_LONGEST = 2048  # characters of a header; Prometheus sends 300, and a long one could cost 100 ms
_GZIP_LEVEL = 1  # level 9 takes 13 to 17 times the CPU for 15 to 20 % fewer bytes


@dataclass(frozen=True)
class Offer:
    """A form of metrics that can be served."""

    media_type: str
    version: str

    @property
    def content_type(self) -> str:
        """The ``Content-Type`` it is served as."""
        return f"{self.media_type}; version={self.version}; charset=utf-8"


TEXT = Offer("text/plain", "0.0.4")
OPENMETRICS = Offer("application/openmetrics-text", "1.0.0")
OPENMETRICS_0_0_1 = Offer("application/openmetrics-text", "0.0.1")
METRICS_OFFERS = (TEXT, OPENMETRICS, OPENMETRICS_0_0_1)


def choose_metrics(accept: str) -> Offer:
    """The form of metrics that a client prefers; text if it prefers several equally, or accepts none.

    Text for none: a scrape may still be able to read a form it did not request, but not a 406.
    Text also if the list is too long.
    """
    return _best(accept) if len(accept) <= _LONGEST else TEXT


@lru_cache(maxsize=64)
def _best(accept: str) -> Offer:
    accepted = list(_items(accept or "*/*"))
    best = max(METRICS_OFFERS, key=lambda offer: _quality(accepted, offer))
    return best if _quality(accepted, best) > 0 else TEXT


def _quality(accepted: list[tuple[str, dict[str, str], float]], offer: Offer) -> float:
    """The weight of the most specific range that matches the offer; 0 if none does.

    Parameters other than ``version`` make a range more specific, but exclude no offer.
    """
    anything = ("*/*", f"{offer.media_type.partition('/')[0]}/*", offer.media_type)
    matching = [
        ((anything.index(range_), len(parameters)), quality)
        for range_, parameters, quality in accepted
        if range_ in anything and parameters.get("version", offer.version) == offer.version
    ]
    return max(matching, key=lambda match: match[0], default=((0, 0), 0.0))[1]


def _items(header: str) -> Iterator[tuple[str, dict[str, str], float]]:
    """Each item of a header: its name, its parameters and its weight; an invalid weight is 0."""
    for item in header.lower().split(","):
        name, *rest = (part.strip() for part in item.split(";"))
        pairs = (part.partition("=") for part in rest)
        parameters = {key.strip(): value.strip().strip('"') for key, _, value in pairs}
        quality = _parse_quality(parameters.pop("q", "1"))
        if item.strip():
            yield name, parameters, quality


def _parse_quality(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        return 0.0
    return min(1.0, max(0.0, value)) if math.isfinite(value) else 0.0


def wants_gzip(accept_encoding: str) -> bool:
    """Whether the client prefers gzip to uncompressed bytes, or accepts both equally."""
    return len(accept_encoding) <= _LONGEST and _prefers_gzip(accept_encoding)


@lru_cache(maxsize=64)
def _prefers_gzip(accept_encoding: str) -> bool:
    codings = {name: quality for name, _, quality in _items(accept_encoding) if name}
    quality = codings.get("gzip", codings.get("x-gzip", codings.get("*", 0.0)))
    return quality > 0 and quality >= codings.get("identity", 0.0)


def gzip(body: bytes) -> bytes:
    """The body compressed with gzip, without a time in its header: equal bodies give equal bytes."""
    return zlib.compress(body, _GZIP_LEVEL, wbits=31)
