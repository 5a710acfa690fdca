"""Check the content of one file against its record."""

import hashlib
from collections.abc import Callable, Iterator

from orchestrator.archive.deflate import DAMAGED, Inflater
from orchestrator.archive.entry import FileRecord, Method
from orchestrator.archive.mapped_memory import Buffer


class ContentCheck:
    """Takes a file's bytes as stored in the archive, passes its content to ``write``, and reports what is
    wrong.

    After the first error nothing more is passed on.
    """

    def __init__(self, record: FileRecord, write: Callable[[Buffer], object] | None = None) -> None:
        self._record = record
        self._write = write
        self._sha256 = hashlib.sha256()
        self._inflater = Inflater(record.size) if record.method is Method.DEFLATE else None
        self._problem = ""

    def feed(self, data: Buffer) -> None:
        if self._problem:
            return
        try:
            for block in self._content(data):
                self._sha256.update(block)
                if self._write:
                    self._write(block)
        except DAMAGED as error:
            self._problem = f"damaged: {error}"

    def problem(self) -> str:
        """The fault, once all bytes were fed; None if the content matches its record."""
        if not self._problem and self._inflater:
            try:
                self._inflater.finish()
            except DAMAGED as error:
                self._problem = f"damaged: {error}"
        if not self._problem and self._sha256.digest() != self._record.sha256:
            self._problem = "damaged: SHA-256 mismatch"
        return self._problem

    def _content(self, data: Buffer) -> Iterator[Buffer]:
        return self._inflater.feed(data) if self._inflater else iter((data,))


def check_whole(record: FileRecord, pieces: list[Buffer]) -> str:
    """The fault of a file of which all bytes were read."""
    check = ContentCheck(record)
    for piece in pieces:
        check.feed(piece)
    return check.problem()
