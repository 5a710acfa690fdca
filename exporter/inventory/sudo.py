"""Who may use sudo, from its rules: sudoers(5) with aliases and included files."""

import posixpath
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from exporter.inventory.text import search
from exporter.tree import Tree

MAXIMUM_FILES = 500
_INCLUDE = re.compile(r'^[@#]include(dir)?\s+"?([^"\n]+?)"?\s*$')
# "#1000" is a user by number, anything else after "#" a comment.
_OTHER = re.compile(r"\s*(?:#(?!\d)|@|Defaults|(?:Runas|Host|Cmnd|Cmd)_Alias\b)")


@dataclass(frozen=True)
class SudoRules:
    """``subjects`` are users, ``%groups``, ``#numbers`` of users and ``%#numbers`` of groups.

    ``readable`` is false if the rules may not be read; ``unknown`` counts lines that are no rules;
    ``elsewhere``: a directory has rules, too.
    """

    subjects: frozenset[str]
    readable: bool = True
    unknown: int = 0
    elsewhere: bool = False

    def allow(self, name: str, uid: int, groups: Collection[tuple[str, int]]) -> bool | None:
        """True if a rule names the user or one of the groups (name, number); None if that is not known."""
        if uid == 0:
            return True
        if not self.readable:
            return None
        own = {name, f"#{uid}", "ALL"}
        own |= {f"%{group}" for group, _ in groups} | {f"%#{number}" for _, number in groups}
        # Who is in a netgroup or a group of a plugin is not for /etc/group to tell.
        is_open = self.elsewhere or any(subject.startswith(("+", "%:")) for subject in self.subjects)
        return True if own & self.subjects else None if is_open else False


def read_sudo(tree: Tree) -> SudoRules:
    """The rules of this host; none without sudo."""
    try:
        lines = list(read_lines(tree, "/etc/sudoers"))
        unknown = sum(map(is_unknown, lines))
        return SudoRules(frozenset(parse_subjects(lines)), unknown=unknown, elsewhere=asks_directory(tree))
    except OSError:
        return SudoRules(frozenset(), readable=False)


def asks_directory(tree: Tree) -> bool:
    """Whether sudo asks SSSD or LDAP for rules, by nsswitch.conf(5)."""
    sources = search(r"^[ \t]*sudoers:([^#\n]*)", tree.text_or_empty("/etc/nsswitch.conf")).split()
    return not {"sss", "ldap"}.isdisjoint(sources)


def read_lines(tree: Tree, path: str) -> Iterator[str]:
    """The lines of a file of rules and of all it includes. Raises OSError for what is not ours to read."""
    pending, left = [path], MAXIMUM_FILES
    while pending and left:
        current = pending.pop(0)
        left -= 1
        for line in tree.text_if_there(current).replace("\\\n", " ").splitlines():
            found = _INCLUDE.match(line)
            if found:
                pending += included(tree, posixpath.join(posixpath.dirname(current), found[2]), found[1])
            else:
                yield line


def included(tree: Tree, path: str, is_folder: str | None) -> list[str]:
    """The files that a directive includes; sudo ignores some names in a folder."""
    if not is_folder:
        return [path]
    if tree.is_folder(path) and tree.stat(f"{path}/.") is None:
        raise PermissionError(f"{path}: permission denied")
    names = [name for name in tree.names(path) if "." not in name and not name.endswith("~")]
    return [f"{path}/{name}" for name in names]


def is_unknown(line: str) -> bool:
    """Whether a line is neither rule nor setting, alias, include or comment."""
    return bool(line.strip()) and not _OTHER.match(line) and "=" not in line


def parse_subjects(lines: list[str]) -> set[str]:
    """The users in the rules, aliases resolved. A rule is ``users hosts = …``, each a list with commas."""
    aliases: dict[str, list[str]] = {}
    found: list[str] = []
    for line in lines:
        words = ",".join(part.strip() for part in line.split(",")).split(None, 1)
        if len(words) < 2 or "=" not in words[1] or _OTHER.match(line):
            continue
        if words[0] == "User_Alias":
            for name, _, members in (one.partition("=") for one in words[1].split(":")):
                aliases[name.strip()] = members.strip().split(",")
        else:
            found += words[0].split(",")
    return resolved(found, aliases)


def resolved(subjects: list[str], aliases: dict[str, list[str]]) -> set[str]:
    """The subjects with the members of aliases in their place; what is negated is left out."""
    found: set[str] = set()
    pending, seen = list(subjects), set()
    while pending:
        subject = pending.pop().strip().strip('"').removeprefix("\\")
        if subject in seen or subject.startswith("!"):
            continue
        seen.add(subject)
        if subject in aliases:
            pending += aliases[subject]
        else:
            found.add(subject)
    return found
