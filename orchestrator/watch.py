"""The configuration as it is now: read again when one of its files changes."""

import logging
from dataclasses import dataclass, field
from pathlib import Path

from leitstand.errors import LeitstandError
from orchestrator.context import Context

_log = logging.getLogger(__name__)
State = tuple[tuple[str, int, int, int], ...]  # per file: name, modification time in ns, size, inode


@dataclass
class WatchedConfig:
    """``context`` is the last configuration that was good; one with errors is told once and not used."""

    path: Path
    context: Context = field(init=False)
    good: bool = True
    _state: State = ()

    def __post_init__(self) -> None:
        self._state = self._look()
        self.context = Context.load(self.path)

    def refresh(self) -> bool:
        """Read the files again if they changed. Whether there is another configuration now."""
        state = self._look()
        if state == self._state:
            return False
        self._state = state
        try:
            self.context = Context.load(self.path)
        except LeitstandError as error:
            self.good = False
            _log.error("%s changed and is not used: %s", self.path, "; ".join(error.lines()))
            return False
        self.good = True
        _log.info("%s changed and was read again", self.path)
        return True

    def _look(self) -> State:
        try:
            files = sorted(self.path.iterdir()) if self.path.is_dir() else [self.path]
            found = [(file.name, file.stat()) for file in files if not file.name.startswith(".")]
        except OSError:
            return ()  # being replaced at this moment, or gone: then loading says so
        return tuple((name, status.st_mtime_ns, status.st_size, status.st_ino) for name, status in found)
