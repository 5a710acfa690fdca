"""Folders with numbers for names, in the order in which they were made; no clock is asked."""

from pathlib import Path

_DIGITS = 6


def numbered(folder: Path) -> list[Path]:
    """Those in ``folder``, the oldest first; none if it does not exist."""
    return sorted(folder.glob("[0-9]" * _DIGITS)) if folder.is_dir() else []


def next_numbered(folder: Path) -> Path:
    """A new, empty one, for its owner alone. Raises OSError."""
    last = max((int(path.name) for path in numbered(folder)), default=0)
    made = folder / f"{last + 1:0{_DIGITS}}"
    made.mkdir(mode=0o700)
    return made
