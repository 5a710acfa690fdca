"""The version, by git's tags, and the note of version and commit that a wheel and a source archive carry."""

import re
import runpy
import subprocess
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ROOT = Path(__file__).parent
FIRST = "0.1.0"  # the release that is worked on as long as there is no tag


def version(root: Path = ROOT) -> str:
    """The tag ``vX.Y.Z`` that is checked out unchanged, else the next patch release, ``X.Y.Z.devN+gCOMMIT``.

    N counts commits since the tag, or all of them. Without git it is 0; hatchling itself takes the version of
    an unpacked source archive from its PKG-INFO.
    """
    tags = ("--match=v[0-9]*.[0-9]*.[0-9]*", "--exclude=*[!v0-9.]*")
    text = _git(root, "describe", "--tags", "--long", "--dirty", *tags)
    described = re.fullmatch(r"v(\d+\.\d+\.)(\d+)-(\d+)-g\w+(-dirty)?", text)
    if described and described[3] == "0" and not described[4]:
        return f"{described[1]}{described[2]}"
    release = f"{described[1]}{int(described[2]) + 1}" if described else FIRST
    count = described[3] if described else _git(root, "rev-list", "--count", "HEAD") or "0"
    commit = _told(root, "revision")
    return f"{release}.dev{count}" + (f"+g{commit}" if commit else "")


def _git(root: Path, *words: str) -> str:
    if not (root / ".git").exists():  # a folder around an unpacked archive may be another checkout
        return ""
    # Of another user's checkout git tells root nothing else; this file is run from there already.
    argv = ["git", "-C", root, "-c", "safe.directory=*", *words]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _told(root: Path, name: str) -> str:
    return str(runpy.run_path(str(root / "leitstand" / "version.py"))[name](root / "leitstand"))


def refuse_placeholders(version: str, urls: dict[str, str], maintainers: str) -> None:
    """Raises ValueError for a release without pages or maintainers of its own. One with .dev is none."""
    if ".dev" in version:
        return
    if any("example.org" in url for url in urls.values()):
        raise ValueError("a release names its own pages: replace example.org in [project.urls]")
    if "| to be named" in maintainers:
        raise ValueError("a release names who answers for it: replace 'to be named' in MAINTAINERS.md")


class NoteHook(BuildHookInterface):  # type: ignore[type-arg]
    """Adds ``leitstand/share/version`` and ``commit``; an installed checkout looks at itself instead."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called by hatchling before a build; ``version`` is its kind."""
        self._written: list[Path] = []
        if version == "editable":
            return
        maintainers = (Path(self.root) / "MAINTAINERS.md").read_text()
        refuse_placeholders(self.metadata.version, self.metadata.core.urls, maintainers)
        notes = {"version": self.metadata.version, "commit": _told(Path(self.root), "revision")}
        self._written = [self._write(name, text) for name, text in notes.items() if text]
        build_data["force_include"] |= {str(path): f"leitstand/share/{path.name}" for path in self._written}

    def _write(self, name: str, text: str) -> Path:
        path = Path(self.directory) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")
        return path

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Called by hatchling after a build."""
        for path in self._written:
            path.unlink(missing_ok=True)
