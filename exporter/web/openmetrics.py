"""OpenMetrics 1.0.0 from the text format 0.0.4: the same samples, other words around them.

Source: the OpenMetrics 1.0.0 specification. What differs: a counter's family is named without ``_total``,
untyped is called unknown, quotes in HELP are escaped, bounds of buckets are floats, and ``# EOF`` is the end.
"""

import math
import re
from collections.abc import Iterator
from functools import lru_cache

# Comments and empty lines, which OpenMetrics does not have.
_REMARK = re.compile(rb"\n(?:#(?! (?:HELP|TYPE) )[^\n]*|[ \t]*)(?=\n)")
_BOUND = re.compile(rb'([{,](?:le|quantile)=")([^"]*)(?=")')
_KINDS = {b"gauge", b"histogram", b"summary"}

# Name, kind, the text of HELP (None without one), and the lines of samples.
_Family = tuple[bytes, bytes, bytes | None, bytes]


def to_openmetrics(text: bytes) -> bytes:
    """A page in the text format 0.0.4 as OpenMetrics.

    The page must be valid: families whole, each name once, without time stamps, as ``leitstand.exposition``
    and the text file collector write it.
    """
    text = _REMARK.sub(b"", b"\n" + text.rstrip(b"\n") + b"\n").rstrip(b"\n")
    untold, *pieces = text.split(b"\n# ")
    families = list(_families(pieces))
    names = {family[0] for family in families}
    parts = [untold.removeprefix(b"\n") + b"\n"] if untold else []
    for family in families:
        parts += _written(family, names)
    return b"".join([*parts, b"# EOF\n"])


def _families(pieces: list[bytes]) -> Iterator[_Family]:
    """The families that have samples, from a page split in front of each HELP and TYPE."""
    name, kind, help_text = b"", b"untyped", None
    for piece in pieces:
        line, _, samples = piece.partition(b"\n")
        is_type, own_name, rest = _words(line)
        if own_name != name:
            name, kind, help_text = own_name, b"untyped", None
        if is_type:
            kind = rest
        else:
            help_text = rest
        if samples:
            yield name, kind, help_text, samples


@lru_cache(maxsize=16384)
def _words(line: bytes) -> tuple[bool, bytes, bytes]:
    """Whether ``TYPE name kind`` or ``HELP name text`` is the former, the name, and the rest."""
    keyword, _, rest = line.partition(b" ")
    name, _, rest = rest.partition(b" ")
    return keyword == b"TYPE", name, rest


def _written(family: _Family, names: set[bytes]) -> tuple[bytes, bytes, bytes]:
    name, kind, help_text, samples = family
    if kind not in _KINDS:
        kind, name = _counter_or_unknown(name, kind, samples, names)
    elif kind != b"gauge":
        samples = _BOUND.sub(_as_float, samples)
    return _head(name, kind, help_text), samples, b"\n"


def _counter_or_unknown(name: bytes, kind: bytes, samples: bytes, names: set[bytes]) -> tuple[bytes, bytes]:
    """The kind and the family's name of what is a counter or nothing certain."""
    bare = name.removesuffix(b"_total")
    # No counter in OpenMetrics is negative or not a number (a text file's may be), or has a family's name.
    if kind != b"counter" or bare == name or bare in names or b" -" in samples or b" NaN" in samples:
        return b"unknown", name
    return kind, bare


@lru_cache(maxsize=16384)
def _head(name: bytes, kind: bytes, help_text: bytes | None) -> bytes:
    type_line = b"# TYPE %s %s\n" % (name, kind)
    if help_text is None:
        return type_line
    return b"# HELP %s %s\n%s" % (name, help_text.replace(b'"', b'\\"'), type_line)


def _as_float(bound: re.Match[bytes]) -> bytes:
    try:
        value = float(bound[2])
    except ValueError:
        return bound[0]
    return bound[1] + (b"+Inf" if value == math.inf else repr(value).encode())
