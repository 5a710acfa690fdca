"""The jobs as they are now: read again when a file of the configuration changes."""

from pathlib import Path

from leitstand.settings.watch import Watched
from orchestrator.state.context import Context


class WatchedConfig(Watched[Context]):
    """``context`` is the last configuration that was good; one with errors is told once and not used."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, Context.load)

    @property
    def context(self) -> Context:
        """The jobs, stores and hosts."""
        return self.value
