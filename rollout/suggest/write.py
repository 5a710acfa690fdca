"""Add entries to leitstand.yml without touching any other byte of it."""

from itertools import groupby
from pathlib import Path

from yaml import YAMLError

from leitstand.errors import LeitstandError, UsageError
from leitstand.files import write_atomically
from leitstand.settings.config import ConfigError, check
from leitstand.settings.document import Document, document_of
from rollout.suggest.entries import Entry
from rollout.suggest.suggestion import merged
from rollout.suggest.yaml_entries import NoPlaceError, with_entries

_BY_HAND = "add the entries above by hand"
_BOM = "\N{ZERO WIDTH NO-BREAK SPACE}"


class CannotWriteError(UsageError):
    """The file has a form to which nothing can be added safely, or was changed meanwhile."""


def add_to_file(path: Path, document: Document, entries: list[Entry]) -> None:
    """Add the entries to the file of the document. Raises LeitstandError; then the file is as before."""
    path = path.resolve()  # a link stays one
    if path.is_dir():
        raise CannotWriteError(
            f"{path}: is a folder of files, and entries could go into any of them", _BY_HAND
        )
    try:
        before = path.read_bytes()
        after = new_text(path, before.decode(), document, entries).encode()
        if path.read_bytes() != before:
            raise CannotWriteError(f"{path}: was changed meanwhile", "run this again")
        status = path.stat()
        write_atomically(path, after, status.st_mode & 0o7777, owner=(status.st_uid, status.st_gid))
    except UnicodeDecodeError as error:
        raise CannotWriteError(f"{path}: not UTF-8", "save the file as UTF-8") from error
    except OSError as error:
        raise LeitstandError(
            f"{error.filename or path}: {error.strerror}", "run this as the owner of the file"
        ) from error


def new_text(path: Path, text: str, document: Document, entries: list[Entry]) -> str:
    """The text with the entries in it, which means what it meant and the entries. Raises CannotWriteError."""
    mark, body = (_BOM, text[1:]) if text.startswith(_BOM) else ("", text)
    if document_of(path, body).data != document.data:
        raise CannotWriteError(f"{path}: was changed meanwhile", "run this again")
    new = body
    try:
        for section, some in groupby(entries, key=lambda entry: entry.section):
            new = with_entries(new, section, list(some))
        read = document_of(path, new)
    except NoPlaceError as error:
        raise CannotWriteError(f"{path}: {error}", _BY_HAND) from error
    except (ConfigError, YAMLError) as error:
        raise CannotWriteError(f"{path}: no lines can be added at its end", _BY_HAND) from error
    if read.data != merged(document, entries).data or check(read):
        raise CannotWriteError(f"{path}: its form leaves no safe place for new entries", _BY_HAND)
    return mark + new
