"""A dump: the standard output of a program, checked for completeness, never unencrypted on a disk."""

import logging
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import count

from leitstand.process import Finished, ProcessError, messages
from orchestrator.archive import Entry, Metadata
from orchestrator.sources.row_counts import AnyBytes, LineWatcher
from orchestrator.sources.source import SourceError
from orchestrator.sources.ssh import Transport
from orchestrator.sources.tables import Start, cut
from orchestrator.sources.time_limit import TimeLimit

_log = logging.getLogger(__name__)
# Of a program that ended well: what it left out, say; not that it does not know an option of another program.
_WARNING = re.compile(r"\bwarning\b(?!.*\bloose-)", re.IGNORECASE)
WARNINGS_TOLD = 10
BLOCK_BYTES = 1024 * 1024
_LONGEST_NAME = 200  # bytes of a table's name in the name of its piece
END_SECONDS = 60.0  # for a program to exit after its output has ended


@dataclass(frozen=True)
class Dump:
    """One program and the path in the archive for what it writes; ``minimum`` bytes at least must come.

    ``program`` is its name in messages, by default the first word.
    """

    path: str
    argv: tuple[str, ...]
    timeout: float
    minimum: int = 1
    watcher: Callable[[], LineWatcher] = AnyBytes
    env: Mapping[str, str] = field(default_factory=dict)
    program: str = ""


class DumpReader:
    """Turns dumps into entries; afterwards ``tables`` has the rows of each dump's tables, by path."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self.tables: dict[bytes, dict[str, int]] = {}
        self._start: Start | bytes = b""

    def entry(self, dump: Dump) -> Entry:
        """The dump as an entry of unknown size; the program starts when its blocks are requested."""
        return Entry(_metadata(dump.path), None, lambda: self._blocks(dump))

    def pieces(self, dump: Dump) -> Iterator[Entry]:
        """The dump as one entry per table, below its path; each must be read to its end before the next one.

        Only the last of them, ``NNNNN.end.sql``, proves that the dump is complete, and has the rows of all
        tables.
        """
        stream = cut(self._blocks(dump))
        self._start = next(stream)
        for index in count():
            if not isinstance(self._start, Start):
                return
            name = self._start.name.replace("%", "%25").replace("/", "%2F")
            name = name.encode()[:_LONGEST_NAME].decode(errors="ignore")
            path = f"{dump.path}/{index:05}.{name}.sql"
            yield Entry(_metadata(path), None, partial(self._piece, stream, dump, path))

    def _piece(self, stream: Iterator[Start | bytes], dump: Dump, path: str) -> Iterator[bytes]:
        for self._start in stream:
            if isinstance(self._start, Start):
                return
            yield self._start
        self.tables[path.encode()] = self.tables.pop(dump.path.encode())

    def _blocks(self, dump: Dump) -> Iterator[bytes]:
        watcher, size = dump.watcher(), 0
        try:
            stream = self.transport.open_stream(dump.argv, env=dump.env)
            with stream, TimeLimit(dump.timeout, stream.kill) as limit:
                while block := stream.stdout.read(BLOCK_BYTES):
                    if not size and not block.startswith(watcher.starts):
                        raise _begins_otherwise(dump, block)
                    watcher.feed(block)
                    size += len(block)
                    yield block
                finished = stream.finish(END_SECONDS)
        except ProcessError as error:
            raise SourceError(f"{dump.path}: {error.message}", error.hint) from error
        self._prove(dump, finished, watcher, size, limit.struck)
        self.tables[dump.path.encode()] = watcher.tables
        warnings = [text for text in messages(finished.stderr) if _WARNING.search(text)]
        for note in (*watcher.notes(), *warnings[:WARNINGS_TOLD]):
            _log.warning("%s: %s", dump.path, note)

    def _prove(self, dump: Dump, finished: Finished, watcher: LineWatcher, size: int, late: bool) -> None:
        """Raise SourceError unless the dump is complete: a truncated one looks good until it is needed."""
        program = dump.program or dump.argv[0]
        if late:
            raise SourceError(f"{dump.path}: {program} took longer than {dump.timeout:.0f} s and was stopped")
        if finished.status:
            raise SourceError(
                f"{dump.path}: {program} on {self.transport.name} failed: {finished.last_words}",
                self.transport.hint(finished),
            )
        if not watcher.saw_the_end():
            expected = watcher.trailer.decode()
            why = f": {watcher.fault}" if watcher.fault else ""
            raise SourceError(f"{dump.path}: the dump is cut short: '{expected}' is missing at its end{why}")
        if size < dump.minimum:
            raise SourceError(
                f"{dump.path}: {program} wrote {size} bytes, fewer than {dump.minimum}",
                "is it the right database? minimum_size in leitstand.yml sets the limit",
            )


def _begins_otherwise(dump: Dump, block: bytes) -> SourceError:
    line = block[:100].partition(b"\n")[0].decode(errors="replace")
    return SourceError(
        f"{dump.path}: this is not a dump: it begins with: {line}",
        "does a startup file of the shell there (.bashrc) print that?",
    )


def _metadata(path: str) -> Metadata:
    return Metadata(path=path.encode(), mode=0o600, mtime_ns=time.time_ns())
