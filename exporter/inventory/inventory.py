"""The service behind the inventory's pages: runs the sources in the background, publishes what they found."""

import contextlib
import gzip
import json
import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from exporter.exposition import Piece, text_page
from exporter.inventory import SOURCES
from exporter.inventory.compose import SourceState, document, metrics, series
from exporter.inventory.order import Order
from exporter.inventory.runner import Outcome, Runner, WorkerProcess
from exporter.inventory.watch import WATCHED
from exporter.roots import Roots
from exporter.skipped import Skipped
from exporter.tree import Tree
from leitstand.errors import LeitstandError
from leitstand.files import write_atomically

log = logging.getLogger(__name__)
DEFAULT_INTERVAL = 900.0
QUICK_INTERVAL = 60.0


@dataclass(frozen=True)
class InventorySnapshot:
    """Ready-made pages. ``metrics`` belongs at the end of /metrics, ``series`` is /metrics/inventory.

    ``etag`` is the SHA-256 of the document, without quotes. ``complete`` turns true when every source has had
    its first run.
    """

    metrics: Sequence[Piece] = ()
    series_pieces: Sequence[Piece] = ()
    series: bytes = b""
    series_gzip: bytes = gzip.compress(b"", 1, mtime=0)
    document: bytes = b""
    document_gzip: bytes = gzip.compress(b"", 1, mtime=0)
    etag: str = ""
    complete: bool = False


Signature = tuple[tuple[int, int, int] | None, ...]


def signature(tree: Tree, paths: Sequence[str]) -> Signature:
    """Time, size and inode of each file, or each that matches a pattern: equal means unread since."""
    names = [name for path in paths for name in (tree.glob(path) if "*" in path else [path])]
    found = [tree.stat(name) for name in names]
    return tuple((status.st_mtime_ns, status.st_size, status.st_ino) if status else None for status in found)


class InventoryService:
    """Keeps the inventory. ``interval`` in seconds; ``state`` is a file that outlives a restart, or None.

    ``snapshot`` may be called from any thread at any time and never waits. Everything else happens in the one
    thread between ``start`` and ``close``, or in the caller's through ``refresh``.
    """

    def __init__(
        self,
        roots: Roots,
        interval: float = DEFAULT_INTERVAL,
        sources: Sequence[str] | None = None,
        *,
        watch: Sequence[str] = WATCHED,
        state: Path | None = None,
        runner: Runner | None = None,
    ) -> None:
        self._roots, self._interval, self._watch, self._state = roots, interval, watch, state
        self._tree = Tree(roots.root)
        self._runner = runner or WorkerProcess()
        self._states = {name: SourceState() for name in (SOURCES if sources is None else sources)}
        self._due = dict.fromkeys(self._states, 0.0)
        self._signatures: dict[str, Signature] = {}
        self._stuck: dict[str, int] = {}
        self._skipped = Skipped()
        self._digest, self._changed = load_state(state)
        self._snapshot = InventorySnapshot()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def snapshot(self) -> InventorySnapshot:
        return self._snapshot

    def start(self) -> None:
        if not self._states:
            self._publish()  # no source will run: the empty document is correct
        self._thread = threading.Thread(target=self._keep_looking, name="inventory", daemon=True)
        self._thread.start()

    def close(self, wait: float = 1.0) -> None:
        """Stop collecting; a worker that is still running ends on its own."""
        self._stop.set()
        if self._thread:
            self._thread.join(wait)

    def refresh(self) -> None:
        """Run every source that is due and publish; the quick ones first, to be seen soon."""
        now = time.monotonic()
        due = [name for name, moment in self._due.items() if moment <= now]
        for name in filter(self._is_stuck, due):
            self._due[name] = now + QUICK_INTERVAL
        due = [name for name in due if self._due[name] <= now]
        for batch in (
            [name for name in due if SOURCES[name].quick],
            [name for name in due if not SOURCES[name].quick],
        ):
            if batch:
                self._run(batch)

    def hasten(self) -> None:
        """Make every source due now."""
        self._due = dict.fromkeys(self._due, 0.0)

    def _keep_looking(self) -> None:
        while not self._stop.is_set():
            try:
                self.refresh()
            except Exception as error:  # noqa: BLE001 - told as failed sources; looking must not end in silence
                self._put_off(error)
            pause = min(self._due.values(), default=time.monotonic() + self._interval) - time.monotonic()
            self._stop.wait(max(1.0, pause))

    def _put_off(self, error: Exception) -> None:
        """A fault of the exporter's own: the sources that were due have failed, and are due again later."""
        log.error("inventory: internal error: %s: %s", type(error).__name__, error)
        now = time.monotonic()
        for name in [name for name, moment in self._due.items() if moment <= now]:
            self._due[name] = now + self._interval
            self._states[name].ran, self._states[name].success = True, False
            self._signatures.pop(name, None)
        # Where the page itself is at fault, the last one stays: its times tell how old it is.
        with contextlib.suppress(Exception):
            self._publish()

    def _run(self, batch: list[str]) -> None:
        marks = {name: signature(self._tree, SOURCES[name].watches) for name in batch}
        changed = [
            name for name in batch if not SOURCES[name].watches or marks[name] != self._signatures.get(name)
        ]
        outcomes = self._ask(changed)
        for name in batch:
            quick = SOURCES[name].quick
            self._due[name] = time.monotonic() + (
                min(QUICK_INTERVAL, self._interval) if quick else self._interval
            )
            if name not in changed:
                self._states[name].refreshed = time.time()
        for outcome in outcomes:
            self._note(outcome, marks[outcome.source])
        self._publish()

    def _ask(self, names: list[str]) -> list[Outcome]:
        if not names:
            return []
        try:
            return self._runner.run(Order(names, self._roots, self._watch))
        except (LeitstandError, ValueError) as error:
            # Logged once, as it is one cause.
            log.warning("inventory sources failed (%s): %s", ", ".join(names), error)
            for name in names:
                self._states[name].ran, self._states[name].success = True, False
            return [Outcome(name, 0.0, error=str(error)) for name in names]

    def _note(self, outcome: Outcome, mark: Signature) -> None:
        state = self._states[outcome.source]
        if outcome.error and (state.success or not state.ran):
            log.warning("inventory source %s failed: %s", outcome.source, outcome.error)
        state.ran, state.duration, state.success = True, outcome.duration, outcome.part is not None
        if outcome.stuck:
            self._stuck[outcome.source] = outcome.stuck
        if outcome.part is None:
            self._signatures.pop(outcome.source, None)
            return
        state.part, state.refreshed = outcome.part, time.time()
        state.skipped += outcome.part.skipped
        if outcome.part.skipped:
            self._skipped.add(f"inventory, {outcome.source}", outcome.part.reason or "not understood")
        self._signatures[outcome.source] = mark

    def _is_stuck(self, name: str) -> bool:
        """True while the last child of this source hangs in the kernel: a second one would hang as well."""
        pid = self._stuck.get(name)
        if pid is not None and not Path(f"/proc/{pid}").exists():
            del self._stuck[name]
            pid = None
        return pid is not None

    def _publish(self) -> None:
        states = list(self._states.values())
        complete = all(state.ran for state in states)
        unread = {
            kind for name, state in self._states.items() if not state.part for kind in SOURCES[name].kinds
        }
        text, digest = document(states, sorted(unread))
        if complete and digest != self._digest:
            self._digest, self._changed = digest, time.time()
            save_state(self._state, self._digest, self._changed)
        figures = metrics(self._states, self._digest if complete else "", self._changed)
        self._snapshot = self._pages(figures, series(states), text.encode(), digest, complete)

    def _pages(
        self, figures: Sequence[Piece], pieces: Sequence[Piece], text: bytes, digest: str, complete: bool
    ) -> InventorySnapshot:
        """The new snapshot. Pages that did not change stay the same objects, compressed once."""
        old = self._snapshot
        series_pages = (old.series_pieces, old.series, old.series_gzip)
        document_pages = (old.document, old.document_gzip)
        if (lines := text_page(pieces)) != old.series:
            series_pages = (pieces, lines, gzip.compress(lines, 6, mtime=0))
        if text != old.document:
            document_pages = (text, gzip.compress(text, 6, mtime=0))
        return InventorySnapshot(figures, *series_pages, *document_pages, digest, complete)


def load_state(path: Path | None) -> tuple[str, float]:
    """The last hash and when it changed; nothing if the file is missing or not ours."""
    try:
        raw = json.loads(path.read_bytes()) if path else {}
        return str(raw.get("sha256", "")), float(raw.get("changed", 0.0))
    except (OSError, ValueError, AttributeError, TypeError):
        return "", 0.0


def save_state(path: Path | None, digest: str, changed: float) -> None:
    """Keep hash and time for the next start. That it cannot is no reason to stop measuring."""
    if not path:
        return
    try:
        write_atomically(path, json.dumps({"sha256": digest, "changed": changed}) + "\n")
    except OSError as error:
        log.warning("%s: the time of the last inventory change is not kept: %s", path, error.strerror)
