"""Find secrets that were written into a repository in plain text. A finding never repeats the secret."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from leitstand.process import run
from rollout.secrets.vaults import MARK

_MOST = 1 << 20  # bytes of one file that are looked at; secrets are in small ones
_TIMEOUT = 60.0
KINDS: dict[str, re.Pattern[bytes]] = {
    name: re.compile(pattern)
    for name, pattern in {
        "private key": rb"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----",
        "age identity": rb"AGE-SECRET-KEY-1[0-9A-Z]{50,}",
        "access key of a cloud": rb"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b",
        "token of GitHub": rb"\b(?:gh[oprsu]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{60,})",
        "token of GitLab": rb"\bglpat-[A-Za-z0-9_-]{20,}",
        "token of Slack": rb"\bxox[abeoprs]-[A-Za-z0-9-]{10,}",
        "token of Grafana": rb"\bglsa_[A-Za-z0-9]{32}_[0-9a-fA-F]{8}\b",
        "password in a URL": rb"\b[a-z][a-z0-9+.-]*://[^\s/:@'\"{}<>]+:[^\s/@'\"{}<>$]{3,}@",
        "password in a setting": rb"(?im)^[ \t-]*[\"']?[a-z0-9_]*(?:password|passwd|secret|token|api_?key)"
        rb"[\"']?[ \t]*[:=][ \t]*[\"']?(?![\"'{$<!|>/]|\s*$)[^\s\"'#]{8,}",
    }.items()
}


@dataclass(frozen=True, order=True)
class Planted:
    """What looks like a secret: where, and of which kind."""

    file: Path
    line: int
    kind: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.kind} in plain text"


def scan(folder: Path) -> list[Planted]:
    """Every finding in the files that git has or would take, or in all files if ``folder`` is no repository.

    A vault without encryption is one as well. Links are not followed.
    """
    return sorted({found for file in _files(folder) for found in _look_at(file)})


def vaults_in(folder: Path) -> list[Path]:
    """The encrypted vaults among these files, under any name."""
    return sorted(file for file in _files(folder) if _begins_with(file, MARK))


def _begins_with(file: Path, mark: bytes) -> bool:
    with file.open("rb") as stream:
        return stream.read(len(mark)) == mark


def find(content: bytes) -> Iterator[tuple[int, str]]:
    """Line and kind of each secret in the content of a file."""
    for kind, pattern in KINDS.items():
        for match in pattern.finditer(content):
            yield content.count(b"\n", 0, match.start()) + 1, kind


def _look_at(file: Path) -> Iterator[Planted]:
    with file.open("rb") as stream:
        content = stream.read(_MOST)
    if file.name.startswith("vault_") and not content.startswith(MARK):
        yield Planted(file, 1, "vault")
    yield from (Planted(file, line, kind) for line, kind in find(content))


def _files(folder: Path) -> list[Path]:
    words = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = run(["git", "-C", str(folder.absolute()), *words], timeout=_TIMEOUT)
    if listed.status:
        found = [path for path in folder.rglob("*") if ".git" not in path.parts]
    else:
        found = [
            folder / name.decode(errors="surrogateescape") for name in listed.stdout.split(b"\0") if name
        ]
    return [path for path in found if path.is_file() and not path.is_symlink()]
