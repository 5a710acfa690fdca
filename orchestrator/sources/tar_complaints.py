r"""Messages of GNU tar about single files on standard error, in English and with ``--quoting-style=escape``.

So any name is on one line: ``tar: ./a\nb: Cannot open: Permission denied``.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass

_OF_A_FILE = re.compile(
    r"^tar: (?P<path>.*): (?:Warning: )?"
    r"(?P<what>Cannot (?:open|stat|read|savedir|readlink|\w+xattr\w*|\w+acl\w*)[^:]*: .*"
    r"|file changed as we read it|File removed before we read it|File shrank by .*)$"
)
# Harmless: tar cannot save sockets, and leaves out the rest on request.
_EXPECTED = re.compile(
    r"^tar: .*: (?:(?:socket|door) ignored$|(?:file|directory) is on a different filesystem"
    r"|contains a cache directory tag)"
)
_OF_THE_END = re.compile(r"^tar: (?:Exiting with failure|Error is not recoverable|This does not look like)")
_OPTION = re.compile(r"(?:unrecognized|unknown|invalid|illegal) option|Option .* is not supported")
_ESCAPED = re.compile(rb"\\(?:([0-7]{3})|(.))")
_CONTROLS = {b"a": b"\a", b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}


@dataclass(frozen=True)
class Complaint:
    """A path as tar prints it, any bytes, and what was wrong with it."""

    path: str
    what: str

    @property
    def changed(self) -> bool:
        """Whether it was read, but changed meanwhile."""
        return self.what.startswith("file changed")

    @property
    def reason(self) -> str:
        if "No such file" in self.what or "removed before" in self.what:
            return "vanished before it was read"
        if self.what.startswith("Cannot"):
            return f"cannot be read: {self.what.rsplit(': ', 1)[-1]}"
        return "changed while it was read"


def complaints(stderr: str) -> Iterator[Complaint]:
    for line in stderr.splitlines():
        if found := _OF_A_FILE.match(line):
            yield Complaint(_unescaped(found["path"]), found["what"])


def other_complaints(stderr: str) -> Iterator[str]:
    """All other messages of tar, a line each: their meaning is unknown, so something may be missing."""
    for line in stderr.splitlines():
        known = _OF_A_FILE.match(line) or _OF_THE_END.match(line) or _EXPECTED.match(line)
        if line.startswith("tar: ") and not known:
            yield line.removeprefix("tar: ")


def last_words(stderr: str) -> str:
    """The line that says why tar failed."""
    lines = [line for line in stderr.strip().splitlines() if not _OF_THE_END.match(line)]
    options = [line for line in lines if _OPTION.search(line)]  # how to use it follows
    return next(iter(options + lines[-1:]), "")


def _unescaped(text: str) -> str:
    def meant(found: re.Match[bytes]) -> bytes:
        octal, letter = found.groups()
        return bytes([int(octal, 8) & 0xFF]) if octal else _CONTROLS.get(letter, letter)

    return os.fsdecode(_ESCAPED.sub(meant, os.fsencode(text)))
