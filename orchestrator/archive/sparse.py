"""Files with large holes, stored without them: a tar with one sparse member, which any GNU tar unpacks.

So a mostly unwritten log of a terabyte costs only what it holds: to read, hash, store and send. The tar has
no times and owners: the same data and holes give the same bytes. Format: GNU tar manual, D.2 Storing Sparse
Files, version 1.0.
"""

from array import array
from collections.abc import Callable, Iterable, Iterator

SUFFIX = ".leitstand-sparse.tar"
MEMBER = b"leitstand-sparse-content"
LARGE_HOLES = 1 << 30  # bytes; smaller ones are zeros in the archive and in the file's SHA-256
MOST_PIECES = 1 << 20  # of one file; a longer list is not read
_BLOCK = 512
_NUMBERS_AT_ONCE = 1 << 14
_LONGEST_NUMBER = 20  # digits
_HEAD = 3 * _BLOCK  # extended header, its records, header
_USTAR = b"ustar\x0000"


def packed(size: int, extents: "array[int]", data: Iterable[bytes]) -> Iterator[bytes]:
    """The tar of a file of this size; ``extents`` has the offset and length of each piece of ``data``, flat.

    GNU tar requires each piece except the last to be a multiple of the block size.
    """
    listed = _padded(_listed(size, extents))
    stored = len(listed) + sum(extents[1::2])
    values = {"major": b"1", "minor": b"0", "name": MEMBER, "realsize": b"%d" % size}
    records = {b"GNU.sparse." + name.encode(): value for name, value in values.items()}
    text = b"".join(_record(*pair) for pair in [*records.items(), (b"size", b"%d" % stored)])
    yield _header(b"PaxHeaders/" + MEMBER, b"x", len(text)) + _padded(text)
    yield _header(b"GNUSparseFile.0/" + MEMBER, b"0", stored if stored < 8**11 else 0)
    yield listed
    yield from data
    yield bytes(-stored % _BLOCK + 2 * _BLOCK)


def _listed(size: int, extents: "array[int]") -> bytes:
    """The list of pieces, built in steps: a string for each of a million numbers would take 200 MB."""
    parts = [b"%d\n" % (len(extents) // 2 + 1)]
    for start in range(0, len(extents), _NUMBERS_AT_ONCE):
        numbers = extents[start : start + _NUMBERS_AT_ONCE]
        parts.append("".join(f"{number}\n" for number in numbers).encode())
    return b"".join([*parts, b"%d\n0\n" % size])  # an empty piece tells GNU tar of a hole at the end


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % _BLOCK)


def _record(keyword: bytes, value: bytes) -> bytes:
    """``LENGTH KEYWORD=VALUE``, where the length includes its own digits."""
    length = len(keyword) + len(value) + 3
    length += len(str(length + len(str(length))))
    return b"%d %s=%s\n" % (length, keyword, value)


def _header(name: bytes, kind: bytes, size: int) -> bytes:
    numbers = b"0000600\x00" + b"0000000\x00" * 2 + b"%011o\x00" % size + b"00000000000\x00"
    text = (name.ljust(100, b"\0") + numbers + b" " * 8 + kind).ljust(257, b"\0") + _USTAR
    text = text.ljust(_BLOCK, b"\0")
    return text[:148] + b"%06o\0 " % sum(text) + text[156:]


class Unpacking:
    """Takes the bytes of such a tar; passes the data to ``write`` and the length of each hole to ``skip``."""

    def __init__(self, size: int, write: Callable[[bytes], object], skip: Callable[[int], object]) -> None:
        self._size, self._write, self._skip = size, write, skip
        self._start = b""  # the unread part of the head, or of the list of pieces
        self._head, self._numbers, self._listed = _HEAD, array("q"), 0
        self._extents: Iterator[tuple[int, int]] | None = None
        self._left = self._position = 0

    def feed(self, data: bytes | bytearray | memoryview) -> None:
        """Take any piece of the tar, in order. Raises ValueError for what `packed` does not create."""
        if self._extents is None:
            data = self._begin(self._start + data)
        view = memoryview(data)
        while view and self._next():
            piece = view[: self._left]
            self._write(bytes(piece))
            self._left -= len(piece)
            self._position += len(piece)
            view = view[len(piece) :]

    def finish(self) -> None:
        """Write the hole at the end; check that the tar was not cut short."""
        self._skip(self._size - self._position)

    def _begin(self, data: bytes) -> bytes:
        """Continue reading the list of pieces; returns what follows it once it is complete."""
        passed = min(self._head, len(data))
        self._head -= passed
        data = data[passed:]
        numbers = self._numbers
        while (missing := self._count() - len(numbers)) > 0:
            *lines, rest = data.split(b"\n", missing)
            if len(rest) > _LONGEST_NUMBER and len(lines) < missing:
                raise ValueError("its list of pieces does not end")
            self._listed += len(data) - len(rest)
            numbers.extend(_number(line) for line in lines)
            data = rest
            if not lines:
                break
        padding = -self._listed % _BLOCK
        if missing > 0 or len(data) < padding:
            self._start = data
            return b""
        self._start = b""
        self._extents = ((numbers[at], numbers[at + 1]) for at in range(1, len(numbers), 2))
        return data[padding:]

    def _count(self) -> int:
        """How many numbers the list has, including the first one, the number of pieces."""
        if not self._numbers:
            return 1
        if not 0 < self._numbers[0] <= MOST_PIECES + 1:
            raise ValueError("its list of pieces does not end")
        return 1 + 2 * self._numbers[0]

    def _next(self) -> bool:
        """Move to the next piece when one is done; False at the end."""
        while not self._left and self._extents is not None:
            offset, self._left = next(self._extents, (-1, 0))
            if offset < 0:
                return False
            if not self._position <= offset <= offset + self._left <= self._size:
                raise ValueError("its pieces are not within the file")
            self._skip(offset - self._position)
            self._position = offset
        return bool(self._left)


def _number(line: bytes) -> int:
    if not line.isdigit() or len(line) >= _LONGEST_NUMBER or (number := int(line)) >= 1 << 63:
        raise ValueError("its list of pieces is invalid")
    return number
