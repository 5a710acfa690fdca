"""configuration.md: every section and key of leitstand.yml, from its JSON Schema."""

import json
from collections.abc import Iterator
from typing import Any

INTRODUCTION = """\
<!-- Made by docs/reference/generate.py from the models; change those. -->

# leitstand.yml

One file describes the fleet. `leitstand check` reads it and prints every problem at once, as `file:line:
path: what; hint`; its exit code is 0 when nothing is wrong, 2 when something is.

* **Where it is looked for:** `--config`, then `$LEITSTAND_CONFIG`, then `leitstand.yml` in the current
  folder, then `/etc/leitstand/leitstand.yml`.
* **A folder instead of a file:** `--config FOLDER` reads every `*.yml` and `*.yaml` in it, except hidden
  ones, and merges them by section: hosts may stand in one file, services in others, and a section may be
  spread over files. A name given twice is an error that tells both places.
* **YAML 1.2:** `no`, `on` and `03:00` are texts; only `true` and `false` are switches. Nothing is
  converted in silence: a number where a text is wanted is refused. Anchors (`&name`), aliases (`*name`)
  and `<<:` work.
* **Names** (of hosts, services, stores, backups, maintenance) are 1 to 64 small letters, digits, `.`,
  `_` or `-`.
* **Secrets** never stand in this file: each is named by a `…_file` (mode 0600) or printed by a
  `…_command`.
* **Durations** are written `30s`, `15m`, `1h30m`, `2d` or `1w`.

## In your editor

`leitstand schema > leitstand.schema.json` prints a JSON Schema (a copy is [beside this
page](leitstand.schema.json)). Editors with a YAML language server (VS Code with the YAML extension,
Neovim, Emacs, Helix, IntelliJ) complete keys, show their meaning and mark mistakes when the first line
of `leitstand.yml` names it:

```yaml
# yaml-language-server: $schema=./leitstand.schema.json
```

The schema knows the shape of the file only. References between sections, addresses, URLs, patterns and
time zones are checked by `leitstand check`: run it before every commit, and in your CI.
"""
KINDS = {"string": "text", "integer": "whole number", "number": "number", "boolean": "`true` or `false`"}


def configuration_page(schema: dict[str, Any]) -> str:
    """Every section, and every group of keys below it, as tables."""
    parts, told = [INTRODUCTION], set[str]()
    for section, content in schema["properties"].items():
        options = [option for option in content["anyOf"] if option != {"type": "null"}]
        shape = options[0]
        named = next(iter(shape.get("patternProperties", {}).values()), None)
        heading = f"## {section}" + (": NAME" if named else "")
        first = schema["$defs"][next(references(named or shape)).rpartition("/")[2]]
        description = content.get("description") or first.get("description", "")
        parts.append(f"{heading}\n\n{description}\n")
        parts += groups(schema, named or shape, told, "" if "$ref" in (named or shape) else section)
    return "\n".join(parts)


def groups(schema: dict[str, Any], shape: dict[str, Any], told: set[str], heading: str) -> Iterator[str]:
    """The table of a group of keys, then those of the groups that it holds; each once."""
    for reference in references(shape):
        name = reference.rpartition("/")[2]
        group = schema["$defs"][name]
        if name in told or "properties" not in group:
            continue
        told.add(name)
        yield (f"### {name}\n\n{group.get('description', '')}\n\n" if heading else "") + table(group)
        for content in group["properties"].values():
            yield from groups(schema, content, told, name)


def table(group: dict[str, Any]) -> str:
    """A row for each key of a group."""
    lines = ["| key | value | default | meaning |", "|---|---|---|---|"]
    for key, content in group["properties"].items():
        default = "**needed**" if key in group.get("required", ()) else written(content.get("default"))
        meaning = content.get("description", "").replace("|", "\\|")
        lines.append(f"| `{key}` | {kind(content)} | {default} | {meaning} |")
    return "\n".join(lines) + "\n"


def written(default: Any) -> str:
    """A default as it would stand in the file; nothing for what is empty."""
    return (
        "" if default in (None, [], "") else f"`{json.dumps(default, ensure_ascii=False)}`".replace('"', "")
    )


def kind(content: dict[str, Any]) -> str:
    """What may be written, in words."""
    if "$ref" in content:
        name = content["$ref"].rpartition("/")[2]
        return "text, or text per language" if name == "Text" else f"[{name}](#{name.lower()})"
    for several in ("anyOf", "oneOf"):
        if several in content:
            return " or ".join(
                dict.fromkeys(kind(one) for one in content[several] if one != {"type": "null"})
            )
    if "enum" in content or "const" in content:
        return ", ".join(f"`{value}`" for value in content.get("enum", [content.get("const")]))
    if content.get("type") == "array":
        return f"list of {kind(content['items'])}"
    return special(content) or KINDS.get(content.get("type", ""), "keys and values") + limits(content)


def special(content: dict[str, Any]) -> str:
    """The word for a text of a certain form; empty for any text."""
    if content.get("format") == "path":
        return "absolute path"
    pattern = str(content.get("pattern", ""))
    kinds = {"ms|[smhdw]": "duration", "[sS]?://": "URL", "{0,62}[a-z0-9])?$": "name"}
    return next((word for part, word in kinds.items() if part in pattern), "")


def limits(content: dict[str, Any]) -> str:
    """The smallest and the largest number, to stand behind the word for it."""
    lowest, highest = content.get("minimum"), content.get("maximum")
    if lowest is None and highest is None:
        return ""
    return f", {lowest} to {highest}" if highest is not None else f", {lowest} or more"


def references(content: Any) -> Iterator[str]:
    """Every ``$ref`` in a part of the schema, in order."""
    if isinstance(content, dict):
        if isinstance(content.get("$ref"), str):
            yield content["$ref"]
        content = list(content.values())
    for inner in content if isinstance(content, list) else ():
        yield from references(inner)
