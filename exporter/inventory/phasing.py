"""Phased updates, which Ubuntu gives to a growing share of machines: apt's rule which are this host's.

A draw by the source package, its version and the machine's id is set against Phased-Update-Percentage of the
Packages file; apt (upgrade.cc, since 2.1.16) keeps a package back while the draw is above it.
"""

import re
from dataclasses import dataclass

from exporter.tree import Tree

ALL = 100
_COMMENT = re.compile(r'("[^"\n]*")|/\*.*?\*/', re.DOTALL)
_WORD = 0xFFFFFFFF
_MODULUS, _MULTIPLIER = 2**31 - 1, 48271  # std::minstd_rand


@dataclass(frozen=True)
class Phasing:
    """How this host takes part. Without a machine's id it takes every update."""

    machine: str = ""
    always: bool = False
    never: bool = False

    def holds_back(self, source: str, percentage: int) -> bool:
        """Whether an update of ``source`` (name-version) is not yet this host's."""
        if percentage >= ALL or self.always:
            return False
        if self.never:
            return True
        return bool(self.machine) and draw(f"{source}-{self.machine}") > percentage


def read_phasing(tree: Tree) -> Phasing:
    """The settings of apt's configuration, and the machine's id."""
    texts = read_configuration(tree)
    machine = option(texts, "Machine-ID") or tree.text_or_empty("/etc/machine-id").strip()
    always, never = (is_true(option(texts, f"{word}-Include-Phased-Updates")) for word in ("Always", "Never"))
    return Phasing(machine, always, never)


def read_configuration(tree: Tree) -> list[str]:
    """The files of apt.conf(5) in apt's order."""
    paths = fragments(tree, "/etc/apt/apt.conf.d", "conf")
    return [tree.text_or_empty(path) for path in [*paths, "/etc/apt/apt.conf"]]


def fragments(tree: Tree, folder: str, extension: str) -> list[str]:
    """The files of a folder that apt reads: not what was put aside as ``x.bak`` (fileutl.cc)."""
    name = re.compile(rf"[\w:-]+|[\w:-][\w.:-]*\.{extension}", re.ASCII)
    return [f"{folder}/{entry}" for entry in tree.names(folder) if name.fullmatch(entry)]


def option(texts: list[str], name: str) -> str:
    """The last value of an option by the last part of its name, in either notation of apt.conf(5)."""
    pattern = rf'(?i)^(?![ \t]*(?://|#)).*\b{name}\s+"?([^";\n]+?)"?\s*;'
    plain = [_COMMENT.sub(lambda found: found[1] or "", text) for text in texts]
    found = [value for text in plain for value in re.findall(pattern, text, re.MULTILINE)]
    return str(found[-1]) if found else ""


def is_true(value: str) -> bool:
    """Whether apt takes a value for true."""
    return value.lower() in ("1", "yes", "true", "with", "on", "enable")


def draw(text: str) -> int:
    """0 to 100, as apt draws: std::uniform_int_distribution(0, 100) of libstdc++ over std::minstd_rand."""
    state = seed_sequence(text.encode())[3] % _MODULUS or 1
    scale = (_MODULUS - 2) // 101
    while True:
        state = state * _MULTIPLIER % _MODULUS
        if state - 1 < 101 * scale:
            return (state - 1) // scale


def seed_sequence(values: bytes) -> list[int]:
    """The four words that std::seed_seq::generate makes of ``values``; C++ standard, [rand.util.seedseq]."""
    count, length = 4, len(values)
    words = [0x8B8B8B8B] * count
    for step in range(max(length + 1, count)):
        mixed = _mixed(1664525, words[step % 4] ^ words[(step + 1) % 4] ^ words[(step - 1) % 4])
        added = length if step == 0 else step % 4 + (values[step - 1] if step <= length else 0)
        words[(step + 1) % 4] = (words[(step + 1) % 4] + mixed) & _WORD
        words[(step + 2) % 4] = (words[(step + 2) % 4] + mixed + added) & _WORD
        words[step % 4] = (mixed + added) & _WORD
    for step in range(max(length + 1, count), max(length + 1, count) + count):
        mixed = _mixed(1566083941, words[step % 4] + words[(step + 1) % 4] + words[(step - 1) % 4])
        lessened = (mixed - step % 4) & _WORD
        words[(step + 1) % 4] ^= mixed
        words[(step + 2) % 4] ^= lessened
        words[step % 4] = lessened
    return words


def _mixed(multiplier: int, value: int) -> int:
    value &= _WORD
    return multiplier * (value ^ value >> 27) & _WORD
