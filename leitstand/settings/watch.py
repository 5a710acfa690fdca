"""The current configuration: read again when one of its files changes."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from leitstand.errors import LeitstandError

_log = logging.getLogger(__name__)
State = tuple[tuple[str, int, int, int], ...]  # per file: name, modification time in ns, size, inode
Loaded = TypeVar("Loaded")


class Watched(Generic[Loaded]):
    """``value`` is made from the last valid configuration; ``good`` is whether that is the newest.

    ``load`` makes it from the path. Its LeitstandError reaches the caller at the start; later it is
    logged once, and the previous value stays in use.
    """

    def __init__(self, path: Path, load: Callable[[Path], Loaded]) -> None:
        self.path, self.good = path, True
        self._load, self._state = load, self._look(path)
        self.value = load(path)

    def refresh(self) -> bool:
        """Read the files again if they changed; returns whether ``value`` is new."""
        state = self._look(self.path)
        if state == self._state:
            return False
        self._state = state
        try:
            self.value = self._load(self.path)
        except LeitstandError as error:
            self.good = False
            _log.error("%s has changed but is not used: %s", self.path, "; ".join(error.lines()))
            return False
        self.good = True
        _log.info("%s has changed and was read again", self.path)
        return True

    @staticmethod
    def _look(path: Path) -> State:
        try:
            files = sorted(path.iterdir()) if path.is_dir() else [path]
            found = [(file.name, file.stat()) for file in files if not file.name.startswith(".")]
        except OSError:
            return ()  # being replaced right now, or deleted: loading then reports it
        return tuple((name, status.st_mtime_ns, status.st_size, status.st_ino) for name, status in found)
