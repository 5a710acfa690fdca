"""Which of Python's regular expressions Go's RE2 refuses: probes are matched by a program written in Go.

Source: https://github.com/google/re2/wiki/Syntax. RE2 never looks back, so that its time is bounded.
"""

import re

_TOO_MANY = 1000
# In this order: a token that is fine hides what only looks like a refused one inside it.
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
    "look": "it looks ahead or behind",
    "group": "it has a group other than (…), (?:…) and (?P<name>…)",
    "flag": "it has a flag other than i, m and s",
    "reference": "it refers back to a group",
    "escape": "it has an escape that only Python knows",
    "possessive": "it has a possessive repetition",
    "open": "it has a repetition without a lower bound; write {0,n}",
    "repeat": f"it repeats more than {_TOO_MANY} times",
}


def why_not_re2(pattern: str) -> str | None:
    """What in a regular expression that Python accepts is not RE2; None when it is fine."""
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
