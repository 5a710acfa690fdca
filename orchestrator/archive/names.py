"""Convert paths of any bytes to names that every ZIP program accepts, and back; refuse unsafe paths.

A path in clean UTF-8 is its own name. In any other path the bytes that trouble readers (not UTF-8, control
characters, backslash, the colon of a leading drive letter) are percent-encoded, and so is ``%``. To stay
reversible, a path that happens to look like such a name is encoded, too; ``50%20off.jpg`` does not, so it is
not changed.
"""

import posixpath
import re

from orchestrator.archive.entry import ArchiveError

_TROUBLE = re.compile(rb"[\x00-\x1f\x7f\\]|\A[A-Za-z]:")
_SUSPECT = bytes((*range(0x20), *range(0x7F, 0x100))) + b"\\%:"
_CODED = re.compile(rb"%[0-9A-F]{2}")
_HOSTILE_PARTS = frozenset((b"", b".", b".."))
_LONGEST = 65_000


def stored_name(path: bytes) -> str:
    """The name of a path in the ZIP and in the manifest."""
    if path.translate(None, _SUSPECT) == path:
        return path.decode("ascii")
    return _code(path) if _needs_coding(path) else path.decode()


def path_of(name: str) -> bytes:
    """The path of a stored name: the inverse of ``stored_name``."""
    plain = name.encode()
    if "%" not in name:
        return plain
    decoded = _decoded(plain)
    return decoded if _needs_coding(decoded) else plain


def _needs_coding(path: bytes) -> bool:
    if _TROUBLE.search(path) or not _is_utf8(path):
        return True
    return bool(_CODED.search(path)) and _needs_coding(_decoded(path))


def _decoded(name: bytes) -> bytes:
    return _CODED.sub(lambda match: bytes.fromhex(match[0][1:].decode()), name)


def _is_utf8(path: bytes) -> bool:
    try:
        path.decode()
    except UnicodeDecodeError:
        return False
    return True


def _code(path: bytes) -> str:
    text = path.replace(b"%", b"%25").decode("utf-8", "surrogateescape")
    coded = re.sub(r"[\x00-\x1f\x7f\\\udc80-\udcff]", _percent, text)
    return re.sub(r"\A([A-Za-z]):", r"\1%3A", coded)


def _percent(match: re.Match[str]) -> str:
    return f"%{match[0].encode('utf-8', 'surrogateescape')[0]:02X}"


def is_hostile(path: bytes) -> bool:
    """Whether a path could lead outside the folder that it is restored to."""
    return len(path) > _LONGEST or b"\0" in path or not _HOSTILE_PARTS.isdisjoint(path.split(b"/"))


def refuse_hostile(path: bytes) -> bytes:
    """``path``, unless it is hostile (ArchiveError)."""
    if is_hostile(path):
        raise ArchiveError(f"refused: {printable(path)!r} is not a path inside a folder")
    return path


def link_to(path: bytes, first: bytes) -> bytes:
    """The text of a symbolic link at ``path`` that leads to ``first``, as stored names."""
    folder = posixpath.dirname(stored_name(path))
    return posixpath.relpath(stored_name(first), folder or ".").encode()


def leaves_tree(path: bytes, target: bytes) -> bool:
    """Whether a symbolic link at ``path`` with this ``target`` leads out of the tree that contains ``path``.

    A target with ``..`` after a name counts as leading out, because that name may be a link itself. So
    links that each stay inside the tree cannot be combined to leave it.
    """
    parts = [part for part in target.split(b"/") if part not in (b"", b".")]
    climbs = next((index for index, part in enumerate(parts) if part != b".."), len(parts))
    return target.startswith(b"/") or climbs > path.count(b"/") or b".." in parts[climbs:]


def printable(path: bytes) -> str:
    """A path for messages."""
    return path.decode("utf-8", "backslashreplace")
