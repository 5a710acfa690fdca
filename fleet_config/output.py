"""Write rendered files: atomically, and only where they differ."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from leitstand.errors import LeitstandError
from leitstand.files import make_public_folder, write_atomically

Change = Literal["new", "changed", "unchanged", "removed"]
Files = dict[str, str]  # path below the output folder, with '/', and the text
_MARK = "# Written by 'leitstand render'"
_HEADER = f"{_MARK}; what you change here is lost. Change leitstand.yml instead.\n"


@dataclass(frozen=True)
class Written:
    """One file of a rendered folder and what became of it."""

    path: str
    change: Change


class _Dumper(yaml.SafeDumper):
    """SafeDumper that keeps expressions of several lines readable and writes equal parts out."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def _text_node(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text_node)


def read_yaml(path: Path) -> Any:
    """The content of one of our own YAML files."""
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def yaml_text(data: Any) -> str:
    """``data`` as a YAML file, in the order given, with a line that says where it comes from."""
    return _HEADER + yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)


def json_text(data: Any) -> str:
    """``data`` as a JSON file that a person can read."""
    return json.dumps(data, indent=2, ensure_ascii=False) + "\n"


def write_files(folder: Path, files: Mapping[str, str]) -> list[Written]:
    """Write ``files`` into ``folder``. A file that is already equal is not touched, so it is not reloaded.

    Raises LeitstandError when something cannot be written; files before it are written then.
    """
    return [Written(path, _write(folder / path, text.encode())) for path, text in files.items()]


def remove_former(folder: Path, pattern: str, files: Mapping[str, str]) -> list[Written]:
    """Remove what earlier releases wrote and this one does not, where another program reads all that matches
    ``pattern``. Files without our first line are not ours. Raises LeitstandError."""
    former = [
        path
        for path in sorted(folder.glob(pattern))
        if path.relative_to(folder).as_posix() not in files and path.is_file() and not path.is_symlink()
    ]
    try:
        ours = [path for path in former if path.read_bytes().startswith(_MARK.encode())]
        for path in ours:
            path.unlink()
    except OSError as error:
        raise LeitstandError(
            f"{error.filename}: cannot be removed: {error.strerror}",
            "give --out a folder that you may write to",
        ) from error
    return [Written(path.relative_to(folder).as_posix(), "removed") for path in ours]


def _write(path: Path, content: bytes) -> Change:
    try:
        make_public_folder(path.parent)
        present = path.read_bytes() if path.exists() else None
        if present == content:
            return "unchanged"
        write_atomically(path, content)
    except OSError as error:
        raise LeitstandError(
            f"{path}: cannot be written: {error.strerror}", "give --out a folder that you may write to"
        ) from error
    return "new" if present is None else "changed"
