"""Which version apt would choose: the priorities of apt_preferences(5).

A version has the highest priority of the archives that offer it, unless a pin names its package. Of several
the highest wins, then the newest; nothing older than what is installed without a priority of 1000.
"""

import fnmatch
import re
from collections.abc import Iterable
from dataclasses import dataclass

from exporter.inventory.dpkg import stanzas
from exporter.inventory.phasing import ALL, fragments, option, read_configuration
from exporter.tree import Tree
from leitstand.versions import dpkg_key

INSTALLED = 100
# A pin's priority "never": no other pin makes a candidate of what comes from such archives alone.
NEVER = -32768
_PRIORITY = re.compile(r"[+-]?\d{1,5}|never")
DOWNGRADES = 1000
# Letter of a release pin -> field of an archive.
RELEASE_FIELDS = {
    "a": "suite",
    "n": "codename",
    "v": "version",
    "o": "origin",
    "l": "label",
    "c": "component",
    "b": "architecture",
}


@dataclass(frozen=True)
class Archive:
    """Where a version comes from, by its Release file. ``site`` is the host, ``priority`` the default one."""

    site: str = ""
    suite: str = ""
    codename: str = ""
    version: str = ""
    origin: str = ""
    label: str = ""
    component: str = ""
    architecture: str = ""
    priority: int = 500
    security: bool = False


@dataclass(frozen=True)
class Pin:
    """A record of preferences; without ``packages`` it is for all. ``data`` as written, by kind."""

    packages: tuple[str, ...]
    kind: str
    data: str
    priority: int


@dataclass(frozen=True)
class Candidate:
    """An installable version: names of the package, one of its versions, and who offers it.

    ``built_from`` is the name and version of the source package, joined by "-"; ``phased`` is the percentage
    of machines that it is for.
    """

    name: str
    source: str
    version: str
    archives: tuple[Archive, ...]
    built_from: str = ""
    phased: int = ALL


def parse_pins(text: str) -> list[Pin]:
    """The records of a file of preferences; others are left out, as apt does with a warning."""
    pins = []
    for fields in stanzas(text):
        kind, _, data = fields.get("pin", "").partition(" ")
        kind = kind.lower()
        packages, priority = fields.get("package", "").split(), fields.get("pin-priority", "")
        if packages and kind in ("version", "origin", "release") and _PRIORITY.fullmatch(priority):
            number = NEVER if priority == "never" else int(priority)
            pins.append(Pin(() if packages == ["*"] else tuple(packages), kind, data.strip(), number))
    return pins


def read_pins(tree: Tree) -> list[Pin]:
    """Every pin in the order in which apt reads them; that of APT::Default-Release goes first."""
    chosen = [name for text in read_configuration(tree) if (name := parse_default_release(text))]
    default = [Pin((), "release", chosen[-1], 990)] if chosen else []
    paths = fragments(tree, "/etc/apt/preferences.d", "pref")
    texts = map(tree.text_or_empty, [*paths, "/etc/apt/preferences"])
    return default + [pin for text in texts for pin in parse_pins(text)]


def parse_default_release(text: str) -> str:
    """APT::Default-Release of an apt.conf(5)."""
    return option([text], "Default-Release")


def matches(expression: str, value: str) -> bool:
    """Whether a value fits an expression of apt in any case: a shell's pattern or a /regular expression/."""
    if len(expression) > 1 and expression[0] == expression[-1] == "/":
        try:
            return re.search(expression[1:-1], value, re.IGNORECASE) is not None
        except re.error:
            return False
    return fnmatch.fnmatchcase(value.lower(), expression.lower())


def names_package(pattern: str, candidate: Candidate) -> bool:
    """Whether the Package field of a pin means a package."""
    if pattern.startswith("src:"):
        return matches(pattern[4:], candidate.source)
    return matches(pattern.partition(":")[0], candidate.name)


def fits(pin: Pin, archive: Archive) -> bool:
    """Whether a pin by origin or release means an archive."""
    if pin.kind == "origin":
        return matches(pin.data.strip('"'), archive.site)
    conditions = [part.strip().partition("=") for part in pin.data.split(",") if part.strip()]
    if len(conditions) == 1 and not conditions[0][1]:
        name = conditions[0][0]
        return any(matches(name, one) for one in (archive.suite, archive.codename)) or (
            name[:1].isdigit() and matches(name, archive.version)
        )
    known = [
        (field, value)
        for letter, _, value in conditions
        if (field := RELEASE_FIELDS.get(letter.lower()))  # apt passes over the others
    ]
    return bool(known) and all(matches(value, getattr(archive, field)) for field, value in known)


class Policy:
    def __init__(self, pins: Iterable[Pin]) -> None:
        self._general = [pin for pin in pins if not pin.packages and pin.kind != "version"]
        self._specific = [pin for pin in pins if pin.packages]
        self._archives: dict[Archive, int] = {}

    def of_archive(self, archive: Archive) -> int:
        """The priority of an archive: that of the first pin for it."""
        if archive not in self._archives:
            fitting = [pin.priority for pin in self._general if fits(pin, archive)]
            self._archives[archive] = fitting[0] if fitting else archive.priority
        return self._archives[archive]

    def of(self, candidate: Candidate, *, is_installed: bool) -> int:
        """The priority of a version: that of the first pin for it, or else the highest of its archives."""
        known = [self.of_archive(archive) for archive in candidate.archives] + [INSTALLED] * is_installed
        if max(known, default=0) == NEVER:
            return NEVER
        for pin in self._specific:
            if not any(names_package(pattern, candidate) for pattern in pin.packages):
                continue
            by_version = pin.kind == "version" and matches(pin.data, candidate.version)
            if by_version or (pin.kind != "version" and any(fits(pin, one) for one in candidate.archives)):
                return pin.priority
        return max(known, default=0)

    def choose(self, installed: str, candidates: Iterable[Candidate]) -> Candidate | None:
        """The newer version that apt would install; None if there is none."""
        own = dpkg_key(installed)
        best, highest = None, 0
        for one in sorted(candidates, key=lambda entry: dpkg_key(entry.version), reverse=True):
            key = dpkg_key(one.version)
            priority = self.of(one, is_installed=key == own)
            if priority > highest and (key >= own or priority >= DOWNGRADES):
                best, highest = one, priority
        return best if best and dpkg_key(best.version) > own else None
