"""A tar stream as GNU tar writes it with ``--format=pax``, read strictly and in bounded memory.

Python's tarfile reads headers of any size and takes anything that is not a header for the end. Here a stream
is complete only with its two empty blocks, and anything after them must be empty, too. Formats: POSIX pax
(IEEE Std 1003.1); GNU tar manual, D.2 Storing Sparse Files.
"""

import re
from array import array
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from orchestrator.archive.holes import BLOCK_BYTES, zeros
from orchestrator.archive.sparse import MOST_PIECES

MOST_HEADER_BYTES = 8 << 20  # of a member's names and attributes
_BLOCK = 512
_EMPTY = bytes(_BLOCK)
_XATTR, _SPARSE = b"SCHILY.xattr.", b"GNU.sparse."
_LONG_NAMES = {b"L": b"path", b"K": b"linkpath"}
FILES = (b"0", b"\0", b"7")
# Types without data, regardless of the size field; all others except files are unknown.
_WITHOUT_DATA = (b"1", b"2", b"3", b"4", b"5", b"6")
_OCTAL = re.compile(rb" *([0-7]*)[ \0]*")
_DECIMAL = re.compile(rb"-?[0-9]{1,20}")
_TIME = re.compile(rb"(-?)([0-9]{1,20})(?:\.([0-9]{1,20}))?")


class TarError(Exception):
    """The stream is damaged, truncated, or larger than anything that GNU tar writes."""


@dataclass(slots=True)
class Member:
    """The header of one path, any bytes. ``size`` is that of its content, including holes.

    ``extents`` has the offset and length of each piece of data of a sparse file, flat. ``problem`` is empty,
    or says why the member cannot be used; its content is skipped then.
    """

    name: bytes
    type: bytes
    size: int
    mode: int
    uid: int
    gid: int
    user: str
    group: str
    mtime_ns: int
    link: bytes
    device: tuple[int, int]
    xattrs: tuple[tuple[bytes, bytes], ...]
    extents: "array[int] | None" = None
    problem: str = ""


class TarReader:
    """The members of a stream read by ``read(most)``, which returns nothing at the end of the stream.

    `blocks` reads the content of a member before the next member is requested; otherwise it is skipped.
    """

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self._read = read
        self._data, self._at = b"", 0
        self._left = self._padding = 0  # of the member's data
        self.began = False

    def members(self) -> Iterator[Member]:
        """Each member. Raises TarError; a stream of no bytes at all has none."""
        while (found := self._next()) is not None:
            yield self._member(*found)
            self._pass(self._left + self._padding)

    def stored(self) -> int:
        """The remaining bytes of the member's data."""
        return self._left

    def blocks(self, member: Member) -> Iterator[bytes]:
        """The content, with zeros for holes, split at multiples of BLOCK_BYTES."""
        position = 0
        for offset, length in _pairs((0, member.size) if member.extents is None else member.extents):
            yield from zeros(position, offset)
            position, end = offset, offset + length
            while position < end:
                piece = self._some(min(end - position, BLOCK_BYTES - position % BLOCK_BYTES))
                self._left -= len(piece)
                position += len(piece)
                yield piece
        yield from zeros(position, member.size)

    def data(self) -> Iterator[bytes]:
        """The data of a sparse file without its holes, instead of `blocks`."""
        while self._left:
            piece = self._some(min(self._left, BLOCK_BYTES))
            self._left -= len(piece)
            yield piece

    def _next(self) -> tuple[bytes, dict[bytes, bytes]] | None:
        """The next header, merged with its extended headers; None at the end."""
        more: dict[bytes, bytes] = {}
        room = MOST_HEADER_BYTES
        while (header := self._header()) is not None:
            kind = header[156:157]
            if kind not in (b"x", *_LONG_NAMES):
                return header, more
            size = _size(header)
            room -= size
            if room < 0:
                raise TarError(f"a header of more than {MOST_HEADER_BYTES >> 20} MiB")
            data = self._take(size)
            self._pass(-size % _BLOCK)
            more.update(_records(data) if kind == b"x" else {_LONG_NAMES[kind]: data.rstrip(b"\0")})
        if more:
            raise TarError("it ends after the header of an entry")
        return None

    def _header(self) -> bytes | None:
        if not self.began and not self._fill():
            return None
        self.began = True
        block = self._take(_BLOCK)
        if block == _EMPTY:
            self._end()
            return None
        if not _is_header(block):
            raise TarError("it has an invalid header")
        if block[156:157] == b"g":
            raise TarError("it has a global header, which GNU tar does not write")
        return block

    def _end(self) -> None:
        if self._take(_BLOCK) != _EMPTY:
            raise TarError("an empty block is in its middle")
        while self._fill():
            if self._data.count(0, self._at) != len(self._data) - self._at:
                raise TarError("bytes follow its end")
            self._at = len(self._data)

    def _member(self, header: bytes, more: Mapping[bytes, bytes]) -> Member:
        member = _described(header, more)
        self._left = 0 if member.type in _WITHOUT_DATA else _size(header, more)
        self._padding = -self._left % _BLOCK
        if member.type == b"S":
            self._pass_old_map(header)
        if any(name.startswith(_SPARSE) for name in more):
            self._sparse(member, more)
        elif member.type in FILES:
            member.size = self._left
        return member

    def _pass_old_map(self, header: bytes) -> None:
        extended = header[482]
        while extended:
            extended = self._take(_BLOCK)[504]

    def _sparse(self, member: Member, more: Mapping[bytes, bytes]) -> None:
        """Read the map before a sparse file's data."""
        member.name = more.get(b"GNU.sparse.name", member.name)
        if (more.get(b"GNU.sparse.major"), more.get(b"GNU.sparse.minor")) != (b"1", b"0"):
            member.problem = "a sparse file in an unknown format"
            return
        try:
            member.size = _decimal(more.get(b"GNU.sparse.realsize", b""))
            member.extents = self._map()
            _check_map(member.extents, member.size, self._left)
        except ValueError as error:
            member.problem = f"a sparse file with an invalid map: {error}"

    def _map(self) -> "array[int]":
        """Decimal numbers, a line each, first the number of pairs; padded to whole blocks."""
        numbers, rest, wanted = array("q"), b"", -1
        while wanted < 0 or len(numbers) < wanted:
            if self._left < _BLOCK:
                raise ValueError("it is truncated")
            *lines, rest = (rest + self._take(_BLOCK)).split(b"\n")
            self._left -= _BLOCK
            if wanted < 0 and lines:
                wanted = 2 * _decimal(lines.pop(0))
                if not 0 <= wanted <= 2 * MOST_PIECES:
                    raise ValueError(f"more than {MOST_PIECES} pieces")
            if len(rest) > _BLOCK:
                raise ValueError("a line without an end")
            numbers.extend(_within(_decimal(line)) for line in lines[: wanted - len(numbers)])
        return numbers

    def _fill(self) -> bool:
        """Fill the buffer; False at the end of the stream."""
        if self._at == len(self._data):
            self._data, self._at = self._read(BLOCK_BYTES), 0
        return bool(self._data)

    def _some(self, most: int) -> bytes:
        if not self._fill():
            raise TarError("it ends early")
        piece = self._data[self._at : self._at + most]
        self._at += len(piece)
        return piece

    def _take(self, count: int) -> bytes:
        parts = []
        while count:
            parts.append(self._some(count))
            count -= len(parts[-1])
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _pass(self, count: int) -> None:
        self._left = self._padding = 0
        while count:
            count -= len(self._some(count))


def _is_header(block: bytes) -> bool:
    try:
        return _octal(block[148:156]) == sum(block[:148]) + 8 * 32 + sum(block[156:])
    except ValueError:
        return False


def _described(header: bytes, more: Mapping[bytes, bytes]) -> Member:
    """A member without its content. An invalid number or text becomes a problem."""
    problems: list[str] = []

    def number(keyword: bytes, start: int, end: int) -> int:
        try:
            return _decimal(more[keyword]) if keyword in more else _octal(header[start:end])
        except ValueError:
            problems.append(f"its {keyword.decode()} is not a number")
            return 0

    def text(keyword: bytes, start: int, end: int) -> bytes:
        return more[keyword] if keyword in more else header[start:end].partition(b"\0")[0]

    kind, name = header[156:157], _name(header, more)
    if kind not in (*FILES, *_WITHOUT_DATA):
        problems.append("an entry of an unknown type")
    try:
        mtime_ns = _nanoseconds(more.get(b"mtime")) if b"mtime" in more else _octal(header[136:148]) * 10**9
    except ValueError:
        mtime_ns = 0
        problems.append("its modification time is invalid")
    return Member(
        name=name,
        type=kind,
        size=0,
        mode=number(b"mode", 100, 108),
        uid=number(b"uid", 108, 116),
        gid=number(b"gid", 116, 124),
        user=text(b"uname", 265, 297).decode("utf-8", "surrogateescape"),
        group=text(b"gname", 297, 329).decode("utf-8", "surrogateescape"),
        mtime_ns=mtime_ns,
        link=text(b"linkpath", 157, 257),
        device=(number(b"devmajor", 329, 337), number(b"devminor", 337, 345)),
        xattrs=tuple(_xattrs(more)),
        problem=", ".join(problems),
    )


def _name(header: bytes, more: Mapping[bytes, bytes]) -> bytes:
    if b"path" in more:
        name = more[b"path"]
    else:
        name = header[:100].partition(b"\0")[0]
        # GNU's older format has other data in the prefix field.
        prefix = header[345:500].partition(b"\0")[0] if header[257:263] == b"ustar\0" else b""
        name = prefix + b"/" + name if prefix else name
    return name.rstrip(b"/") if header[156:157] == b"5" else name


def _size(header: bytes, more: Mapping[bytes, bytes] | None = None) -> int:
    """The size of the data after the header; without it the next header cannot be found."""
    try:
        size = _decimal(more[b"size"]) if more and b"size" in more else _octal(header[124:136])
    except ValueError as error:
        raise TarError("the size of an entry is not a number") from error
    if not 0 <= size < 1 << 63:
        raise TarError("the size of an entry is invalid")
    return size


def _records(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The records ``LENGTH KEYWORD=VALUE`` of an extended header."""
    at = 0
    while at < len(data):
        space = data.find(b" ", at, at + 10)
        length = data[at:space]
        if space < 0 or not length.isdigit():
            raise TarError("an extended header is damaged")
        end = at + int(length)
        keyword, equals, value = data[space + 1 : end - 1].partition(b"=")
        if end > len(data) or end <= space or data[end - 1 : end] != b"\n" or not equals:
            raise TarError("an extended header is damaged")
        yield keyword, value
        at = end


def _xattrs(more: Mapping[bytes, bytes]) -> Iterator[tuple[bytes, bytes]]:
    for keyword in sorted(more):
        if keyword.startswith(_XATTR):
            # GNU tar encodes characters that would end a keyword (xheader.c, xattr_encode_keyword).
            yield keyword.removeprefix(_XATTR).replace(b"%3D", b"=").replace(b"%25", b"%"), more[keyword]


def _octal(field: bytes) -> int:
    """A number of a header: octal, or bytes after a mark. Raises ValueError."""
    if field[0] in (0x80, 0xFF):
        value = int.from_bytes(field[1:])
        return value if field[0] == 0x80 else value - (1 << 8 * (len(field) - 1))
    found = _OCTAL.fullmatch(field)
    if found is None:
        raise ValueError("not a number")
    return int(found[1] or b"0", 8)


def _decimal(text: bytes) -> int:
    if not _DECIMAL.fullmatch(text):
        raise ValueError("not a number")
    return int(text)


def _within(number: int) -> int:
    if not 0 <= number < 1 << 62:
        raise ValueError("a number out of range")
    return number


def _nanoseconds(text: bytes | None) -> int:
    found = _TIME.fullmatch(text or b"")
    if found is None:
        raise ValueError("not a time")
    sign, whole, part = found.groups(b"")
    value = int(whole) * 10**9 + int(part[:9].ljust(9, b"0"))
    return -value if sign else value


def _pairs(numbers: "array[int] | tuple[int, int]") -> Iterator[tuple[int, int]]:
    for index in range(0, len(numbers), 2):
        yield numbers[index], numbers[index + 1]


def _check_map(extents: "array[int]", size: int, stored: int) -> None:
    """Raises ValueError unless the pieces follow each other within the size and are what was sent."""
    position = total = 0
    for offset, length in _pairs(extents):
        if offset < position or total % _BLOCK:
            raise ValueError("pieces overlap, or are not whole blocks")
        position = offset + length
        total += length
    if position > size or total != stored:
        raise ValueError("its pieces are not what was sent")
