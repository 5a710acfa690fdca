"""Apache's virtual hosts, from its configuration; Apache itself is not asked.

Macros are expanded, ``<IfDefine>`` and ``<IfFile>`` are decided. Other conditions count as true, but one that
wants a module away which is loaded: what is compiled in is not known.
"""

import posixpath
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from exporter.inventory.php_layouts import BINARY_LIMIT, branch_of, branch_of_version, parse_version
from exporter.inventory.text import search
from exporter.inventory.virtual_host import VirtualHost, backend
from exporter.tree import Tree

CONFIGURATIONS = (
    "/etc/apache2/apache2.conf",
    "/etc/httpd/conf/httpd.conf",
    "/etc/apache2/httpd.conf",
    "/etc/apache2/conf/httpd.conf",  # cPanel
    "/usr/local/apache2/conf/httpd.conf",  # the project's own, and its container image
    "/opt/bitnami/apache*/conf/httpd.conf",
    "/opt/lampp/etc/httpd.conf",
    "/snap/*/current/conf/httpd.conf",
)
# Where distributions keep what httpd is started with -> the variable there.
OPTIONS = {
    "/etc/apache2/envvars": "APACHE_ARGUMENTS",
    "/etc/sysconfig/httpd": "OPTIONS",
    "/etc/sysconfig/apache2": "APACHE_SERVER_FLAGS",
}
# What these name may be relative to the server's root, unless it is on a token or set in the environment.
RELATIVE = ("documentroot", "sslcertificatefile")
CONDITIONS = ("<ifdefine", "<ifmodule", "<iffile")
MAXIMUM_FILES = 5_000
MAXIMUM_DEPTH = 32
MAXIMUM_LINES = 300_000
MAXIMUM_LINE = 8192  # letters, as httpd's own (HUGE_STRING_LEN)
_ARGUMENT = re.compile(r""""((?:[^"\\]|\\.)*)"|'((?:[^'\\]|\\.)*)'|([^\s"']\S*)""")
_DIRECTIVE = re.compile(r"</?[A-Za-z]|[A-Za-z]")
_VARIABLE = re.compile(r"\$\{(\w{1,64})\}")
_ESCAPED = re.compile(r"""\\(["'\\])""")
# Paths and expressions that every request matches.
_ALL = ("/", "^", "^/", "^/?", ".*", "^.*$", "(.*)", "^(.*)$", "^/(.*)", "^/(.*)$", "^/?(.*)", "^/?(.*)$")
# Left over where neither Define nor we know a variable.
_UNKNOWN = "${"


@dataclass(frozen=True)
class Line:
    """One directive, its name in lower case; a section is ``<virtualhost`` and ``</virtualhost``."""

    name: str
    arguments: tuple[str, ...]
    file: str


@dataclass(frozen=True)
class Macro:
    """The content of ``<Macro name $a $b>``: its parameters, its lines as written, and where it stands."""

    parameters: tuple[str, ...]
    lines: list[str]
    file: str


def apache_hosts(tree: Tree) -> tuple[list[VirtualHost], int]:
    """Every virtual host of every Apache configuration, and how many files and lines could not be read."""
    hosts: list[VirtualHost] = []
    skipped = 0
    for path in [path for pattern in CONFIGURATIONS for path in tree.glob(pattern)]:
        loader = Loader(tree, path)
        hosts += virtual_hosts(loader.load(path), loader.branch_of_module)
        skipped += loader.skipped
    return hosts, skipped


class Loader:
    """Reads a configuration with everything it includes; puts in macros, and what Define has set."""

    def __init__(self, tree: Tree, path: str) -> None:
        self._tree = tree
        # Red Hat's conf/httpd.conf names its ServerRoot; Debian compiles it in.
        self._server_root = posixpath.dirname(path)
        self._environment = environment(tree, path)
        self._variables: dict[str, str] = dict.fromkeys(defined_at_start(tree), "")
        self._modules: set[str] = set()
        self._macros: dict[str, Macro] = {}
        self._in_use: set[str] = set()
        self._files_left, self._lines_left = MAXIMUM_FILES, MAXIMUM_LINES
        self.skipped = 0

    def load(self, path: str, depth: int = 0) -> Iterator[Line]:
        """The lines of a file, those of included files and of macros in their place."""
        self._files_left -= 1
        try:
            if self._files_left < 0 or depth > MAXIMUM_DEPTH:
                raise OSError("too many includes")
            text = self._tree.text(path)
        except OSError:
            self.skipped += 1
            return
        yield from self._lines(iter(logical_lines(text)), path, depth)

    def _lines(self, lines: Iterator[str], file: str, depth: int) -> Iterator[Line]:
        for text in lines:
            self._lines_left -= 1
            if self._lines_left < 0:
                self.skipped += 1
                return
            if not _DIRECTIVE.match(text):
                self.skipped += 1
                continue
            line = parse_line(text, file)
            if line.name == "<macro" and line.arguments:
                body = list(section(lines, "macro"))
                self._macros[line.arguments[0].lower()] = Macro(line.arguments[1:], body, file)
                continue
            line = replace(line, arguments=tuple(map(self._filled, line.arguments)))
            if line.name in CONDITIONS and not self._holds(line):
                for _ in section(lines, line.name[1:]):
                    pass
            else:
                yield from self._line(line, depth)

    def _line(self, line: Line, depth: int) -> Iterator[Line]:
        arguments = line.arguments
        if line.name in ("include", "includeoptional") and arguments:
            self.skipped += _UNKNOWN in arguments[0]
            for path in self._files(posixpath.join(self._server_root, arguments[0])):
                yield from self.load(path, depth + 1)
            return
        if line.name == "use" and arguments:
            yield from self._used(line, depth)
            return
        if line.name in RELATIVE and arguments and not arguments[0].startswith(("pkcs11:", "$")):
            path = posixpath.join(self._server_root, arguments[0])
            line = replace(line, arguments=(path, *arguments[1:]))
        self._remember(line)
        yield line

    def _used(self, line: Line, depth: int) -> Iterator[Line]:
        """The lines of a macro; one that is unknown, uses itself or has other parameters is skipped."""
        name, *values = line.arguments
        macro = self._macros.get(name.lower())
        if macro is None or len(values) != len(macro.parameters) or name.lower() in self._in_use:
            self.skipped += 1
            return
        lines = (substituted(text, dict(zip(macro.parameters, values, strict=True))) for text in macro.lines)
        self._in_use.add(name.lower())
        yield from self._lines(lines, macro.file, depth + 1)
        self._in_use.discard(name.lower())

    def _remember(self, line: Line) -> None:
        name, value = (*line.arguments, "", "")[:2]
        if line.name == "serverroot":
            self._server_root = name
        elif line.name == "define" and len(self._variables) < 1000:
            self._variables[name] = value[:1024]
        elif line.name == "undefine":
            self._variables.pop(name, None)
        elif line.name == "undefmacro":
            self._macros.pop(name.lower(), None)
        elif line.name == "loadmodule":
            self._modules |= {name, f"mod_{name.removesuffix('_module')}.c"}

    def _holds(self, line: Line) -> bool:
        wanted = line.arguments[0] if line.arguments else ""
        word = wanted.removeprefix("!")
        if line.name == "<ifmodule":
            return not (wanted.startswith("!") and word in self._modules)
        if line.name == "<iffile":
            found = self._tree.stat(posixpath.join(self._server_root, word)) is not None
        else:
            found = word in self._variables
        return found != wanted.startswith("!")

    def branch_of_module(self, module: str) -> str:
        """The branch of PHP that a module is: by its name, else by what it says itself; empty if neither."""
        named = branch_of(module)
        try:
            path = posixpath.join(self._server_root, module)
            return named or branch_of_version(parse_version(self._tree.read(path, BINARY_LIMIT)))
        except OSError:
            return ""

    def _filled(self, argument: str) -> str:
        known = self._environment | self._variables
        return (
            _VARIABLE.sub(lambda found: known.get(found[1], found[0]), argument)
            if "$" in argument
            else argument
        )

    def _files(self, pattern: str) -> Iterator[str]:
        """The files that a pattern means; of a folder all that is below it."""
        pending, seen = list(self._tree.glob(pattern)), set()
        while pending:
            path = pending.pop(0)
            if not self._tree.is_folder(path):
                yield path
            elif (real := self._tree.resolve(path)) not in seen:  # links may lead back
                seen.add(real)
                pending[:0] = [f"{path}/{name}" for name in self._tree.names(path)]


def environment(tree: Tree, path: str) -> dict[str, str]:
    """The known part of httpd's environment: what Debian's apachectl reads, and where a snap is."""
    text = tree.text_or_empty("/etc/apache2/envvars") if path.startswith("/etc/apache2/") else ""
    plain = re.findall(r"""(?m)^[ \t]*export[ \t]+(\w+)=["']?([\w./:@-]+)["']?[ \t]*$""", text)
    snap = search(r"^(/snap/[^/]+/current)/", path)
    return dict(plain) | ({"SNAP": snap} if snap else {})


def defined_at_start(tree: Tree) -> list[str]:
    """Names that httpd is started with (-D), where a distribution keeps that in a file."""
    found: list[str] = []
    for path, variable in OPTIONS.items():
        text = search(rf"^[ \t]*(?:export[ \t]+)?{variable}=(.*)", tree.text_or_empty(path))
        found += re.findall(r"-D\s*(\w+)", text)
        found += text.strip("\"' ").split() if variable == "APACHE_SERVER_FLAGS" and "-D" not in text else []
    return found


def logical_lines(text: str) -> list[str]:
    """The lines of a text that say something, joined where a backslash ends them."""
    lines = (line.strip() for line in re.sub(r"\\\r?\n", " ", text).splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def section(lines: Iterator[str], name: str) -> Iterator[str]:
    """The lines up to the end of a section that has begun; its last line is taken, and not given."""
    depth = 1
    for line in lines:
        word = re.match(rf"<(/?){name}\b", line, re.IGNORECASE)
        depth += (-1 if word[1] else 1) if word else 0
        if not depth:
            return
        yield line


def substituted(line: str, values: Mapping[str, str]) -> str:
    """A line of a macro with its parameters replaced, the longest name first."""
    names = sorted(filter(None, values), key=len, reverse=True)
    if not names:
        return line
    pattern = "|".join(map(re.escape, names))
    return re.sub(pattern, lambda found: as_put(found[0], values[found[0]]), line)[:MAXIMUM_LINE]


def as_put(name: str, value: str) -> str:
    """The text that mod_macro puts in for a parameter: one that begins with "@" in quotes."""
    return '"' + value.replace('"', r"\"") + '"' if name.startswith("@") else value


def parse(text: str, file: str) -> Iterator[Line]:
    return (parse_line(line, file) for line in logical_lines(text))


def parse_line(line: str, file: str) -> Line:
    name, *rest = (line.rstrip(">") if line.startswith("<") else line).split(None, 1)
    words = _ARGUMENT.findall(rest[0] if rest else "")
    arguments = [_ESCAPED.sub(r"\1", double or single or bare) for double, single, bare in words]
    return Line(name.lower(), tuple(arguments), file)


def virtual_hosts(
    lines: Iterator[Line], branch_of_module: Callable[[str], str] = branch_of
) -> list[VirtualHost]:
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
            if re.search(r"/(?:lib|mod_)php[\d.]*\.so$", line.arguments[1]):
                main.php = main.php or branch_of_module(line.arguments[1])
        else:
            apply(current, line)
    for host in hosts:
        # Debian sets PHP-FPM's handler for the whole server, unless PHP is a module.
        host.backends = host.backends or ([] if main.php else main.backends)
        host.php = "" if host.backends else host.php or main.php
        host.root = host.root or main.root
        host.folders += main.folders
    if main.root and not hosts:
        hosts.append(main)
    return [known(host) for host in hosts]


def known(host: VirtualHost) -> VirtualHost:
    """A virtual host without what only httpd's environment, or a request (mod_vhost_alias), tells."""
    return replace(
        host,
        names=[name for name in host.names if _UNKNOWN not in name],
        listen=[address for address in host.listen if _UNKNOWN not in address],
        root="" if _UNKNOWN in host.root or "%" in host.root else host.root,
        folders=[path for path in host.folders if _UNKNOWN not in path],
        backends=[address for address in host.backends if _UNKNOWN not in address],
    )


def redirects_all(host: VirtualHost, line: Line) -> bool:
    """Whether a line redirects every request; a rule to https, of a host without TLS, under any condition."""
    if line.name.startswith("redirect"):
        return any(word in _ALL for word in line.arguments[:2])
    target, flags = (*line.arguments[1:3], "", "")[:2]
    without_tls = not any(address.endswith("443") for address in host.listen)
    is_rule = line.name == "rewriterule" and line.arguments[0] in _ALL and target.startswith("https://")
    return is_rule and without_tls and re.search(r"\bR\b", flags) is not None


def apply(host: VirtualHost, line: Line) -> None:
    if not line.arguments:
        return
    value = line.arguments[0]
    host.redirect = host.redirect or redirects_all(host, line)
    match line.name:
        case "servername" | "serveralias":
            host.names += [re.sub(r"^\w+://|:\d+$", "", name) for name in line.arguments]
        case "documentroot" | "virtualdocumentroot":
            host.root, host.file = value.rstrip("/") or "/", host.file or line.file
        case "alias" if "$" not in line.arguments[-1]:
            host.folders.append(line.arguments[-1].rstrip("/"))
        case "listen":
            host.listen.append(value)
        case "sslcertificatefile" if value.startswith("/") and _UNKNOWN not in value:
            host.certificates.append(value)
        case "sethandler" | "addhandler" | "addtype" | "proxypassmatch" | "proxypass":
            host.backends += [backend(word) for word in line.arguments if "fcgi://" in word]
            # As cPanel and CloudLinux name the PHP that serves a host.
            host.php = host.php if "fcgi://" in value else branch_of(value) or host.php
