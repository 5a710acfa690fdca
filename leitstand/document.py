"""Read leitstand.yml, or a folder of such files, and remember on which line everything stands.

YAML 1.2's core schema: ``no`` is a text, not false, and ``03:00`` is a text, not 180.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from leitstand.errors import LeitstandError, UsageError

KeyPath = tuple[str | int, ...]
MAXIMUM_NODES = 200_000  # a few hundred bytes of YAML aliases can stand for gigabytes


@dataclass(frozen=True, order=True)
class Problem:
    """One thing that is wrong: ``file:line: path: what; hint``."""

    file: Path
    line: int
    path: str
    what: str
    hint: str = ""

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}: " + (f"{self.path}: " if self.path else "")
        return where + self.what + (f"; {self.hint}" if self.hint else "")


class ConfigError(UsageError):
    """Everything that is wrong with the configuration, at once."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = sorted(set(problems))
        super().__init__("\n".join(map(str, self.problems)))


@dataclass
class Document:
    """The parsed configuration and where each of its keys and values stands.

    ``positions`` has the place of the key (for a list, the item) under its path from the top; ``()`` is the file.
    """

    source: Path
    data: dict[str, Any] = field(default_factory=dict)
    positions: dict[KeyPath, tuple[Path, int]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def problem(self, path: KeyPath, what: str, hint: str = "") -> Problem:
        """A problem at ``path``, or at the nearest place around it that is in the file."""
        known = path
        while known and known not in self.positions:
            known = known[:-1]
        file, line = self.positions.get(known, (self.source, 1))
        return Problem(file, line, dotted(path), what, hint)


def dotted(path: KeyPath) -> str:
    """``("backups", "web", "sources", 0)`` as ``backups.web.sources[0]``."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".")


class _Loader(yaml.SafeLoader):
    """SafeLoader with the scalars of YAML 1.2."""


def _set_up_scalars() -> None:
    _Loader.yaml_implicit_resolvers = {}
    for tag, pattern, first in (
        ("bool", r"true|false|True|False|TRUE|FALSE", "tTfF"),
        ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
        ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
        ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.inf|\.nan", "-+.0123456789"),
        ("merge", r"<<", "<"),
    ):
        _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(f"^(?:{pattern})$"), list(first))
    _Loader.add_constructor("tag:yaml.org,2002:int", _whole_number)


def _whole_number(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> int:
    # `int` alone would read 010 as an error, SafeLoader as 8; YAML 1.2 says 10.
    text = node.value.replace("0o", "0o", 1)
    return int(text, 0) if text[:2] in ("0o", "0x") else int(text, 10)


_set_up_scalars()


class _Reader:
    """Turns one file's nodes into data, noting positions and duplicate keys."""

    def __init__(self, document: Document, file: Path, text: str) -> None:
        self.document, self.file = document, file
        self.loader = _Loader(text)
        self.nodes = 0

    def read(self) -> Any:
        node = self.loader.get_single_node()
        return None if node is None else self.value(node, ())

    def value(self, node: yaml.Node, path: KeyPath) -> Any:
        self.nodes += 1
        if self.nodes > MAXIMUM_NODES:
            raise yaml.constructor.ConstructorError(None, None, "the file is too large", node.start_mark)
        if isinstance(node, yaml.MappingNode):
            return self.mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.item(child, (*path, index)) for index, child in enumerate(node.value)]
        return self.loader.construct_object(node)

    def item(self, node: yaml.Node, path: KeyPath) -> Any:
        self.note(path, node)
        return self.value(node, path)

    def mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, Any]:
        own = {key.value for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"}
        merged = any(key.tag == "tag:yaml.org,2002:merge" for key, _ in node.value)
        if merged:
            self.loader.flatten_mapping(node)
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = str(key_node.value) if isinstance(key_node, yaml.ScalarNode) else "?"
            child = (*path, key)
            if key in result and not (merged and key in own):
                first = self.document.positions[child][1]
                self.document.problems.append(
                    Problem(self.file, line_of(key_node), dotted(child), f"given twice, first on line {first}",
                            "keep one of them")
                )
            self.note(child, key_node)
            result[key] = self.value(value_node, child)
        return result

    def note(self, path: KeyPath, node: yaml.Node) -> None:
        self.document.positions[path] = (self.file, line_of(node))


def line_of(node: yaml.Node) -> int:
    """The line, counted from 1, on which a node starts."""
    return int(node.start_mark.line) + 1


def load_document(source: Path) -> Document:
    """Read ``source``, a file or a folder of ``*.yml``/``*.yaml`` files merged by section.

    Raises ConfigError when it is not readable or not YAML; duplicate names are kept in ``problems``
    to be shown with all the others.
    """
    document = Document(source)
    for file in _files(source):
        data = _read_file(document, file)
        if data is None:
            continue
        if not isinstance(data, dict):
            raise ConfigError([Problem(file, 1, "", "the file must hold sections", "write 'hosts:' and so on")])
        _merge(document, file, data)
    return document


def _files(source: Path) -> list[Path]:
    if not source.is_dir():
        return [source]
    found = sorted(path for path in source.iterdir() if path.suffix in (".yml", ".yaml"))
    if not found:
        raise UsageError(f"{source}: no *.yml file in this folder", "put leitstand.yml there or name another --config")
    return found


def _read_file(document: Document, file: Path) -> Any:
    # Positions of each file are read apart, so that a name in two files is found by _merge.
    part = Document(file)
    try:
        data = _Reader(part, file, file.read_text(encoding="utf-8")).read()
    except FileNotFoundError as error:
        raise UsageError(f"{file}: no such file", "name it with --config, or write one: docs/quickstart.md") from error
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{file}: cannot be read: {error}", "it must be a readable UTF-8 file") from error
    except yaml.YAMLError as error:
        raise ConfigError([_yaml_problem(file, error)]) from error
    except RecursionError as error:
        raise ConfigError([Problem(file, 1, "", "nested too deeply", "a section is a few levels deep")]) from error
    document.problems.extend(part.problems)
    for path, position in part.positions.items():
        if len(path) > 2 or path not in document.positions:
            document.positions.setdefault(path, position)
    document.positions |= {("\0", *path): position for path, position in part.positions.items() if len(path) == 2}
    return data


def _merge(document: Document, file: Path, data: dict[str, Any]) -> None:
    for section, content in data.items():
        present = document.data.get(section)
        if present is None:
            document.data[section] = content
        elif isinstance(present, dict) and isinstance(content, dict):
            for name, value in content.items():
                if name in present:
                    first, line = document.positions[(section, name)]
                    here = document.positions[("\0", section, name)][1]
                    document.problems.append(
                        Problem(file, here, dotted((section, name)), f"given twice, first in {first}:{line}",
                                "keep one of them")
                    )
                else:
                    present[name] = value
        else:
            first, line = document.positions[(section,)]
            document.problems.append(
                Problem(file, 1, section, f"given twice, first in {first}:{line}", "keep one of them")
            )


def _yaml_problem(file: Path, error: yaml.YAMLError) -> Problem:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    what = str(getattr(error, "problem", None) or error).splitlines()[0]
    line = mark.line + 1 if mark else 1
    return Problem(file, line, "", f"not valid YAML: {what}", "check indentation, quotes and colons around this line")


__all__ = ["ConfigError", "Document", "KeyPath", "LeitstandError", "Problem", "dotted", "load_document"]
