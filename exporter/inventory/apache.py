"""Apache's virtual hosts, from its configuration; Apache itself is not asked.

Conditions (IfModule, IfDefine …) count as true, as a reader cannot know them. Macros are not expanded.
"""

import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from exporter.inventory.text import search
from exporter.inventory.virtual_host import VirtualHost, backend
from exporter.tree import Tree

CONFIGURATIONS = ("/etc/apache2/apache2.conf", "/etc/httpd/conf/httpd.conf", "/etc/apache2/httpd.conf")
# What these name may be relative to the server's root, unless it is on a token or set in the environment.
RELATIVE = ("documentroot", "sslcertificatefile")
MAXIMUM_FILES = 5_000
MAXIMUM_DEPTH = 32
_ARGUMENT = re.compile(r""""((?:[^"\\]|\\.)*)"|'((?:[^'\\]|\\.)*)'|([^\s"']\S*)""")
_VARIABLE = re.compile(r"\$\{(\w{1,64})\}")


@dataclass(frozen=True)
class Line:
    """One directive, its name in lower case; a section is ``<virtualhost`` and ``</virtualhost``."""

    name: str
    arguments: tuple[str, ...]
    file: str


def apache_hosts(tree: Tree) -> tuple[list[VirtualHost], int]:
    """Every virtual host of every Apache configuration, and how many files could not be read."""
    hosts: list[VirtualHost] = []
    skipped = 0
    for path in filter(tree.stat, CONFIGURATIONS):
        loader = Loader(tree, path)
        hosts += virtual_hosts(without_macros(loader.load(path)))
        skipped += loader.skipped
    return hosts, skipped


class Loader:
    """Reads a configuration with everything it includes, and puts in what Define has set."""

    def __init__(self, tree: Tree, path: str) -> None:
        self._tree = tree
        # Red Hat's conf/httpd.conf names its ServerRoot; Debian compiles it in.
        self._server_root = posixpath.dirname(path)
        self._variables: dict[str, str] = {}
        self._left = MAXIMUM_FILES
        self.skipped = 0

    def load(self, path: str, depth: int = 0) -> Iterator[Line]:
        """The lines of a file, those of included files in their place."""
        self._left -= 1
        try:
            if self._left < 0 or depth > MAXIMUM_DEPTH:
                raise OSError("too many includes")
            text = self._tree.text(path)
        except OSError:
            self.skipped += 1
            return
        for line in parse(text, path):
            yield from self._line(Line(line.name, tuple(map(self._filled, line.arguments)), line.file), depth)

    def _line(self, line: Line, depth: int) -> Iterator[Line]:
        arguments = line.arguments
        if line.name in ("include", "includeoptional") and arguments:
            for path in self._files(posixpath.join(self._server_root, arguments[0])):
                yield from self.load(path, depth + 1)
            return
        if line.name == "serverroot" and arguments:
            self._server_root = arguments[0]
        if line.name in RELATIVE and arguments and not arguments[0].startswith(("pkcs11:", "$")):
            path = posixpath.join(self._server_root, arguments[0])
            line = replace(line, arguments=(path, *arguments[1:]))
        if line.name == "define" and len(arguments) == 2 and len(self._variables) < 1000:
            self._variables[arguments[0]] = arguments[1][:1024]
        yield line

    def _filled(self, argument: str) -> str:
        return _VARIABLE.sub(lambda found: self._variables.get(found[1], found[0]), argument)

    def _files(self, pattern: str) -> Iterator[str]:
        for path in self._tree.glob(pattern):
            if self._tree.is_folder(path):
                yield from (f"{path}/{name}" for name in self._tree.names(path))
            else:
                yield path


def parse(text: str, file: str) -> Iterator[Line]:
    """The directives of a text."""
    for raw in re.sub(r"\\\r?\n", " ", text).splitlines():
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        if line.startswith("<"):
            line = line.rstrip(">")
        name, *rest = line.split(None, 1)
        arguments = [
            double or single or bare for double, single, bare in _ARGUMENT.findall(rest[0] if rest else "")
        ]
        yield Line(name.lower(), tuple(arguments), file)


def without_macros(lines: Iterator[Line]) -> Iterator[Line]:
    """The lines outside of macros: a host called ``$name`` is none."""
    is_macro = False
    for line in lines:
        is_macro = line.name != "</macro" if is_macro else line.name == "<macro"
        if not is_macro:
            yield line


def virtual_hosts(lines: Iterator[Line]) -> list[VirtualHost]:
    """The virtual hosts of a whole configuration, and the main server if it has a root of its own."""
    main = VirtualHost("apache", "")
    hosts: list[VirtualHost] = []
    current = main
    for line in lines:
        if line.name == "<virtualhost":
            current = VirtualHost("apache", line.file, listen=list(line.arguments))
            hosts.append(current)
        elif line.name == "</virtualhost":
            current = main
        elif line.name == "loadmodule" and len(line.arguments) == 2:
            main.php = main.php or search(r"libphp(\d\.\d+)\.so$", line.arguments[1])
        else:
            apply(current, line)
    for host in hosts:
        # Debian sets PHP-FPM's handler for the whole server, unless PHP is a module.
        host.backends = host.backends or ([] if main.php else main.backends)
        host.php = "" if host.backends else main.php
        host.root = host.root or main.root
        host.folders += main.folders
    if main.root and not hosts:
        hosts.append(main)
    return hosts


def apply(host: VirtualHost, line: Line) -> None:
    """What one directive says of its virtual host."""
    if not line.arguments:
        return
    value = line.arguments[0]
    match line.name:
        case "servername" | "serveralias":
            host.names += [re.sub(r"^\w+://|:\d+$", "", name) for name in line.arguments]
        case "documentroot":
            host.root, host.file = value.rstrip("/") or "/", host.file or line.file
        case "alias" if "$" not in line.arguments[-1]:
            host.folders.append(line.arguments[-1].rstrip("/"))
        case "listen":
            host.listen.append(value)
        case "sslcertificatefile" if value.startswith("/"):
            host.certificates.append(value)
        case "sethandler" | "addhandler" | "proxypassmatch" | "proxypass":
            host.backends += [backend(word) for word in line.arguments if "fcgi://" in word]
