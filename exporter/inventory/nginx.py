"""nginx's virtual hosts, from its configuration; nginx itself is not asked.

Tolerant: what this reader does not know passes, and a file that breaks off gives what came before.
"""

import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from exporter.inventory.virtual_host import VirtualHost, backend
from exporter.tree import Tree

CONFIGURATIONS = (
    "/etc/nginx/nginx.conf",
    "/usr/local/nginx/conf/nginx.conf",
    "/usr/local/etc/nginx/nginx.conf",
    "/usr/local/openresty/nginx/conf/nginx.conf",
    "/etc/angie/angie.conf",
    "/opt/nginx/conf/nginx.conf",
    "/opt/bitnami/nginx/conf/nginx.conf",
    "/etc/nginx-sp/nginx.conf",  # ServerPilot
    "/www/server/nginx/conf/nginx.conf",  # aaPanel
)
MAXIMUM_FILES = 5_000
MAXIMUM_DEPTH = 32
MAXIMUM_VALUE = 4096  # letters, as of a path; variables that refer to each other twice would grow endlessly
_TOKEN = re.compile(
    r"""\s+|\#[^\n]*|"(?P<double>(?:[^"\\]|\\.)*)"|'(?P<single>(?:[^'\\]|\\.)*)'|(?P<mark>[{};])"""
    r"""|(?P<bare>(?:\\.|\$\{|[^\s{;\\])+|\\)""",
    re.DOTALL,
)
# nginx takes the backslash away before these only, in quotes or not.
_ESCAPED = re.compile(r"""\\(["'\\])""")
# A block in Lua (lua-nginx-module) has Lua's words: braces in its strings and comments are none of nginx's.
_LUA_BLOCK = re.compile(r"\w*_by_lua_block")
# What has no end goes on to the end of its line, or of the text: so each is looked at once.
_LUA_TOKEN = re.compile(
    r"""(?:--)?\[(?P<level>=*)\[.*?(?:\](?P=level)\]|\Z)|--[^\n]*|"(?:[^"\\\n]|\\.)*"?|'(?:[^'\\\n]|\\.)*'?|[{}]""",
    re.DOTALL,
)
# Expressions of a rewrite that every path matches.
_ALL = ("^", "^/", ".*", "^.*", "^.*$", "(.*)", "^(.*)", "^(.*)$", "^/(.*)", "^/(.*)$")
_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
# Value of each variable of a server; None where it is another for each request.
Variables = Mapping[str, str | None]


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
        blocks = read_blocks(text, path)
        self.skipped += blocks.unmatched
        return self._included(blocks.top, depth)

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
    """(word, whether it is one of ``{ } ;``); a block of Lua is empty."""
    place = 0
    first = ""
    while found := _TOKEN.match(text, place):
        place = found.end()
        kind = found.lastgroup
        if not kind:
            continue
        word = found[kind] if kind == "mark" else _ESCAPED.sub(r"\1", found[kind])
        if word == "{" and kind == "mark" and _LUA_BLOCK.fullmatch(first):
            place = end_of_lua(text, place)
        first = "" if kind == "mark" else first or word
        yield word, kind == "mark"


def end_of_lua(text: str, place: int) -> int:
    """Where the brace stands that closes a block of Lua begun at ``place``; the text's end without one."""
    depth = 1
    for found in _LUA_TOKEN.finditer(text, place):
        depth += {"{": 1, "}": -1}.get(found[0], 0)
        if not depth:
            return found.start()
    return len(text)


class Blocks:
    """Directives in their blocks, as a text goes on. Blocks deeper than 32 are flattened.

    ``unmatched`` counts braces that have no other.
    """

    def __init__(self, file: str) -> None:
        self.top: list[Directive] = []
        self.unmatched = 0
        self._file = file
        self._open: list[tuple[str, list[Directive]]] = []

    def add(self, words: list[str], *, opens: bool) -> None:
        """Add ``words`` as a directive, or the head of a block; what is before ``server`` is a lost line."""
        name = words[0] if words else ""
        if opens and words[-1:] == ["server"] and name != "upstream":
            name = "server"
            self._close_server()
        inside = self._open[-1][1] if self._open else self.top
        directive = Directive(name, words[1:], self._file)
        if words:
            inside.append(directive)
        if opens:
            is_flat = not words or len(self._open) >= MAXIMUM_DEPTH
            self._open.append((name, inside if is_flat else directive.block))

    def _close_server(self) -> None:
        """A server within a server begins beside it: the brace between them is missing."""
        names = [name for name, _ in self._open[: MAXIMUM_DEPTH + 1]]
        if "server" in names:
            self.unmatched += len(self._open) - names.index("server")
            del self._open[names.index("server") :]

    def close(self) -> None:
        self.unmatched += not self._open
        del self._open[-1:]

    def end(self) -> None:
        self.unmatched += len(self._open)


def parse(text: str, file: str) -> list[Directive]:
    return read_blocks(text, file).top


def read_blocks(text: str, file: str) -> Blocks:
    blocks = Blocks(file)
    words: list[str] = []
    for word, is_mark in tokens(text):
        if not is_mark:
            words.append(word)
            continue
        if words or word == "{":
            blocks.add(words, opens=word == "{")
        if word == "}":
            blocks.close()
        words = []
    blocks.end()
    return blocks


def filled(text: str, variables: Variables) -> str:
    """Text with its variables replaced; empty if the value of one is not known."""
    values = [variables.get(braced or bare) for braced, bare in _VARIABLE.findall(text)]
    if None in values:
        return ""
    value = _VARIABLE.sub(lambda found: variables[found[1] or found[2]] or "", text)
    return value if len(value) <= MAXIMUM_VALUE else ""


def variables_of(block: list[Directive], outer: Variables) -> Variables:
    """The scope of a block: the variables around it and those it sets, in order.

    One that is set by a condition, or by anything but ``set``, may be another for each request.
    """
    known = dict(outer)
    for entry in block:
        if entry.name == "set" and len(entry.arguments) == 2:
            name, value = entry.arguments
            known[name.strip("${}")] = filled(value, known) if "$" in value else value
        for name in assigned([entry] if entry.name != "set" else []):
            known[name] = None
    return {name: value or None for name, value in known.items()}


def assigned(directives: list[Directive]) -> set[str]:
    """Names of variables that directives set, those in conditions among them but not those in locations."""
    found: set[str] = set()
    for entry in directives:
        if "set" in entry.name:
            found |= {word[1:] for word in entry.arguments if re.fullmatch(r"\$\w+", word)}
        if entry.name == "if":
            found |= assigned(entry.block)
    return found


def walk(block: list[Directive], outer: Variables) -> Iterator[tuple[Directive, Variables]]:
    """Every directive here and in the blocks below, with the variables that hold there."""
    known = variables_of(block, outer)
    for entry in block:
        yield entry, known
        yield from walk(entry.block, known)


def values(directives: list[Directive], name: str) -> list[list[str]]:
    """Arguments of every directive of this name, here and in the blocks below."""
    found: list[list[str]] = []
    for directive in directives:
        if directive.name == name:
            found.append(directive.arguments)
        found += values(directive.block, name)
    return found


def certificate_paths(directives: list[Directive], folder: str) -> list[str]:
    """Files named by ssl_certificate, here and in the blocks below; relative ones are below ``folder``.

    A variable in a path means that it is chosen for each connection; "data:" holds the certificate itself.
    """
    named = [arguments[0] for arguments in values(directives, "ssl_certificate") if arguments]
    return [
        posixpath.join(folder, name) for name in named if "$" not in name and not name.startswith("data:")
    ]


def folders(block: list[Directive], known: Variables) -> list[str]:
    """The folders that the locations of a server serve besides its root."""
    found: list[str] = []
    for entry, here in walk(block, known):
        if entry.name == "alias" and entry.arguments:
            found.append(filled(entry.arguments[0], here))
        elif entry.name == "location" and entry.arguments and entry.arguments[-1].startswith("/"):
            root = argument(entry.block, "root", variables_of(entry.block, here))
            found.append(f"{root.rstrip('/')}{entry.arguments[-1]}" if root else "")
    return [path.rstrip("/") for path in found if path.startswith("/")]


def argument(block: list[Directive], name: str, known: Variables) -> str | None:
    """The first argument of a directive at this level, empty if it is not known; None without one."""
    own = [entry.arguments[0] for entry in block if entry.name == name and entry.arguments]
    return filled(own[0], known) if own else None


def servers(directives: list[Directive], folder: str) -> list[VirtualHost]:
    """The servers of a whole configuration that stands in ``folder``."""
    hosts: list[VirtualHost] = []
    # A server beside the http block is one whose http block a surplus brace has ended.
    stray = [entry for entry in directives if entry.name == "server" and entry.block]
    for http in [entry for entry in directives if entry.name == "http"]:
        upstreams = {
            entry.arguments[0]: [backend(server[0]) for server in values(entry.block, "server") if server]
            for entry in http.block
            if entry.name == "upstream" and entry.arguments
        }
        inherited = certificate_paths([entry for entry in http.block if not entry.block], folder)
        for entry in http.block + stray:
            if entry.name == "server":
                host = server(entry, http.block, upstreams)
                host.certificates = certificate_paths(entry.block, folder) or inherited
                hosts.append(host)
    return hosts


def server(directive: Directive, outer: list[Directive], upstreams: dict[str, list[str]]) -> VirtualHost:
    """One server, but for its certificates; what it does not say comes from the ``http`` block around it.

    What depends on the request, by a variable that is not set once for all, is left out.
    """
    block = directive.block
    own = [entry for entry in block if not entry.block]
    names = [name for arguments in values(own, "server_name") for name in arguments]
    # The first name is $server_name, unless it is a regular expression or the machine's name.
    outside = {"server_name": names[0] if names and not re.search(r"[~$]", names[0]) else None}
    known, below = variables_of(block, outside), list(walk(block, outside))
    passes = [
        backend(filled(entry.arguments[0], here))
        for entry, here in below
        if entry.name == "fastcgi_pass" and entry.arguments
    ]
    root = argument(block, "root", known)
    root = argument(outer, "root", known) if root is None else root
    if root is None:
        inner = [filled(entry.arguments[0], here) for entry, here in below if is_root(entry)]
        root = next(filter(None, inner), "")
    return VirtualHost(
        server="nginx",
        file=directive.file,
        names=[name for name in names if name not in ("_", "") and (name.startswith("~") or "$" not in name)],
        listen=[arguments[0] for arguments in values(own, "listen") if arguments] or ["80"],
        root=root,
        folders=folders(block, known),
        backends=sorted(
            {address for name in filter(None, passes) for address in upstreams.get(name, [name])}
        ),
        redirect=only_redirects(block),
        static=is_static(entry for entry, _ in below),
    )


def only_redirects(block: list[Directive]) -> bool:
    """Whether every request of a server or location is redirected or refused, but those of ACME."""
    for entry in block:
        words = entry.arguments
        if entry.name == "return" and words and not words[0].startswith("2"):
            return True
        if (
            entry.name == "rewrite"
            and words[-1:]
            and words[-1] in ("redirect", "permanent")
            and words[0] in _ALL
        ):
            return True
    places = [
        entry for entry in block if entry.name == "location" and ".well-known" not in "".join(entry.arguments)
    ]
    return bool(places) and all(only_redirects(entry.block) for entry in places)


def is_static(directives: Iterable[Directive]) -> bool:
    """Whether nothing in a server comes before index.html: no other program, no rule, no password."""
    return not any(
        entry.name.endswith("_pass")
        or entry.name in ("return", "rewrite", "error_page", "sub_filter")
        or entry.name.startswith("auth_")
        or (entry.name == "index" and entry.arguments[:1] != ["index.html"])
        for entry in directives
    )


def is_root(entry: Directive) -> bool:
    return entry.name == "root" and bool(entry.arguments)
