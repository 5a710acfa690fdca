"""Read PHP's ini files and the like of them, php-fpm's pools."""

import posixpath
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from exporter.inventory.source import Findings
from exporter.tree import Tree

_SETTING = re.compile(r"^\s*([A-Za-z_][\w.\[\]-]*)\s*=[ \t]*(.*)")
_WORD = re.compile(r"""\"((?:[^"\\]|\\.)*)\"|'([^']*)'|([^;"']+)""")
_VARIABLE = re.compile(r"\$\{([^}]*)\}")
_UNKNOWN = "\0"  # no file has it in a name
_SECTION = re.compile(r"^\s*\[([^\]\n]{1,200})\]")
# What follows is for some scripts or hosts only, to the end of the file (main/php_ini.c).
_SCOPED = re.compile(r"(?:PATH|HOST).", re.IGNORECASE)
MAXIMUM_FILES = 2_000
MAXIMUM_DEPTH = 20
# Worth knowing on every host; none can hold a secret (session.save_path can).
IMPORTANT = (
    "allow_url_fopen",
    "allow_url_include",
    "date.timezone",
    "disable_functions",
    "display_errors",
    "error_reporting",
    "expose_php",
    "file_uploads",
    "log_errors",
    "max_execution_time",
    "max_input_time",
    "max_input_vars",
    "memory_limit",
    "opcache.enable",
    "opcache.memory_consumption",
    "opcache.validate_timestamps",
    "open_basedir",
    "output_buffering",
    "post_max_size",
    "realpath_cache_size",
    "session.cookie_httponly",
    "session.cookie_secure",
    "session.gc_maxlifetime",
    "session.save_handler",
    "short_open_tag",
    "upload_max_filesize",
    "zend.assertions",
)


@dataclass(frozen=True)
class Setting:
    """A line ``name = value`` in a section; ``value`` is None where only PHP's environment tells it."""

    section: str
    name: str
    value: str | None


def parse(text: str, variables: Mapping[str, str] | None = None) -> Iterator[Setting | None]:
    """Each setting; None for a line that is none.

    Line by line, as PHP-FPM does; PHP itself also knows values of several lines.
    """
    section = ""
    for line in text.splitlines():
        header, found = _SECTION.match(line), _SETTING.match(line)
        if header:
            section = header[1].strip()
        elif found:
            try:
                yield Setting(section, found[1], parse_value(found[2], variables or {}))
            except ValueError:
                yield None
        elif line.strip(" \t\0\ufeff") and not line.lstrip().startswith((";", "#")):
            yield None


def parse_value(text: str, variables: Mapping[str, str]) -> str | None:
    """A value without quotes and comment; None if it depends on a variable that is not among ``variables``.

    Raises ValueError for an unterminated quotation.
    """
    words: list[str] = []
    place = 0
    while place < len(text) and text[place] != ";":
        found = _WORD.match(text, place)
        if not found:
            raise ValueError("an unterminated quotation")
        place = found.end()
        words.append(found[2] if found[2] is not None else filled(found[1] or found[3] or "", variables))
    value = "".join(words).strip()
    return None if _UNKNOWN in value else value


def filled(text: str, variables: Mapping[str, str]) -> str:
    """Text with its ``${NAME}`` replaced, by _UNKNOWN where the name is not among the variables."""
    return _VARIABLE.sub(lambda found: variables.get(found[1], _UNKNOWN), text.replace('\\"', '"'))


def ini_files(tree: Tree, main: str, folder: str) -> list[str]:
    """The files PHP reads, in its order: the main one, then the folder's by name."""
    found = [main] if tree.is_file(main) else []
    return (
        found + [f"{folder}/{name}" for name in tree.names(folder) if name.endswith(".ini")][:MAXIMUM_FILES]
    )


def settings(
    tree: Tree, files: list[str], variables: Mapping[str, str] | None = None
) -> tuple[dict[str, str], list[str], int]:
    """(important settings, names of extensions to load, files and lines that could not be read).

    A later file wins, also with a value that is not known.
    """
    values: dict[str, str | None] = {}
    extensions: list[str] = []
    skipped = 0
    for path in files:
        try:
            text = tree.text(path)
        except OSError:
            skipped += 1
            continue
        for entry in parse(text, variables):
            if entry is None:
                skipped += 1
            elif _SCOPED.match(entry.section):
                break
            elif entry.name in ("extension", "zend_extension"):
                extensions.append(extension_name(entry.value or ""))
            elif entry.name in IMPORTANT:
                values[entry.name] = entry.value
    known = {name: value for name, value in values.items() if value is not None}
    return known, sorted(set(filter(None, extensions))), skipped


def extension_name(value: str) -> str:
    """The name of an extension from what loads it: ``opcache``, ``opcache.so`` or a path."""
    return posixpath.basename(value.strip()).removesuffix(".so").removeprefix("php_")


class Pools:
    """The pools of a php-fpm.conf and all it includes, php-fpm.conf(5).

    ``prefix`` is what relative names are meant from. A value that cannot be known is left out.
    """

    def __init__(self, tree: Tree, prefix: str, variables: Mapping[str, str], findings: Findings) -> None:
        self._tree, self._prefix, self._variables, self._findings = tree, prefix, variables, findings
        self._left = MAXIMUM_FILES
        self._section = ""
        self.found: dict[str, dict[str, str]] = {}

    def load(self, path: str, depth: int = 0) -> None:
        """Read a file, and what it includes in its place: that may go on with a pool begun before."""
        self._left -= 1
        try:
            if self._left < 0 or depth > MAXIMUM_DEPTH:
                raise OSError("too many includes")
            text = self._tree.text(path)
        except OSError as error:
            self._findings.skip(reason=f"{path}: {error.strerror or error}")
            return
        section = ""
        # A line that is not understood may have begun another pool: after it, nothing overrides this one's.
        doubtful = False
        for entry in parse(text, self._variables):
            if entry is None:
                self._findings.skip(reason=f"{path}: a line that is no setting")
                doubtful = True
                continue
            if entry.section != section:
                section = self._section = entry.section
                doubtful = False
            if not (doubtful and entry.name in self.found.get(self._section, {})):
                self._take(entry, depth)

    def _take(self, entry: Setting, depth: int) -> None:
        if entry.name == "include":
            self._findings.skip(entry.value is None, "an include of PHP-FPM that its environment decides")
            for path in self._tree.glob(posixpath.join(self._prefix, entry.value)) if entry.value else ():
                self.load(path, depth + 1)
            return
        if self._section in ("", "global"):
            return
        pool = self.found.setdefault(self._section, {})
        if entry.value is None:
            pool.pop(entry.name, None)
        else:
            pool[entry.name] = entry.value.replace("$pool", self._section)


def listen_address(listen: str, own_prefix: str, prefix: str) -> str:
    """The address of a pool: a socket's absolute path, a port, or host:port; empty if it does not say.

    As PHP-FPM reads it (fpm_sockets.c, fpm_conf.c): what has a colon or is a number is no path.
    """
    if not listen or ":" in listen or (listen.isascii() and listen.isdigit()):
        return listen
    return posixpath.normpath(posixpath.join(prefix, own_prefix, listen))
