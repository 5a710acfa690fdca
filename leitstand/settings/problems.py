"""Problems of the configuration: where, what, and what to do."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from leitstand.errors import UsageError
from leitstand.text import visible

KeyPath = tuple[str | int, ...]
Finding = tuple[KeyPath, str, str]  # path in the file, what is wrong, what to do
_LONGEST = 300  # printed characters of a key or message; a file may contain anything


@dataclass(frozen=True, order=True)
class Problem:
    """One problem: ``file:line: path: what; hint``. Line 0 is the file as a whole."""

    file: Path
    line: int
    path: str
    what: str
    hint: str = ""
    level: Literal["error", "warning"] = "error"

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}: " if self.line else f"{self.file}: "
        path = f"{_printable(self.path)}: " if self.path else ""
        level = "warning: " if self.level == "warning" else ""
        return (
            where + level + path + _printable(self.what) + (f"; {_printable(self.hint)}" if self.hint else "")
        )


class ConfigError(UsageError):
    """All problems of the configuration at once."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = sorted(set(problems))
        super().__init__("\n".join(map(str, self.problems)))

    def lines(self) -> list[str]:
        return [visible(str(problem)) for problem in self.problems]


def dotted(path: KeyPath) -> str:
    """``("backups", "web", "sources", 0)`` as ``backups.web.sources[0]``."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part or repr('')}" for part in path)
    return text.removeprefix(".")


def _printable(text: str) -> str:
    # Keys come from a file: a line break in one would split the problem into two lines.
    short = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
    return "".join(letter if letter.isprintable() else f"\\x{ord(letter):02x}" for letter in short)
