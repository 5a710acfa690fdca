"""Metrics that other programs leave as files: ``*.prom`` in the textfile folders.

A link is followed only inside its folder: users who may write there must not make the exporter read what
they cannot.
"""

import glob
import logging
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, NamedTuple

from prometheus_client.registry import Collector

from exporter.collectors.collector import gauge
from exporter.collectors.options import DEFAULT_TEXTFILE_FOLDERS, Options
from exporter.collectors.textfile_format import BadTextfile, Block, parse_textfile
from exporter.exposition import Family
from exporter.files import Files

LIMIT = 4 * 1024 * 1024  # bytes of all files together; about twenty times as much in memory
# Folder of a program with a user of its own -> how its metrics begin.
_SUBJECTS = {
    "status-page": ("leitstand_status_page_",),
    "coverage": ("leitstand_uncovered", "leitstand_coverage_"),
}
_MODIFIED, _ERROR = "node_textfile_mtime_seconds", "node_textfile_scrape_error"
_LOG = logging.getLogger(__name__)


class _Stamp(NamedTuple):
    """Identifies a version of a file."""

    modified: int  # nanoseconds
    size: int
    inode: int


class Textfiles(Collector):
    """The families of all good files, when each was written, and whether one was bad."""

    def __init__(self, options: Options) -> None:
        self._folders = options.textfile_directory
        self._open: dict[str, Files] = {}
        self._known: dict[str, tuple[_Stamp, list[Block] | BadTextfile]] = {}
        self._told: dict[str, str] = {}

    def collect(self) -> Iterable[Family]:
        blocks: dict[str, list[Block]] = {}
        owners: dict[str, str] = {}
        modified: dict[str, float] = {}
        problems: dict[str, str] = {}
        left = LIMIT
        for folder, name in self._places(problems):
            path = f"{folder}/{name}"
            try:
                stamp, found = self._parsed(folder, name, left)
                left -= stamp.size
                _keep_to_the_subject(folder, found)
                _merge(blocks, owners, found)
            except (OSError, BadTextfile) as error:
                problems[path] = str(error)
                continue
            # Only a valid file counts as written: a failure must not look fresh.
            modified[path] = stamp.modified // 1_000_000_000
        self._tell(problems)
        yield from (_family(parts) for parts in blocks.values())
        yield _modification_times(modified)
        explanation = "1 if a file could not be read or is not in the text format."
        yield gauge(_ERROR, explanation, int(bool(problems)))

    def _places(self, problems: dict[str, str]) -> list[tuple[str, str]]:
        """Folder and name of every file; a configured folder that cannot be read is a problem."""
        places = []
        for folder in self._existing():
            # Opened anew at each scrape: the folder may have been replaced.
            files = self._open[folder] = Files(Path(folder))
            try:
                places += [(folder, name) for name in files.names(".") if name.endswith(".prom")]
            except OSError as error:
                problems[folder] = str(error)
        self._known = {path: self._known[path] for path in map("/".join, places) if path in self._known}
        return places

    def _existing(self) -> list[str]:
        # The default folders may be missing: most hosts have at most one of them.
        if not self._folders:
            return [folder for folder in DEFAULT_TEXTFILE_FOLDERS if os.path.isdir(folder)]  # noqa: PTH112 - quick
        # A pattern without a match is kept, so that a missing folder is noticed.
        named = filter(None, self._folders)  # an empty name is not a folder
        found = ((folder, sorted(glob.glob(folder))) for folder in named)  # noqa: PTH207 - any root
        return [os.path.normpath(place) for folder, places in found for place in places or [folder]]

    def _parsed(self, folder: str, name: str, most: int) -> tuple[_Stamp, list[Block]]:
        """When the file was written, and its content. Its limit is ``most`` bytes."""
        path = f"{folder}/{name}"
        with os.fdopen(self._open[folder].open(name), "rb") as file:
            status = os.fstat(file.fileno())
            if status.st_size > most:
                self._known.pop(path, None)
                raise BadTextfile(f"with it, all files together have more than {LIMIT} bytes")
            stamp = _Stamp(status.st_mtime_ns, status.st_size, status.st_ino)
            known = self._known.get(path)
            if known is None or known[0] != stamp:
                known = self._known[path] = (stamp, _attempt(file))
        if isinstance(known[1], BadTextfile):
            raise known[1]
        return known[0], known[1]

    def _tell(self, problems: dict[str, str]) -> None:
        for path, problem in problems.items():
            if self._told.get(path) != problem:
                _LOG.warning("textfile %s is not served: %s", path, problem)
        self._told = problems


def _attempt(file: IO[bytes]) -> list[Block] | BadTextfile:
    content = file.read(LIMIT + 1)
    if len(content) > LIMIT:
        return BadTextfile(f"more than {LIMIT} bytes")
    try:
        return parse_textfile(content)
    except BadTextfile as error:
        return error


def _keep_to_the_subject(folder: str, found: list[Block]) -> None:
    """Refuse metrics of backups or hosts in the folder of a user who must not set them."""
    allowed = _SUBJECTS.get(os.path.basename(folder), ("",))  # noqa: PTH119 - a text, as it was given
    for block in found:
        if not block.name.startswith(allowed):
            known = " or ".join(f"{start}*" for start in allowed)
            raise BadTextfile(f"{block.name} is not allowed in this folder, only {known} is")


def _merge(blocks: dict[str, list[Block]], owners: dict[str, str], found: list[Block]) -> None:
    """Add a file's blocks; a file that contradicts an earlier one, or repeats its series, is refused.

    ``owners`` maps each sample's name to its family: a histogram's count cannot also be a gauge.
    """
    own = _new_owners(owners, found)
    for block in found:
        if block.name in (_MODIFIED, _ERROR):
            raise BadTextfile(f"{block.name} is reserved for the textfiles themselves")
        for earlier in blocks.get(block.name, ()):
            if earlier.kind != block.kind:
                raise BadTextfile(f"{block.name} is {block.kind} here and {earlier.kind} in another file")
            if not earlier.series.isdisjoint(block.series):
                raise BadTextfile(f"{block.name} has a series that is also in another file")
    for block in found:
        blocks.setdefault(block.name, []).append(block)
    owners |= own


def _new_owners(owners: Mapping[str, str], found: list[Block]) -> dict[str, str]:
    """The family of each name that samples of these blocks may have. Raises if another family has it."""
    own: dict[str, str] = {}
    for block in found:
        for name in block.sample_names:
            if (other := owners.get(name) or own.setdefault(name, block.name)) != block.name:
                raise BadTextfile(f"{name} belongs to {block.name} and to {other}")
    return own


def _family(parts: list[Block]) -> Family:
    documentation = next((part.documentation for part in parts if part.documentation), "From a textfile.")
    return Family(parts[0].name, parts[0].kind, documentation, ready="".join([part.lines for part in parts]))


def _modification_times(modified: dict[str, float]) -> Family:
    return Family(
        _MODIFIED,
        "gauge",
        "When the file was written, in Unix time.",
        ("file",),
        [((path,), value) for path, value in modified.items()],
    )
