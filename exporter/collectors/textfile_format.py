"""Read the Prometheus text format 0.0.4 strictly, family by family, without turning each sample into objects.

Source: https://prometheus.io/docs/instrumenting/exposition_formats/. Valid text is served unchanged, so only
its form is checked: names, labels, escapes, numbers, no timestamps, no duplicate series.
"""

import math
import re
from dataclasses import dataclass, field

from exporter.exposition import PARTS, Kind

# All quantifiers are possessive: otherwise one long bad line would block the exporter for hours, and "load15"
# would be the value 5 of "load1".
_NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*+"
_LABEL = r'[a-zA-Z_][a-zA-Z0-9_]*+[ \t]*+=[ \t]*+"(?:[^"\\\n]|\\["\\n])*+"'
_SAMPLE = re.compile(
    rf"({_NAME})[ \t]*+(?:\{{[ \t]*+((?:{_LABEL}[ \t]*+(?:,[ \t]*+|(?=\}})))*+)\}}[ \t]*+)?+([^\s{{}}]++)",
    re.ASCII,
)
# Decimal numbers that Go's ParseFloat accepts; it rejects a sign before NaN, and values out of range.
_NUMBER = re.compile(
    r"[+-]?(?:(?:\d++\.?\d*+|\.\d++)(?:[eE][+-]?\d++)?|(?P<infinity>[iI]nf(?:inity)?))|nan|NaN", re.ASCII
)
_META = re.compile(rf"#[ \t]*(HELP|TYPE)[ \t]+({_NAME})(?:[ \t]+(.*))?", re.ASCII)
_SINGLE_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)[ \t]*=[ \t]*("(?:[^"\\\n]|\\["\\n])*")', re.ASCII)
_KINDS: dict[str, Kind] = {
    "counter": "counter",
    "gauge": "gauge",
    "histogram": "histogram",
    "summary": "summary",
    "untyped": "untyped",
}
_BLANK = " \t\r"
# Both are cached from scrape to scrape, even after they are gone.
_LONGEST_NAME, _LONGEST_DOCUMENTATION = 255, 1000
_DOCUMENTATION_ESCAPES = re.compile(r"\\(\\|n)")


class BadTextfile(Exception):  # noqa: N818 - reads as a sentence where it is raised
    """Not the text format, or something in it that cannot be served."""


@dataclass
class Block:
    """One family of one file: its samples as lines of text, and which series they are."""

    name: str
    kind: Kind = "untyped"
    documentation: str = ""
    lines: str = ""
    series: set[str] = field(default_factory=set)

    @property
    def sample_names(self) -> tuple[str, ...]:
        return (self.name, *(self.name + suffix for suffix in PARTS.get(self.kind, ())))


def parse_textfile(content: bytes) -> list[Block]:
    """The families of one file. Raises BadTextfile with the line's number."""
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadTextfile(f"not UTF-8 at byte {error.start}") from error
    reader = _Reader()
    *lines, rest = text.split("\n")
    if rest.strip(_BLANK):
        raise BadTextfile(f"line {len(lines) + 1}: has no newline; the file may be truncated")
    for number, line in enumerate(lines, start=1):
        try:
            reader.take(line)
        except BadTextfile as error:
            raise BadTextfile(f"line {number}: {error}") from error
    return reader.blocks()


class _Reader:
    def __init__(self) -> None:
        self._blocks: dict[str, Block] = {}
        self._lines: dict[str, list[str]] = {}

    def take(self, line: str) -> None:
        """One line without its newline."""
        stripped = line.strip(_BLANK)
        if not stripped:
            return
        if stripped.startswith("#"):
            if match := _META.fullmatch(stripped):
                self._take_meta(*match.groups())
            return
        self._take_sample(stripped)

    def blocks(self) -> list[Block]:
        """All families that have samples."""
        for name, lines in self._lines.items():
            self._blocks[name].lines = "".join(lines)
        return [block for block in self._blocks.values() if block.lines]

    def _block(self, name: str) -> Block:
        if len(name) > _LONGEST_NAME:
            raise BadTextfile(f"a name of more than {_LONGEST_NAME} characters")
        return self._blocks.setdefault(name, Block(name))

    def _take_meta(self, keyword: str, name: str, rest: str | None) -> None:
        block = self._block(name)
        if keyword == "HELP":
            text = _DOCUMENTATION_ESCAPES.sub(lambda match: "\n" if match[1] == "n" else "\\", rest or "")
            block.documentation = text[:_LONGEST_DOCUMENTATION]
            return
        if (rest or "") not in _KINDS:
            raise BadTextfile("unknown type")
        if name in self._lines:
            raise BadTextfile(f"the type of {name} comes after its samples")
        block.kind = _KINDS[rest or ""]

    def _take_sample(self, line: str) -> None:
        match = _SAMPLE.fullmatch(line)
        if match is None:
            raise BadTextfile("not a sample (timestamps are not accepted)")
        name, labels, value = match.groups()
        number = _NUMBER.fullmatch(value)
        if number is None or (number["infinity"] is None and math.isinf(float(value))):
            raise BadTextfile("not a number")
        written = _labels(labels or "")
        family = self._family_of(name)
        series = f"{name}{{{written}}}" if written else name
        block = self._block(family)
        if series in block.series:
            raise BadTextfile(f"{series} appears twice")
        block.series.add(series)
        self._lines.setdefault(family, []).append(f"{series} {value}\n")

    def _family_of(self, name: str) -> str:
        for kind, suffixes in PARTS.items():
            for suffix in suffixes:
                base = name.removesuffix(suffix)
                if base != name and base in self._blocks and self._blocks[base].kind == kind:
                    return base
        return name


def _labels(text: str) -> str:
    """Labels in a canonical order and spelling, so that duplicate series are recognised."""
    pairs = _SINGLE_LABEL.findall(text)
    if len({name for name, _ in pairs}) < len(pairs):
        raise BadTextfile("a label appears twice")
    return ",".join([f"{name}={value}" for name, value in sorted(pairs)])
