"""Turn YAML text into plain data, with the line of everything in it.

YAML 1.2's core schema (https://yaml.org/spec/1.2.2/#103-core-schema): ``no`` is a text, not false; ``03:00``
is a text, not 180. The result only contains text, numbers, true, false, null, lists and mappings.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import yaml

from leitstand.settings.problems import ConfigError, KeyPath, Problem, dotted
from leitstand.settings.yaml_syntax import NO_BREAK_SPACE, syntax_problem

MAXIMUM_NODES = 200_000  # a few hundred bytes of YAML aliases can expand to gigabytes
MAXIMUM_DEPTH = 50
_TAG = "tag:yaml.org,2002:"
_MERGE = f"{_TAG}merge"
_FLOAT = r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
_HALF_A_LETTER = ("contains half a character (\\ud800 to \\udfff)", "write the character itself")
_TOO_LARGE = ("expands to more than a configuration can contain", "look for aliases (*name) of aliases")


class _Loader(yaml.SafeLoader):
    """Resolves plain scalars as YAML 1.2 does. The key `None` means any first letter."""

    yaml_implicit_resolvers: ClassVar[dict[str | None, list[tuple[str, re.Pattern[str]]]]] = {  # type: ignore[misc]
        None: [
            (f"{_TAG}bool", re.compile(r"(?:true|True|TRUE|false|False|FALSE)\Z")),
            (f"{_TAG}null", re.compile(r"(?:~|null|Null|NULL|)\Z")),
            (f"{_TAG}int", re.compile(r"(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)\Z")),
            (f"{_TAG}float", re.compile(rf"(?:{_FLOAT})\Z")),
            (_MERGE, re.compile(r"<<\Z")),
        ]
    }


def _whole_number(text: str) -> int:
    # 010 is ten in YAML 1.2; `int(text, 0)` would refuse it.
    return int(text, 0) if text[:2] in ("0o", "0x") else int(text, 10)


def _number(text: str) -> float:
    return float(re.sub(r"\.(?=[iInN])", "", text))


_SCALARS: dict[str, Callable[[str], Any]] = {
    f"{_TAG}str": str,
    f"{_TAG}bool": lambda text: text.lower() == "true",
    f"{_TAG}null": lambda text: None,
    f"{_TAG}int": _whole_number,
    f"{_TAG}float": _number,
    _MERGE: str,
}
_COLLECTIONS = (f"{_TAG}map", f"{_TAG}seq")


@dataclass
class Content:
    """The content of a file: its data, the line of every key and list item, and its problems."""

    data: Any = None
    lines: dict[KeyPath, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


def parse_yaml(file: Path, text: str) -> Content:
    """Parse ``text``, the content of ``file``. Raises ConfigError if it is not YAML."""
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        builder = _Builder(file)
        builder.content.data = None if node is None else builder.value(node, ())
    except yaml.YAMLError as error:
        raise ConfigError([syntax_problem(file, text, error)]) from error
    except RecursionError as error:
        raise ConfigError([_too_deep(file, loader.line + 1)]) from error
    return builder.content


class _Builder:
    def __init__(self, file: Path) -> None:
        self.file, self.content, self.visited = file, Content(), 0

    def value(self, node: yaml.Node, path: KeyPath) -> Any:
        self.visit(node, path)
        if isinstance(node, yaml.ScalarNode):
            return self.scalar(node, path)
        if node.tag not in _COLLECTIONS:
            self.refuse_tag(node, path)
        if isinstance(node, yaml.MappingNode):
            return self.mapping(node, path)
        return [self.entry(child, child, (*path, index)) for index, child in enumerate(node.value)]

    def entry(self, key: yaml.Node, value: yaml.Node, path: KeyPath) -> Any:
        self.content.lines[path] = line_of(key)
        return self.value(value, path)

    def scalar(self, node: yaml.ScalarNode, path: KeyPath) -> Any:
        if node.tag not in _SCALARS:
            self.refuse_tag(node, path)
            return str(node.value)
        if node.style is None and re.fullmatch(r"[„“”«»].*[“”«»]", node.value):
            # From a word processor. In `expect` they would never match, and the service would be down.
            self.problem(node, path, "typographic quotes become part of the text", 'write "…"')
        text = _joined(node.value)
        if text is None:
            self.problem(node, path, *_HALF_A_LETTER)
            return None
        try:
            return _SCALARS[node.tag](text)
        except ValueError:
            self.problem(node, path, "is a number that cannot be read", "write a shorter one")
            return None

    def mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key, value in node.value:
            if key.tag == _MERGE:
                continue
            name = self.name(key, path)
            if name is None:
                continue
            child = (*path, name)
            if name in result:
                what = f"given twice, first on line {self.content.lines[child]}"
                self.problem(key, child, what, "keep one of them")
            else:
                result[name] = self.entry(key, value, child)
        for key, value in self.merged(node, path):
            name = self.name(key, path)
            if (
                name is not None and name not in result
            ):  # the mapping's own keys come before what is merged into it
                result[name] = self.entry(key, value, (*path, name))
        return result

    def merged(self, node: yaml.MappingNode, path: KeyPath) -> Iterator[tuple[yaml.Node, yaml.Node]]:
        """Keys and values merged by ``<<: *alias``, nearest first."""
        for source in [value for key, value in node.value if key.tag == _MERGE]:
            for mapping in source.value if isinstance(source, yaml.SequenceNode) else [source]:
                self.visit(mapping, path)
                if isinstance(mapping, yaml.MappingNode):
                    yield from ((key, value) for key, value in mapping.value if key.tag != _MERGE)
                    yield from self.merged(mapping, path)
                else:
                    self.problem(
                        mapping, path, "'<<' needs a mapping", "write '<<: *name' for an anchor '&name'"
                    )

    def name(self, key: yaml.Node, path: KeyPath) -> str | None:
        if isinstance(key, yaml.ScalarNode):
            if _joined(key.value) is None:
                self.problem(key, path, *_HALF_A_LETTER)
                return None
            name = str(key.value).strip("\u00a0 ") if "\u00a0" in key.value else str(key.value)
            if name != key.value:
                self.problem(key, (*path, name), *NO_BREAK_SPACE)
            return name
        self.problem(key, path, "a key must be plain text", "quote a text that begins with { or [")
        return None

    def visit(self, node: yaml.Node, path: KeyPath) -> None:
        self.visited += 1
        if self.visited > MAXIMUM_NODES:
            raise ConfigError([Problem(self.file, line_of(node), dotted(path[:2]), *_TOO_LARGE)])
        if len(path) > MAXIMUM_DEPTH:
            raise ConfigError([_too_deep(self.file, line_of(node))])

    def refuse_tag(self, node: yaml.Node, path: KeyPath) -> None:
        tag = str(node.tag).replace(_TAG, "!!")
        hint = "write the value itself, in quotes if it begins with '!'; a secret belongs in a separate file"
        self.problem(node, path, f"the tag '{tag}' is not supported", hint)

    def problem(self, node: yaml.Node, path: KeyPath, what: str, hint: str) -> None:
        self.content.problems.append(Problem(self.file, line_of(node), dotted(path), what, hint))


def _joined(text: str) -> str | None:
    """``text`` with surrogate pairs joined, as JSON writes them; None if one is unpaired."""
    if text.isascii():
        return text
    try:
        return text.encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError:
        return None


def line_of(node: yaml.Node) -> int:
    """The line, counted from 1, on which a node starts."""
    return int(node.start_mark.line) + 1


def _too_deep(file: Path, line: int) -> Problem:
    return Problem(file, line, "", "nested too deeply", "settings are only a few levels deep")
