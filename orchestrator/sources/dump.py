"""A dump: what a program writes to its standard output, proven complete, never on a disk in plain text."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from leitstand.process import Finished, ProcessError
from orchestrator.archive import Entry, Metadata
from orchestrator.sources.rows import AnyBytes, Watcher
from orchestrator.sources.source import SourceError
from orchestrator.transport import Transport

BLOCK_BYTES = 1024 * 1024
END_SECONDS = 60.0  # for a program to end once its output has ended


@dataclass(frozen=True)
class Dump:
    """One program and the path in the archive for what it writes; ``minimum`` bytes at least must come."""

    path: str
    argv: tuple[str, ...]
    timeout: float
    minimum: int = 1
    watcher: Callable[[], Watcher] = AnyBytes
    env: Mapping[str, str] = field(default_factory=dict)


class DumpReader:
    """Turns dumps into entries; afterwards ``tables`` has the rows of each dump's tables, by path."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self.tables: dict[bytes, dict[str, int]] = {}

    def entry(self, dump: Dump) -> Entry:
        """The dump as an entry of unknown size; the program starts when its blocks are asked for."""
        metadata = Metadata(path=dump.path.encode(), mode=0o600, mtime_ns=time.time_ns())
        return Entry(metadata, None, lambda: self._blocks(dump))

    def _blocks(self, dump: Dump) -> Iterator[bytes]:
        watcher, count = dump.watcher(), 0
        try:
            stream = self.transport.open_stream(dump.argv, env=dump.env)
            with stream, _TimeLimit(dump.timeout, stream.kill) as limit:
                while block := stream.stdout.read(BLOCK_BYTES):
                    watcher.feed(block)
                    count += len(block)
                    yield block
                finished = stream.finish(END_SECONDS)
        except ProcessError as error:
            raise SourceError(f"{dump.path}: {error.message}", error.hint) from error
        self._prove(dump, finished, watcher, count, limit.struck)
        self.tables[dump.path.encode()] = watcher.tables

    def _prove(self, dump: Dump, finished: Finished, watcher: Watcher, count: int, late: bool) -> None:
        """Raise SourceError unless the dump is whole: a cut dump looks like a good one until it is needed."""
        program = dump.argv[0]
        if late:
            raise SourceError(f"{dump.path}: {program} took longer than {dump.timeout:.0f} s and was ended")
        if finished.status:
            last = (finished.stderr.strip().splitlines() or ["it said nothing"])[-1]
            raise SourceError(f"{dump.path}: {program} on {self.transport.name} failed: {last}")
        if not watcher.saw_the_end():
            expected = watcher.trailer.decode()
            raise SourceError(f"{dump.path}: the dump is cut short: '{expected}' is missing at its end")
        if count < dump.minimum:
            raise SourceError(
                f"{dump.path}: {program} wrote {count} bytes, fewer than {dump.minimum}",
                "is it the right database? minimum_size in leitstand.yml sets the floor",
            )


class _TimeLimit:
    """Calls ``strike`` when its block lasts longer than ``seconds``."""

    def __init__(self, seconds: float, strike: Callable[[], None]) -> None:
        self.struck = False
        self._strike = strike
        self._timer = threading.Timer(seconds, self._end)
        self._timer.daemon = True

    def _end(self) -> None:
        self.struck = True
        self._strike()

    def __enter__(self) -> "_TimeLimit":
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
