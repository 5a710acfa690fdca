"""Our patterns (see ``patterns``) as options of GNU tar, for members called ``./path/below/the/root``.

tar never leaves out more than we would. It should not leave out less either: the content of a file with
several names is sent with the first name that tar does not leave out. Source: GNU tar manual, 6.4 Excluding
Some Files.
"""

import fnmatch
import re
from collections.abc import Iterable, Iterator

_TOKEN = re.compile(r"\[!?\]?[^]]*\]|.", re.DOTALL)
_NAME = ("--no-anchored", "--wildcards", "--no-wildcards-match-slash")
_PATH = ("--anchored", "--wildcards", "--wildcards-match-slash")
_LITERAL = ("--anchored", "--no-wildcards")
HIDDEN = ".*"


def tar_excludes(patterns: Iterable[str], skip: Iterable[str], root: str) -> Iterator[str]:
    """The options that leave out what the patterns match, and the absolute paths ``skip``."""
    for pattern in patterns:
        body = pattern.rstrip("/")
        # For patterns that match only folders, tar leaves out the contents; we leave out the folder itself.
        end = "/*" if pattern.endswith("/") else ""
        if not body or tar_cannot(pattern):
            continue
        if "/" not in body:
            # tar tries each name, including the root's ".", which must stay.
            name = ".?*" if body == HIDDEN else body
            yield from (*_NAME, f"--exclude={_quoted(name + end)}")
        else:
            for inner in _below_root(body, root):
                yield from (*_PATH, f"--exclude=.{_quoted(inner + end)}")
    for path in sorted(skip):
        if path.startswith(f"{root}/"):
            yield from (*_LITERAL, f"--exclude=.{path.removeprefix(root)}")


def tar_cannot(pattern: str) -> bool:
    """Whether tar would match more than we do.

    It could match the root itself, which is called ".", or two bytes where we mean two characters.
    """
    body = pattern.rstrip("/")
    names_root = "/" not in body and body != HIDDEN and fnmatch.fnmatchcase(".", body)
    return names_root or any(map(_is_of_letters, _TOKEN.findall(body)))


def _is_of_letters(part: str) -> bool:
    is_set = len(part) > 1
    return part == "?" or (is_set and (part.startswith("[!") or not part.isascii()))


def _below_root(body: str, root: str) -> Iterator[str]:
    """The pattern with ``/`` for the root."""
    if not body.startswith("/"):
        yield body if body.startswith("*") else f"/{body}"
        return
    for rest in sorted(_rests(_TOKEN.findall(body), root)):
        if not rest.strip("*"):
            yield "/*"  # all that is below the root, but not the root
        elif rest.startswith(("/", "*")):
            yield rest


def _rests(tokens: list[str], text: str) -> set[str]:
    """The rest of a pattern whose start matched ``text``."""
    places = {0}
    for letter in text:
        reached = set(places)
        for place in places:
            while place < len(tokens) and tokens[place] == "*":
                place += 1
                reached.add(place)
        places = {
            place if tokens[place] == "*" else place + 1
            for place in reached
            if place < len(tokens) and fnmatch.fnmatchcase(letter, tokens[place])
        }
    return {"".join(tokens[place:]) for place in places if place < len(tokens)}


def _quoted(pattern: str) -> str:
    # In fnmatch(3) a backslash quotes and a caret negates; in our patterns they are ordinary characters.
    return pattern.replace("\\", "\\\\").replace("[^", "[\\^")
