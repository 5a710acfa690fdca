"""Ready-made pages on disk: written by the collector, read by the web workers, replaced atomically.

``FOLDER/releases/NAME/`` has a round's files and ``manifest.json``; ``FOLDER/current`` is a link to the
newest, replaced in one step. A reader checks each file against the manifest's SHA-256: nothing half-written
is served even after a power failure, and no write needs to wait for the disk.
"""

import gzip
import hashlib
import json
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from leitstand.errors import LeitstandError
from status_page.ages import Ages
from status_page.states import Variant

FORMAT = 2
# The ages of the data and in all caches add up to less than the three minutes until a state is unknown.
CACHE_PAGE = "public, max-age=10, stale-while-revalidate=20, stale-if-error=60"
_KEPT = 3  # a worker may still be reading the previous one


class ReadyError(LeitstandError):
    """The ready-made pages cannot be written, or are incomplete."""


@dataclass(frozen=True, slots=True)
class Document:
    """One answer, ready to be sent. ``open`` ones may be used by other sites' pages."""

    body: bytes
    content_type: str
    language: str = ""
    cache: str = CACHE_PAGE
    open: bool = False

    def compressed(self) -> bytes:
        """The body as gzip; the same body gives the same bytes."""
        return gzip.compress(self.body, compresslevel=9, mtime=0)


Documents = dict[str, Document]  # by path, such as /de/


@dataclass(frozen=True, slots=True)
class Bundle:
    """Everything that is served until the next round: each variant by age, and the assets of pages.

    ``errors`` are the pages for unknown paths, at each language's path.
    """

    variants: dict[Variant, Documents]
    assets: Documents
    errors: Documents
    ages: Ages
    measured_at: float | None
    stale_at: float
    expires_at: float


@dataclass(frozen=True, slots=True)
class Ready:
    """One document in both encodings, with the hashes that are its ETags."""

    document: Document
    zipped: bytes
    etag: str
    zipped_etag: str


@dataclass(frozen=True, slots=True)
class Release:
    """The documents of the web workers: ``variants`` by name, then by path."""

    variants: dict[str, dict[str, Ready]]
    ages: Ages
    measured_at: float | None
    stale_at: float
    expires_at: float

    def variant(self, now: float) -> str:
        if now < self.stale_at:
            return "fresh"
        return "stale" if now < self.expires_at else "expired"


def made_ready(document: Document) -> Ready:
    zipped = document.compressed()
    return Ready(document, zipped, _hash(document.body), _hash(zipped))


def release(bundle: Bundle) -> Release:
    """A bundle as it is served, without writing it to disk."""
    variants = {
        name: {path: made_ready(document) for path, document in documents.items()}
        for name, documents in _parts(bundle)
    }
    return Release(variants, bundle.ages, bundle.measured_at, bundle.stale_at, bundle.expires_at)


def publish(folder: Path, bundle: Bundle) -> None:
    """Write everything, then switch to it in one step. Raises ReadyError; the old files stay."""
    made = release(bundle)
    releases = folder / "releases"
    target = releases / f"{time.time_ns():020d}"
    try:
        target.mkdir(parents=True)
        manifest = _write_files(target, made)
        (target / "manifest.json").write_text(json.dumps(manifest))
        switch(folder, target)
    except OSError as error:
        shutil.rmtree(target, ignore_errors=True)
        raise ReadyError(f"{folder}: cannot write the ready-made pages: {error.strerror}") from error


def switch(folder: Path, target: Path) -> None:
    """Serve ``target``, a folder in ``FOLDER/releases``, from now on; the oldest others are removed."""
    link = folder / ".current"
    link.unlink(missing_ok=True)
    link.symlink_to(target.relative_to(folder))
    link.replace(folder / "current")
    others = sorted(path for path in target.parent.iterdir() if path != target)
    for old in others[: 1 - _KEPT]:
        shutil.rmtree(old, ignore_errors=True)


def _parts(bundle: Bundle) -> Iterator[tuple[str, dict[str, Document]]]:
    yield from bundle.variants.items()
    yield "assets", bundle.assets
    yield "errors", bundle.errors


def _write_files(target: Path, made: Release) -> dict[str, Any]:
    files: dict[str, dict[str, Any]] = {}
    for variant, documents in made.variants.items():
        files[variant] = {}
        for path, ready in documents.items():
            name = f"{variant}{path}index.html" if path.endswith("/") else f"{variant}{path}"
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            (target / name).write_bytes(ready.document.body)
            (target / f"{name}.gz").write_bytes(ready.zipped)
            files[variant][path] = _entry(name, ready)
    return {
        "format": FORMAT,
        "ages": made.ages,
        "measured_at": made.measured_at,
        "stale_at": made.stale_at,
        "expires_at": made.expires_at,
        "files": files,
    }


def _entry(name: str, ready: Ready) -> dict[str, Any]:
    document = ready.document
    return {
        "file": name,
        "sha256": ready.etag,
        "gzip_sha256": ready.zipped_etag,
        "type": document.content_type,
        "language": document.language,
        "cache": document.cache,
        "open": document.open,
    }


def load(folder: Path) -> Release | None:
    """The content of ``folder/current``; None if nothing was written yet. ReadyError if it is incomplete."""
    try:
        return read_release((folder / "current").resolve(strict=True))
    except FileNotFoundError:
        return None


def read_release(current: Path) -> Release:
    """The release in this folder. Raises FileNotFoundError without one, ReadyError if it is incomplete."""
    try:
        manifest = json.loads((current / "manifest.json").read_bytes())
        if manifest["format"] != FORMAT:
            raise ReadyError(f"{current}: written by another version")
        variants = {
            variant: {path: _read(current, entry) for path, entry in entries.items()}
            for variant, entries in manifest["files"].items()
        }
        times = (manifest[name] for name in ("measured_at", "stale_at", "expires_at"))
        return Release(variants, manifest["ages"], *times)
    except FileNotFoundError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ReadyError(f"{current}: the ready-made pages cannot be read: {type(error).__name__}") from error


def _read(current: Path, entry: dict[str, Any]) -> Ready:
    body, zipped = (current / entry["file"]).read_bytes(), (current / f"{entry['file']}.gz").read_bytes()
    if (_hash(body), _hash(zipped)) != (entry["sha256"], entry["gzip_sha256"]):
        raise ReadyError(f"{current / entry['file']}: incomplete")
    document = Document(body, entry["type"], entry["language"], entry["cache"], entry["open"])
    return Ready(document, zipped, entry["sha256"], entry["gzip_sha256"])


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:32]
