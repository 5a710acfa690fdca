"""Every PHP on this host: version by version, SAPI by SAPI, with its ini files, settings and extensions."""

import datetime
import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from exporter.inventory.php_branches import END_OF_LIFE
from exporter.inventory.php_ini import ini_files, settings
from exporter.inventory.php_layouts import (
    BINARY_LIMIT,
    LAYOUTS,
    Place,
    branch_of_version,
    parse_version,
    places,
)
from exporter.inventory.programs import ask, is_roots_alone
from exporter.inventory.source import Context, Findings, Metric
from exporter.inventory.text import VERSION, search
from exporter.tree import Tree

# auto_prepend_file would run code of the site.
EXTENSIONS_SCRIPT = r'foreach (get_loaded_extensions() as $e) echo $e, "\t", phpversion($e), "\n";'


SAPI_NAMES = {"apache": "apache2"}
_INI_PATH = re.compile(rb"'--with-config-file-path=(/[ -&(-~]{1,200})'")
_INI_FOLDER = re.compile(rb"'--with-config-file-scan-dir=(/[ -&(-~]{1,200})'")


@dataclass(frozen=True)
class Installation:
    """One SAPI of one version. ``branch`` is what PHP calls 8.2, ``place`` where its other programs are."""

    version: str
    branch: str
    sapi: str
    path: str
    ini: str
    folder: str
    place: Place


def read(context: Context) -> Findings:
    findings = Findings()
    found = list(installations(context.tree, findings))
    clients = {(entry.place.prefix, entry.branch): entry.path for entry in found if entry.sapi == "cli"}
    for entry in found:
        files = ini_files(context.tree, entry.ini, entry.folder)
        values, declared, skipped = settings(context.tree, files, entry.place.variables())
        findings.skip(skipped, f"{entry.ini} and what belongs to it: a file or line that is not understood")
        add_installation(findings, entry, files)
        for name, value in sorted(values.items()):
            findings.add("php_setting", branch=entry.branch, sapi=entry.sapi, name=name, value=value)
        client = clients.get((entry.place.prefix, entry.branch), "")
        loaded = extensions(context, entry, client) or dict.fromkeys(declared, "")
        for name, version in sorted(loaded.items()):
            findings.add("php_extension", branch=entry.branch, sapi=entry.sapi, name=name, version=version)
    findings.metrics += figures(found)
    return findings


def installations(tree: Tree, findings: Findings) -> Iterator[Installation]:
    """Every SAPI that is installed, each once however many links lead to it and layouts have it."""
    programs: dict[tuple[str, str], list[tuple[str, Place]]] = {}
    for layout in LAYOUTS:
        for place in places(tree, layout):
            for sapi, pattern in layout.programs.items():
                for path in filter(tree.is_file, tree.glob(place.path(pattern))):
                    programs.setdefault((sapi, tree.resolve(path)), []).append((path, place))
    for (sapi, real), candidates in programs.items():
        try:
            found = best_installation(tree, sapi, tree.read(real, BINARY_LIMIT), candidates)
        except OSError as error:
            findings.skip(reason=f"{real}: {error.strerror or error}")
            continue
        if found:
            yield found
        else:
            findings.skip(reason=f"{real}: tells no version of PHP")


def best_installation(
    tree: Tree, sapi: str, binary: bytes, candidates: list[tuple[str, Place]]
) -> Installation | None:
    """Kind and version of a program or module; None without a version.

    Of several (path, place) the first counts whose configuration is there, rather no link.
    """
    version = parse_version(binary)
    if not version:
        return None
    known = [installation(tree, sapi, version, path, place) for path, place in candidates]
    best = min(known, key=lambda one: (not is_configured(tree, one), one.path != tree.resolve(one.path)))
    # Of a PHP that was moved, as in a snap, these are where it was built.
    ini, folder = configured(binary)
    ini = ini if tree.is_file(ini) or not tree.is_file(best.ini) else ""
    folder = folder if tree.is_folder(folder) or not tree.is_folder(best.folder) else ""
    return replace(best, ini=ini or best.ini, folder=folder or best.folder)


def installation(tree: Tree, sapi: str, version: str, path: str, place: Place) -> Installation:
    branch = branch_of_version(version)
    words = {
        "branch": branch,
        "number": branch.replace(".", ""),
        "major": branch[:1],
        "sapi": SAPI_NAMES.get(sapi, sapi),
    }
    ini = [place.path(name.format(**words)) for name in place.layout.ini]
    folders = [place.path(name.format(**words)) for name in place.layout.folders]
    return Installation(
        version,
        branch,
        sapi,
        path,
        next(filter(tree.is_file, ini), ini[0]),
        next(filter(tree.is_folder, folders), folders[0]),
        place,
    )


def configured(binary: bytes) -> tuple[str, str]:
    """(ini file, folder of further ones) by PHP's configure options; empty if it does not tell."""
    path, folder = _INI_PATH.search(binary), _INI_FOLDER.search(binary)
    return f"{path[1].decode()}/php.ini" if path else "", folder[1].decode() if folder else ""


def is_configured(tree: Tree, entry: Installation) -> bool:
    return tree.is_file(entry.ini) or tree.is_folder(entry.folder)


def add_installation(findings: Findings, entry: Installation, files: list[str]) -> None:
    findings.add(
        "php",
        version=entry.version,
        branch=entry.branch,
        sapi=entry.sapi,
        path=entry.path,
        ini_files=files,
        end_of_life=END_OF_LIFE.get(entry.branch),
    )


def extensions(context: Context, entry: Installation, client: str) -> dict[str, str]:
    """Extension -> version as PHP lists them under this SAPI's ini files; empty if it may not be asked.

    Only the command line tells versions; FPM tells which extensions are its own, as pcntl never is.
    """
    read_by_php = [entry.ini, entry.folder, *ini_files(context.tree, entry.ini, entry.folder)]
    if not client or not all(is_roots_alone(context.tree, path) for path in read_by_php):
        return {}  # users who can write these files choose what code PHP loads
    environment = {"PHPRC": posixpath.dirname(entry.ini), "PHP_INI_SCAN_DIR": entry.folder}
    arguments = ["-d", "auto_prepend_file=", "-d", "display_errors=0", "-r", EXTENSIONS_SCRIPT]
    versions = parse_extensions(ask(context, client, arguments, environment))
    own = ask(context, entry.path, ["-m"], environment) if entry.sapi == "fpm" else ""
    return {name: versions.get(name, "") for name in parse_modules(own)} or versions


def parse_modules(text: str) -> list[str]:
    """Names in what ``-m`` prints, each once, without the headings in brackets."""
    return list(dict.fromkeys(line for line in text.splitlines() if line and not line.startswith("[")))


def parse_extensions(text: str) -> dict[str, str]:
    """Name -> version from lines of both with a tab between. mysqlnd puts its name before its version."""
    rows = [line.partition("\t") for line in text.splitlines()]
    return {name: search(rf"(?:^|\s)({VERSION})$", version) for name, tab, version in rows if tab and name}


def figures(found: list[Installation]) -> list[Metric]:
    """The versions, and the end of life of each branch where it is known."""
    versions = Metric(
        "leitstand_php_version_info", "gauge", "An installed PHP.", ("branch", "version", "sapi")
    )
    for row in sorted({(entry.branch, entry.version, entry.sapi) for entry in found}):
        versions.add(1, *row)
    ends = Metric(
        "leitstand_php_end_of_life_timestamp_seconds",
        "gauge",
        "End of the PHP project's security support for an installed branch.",
        ("branch",),
    )
    for branch in sorted({entry.branch for entry in found} & END_OF_LIFE.keys()):
        last_day = datetime.datetime.fromisoformat(END_OF_LIFE[branch]).replace(tzinfo=datetime.UTC)
        ends.add((last_day + datetime.timedelta(days=1)).timestamp(), branch)
    return [versions, ends]
