"""Read leitstand.yml, or a folder of such files merged by section, with the position of everything."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from leitstand.settings.problems import ConfigError, KeyPath, Problem, dotted
from leitstand.settings.yaml_file import Content, parse_yaml
from leitstand.trust import distrust

MAXIMUM_BYTES = 8 * 1024 * 1024


@dataclass
class Document:
    """The parsed configuration and the position of each of its keys and list items.

    ``positions`` maps the path from the top to file and line; ``validated`` maps an owner of sections to the
    settings or the ValidationError.
    """

    source: Path
    data: dict[str, Any] = field(default_factory=dict)
    positions: dict[KeyPath, tuple[Path, int]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    validated: dict[type, Any] = field(default_factory=dict)

    def problem(self, path: KeyPath, what: str, hint: str = "") -> Problem:
        """A problem at ``path``, located at its nearest parent that is in a file."""
        known = path
        while known and known not in self.positions:
            known = known[:-1]
        file, line = self.positions.get(known, (self.source, 1))
        return Problem(file, line, dotted(path), what, hint)


def load_document(source: Path) -> Document:
    """Read ``source``, a file or a folder of ``*.yml``/``*.yaml`` files merged by section.

    Raises ConfigError with a problem for each file that cannot be read or is not YAML. Other problems
    (a name given twice) are kept in ``problems``, to be shown with the rest.
    """
    if os.geteuid() == 0:
        _refuse_what_others_may_change(source)
    document = Document(source)
    unreadable: list[Problem] = []
    for file in _files(source):
        try:
            _merge(document, file, parse_yaml(file, _read(file)))
        except ConfigError as error:
            unreadable += error.problems
    if unreadable:
        raise ConfigError(unreadable)
    if not document.data and not document.problems:
        document.problems.append(Problem(source, 0, "", "contains no settings", "see docs/quickstart.md"))
    return document


def document_of(source: Path, text: str) -> Document:
    """The document that a file with this text would be. Raises ConfigError if it is not YAML."""
    return merge_texts(source, {source: text})


def merge_texts(source: Path, texts: Mapping[Path, str]) -> Document:
    """The document that a folder of files with these texts would be. Raises ConfigError."""
    document = Document(source)
    for file, text in texts.items():
        _merge(document, file, parse_yaml(file, text))
    return document


def _refuse_what_others_may_change(source: Path) -> None:
    """It names programs to run and where backups go: anyone who may write it could become root."""
    for path in (source, *_files(source)):
        if os.access(path, os.R_OK) and (found := distrust(path)):
            what = f"{found.what}, so root refuses the configuration {path}"
            near = found.place in (path.absolute(), path.absolute().parent, path.resolve())
            hint = f"if its content is correct: {found.cure}" if near else "move it to /etc/leitstand"
            raise _unreadable(found.place, what, hint)


def _files(source: Path) -> list[Path]:
    try:
        if not source.is_dir():
            return [source]
        found = sorted(path for path in source.iterdir() if path.suffix in (".yml", ".yaml"))
    except OSError as error:
        raise _unreadable(
            source, str(error.strerror), "the user who runs this must be able to read it"
        ) from error
    # Editors keep unfinished copies in hidden files.
    visible = [path for path in found if not path.name.startswith(".")]
    if not visible:
        raise _unreadable(
            source, "no *.yml file in this folder", "put leitstand.yml there, or use another --config"
        )
    return visible


def _read(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            content = stream.read(MAXIMUM_BYTES + 1)
    except FileNotFoundError as error:
        hint = "pass it with --config, or write one: leitstand init"
        raise _unreadable(file, "no such file", hint) from error
    except OSError as error:
        hint = "it must be a file that the user who runs this may read"
        raise _unreadable(file, f"cannot be read: {error.strerror}", hint) from error
    if len(content) > MAXIMUM_BYTES:
        raise _unreadable(
            file, f"larger than {MAXIMUM_BYTES // 1024**2} MiB", "check that it is the right file"
        )
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError([Problem(file, line, "", "not UTF-8", "save the file as UTF-8")]) from error


def _unreadable(path: Path, what: str, hint: str) -> ConfigError:
    return ConfigError([Problem(path, 0, "", what, hint)])


def _merge(document: Document, file: Path, content: Content) -> None:
    document.problems += content.problems
    if content.data is None:
        return
    if not isinstance(content.data, dict):
        hint = "begin with a section such as 'hosts:'; a space follows each colon"
        document.problems.append(Problem(file, 1, "", "the file must contain sections", hint))
        return
    for section, value in content.data.items():
        taken = _merge_section(document, file, content, section, value)
        for path, line in content.lines.items():
            if path[0] == section and (len(path) == 1 or path[1] in taken):
                document.positions.setdefault(path, (file, line))


def _merge_section(
    document: Document, file: Path, content: Content, section: str, value: Any
) -> set[str | int]:
    """Merge one file's section into the document; returns the keys that came from this file."""
    present = document.data.get(section)
    if present is None or value is None:
        document.data[section] = value if present is None else present
        return {path[1] for path in content.lines if len(path) == 2 and path[0] == section}
    if not isinstance(present, dict) or not isinstance(value, dict):
        _given_twice(document, file, content, (section,))
        return set()
    for name in value.keys() & present.keys():
        _given_twice(document, file, content, (section, name))
    new = {name: settings for name, settings in value.items() if name not in present}
    document.data[section] = present | new
    return set(new)


def _given_twice(document: Document, file: Path, content: Content, path: KeyPath) -> None:
    first, line = document.positions[path]
    what = f"given twice, first in {first}:{line}"
    document.problems.append(Problem(file, content.lines[path], dotted(path), what, "keep one of them"))


__all__ = [
    "ConfigError",
    "Document",
    "KeyPath",
    "Problem",
    "document_of",
    "dotted",
    "load_document",
    "merge_texts",
]
