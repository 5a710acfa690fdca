"""Two documents → what differs, section by section and in the rendered files; nothing is read or asked."""

import difflib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from fleet_config.output import Files

Entries = Mapping[str, Any]
_LONGEST = 160  # characters of one value


@dataclass(frozen=True)
class FileChange:
    """A rendered file that would change, with its numbers of new and of removed lines."""

    path: str
    added: int
    removed: int


@dataclass(frozen=True)
class Difference:
    """Section → lines that begin with ``+`` (new), ``-`` (gone) or ``~`` (changed)."""

    base: str
    note: str = ""
    sections: dict[str, list[str]] = field(default_factory=dict)
    files: list[FileChange] = field(default_factory=list)


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, list[str]]:
    """The differing sections of two leitstand.yml as read; those with named entries, entry by entry."""
    found = {}
    for section in dict.fromkeys([*new, *old]):
        before, after = _named(old.get(section)), _named(new.get(section))
        if lines := list(_entries(before, after)):
            found[section] = lines
    return found


def rule_differences(old: Files, new: Files) -> dict[str, list[str]]:
    """The alerts, recording rules and targets that differ between two sets of rendered files."""
    found = {
        "alerts as rendered": list(_entries(_rules(old), _rules(new))),
        "targets as rendered": list(_entries(_targets(old), _targets(new))),
    }
    return {section: lines for section, lines in found.items() if lines}


def file_changes(old: Files, new: Files) -> list[FileChange]:
    """Every rendered file that differs."""
    return [
        _file_change(path, old.get(path, ""), new.get(path, ""))
        for path in sorted({*old, *new})
        if old.get(path) != new.get(path)
    ]


def _file_change(path: str, before: str, after: str) -> FileChange:
    marks = [line[:2] for line in difflib.ndiff(before.splitlines(), after.splitlines())]
    return FileChange(path, marks.count("+ "), marks.count("- "))


def _named(section: Any) -> Entries:
    if section is None:
        return {}
    return (
        {str(name): value for name, value in section.items()} if isinstance(section, dict) else {"": section}
    )


def _entries(old: Entries, new: Entries) -> Iterator[str]:
    for name in dict.fromkeys([*new, *old]):
        if name not in old:
            yield f"+ {name}: {_short(new[name])}"
        elif name not in new:
            yield f"- {name}"
        elif old[name] != new[name]:
            yield from (f"~ {name}{line}" for line in _settings(old[name], new[name]))


def _settings(old: Any, new: Any, path: str = "") -> Iterator[str]:
    """``.path: old → new`` for each setting below an entry that differs."""
    if not isinstance(old, dict) or not isinstance(new, dict):
        yield f"{path}: {_short(old)} → {_short(new)}"
        return
    for key in dict.fromkeys([*new, *old]):
        if old.get(key, _ABSENT) != new.get(key, _ABSENT):
            yield from _settings(old.get(key, _ABSENT), new.get(key, _ABSENT), f"{path}.{key}")


class _Absent:
    def __str__(self) -> str:
        return "(default)"


_ABSENT = _Absent()


def _short(value: Any) -> str:
    plain = isinstance(value, str | _Absent)
    text = " ".join(str(value).split()) if plain else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "…"


def _rules(files: Files) -> dict[str, Any]:
    """Name → what decides when it fires; texts and links are in the changes of files."""
    found: dict[str, Any] = {}
    for rule in _all_rules(files):
        kind = "alert" if "alert" in rule else "record"
        labels = "".join(f" {name}={value}" for name, value in rule.get("labels", {}).items())
        name = str(rule[kind]) if kind == "alert" else f"{rule[kind]}{labels}"
        while name in found:
            name += "'"
        found[name] = {key: rule[key] for key in ("expr", "for", "keep_firing_for") if key in rule}
    return found


def _all_rules(files: Files) -> Iterable[dict[str, Any]]:
    for path, text in files.items():
        if path.startswith("prometheus/rules/"):
            for group in yaml.safe_load(text)["groups"]:
                yield from group["rules"]


def _targets(files: Files) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for path, text in files.items():
        if path.startswith("prometheus/targets/"):
            for entry in json.loads(text):
                labels = {name: value for name, value in entry["labels"].items() if not name.startswith("__")}
                for target in entry["targets"]:
                    found[f"{path.rpartition('/')[2].removesuffix('.json')} {target}"] = labels
    return found
