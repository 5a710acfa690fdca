"""Prometheus durations, alone and inside PromQL: read, write, and multiply by a factor."""

import re
from datetime import timedelta

_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800, "y": 31536000}
_PART = re.compile(r"(\d+)(ms|[smhdwy])")
_DURATION = r"(?:\d+(?:ms|[smhdwy]))+"
# Strings and comments are matched first, so that what looks like a range inside them stays as it is.
_IN_EXPRESSION = re.compile(
    r"""(?P<verbatim>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|`[^`]*`|\#[^\n]*)"""
    rf"""|\[\s*(?P<range>{_DURATION})\s*(?:(?P<colon>:)\s*(?P<step>{_DURATION})?\s*)?\]"""
    rf"""|(?P<offset>\boffset\s+-?\s*)(?P<shift>{_DURATION})"""
)


def format_duration(duration: timedelta) -> str:
    """A duration as Prometheus, Alertmanager and blackbox_exporter read it: ``15s``, ``1500ms``."""
    milliseconds = round(duration.total_seconds() * 1000)
    return f"{milliseconds}ms" if milliseconds % 1000 else f"{milliseconds // 1000}s"


def parse(text: str) -> timedelta:
    """``1h30m`` as a timedelta; ValueError for anything that Prometheus would refuse, too."""
    if not re.fullmatch(_DURATION, text) and text != "0":
        raise ValueError(f"not a Prometheus duration: {text}")
    return timedelta(seconds=sum(int(number) * _UNITS[unit] for number, unit in _PART.findall(text)))


def scale(text: str, factor: float) -> str:
    """A duration ``factor`` times as long, to the millisecond; unchanged for a factor of 1."""
    return text if factor == 1 else format_duration(parse(text) * factor)


def scale_expression(expression: str, factor: float) -> str:
    """PromQL, every range, subquery step and offset ``factor`` times as long; numbers stay as they are."""

    def scaled(match: re.Match[str]) -> str:
        if match["verbatim"] is not None:
            return match["verbatim"]
        if match["offset"] is not None:
            return match["offset"] + scale(match["shift"], factor)
        step = (match["colon"] or "") + (scale(match["step"], factor) if match["step"] else "")
        return f"[{scale(match['range'], factor)}{step}]"

    return _IN_EXPRESSION.sub(scaled, expression)
