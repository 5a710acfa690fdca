"""Which Leitstand runs: its version, and the commit it was made from."""

import re
from pathlib import Path

_PACKAGE = Path(__file__).parent
_COMMIT = re.compile(r"[0-9a-f]{12,64}")
SHOWN = 12  # hexadecimal digits of a commit


def release(package: Path = _PACKAGE) -> str:
    """The version recorded in the wheel; a checkout has only its commit."""
    try:
        return (package / "share" / "version").read_text().strip()
    except OSError:
        commit = revision(package)
        return "0.dev0" + (f"+g{commit}" if commit else "")


def revision(package: Path = _PACKAGE) -> str:
    """The commit, as 12 digits: recorded in the wheel, or the one checked out; empty if unknown."""
    try:
        written = package / "share" / "commit"
        text = written.read_text() if written.exists() else _checked_out(package.parent / ".git")
    except (OSError, ValueError):
        return ""
    return text.strip()[:SHOWN] if _COMMIT.fullmatch(text.strip()) else ""


def _checked_out(git: Path) -> str:
    """The commit of HEAD, read from the files of https://git-scm.com/docs/gitrepository-layout, without git.

    git would run programs named in the repository's configuration.
    """
    if git.is_file():  # a further work tree
        git = git.parent / git.read_text().removeprefix("gitdir:").strip()
    head = (git / "HEAD").read_text().strip()
    if not head.startswith("ref:"):
        return head
    name, common = head.removeprefix("ref:").strip(), git / "commondir"
    shared = git / common.read_text().strip() if common.exists() else git
    for folder in (git, shared):
        if (folder / name).is_file():
            return (folder / name).read_text()
    packed = (line.split(" ") for line in (shared / "packed-refs").read_text().splitlines())
    return next((words[0] for words in packed if words[1:] == [name]), "")


# Of the code that was loaded: a checkout may move on while a program runs.
VERSION, REVISION = release(), revision()
