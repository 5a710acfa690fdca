"""Finds regular expressions of Python that Go's RE2, which matches the probes, refuses.

Source: https://github.com/google/re2/wiki/Syntax. RE2 never backtracks, so its time is bounded.
"""

import re

_TOO_MANY = 1000
# In this order: a supported token hides what only looks like an unsupported one inside it.
_TOKEN = re.compile(
    r"(?P<look>\(\?(?:=|!|<=|<!))"
    r"|(?P<group>\(\?(?:>|\(|\#|P=))"
    r"|(?P<flag>\(\?[a-zA-Z]*[aLux])"
    r"|(?P<reference>\\[1-9])"
    r"|(?P<escape>\\(?:[ZuUN]|[^\x00-\x7f]))"
    r"|\\."
    r"|(?P<set>\[\^?\]?(?:\\.|[^\]\\])*\])"
    r"|(?P<possessive>(?:[*+?]|\{\d*,?\d*\})\+)"
    r"|(?P<open>\{,\d+\})"
    r"|(?P<repeat>\{\d+(?:,\d*)?\})",
    re.DOTALL,
)
_ESCAPE_IN_SET = re.compile(r"\\(?:[bZuUN]|[^\x00-\x7f])|\\.", re.DOTALL)
_REASONS = {
    "look": "lookahead and lookbehind are not supported",
    "group": "only the groups (…), (?:…) and (?P<name>…) are supported",
    "flag": "only the flags i, m and s are supported",
    "reference": "backreferences are not supported",
    "escape": "this escape is only supported by Python",
    "possessive": "possessive repetition is not supported",
    "open": "a repetition needs a lower bound; write {0,n}",
    "repeat": f"more than {_TOO_MANY} repetitions are not supported",
}


def why_not_re2(pattern: str) -> str | None:
    """The part of a valid Python regular expression that RE2 does not support, or None."""
    for match in _TOKEN.finditer(pattern):
        kind = match.lastgroup
        if kind == "set":
            kind = _kind_in_set(match[0])
        if kind == "repeat" and max(map(int, re.findall(r"\d+", match[0]))) <= _TOO_MANY:
            continue
        if kind is not None:
            return _REASONS[kind]
    return None


def _kind_in_set(text: str) -> str | None:
    escapes = (match[0] for match in _ESCAPE_IN_SET.finditer(text))
    return "escape" if any(escape[1] in "bZuUN" or not escape.isascii() for escape in escapes) else None
