"""Cut the archive's byte stream into volumes, and read them back as one."""

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from orchestrator.archive.entry import Volume

DEFAULT_VOLUME_BYTES = 64 << 20


class VolumeSink:
    """Collects bytes into volumes of ``volume_bytes`` (the last one is shorter) and delivers each in its order.

    ``deliver`` runs in a thread of the sink, one volume at a time, while the next one fills: so at most two volumes
    are in memory (plus what ``deliver`` keeps). What it raises is raised by the next ``write`` or by ``close``.
    """

    def __init__(
        self, deliver: Callable[[Volume], None], volume_bytes: int = DEFAULT_VOLUME_BYTES
    ) -> None: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.abort()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Take bytes; this is the ``sink`` of SealedWriter."""
        raise NotImplementedError

    def close(self) -> None:
        """Deliver the last volume and wait until all are delivered."""
        raise NotImplementedError

    def abort(self) -> None:
        """Deliver nothing more; wait for the one under way. After ``close`` this does nothing."""
        raise NotImplementedError


def joined(
    read_volume: Callable[[int, int, int], bytes], sizes: Sequence[int]
) -> Callable[[int, int], bytes]:
    """``read_range(offset, length)`` over the concatenated volumes of ``sizes``.

    ``read_volume(index, start, length)`` reads from one volume; ``index`` counts from 1.
    """
    raise NotImplementedError
