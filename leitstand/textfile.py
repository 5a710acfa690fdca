"""Metrics of jobs that come and go, handed to the exporter as a file in its textfile directory."""

from collections.abc import Iterable
from pathlib import Path

from leitstand.exposition import Family, render
from leitstand.files import write_atomically


def write_textfile(path: Path, families: Iterable[Family]) -> None:
    """Replace ``path`` (it must end in ``.prom``, or no exporter reads it) by these metrics, atomically."""
    if path.suffix != ".prom":
        raise ValueError(f"{path} must end in .prom")
    write_atomically(path, render(families))
