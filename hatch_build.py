"""Writes down in the wheel which commit it was built from, so that ``leitstand --version`` can tell."""

import runpy
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class CommitHook(BuildHookInterface):  # type: ignore[type-arg]
    """Adds ``leitstand/share/commit``; an installation of a checkout looks into the checkout instead."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called by hatchling before a build; ``version`` is its kind."""
        root = Path(self.root)
        commit = runpy.run_path(str(root / "leitstand" / "version.py"))["revision"](root / "leitstand")
        if version != "editable" and commit:
            self._note = Path(self.directory) / "commit"
            self._note.parent.mkdir(parents=True, exist_ok=True)
            self._note.write_text(f"{commit}\n")
            build_data["force_include"][str(self._note)] = "leitstand/share/commit"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Called by hatchling after a build."""
        if hasattr(self, "_note"):
            self._note.unlink(missing_ok=True)
