"""What is packaged: the checkout, its version and its time."""

import re
import runpy
from dataclasses import dataclass
from pathlib import Path
from zipfile import ZipFile

from deploy.debian import programs
from leitstand.errors import LeitstandError

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Source:
    """A checkout: its version as in Python, its commit's time in seconds, the files that differ from it."""

    root: Path
    version: str
    epoch: int
    changed: tuple[str, ...]

    @property
    def debian_version(self) -> str:
        """In Debian's order, too, ``.dev`` stands before the release: ``0.1.0~dev7+g…``."""
        return re.sub(r"\.dev", "~dev", self.version)


def read(root: Path = ROOT) -> Source:
    """Raises LeitstandError where git cannot tell the commit."""
    git = ("git", "-C", str(root), "-c", "safe.directory=*")
    hint = "build in a clone that has its history and tags"
    epoch = int(programs.run(*git, "log", "-1", "--format=%ct", hint=hint))
    changed = programs.run(*git, "status", "--porcelain").splitlines()
    version = runpy.run_path(str(root / "hatch_build.py"))["version"](root)
    return Source(root, version, epoch, tuple(line[3:] for line in changed))


def unpack_wheel(source: Source, folder: Path, into: Path) -> None:
    """Build the wheel in ``folder``; its files and its note of version and commit go ``into`` a folder."""
    folder.mkdir(parents=True)
    arguments = ("--wheel", "--no-isolation", "--outdir", str(folder), str(source.root))
    programs.python("build", *arguments, extra={"SOURCE_DATE_EPOCH": str(source.epoch)})
    wheels = sorted(folder.glob("*.whl"))
    if len(wheels) != 1:
        raise LeitstandError(f"the build made {len(wheels)} wheels instead of one")
    with ZipFile(wheels[0]) as wheel:
        wheel.extractall(into)
