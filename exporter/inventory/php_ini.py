"""Read PHP's ini files and the like of them, php-fpm's pools."""

import posixpath
import re
from collections.abc import Iterator

from exporter.tree import Tree

_SETTING = re.compile(r"""^\s*([A-Za-z_][\w.\[\]-]*)\s*=\s*(?:"([^"]*)"|'([^']*)'|([^;"'\n]*))""")
_SECTION = re.compile(r"^\s*\[([^\]\n]{1,200})\]")
MAXIMUM_FILES = 2_000
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


def parse(text: str) -> Iterator[tuple[str, str, str]]:
    """(section, name, value) of each setting; lines of another form are left out."""
    section = ""
    for line in text.splitlines():
        header = _SECTION.match(line)
        if header:
            section = header[1].strip()
            continue
        found = _SETTING.match(line)
        if found:
            value = (
                found[2] if found[2] is not None else found[3] if found[3] is not None else found[4].strip()
            )
            yield section, found[1], value


def ini_files(tree: Tree, main: str, folder: str) -> list[str]:
    """The files PHP reads, in its order: the main one, then the folder's by name."""
    found = [main] if tree.is_file(main) else []
    return (
        found + [f"{folder}/{name}" for name in tree.names(folder) if name.endswith(".ini")][:MAXIMUM_FILES]
    )


def settings(tree: Tree, files: list[str]) -> tuple[dict[str, str], list[str], int]:
    """(important settings, names of extensions to load, files that could not be read); a later file wins."""
    values: dict[str, str] = {}
    extensions: list[str] = []
    skipped = 0
    for path in files:
        try:
            text = tree.text(path)
        except OSError:
            skipped += 1
            continue
        for section, name, value in parse(text):
            if name in ("extension", "zend_extension"):
                extensions.append(extension_name(value))
            elif name in IMPORTANT and not section.startswith(("PATH=", "HOST=")):
                values[name] = value
    return values, sorted(set(filter(None, extensions))), skipped


def extension_name(value: str) -> str:
    """The name of an extension from what loads it: ``opcache``, ``opcache.so`` or a path."""
    return posixpath.basename(value.strip()).removesuffix(".so").removeprefix("php_")


def pools(tree: Tree, path: str, prefix: str = "/usr") -> tuple[dict[str, dict[str, str]], int]:
    """(pool -> its settings, files that could not be read) of a php-fpm.conf and all it includes.

    The section ``global`` is no pool. ``$pool`` stands for the pool's name; see php-fpm.conf(5).
    """
    found: dict[str, dict[str, str]] = {}
    skipped = 0
    pending, read = [path], 0
    while pending and read < MAXIMUM_FILES:
        current = pending.pop(0)
        read += 1
        try:
            text = tree.text(current)
        except OSError:
            skipped += 1
            continue
        for section, name, value in parse(text):
            if name == "include":
                pending += tree.glob(posixpath.join(prefix, value))
            elif section not in ("", "global"):
                found.setdefault(section, {})[name] = value.replace("$pool", section)
    return found, skipped
