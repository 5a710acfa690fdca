"""nginx's virtual hosts, from its configuration; nginx itself is not asked.

Tolerant: what this reader does not know passes, and a file that breaks off gives what came before.
"""

import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from exporter.inventory.virtual_host import VirtualHost, backend
from exporter.tree import Tree

CONFIGURATIONS = (
    "/etc/nginx/nginx.conf",
    "/usr/local/nginx/conf/nginx.conf",
    "/usr/local/etc/nginx/nginx.conf",
    "/usr/local/openresty/nginx/conf/nginx.conf",
)
MAXIMUM_FILES = 5_000
MAXIMUM_DEPTH = 32
_TOKEN = re.compile(
    r"""\s+|\#[^\n]*|"(?P<double>(?:[^"\\]|\\.)*)"|'(?P<single>(?:[^'\\]|\\.)*)'|(?P<mark>[{};])"""
    r"""|(?P<bare>(?:\\.|\$\{\w{1,64}\}|[^\s{};\\])+|\\)""",
    re.DOTALL,
)
# nginx takes the backslash away before these only.
_ESCAPED = re.compile(r"""\\(["'\\])""")


@dataclass
class Directive:
    """``name arguments;`` or ``name arguments { block }``. ``file`` is where it stands."""

    name: str
    arguments: list[str]
    file: str
    block: list["Directive"] = field(default_factory=list)


def nginx_hosts(tree: Tree) -> tuple[list[VirtualHost], int]:
    """Every server of every nginx configuration, and how many files could not be read."""
    hosts: list[VirtualHost] = []
    skipped = 0
    for path in filter(tree.stat, CONFIGURATIONS):
        loader = Loader(tree, posixpath.dirname(path))
        hosts += servers(loader.load(path), posixpath.dirname(path))
        skipped += loader.skipped
    return hosts, skipped


def nginx_certificates(tree: Tree) -> set[str]:
    """Certificates of every server, those of ``stream`` and ``mail`` among them."""
    found: set[str] = set()
    for path in filter(tree.stat, CONFIGURATIONS):
        folder = posixpath.dirname(path)
        found |= set(certificate_paths(Loader(tree, folder).load(path), folder))
    return found


class Loader:
    """Reads a configuration with everything it includes, each file below its folder or where it says."""

    def __init__(self, tree: Tree, folder: str) -> None:
        self._tree, self._folder = tree, folder
        self._left = MAXIMUM_FILES
        self.skipped = 0

    def load(self, path: str, depth: int = 0) -> list[Directive]:
        """The directives of a file, those of included files in their place."""
        self._left -= 1
        if self._left < 0 or depth > MAXIMUM_DEPTH:
            self.skipped += 1
            return []
        try:
            text = self._tree.text(path)
        except OSError:
            self.skipped += 1
            return []
        return self._included(parse(text, path), depth)

    def _included(self, directives: list[Directive], depth: int) -> list[Directive]:
        found: list[Directive] = []
        for directive in directives:
            if directive.name == "include" and directive.arguments:
                pattern = posixpath.join(self._folder, directive.arguments[0])
                for path in self._tree.glob(pattern):
                    found += self.load(path, depth + 1)
                continue
            directive.block = self._included(directive.block, depth)
            found.append(directive)
        return found


def tokens(text: str) -> Iterator[tuple[str, bool]]:
    """(word, whether it is one of ``{ } ;``)."""
    for found in _TOKEN.finditer(text):
        kind = found.lastgroup
        if kind in ("double", "single"):
            yield _ESCAPED.sub(r"\1", found[kind]), False
        elif kind:
            yield found[kind], kind == "mark"


def parse(text: str, file: str) -> list[Directive]:
    """The directives of a text. Blocks deeper than 32 are flattened."""
    top: list[Directive] = []
    stack = [top]
    words: list[str] = []
    for word, is_mark in tokens(text):
        if not is_mark:
            words.append(word)
            continue
        if words:
            directive = Directive(words[0], words[1:], file)
            stack[-1].append(directive)
            if word == "{":
                stack.append(directive.block if len(stack) < MAXIMUM_DEPTH else stack[-1])
        elif word == "{":
            stack.append(stack[-1])
        if word == "}" and len(stack) > 1:
            stack.pop()
        words = []
    return top


def values(directives: list[Directive], name: str) -> list[list[str]]:
    """Arguments of every directive of this name, here and in the blocks below."""
    found: list[list[str]] = []
    for directive in directives:
        if directive.name == name:
            found.append(directive.arguments)
        found += values(directive.block, name)
    return found


def first(directives: list[Directive], name: str, otherwise: str) -> str:
    """The first argument of a directive at this level."""
    own = [entry.arguments[0] for entry in directives if entry.name == name and entry.arguments]
    return own[0] if own else otherwise


def certificate_paths(directives: list[Directive], folder: str) -> list[str]:
    """Files named by ssl_certificate, here and in the blocks below; relative ones are below ``folder``.

    A variable in a path means that it is chosen for each connection; "data:" holds the certificate itself.
    """
    named = [arguments[0] for arguments in values(directives, "ssl_certificate") if arguments]
    return [
        posixpath.join(folder, name) for name in named if "$" not in name and not name.startswith("data:")
    ]


def folders(block: list[Directive]) -> list[str]:
    """What the locations of a server serve besides its root."""
    found = [arguments[0].rstrip("/") for arguments in values(block, "alias") if arguments]
    for location in [entry for entry in block if entry.name == "location" and entry.arguments]:
        root, place = first(location.block, "root", ""), location.arguments[-1]
        if root and place.startswith("/"):
            found.append(f"{root.rstrip('/')}{place.rstrip('/')}")
    return [path for path in found if path.startswith("/") and "$" not in path]


def servers(directives: list[Directive], folder: str) -> list[VirtualHost]:
    """The servers of a whole configuration that stands in ``folder``."""
    hosts: list[VirtualHost] = []
    for http in [entry for entry in directives if entry.name == "http"]:
        upstreams = {
            entry.arguments[0]: [backend(server[0]) for server in values(entry.block, "server") if server]
            for entry in http.block
            if entry.name == "upstream" and entry.arguments
        }
        inherited = certificate_paths([entry for entry in http.block if not entry.block], folder)
        for entry in http.block:
            if entry.name == "server":
                host = server(entry, http.block, upstreams)
                host.certificates = certificate_paths(entry.block, folder) or inherited
                hosts.append(host)
    return hosts


def server(directive: Directive, outer: list[Directive], upstreams: dict[str, list[str]]) -> VirtualHost:
    """One server, but for its certificates; what it does not say comes from the ``http`` block around it."""
    block = directive.block
    own = [entry for entry in block if not entry.block]
    passes = [backend(arguments[0]) for arguments in values(block, "fastcgi_pass") if arguments]
    root = first(own, "root", "") or first(outer, "root", "")
    if not root:
        inner = [arguments[0] for arguments in values(block, "root") if arguments]
        root = inner[0] if inner else ""
    return VirtualHost(
        server="nginx",
        file=directive.file,
        names=[
            name for arguments in values(own, "server_name") for name in arguments if name not in ("_", "")
        ],
        listen=[arguments[0] for arguments in values(own, "listen") if arguments] or ["80"],
        root=root,
        folders=folders(block),
        backends=sorted({address for name in passes for address in upstreams.get(name, [name])}),
    )
