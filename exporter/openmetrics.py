"""OpenMetrics 1.0.0 from the text format 0.0.4: the same samples, other words around them.

Source: the OpenMetrics 1.0.0 specification. What differs: a counter's family is named without ``_total``,
untyped is called unknown, quotes in HELP are escaped, bounds of buckets are floats, and
``# EOF`` ends the page.
"""

import math
import re
from functools import lru_cache

# The HELP and TYPE lines in front of a family's samples.
_METADATA = re.compile(rb"(?:^# (?:HELP|TYPE) [^\n]*\n)+", re.MULTILINE)
_NEITHER_METADATA_NOR_SAMPLE = re.compile(rb"^(?:[ \t]*|#(?! (?:HELP|TYPE) )[^\n]*)\n", re.MULTILINE)
_BOUND = re.compile(rb'([{,](?:le|quantile)=")([^"]*)(?=")')
_END = b"# EOF\n"
_KINDS = {b"gauge", b"histogram", b"summary"}

# Name, kind and the line after "# HELP name " (None without one) of a family.
_Family = tuple[bytes, bytes, bytes | None]


def to_openmetrics(text: bytes) -> bytes:
    """A page in the text format 0.0.4 as OpenMetrics.

    The page must be valid: families whole, each name once, without time stamps, as ``leitstand.exposition``
    and the text file collector write it.
    """
    text = _without_remarks(text)
    blocks = list(_METADATA.finditer(text))
    headed = [_families(block[0]) for block in blocks]
    names = {name for families in headed for name, _, _ in families}
    ends = [block.start() for block in blocks[1:]] + [len(text)]
    parts = [text[: blocks[0].start()] if blocks else text]
    for block, families, end in zip(blocks, headed, ends, strict=True):
        parts += _family(families, text[block.end() : end], names)
    return b"".join([*parts, _END])


def _without_remarks(text: bytes) -> bytes:
    """The page without empty lines and comments, which OpenMetrics does not have."""
    metadata = text.count(b"\n# HELP ") + text.count(b"\n# TYPE ")
    starts_well = not text.startswith((b"\n", b" ", b"#")) or text.startswith((b"# HELP ", b"# TYPE "))
    if starts_well and text.count(b"\n#") == metadata and b"\n\n" not in text and b"\n " not in text:
        return text
    return _NEITHER_METADATA_NOR_SAMPLE.sub(b"", text)


@lru_cache(maxsize=8192)
def _families(block: bytes) -> tuple[_Family, ...]:
    """The families that a run of HELP and TYPE lines speaks of; the samples after it are the last one's."""
    found: dict[bytes, dict[bytes, bytes]] = {}
    for line in block.splitlines():
        _, keyword, name, *rest = line.split(b" ", 3)
        found.setdefault(name, {})[keyword] = rest[0] if rest else b""
    return tuple(
        (name, words.get(b"TYPE", b"untyped").strip(), words.get(b"HELP")) for name, words in found.items()
    )


def _family(families: tuple[_Family, ...], samples: bytes, names: set[bytes]) -> list[bytes]:
    parts = []
    for name, kind, help_text in families:
        kind, own_name = _kind_and_name(name, kind, samples, names)
        parts.append(_head(own_name, kind, help_text))
    if kind in (b"histogram", b"summary"):
        samples = _BOUND.sub(_as_float, samples)
    return [*parts, samples]


def _kind_and_name(name: bytes, kind: bytes, samples: bytes, names: set[bytes]) -> tuple[bytes, bytes]:
    if kind in _KINDS:
        return kind, name
    bare = name.removesuffix(b"_total")
    # No counter in OpenMetrics is negative or not a number (a text file's may be), or has a family's name.
    if kind != b"counter" or bare == name or bare in names or b" -" in samples or b" NaN" in samples:
        return b"unknown", name
    return kind, bare


@lru_cache(maxsize=8192)
def _head(name: bytes, kind: bytes, help_text: bytes | None) -> bytes:
    lines = b"# TYPE %s %s\n" % (name, kind)
    if help_text is not None:
        return b"# HELP %s %s\n%s" % (name, help_text.replace(b'"', b'\\"'), lines)
    return lines


def _as_float(bound: re.Match[bytes]) -> bytes:
    try:
        value = float(bound[2])
    except ValueError:
        return bound[0]
    return bound[1] + (b"+Inf" if value == math.inf else repr(value).encode())
