"""Whether the recovery kit of a keys file was printed: a note beside it, of the exact keys."""

import hashlib
from contextlib import suppress
from pathlib import Path

from leitstand.files import write_atomically


def _note(keys_file: Path) -> Path:
    return keys_file.with_name(f"{keys_file.name}.exported")


def _digest(keys_file: Path) -> str:
    """Of 256 random bits a generation: it gives nothing away."""
    return hashlib.sha256(keys_file.read_bytes()).hexdigest()


def note_export(keys_file: Path) -> None:
    """Note that its keys were printed; where that cannot be written, it stays unknown."""
    with suppress(OSError):
        write_atomically(_note(keys_file), f"{_digest(keys_file)}\n".encode(), 0o600)


def is_exported(keys_file: Path) -> bool:
    """Whether all of its keys were printed; with one generation more they were not."""
    try:
        return _note(keys_file).read_text(encoding="ascii").strip() == _digest(keys_file)
    except (OSError, ValueError):
        return False
