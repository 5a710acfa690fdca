"""The leitstand.yml to compare with: a file, a folder, or the same path in a git revision."""

from pathlib import Path

from leitstand.errors import UsageError
from leitstand.process import Finished, run
from leitstand.settings.config import ConfigError, check
from leitstand.settings.document import MAXIMUM_BYTES, Document, document_of, load_document, merge_texts

_TIMEOUT = 60.0


class BrokenBase(Exception):  # noqa: N818 - a state of the other side, which the command reports and survives
    """The base exists and is not a valid leitstand.yml; the text says why, in one line."""


def load_base(base: str, config: Path) -> Document | None:
    """The document that ``base`` names: a path that exists, else a git revision of the path ``config``.

    None if the revision has no such path. Raises UsageError for an unknown revision, BrokenBase.
    """
    try:
        document = load_document(Path(base)) if Path(base).exists() else _of_revision(base, config.absolute())
        problems = check(document) if document else []
    except ConfigError as error:
        problems = error.problems
    if problems:
        raise BrokenBase(str(problems[0]))
    return document


def _of_revision(revision: str, config: Path) -> Document | None:
    folder = config.parent
    commit = _commit(revision, folder)
    listing = _git(folder, "ls-tree", "-z", commit, f"./{config.name}")
    if listing.status or not listing.stdout:
        return None
    is_folder = listing.stdout.split(b"\0")[0].split()[1] == b"tree"
    if not is_folder:
        return document_of(config, _text(folder, commit, config.name))
    names = _git(folder, "ls-tree", "-z", "--name-only", f"{commit}:./{config.name}").stdout.split(b"\0")
    files = sorted(name.decode(errors="replace") for name in names if name.endswith((b".yml", b".yaml")))
    wanted = [name for name in files if not name.startswith(".")]
    return merge_texts(
        config, {config / name: _text(folder, commit, f"{config.name}/{name}") for name in wanted}
    )


def _commit(revision: str, folder: Path) -> str:
    """The full name of a commit: what comes after is never a word that a user wrote."""
    # An option in place of a revision is not one: git must not read it as its own.
    found = (
        None if revision.startswith("-") else _git(folder, "rev-parse", "--verify", f"{revision}^{{commit}}")
    )
    if found is None or found.status:
        raise UsageError(
            f"--base: '{revision}' is neither a file nor a git revision of {folder}",
            "such as: origin/main, or the path of another leitstand.yml",
        )
    return found.stdout.decode().strip()


def _text(folder: Path, commit: str, path: str) -> str:
    content = _git(folder, "cat-file", "blob", f"{commit}:./{path}").stdout
    if len(content) > MAXIMUM_BYTES:
        raise BrokenBase(f"{path}: larger than {MAXIMUM_BYTES // 1024**2} MiB")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BrokenBase(f"{path}: not UTF-8") from error


def _git(folder: Path, *words: str) -> Finished:
    return run(["git", "-C", str(folder), *words], timeout=_TIMEOUT)
