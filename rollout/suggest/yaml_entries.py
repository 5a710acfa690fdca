"""Entries as text for leitstand.yml, and the place in the file where it goes.

Nothing else of the file changes, so it is not written anew from its data: the place is found by the marks of
the parser, and the caller compares what the new text means with what it should.
"""

import json
import re
from collections.abc import Iterable
from typing import Any

import yaml

from leitstand.text import visible
from rollout.suggest.entries import Entry

# A plain scalar that YAML 1.1 and 1.2 both read as text, in a list or mapping in one line, too.
_PLAIN = re.compile(r"[A-Za-z/][A-Za-z0-9/._-]*")
_WORDS = re.compile(r"(?i:true|false|null|yes|no|on|off|y|n)")
_LINE_END = re.compile(r"\r\n|\n|\r")
_STEP = 2
_LONGEST_COMMENT = 300


class NoPlaceError(ValueError):
    """The section has a form to which no lines can be added; says which."""


def entry_lines(entry: Entry, indent: int) -> list[str]:
    """An entry with its reasons as comments before it."""
    start, inner = " " * indent, " " * (indent + _STEP)
    lines = [f"{start}# {visible(reason[:_LONGEST_COMMENT])}" for reason in entry.reasons]
    lines.append(f"{start}{in_line(entry.name)}:")
    for name, value in entry.settings.items():
        if name == "sources":
            lines += [f"{inner}{name}:", *(f"{inner}{' ' * _STEP}- {in_line(each)}" for each in value)]
        else:
            lines.append(f"{inner}{name}: {in_line(value)}")
    return lines


def in_line(value: Any) -> str:
    """A value in YAML's flow style. A text in double quotes is the same in YAML and JSON."""
    match value:
        case dict():
            return "{" + ", ".join(f"{name}: {in_line(each)}" for name, each in value.items()) + "}"
        case list():
            return "[" + ", ".join(map(in_line, value)) + "]"
        case str() if _PLAIN.fullmatch(value) and not _WORDS.fullmatch(value):
            return value
    return json.dumps(value, ensure_ascii=False)


def section_text(section: str, entries: Iterable[Entry]) -> str:
    """A whole section, to be printed."""
    return "\n".join([f"{section}:", *(line for entry in entries for line in entry_lines(entry, _STEP))])


def with_entries(text: str, section: str, entries: list[Entry]) -> str:
    """``text`` with the entries at the end of their section, which may be new. Raises NoPlaceError."""
    top = yaml.compose(text, Loader=yaml.SafeLoader)
    if not isinstance(top, yaml.MappingNode) or top.flow_style:
        raise NoPlaceError("the file is written in braces, not as lines")
    end = (_LINE_END.search(text) or ["\n"])[0]
    found = [(key, value) for key, value in top.value if key.value == section]
    if not found:
        return _appended(text, [f"{section}:", *_lines(entries, _STEP)], end)
    key, value = found[0]
    place, indent = _place(text, key, value, section)
    return _inserted(text, place, _lines(entries, indent), end)


def _lines(entries: list[Entry], indent: int) -> list[str]:
    return [line for entry in entries for line in entry_lines(entry, indent)]


def _place(text: str, key: yaml.Node, value: yaml.Node, section: str) -> tuple[int, int]:
    """Where lines go, as an index into the text, and how far they are indented."""
    if value.start_mark.index < key.end_mark.index:
        raise NoPlaceError(f"'{section}' is an alias of another part of the file")
    if isinstance(value, yaml.ScalarNode) and not value.value:
        return _next_line(text, max(key.end_mark.index, value.end_mark.index)), key.start_mark.column + _STEP
    if not isinstance(value, yaml.MappingNode) or value.flow_style or not value.value:
        raise NoPlaceError(f"'{section}' is written in braces, not as lines")
    indent = value.value[0][0].start_mark.column
    return _after_comments(text, _end_of(text, value), indent), indent


def _end_of(text: str, node: yaml.Node) -> int:
    """The start of the line after a node. The parser's own end of a block is after the comments behind it."""
    while isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        key, node = last if isinstance(last, tuple) else (None, last)
        if key is not None and node.start_mark.index < key.end_mark.index:
            return _next_line(text, key.end_mark.index)  # an alias
    return node.end_mark.index if node.end_mark.column == 0 else _next_line(text, node.end_mark.index)


def _next_line(text: str, index: int) -> int:
    found = _LINE_END.search(text, index)
    return found.end() if found else len(text)


def _after_comments(text: str, place: int, indent: int) -> int:
    """Past the comments that directly follow, indented like entries: they belong to the last one."""
    comment = re.compile(rf" {{{indent},}}#[^\r\n]*(?:\r\n|\n|\r|\Z)")
    while indent and place < len(text) and (found := comment.match(text, place)):
        place = found.end()
    return place


def _appended(text: str, lines: list[str], end: str) -> str:
    return _inserted(text, len(text), lines, end)


def _inserted(text: str, place: int, lines: list[str], end: str) -> str:
    before, after = text[:place], text[place:]
    gap = "" if not before or before.endswith(("\n", "\r")) else end
    return before + gap + end.join(lines) + end + after
