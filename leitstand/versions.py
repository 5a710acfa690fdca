"""Compare versions in the order of the system that wrote them: dpkg, rpm, apk, and others by convention.

Each order is a key function: ``key(a) < key(b)`` means that ``a`` is older. Any text has a key.
"""

import re
from collections.abc import Callable
from typing import Any

_PIECES = re.compile(r"(\D*)(\d*)")
_END = 0  # sorts after "~" and before everything else
# apk-tools/src/version.c: suffixes that sort before the release, and after it.
_APK_SUFFIXES = {
    "alpha": -4,
    "beta": -3,
    "pre": -2,
    "rc": -1,
    "": 0,
    "cvs": 1,
    "svn": 2,
    "git": 3,
    "hg": 4,
    "p": 5,
}
_APK = re.compile(
    r"(?P<numbers>\d+(?:\.\d+)*)(?P<letter>[a-z]?)(?P<suffixes>(?:_[a-z]+\d*)*)(?:~(?P<hash>[0-9a-f]+))?(?:-r(?P<revision>\d+))?"
)
_PRERELEASE = re.compile(r"(?<=[\d.])[-._]?(?=(?:dev|alpha|a|beta|b|rc|c|pre)[\d.]*\b)", re.IGNORECASE)

Key = tuple[Any, ...]


def _number(digits: str) -> tuple[int, str]:
    """Digits of any length in the order of their value, without the cost of huge integers."""
    kept = digits.lstrip("0")
    return len(kept), kept


def _weight(character: str) -> int:
    if character == "~":
        return -1
    return ord(character) if character.isascii() and character.isalpha() else ord(character) + 256


def _debian_part(text: str) -> Key:
    """deb-version(7): runs of non-digits by letter, "~" before the end; runs of digits by value."""
    pieces = [pair for pair in _PIECES.findall(text) if pair != ("", "")]
    keys = [((*map(_weight, other), _END), _number(digits)) for other, digits in pieces]
    return (*keys, ((_END,), _number("")))


def dpkg_key(version: str) -> Key:
    """Debian's order: epoch, upstream version, revision."""
    epoch, colon, rest = version.strip().partition(":")
    if not colon:
        epoch, rest = "0", epoch
    upstream, hyphen, revision = rest.rpartition("-")
    if not hyphen:
        upstream, revision = rest, ""
    return (
        _number(epoch if epoch.isascii() and epoch.isdigit() else ""),
        _debian_part(upstream),
        _debian_part(revision),
    )


def _rpm_part(text: str) -> Key:
    """rpmvercmp (rpm/rpmio/rpmvercmp.cc): "~" before the end, "^" after it, letters before digits."""
    ranks = {"~": (-1, 0, ""), "^": (1, 0, "")}
    keys: list[tuple[int, int, str]] = []
    for piece in re.findall(r"[0-9]+|[a-zA-Z]+|~|\^", text):
        if piece in ranks:
            keys.append(ranks[piece])
        elif piece[0].isdigit():
            keys.append((3, *_number(piece)))
        else:
            keys.append((2, 0, piece))
    return (*keys, (0, 0, ""))


def rpm_key(version: str) -> Key:
    """rpm's order of ``[epoch:]version-release``."""
    epoch, colon, rest = version.strip().partition(":")
    if not colon:
        epoch, rest = "0", epoch
    upstream, _, release = rest.partition("-")
    return (
        _number(epoch if epoch.isascii() and epoch.isdigit() else ""),
        _rpm_part(upstream),
        _rpm_part(release),
    )


def _apk_number(digits: str) -> tuple[int, int, str]:
    """A number after the first: with a leading zero it sorts as text, before all without."""
    return (0, 0, digits) if digits.startswith("0") else (1, *_number(digits))


def apk_key(version: str) -> Key:
    """Alpine's order; other texts sort before all Alpine versions."""
    found = _APK.fullmatch(version.strip())
    if not found:
        return ((), version)
    first, *rest = found["numbers"].split(".")
    numbers = (_number(first), *map(_apk_number, rest))
    suffixes = tuple(
        (_APK_SUFFIXES.get(name, 0), _number(digits))
        for name, digits in re.findall(r"_([a-z]+)(\d*)", found["suffixes"])
    )
    # The end of the suffixes ranks as no suffix: after "rc", before "p".
    ends = (*suffixes, (0, _number("")))
    return (numbers, found["letter"], ends, found["hash"] or "", _number(found["revision"] or ""))


def common_key(version: str) -> Key:
    """Python, npm, composer and the rest: Debian's order, with a pre-release put before its release."""
    plain = version.strip().removeprefix("v").removeprefix("V").partition("+")[0]
    return _debian_part(_PRERELEASE.sub("~", plain))


KEYS: dict[str, Callable[[str], Key]] = {"dpkg": dpkg_key, "rpm": rpm_key, "apk": apk_key}


def key_of(manager: str) -> Callable[[str], Key]:
    """The order of a package manager by its name in the inventory."""
    return KEYS.get(manager, common_key)
