"""Every PHP on this host: version by version, SAPI by SAPI, with its ini files, settings and extensions."""

import datetime
import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass

from exporter.inventory.php_branches import END_OF_LIFE
from exporter.inventory.php_ini import ini_files, settings
from exporter.inventory.programs import ask
from exporter.inventory.source import Context, Findings
from exporter.inventory.text import VERSION, search
from exporter.tree import Tree
from leitstand.exposition import Family

BINARY_LIMIT = 128 * 1024 * 1024
_POWERED_BY = re.compile(rb"X-Powered-By: PHP/([0-9A-Za-z.+~_-]{3,64})")
# auto_prepend_file would run code of the site.
EXTENSIONS_SCRIPT = r'foreach (get_loaded_extensions() as $e) echo $e, "\t", phpversion($e), "\n";'


@dataclass(frozen=True)
class Layout:
    """Where a distribution puts PHP: SAPI -> programs, the ini file, the folder of further ones.

    ``{branch}`` stands for 8.2, ``{number}`` for 82, ``{sapi}`` for what Debian calls the SAPI.
    """

    programs: dict[str, str]
    ini: str
    folder: str


LAYOUTS = (
    # Debian and Ubuntu
    Layout(
        {
            "cli": "/usr/bin/php[0-9].[0-9]*",
            "fpm": "/usr/sbin/php-fpm[0-9].[0-9]*",
            "apache": "/usr/lib/apache2/modules/libphp[0-9]*.so",
            "cgi": "/usr/bin/php-cgi[0-9].[0-9]*",
        },
        "/etc/php/{branch}/{sapi}/php.ini",
        "/etc/php/{branch}/{sapi}/conf.d",
    ),
    # Alpine
    Layout(
        {
            "cli": "/usr/bin/php[0-9][0-9]",
            "fpm": "/usr/sbin/php-fpm[0-9][0-9]",
            "apache": "/usr/lib/apache2/mod_php[0-9][0-9].so",
        },
        "/etc/php{number}/php.ini",
        "/etc/php{number}/conf.d",
    ),
    # Red Hat, and Remi's side by side packages
    Layout(
        {
            "cli": "/usr/bin/php",
            "fpm": "/usr/sbin/php-fpm",
            "apache": "/usr/lib64/httpd/modules/libphp*.so",
        },
        "/etc/php.ini",
        "/etc/php.d",
    ),
    Layout(
        {"cli": "/opt/remi/php*/root/usr/bin/php", "fpm": "/opt/remi/php*/root/usr/sbin/php-fpm"},
        "/etc/opt/remi/php{number}/php.ini",
        "/etc/opt/remi/php{number}/php.d",
    ),
    # PHP's own installation, and its container images
    Layout(
        {"cli": "/usr/local/bin/php", "fpm": "/usr/local/sbin/php-fpm"},
        "/usr/local/etc/php/php.ini",
        "/usr/local/etc/php/conf.d",
    ),
    # Plesk
    Layout(
        {"cli": "/opt/plesk/php/*/bin/php", "fpm": "/opt/plesk/php/*/sbin/php-fpm"},
        "/opt/plesk/php/{branch}/etc/php.ini",
        "/opt/plesk/php/{branch}/etc/php.d",
    ),
)
DEBIAN_NAMES = {"apache": "apache2"}


@dataclass(frozen=True)
class Installation:
    """One SAPI of one version. ``branch`` is what PHP calls 8.2."""

    version: str
    branch: str
    sapi: str
    path: str
    ini: str
    folder: str


def read(context: Context) -> Findings:
    """Every installation with its settings and extensions."""
    findings = Findings()
    found = list(installations(context.tree, findings))
    clients = {entry.branch: entry.path for entry in found if entry.sapi == "cli"}
    for entry in found:
        files = ini_files(context.tree, entry.ini, entry.folder)
        values, declared, skipped = settings(context.tree, files)
        findings.skip(skipped)
        add_installation(findings, entry, files)
        for name, value in sorted(values.items()):
            findings.add("php_setting", branch=entry.branch, sapi=entry.sapi, name=name, value=value)
        loaded = extensions(context, entry, clients.get(entry.branch, "")) or dict.fromkeys(declared, "")
        for name, version in sorted(loaded.items()):
            findings.add("php_extension", branch=entry.branch, sapi=entry.sapi, name=name, version=version)
    findings.families += figures(found)
    return findings


def installations(tree: Tree, findings: Findings) -> Iterator[Installation]:
    """Every SAPI that is installed, each once however many links lead to it."""
    seen: set[tuple[str, str]] = set()
    for layout in LAYOUTS:
        for sapi, pattern in layout.programs.items():
            for path in filter(tree.is_file, tree.glob(pattern)):
                key = (sapi, tree.resolve(path))
                if key in seen:
                    continue
                seen.add(key)
                found = installation(tree, layout, sapi, path)
                if found:
                    yield found
                else:
                    findings.skip()


def installation(tree: Tree, layout: Layout, sapi: str, path: str) -> Installation | None:
    """What a program or module is; None if it tells no version."""
    try:
        version = parse_version(tree.read(path, BINARY_LIMIT))
    except OSError:
        return None
    branch = branch_of_version(version)
    places = {"branch": branch, "number": branch.replace(".", ""), "sapi": DEBIAN_NAMES.get(sapi, sapi)}
    ini, folder = layout.ini.format(**places), layout.folder.format(**places)
    return Installation(version, branch, sapi, path, ini, folder) if version else None


def branch_of_version(version: str) -> str:
    """8.2 of 8.2.29."""
    return ".".join(version.split(".")[:2])


def parse_version(binary: bytes) -> str:
    """The version a PHP program or module carries in its text; empty if it is none."""
    found = _POWERED_BY.search(binary)
    return found[1].decode() if found else ""


def add_installation(findings: Findings, entry: Installation, files: list[str]) -> None:
    """Add one installation."""
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
    if not client:
        return {}
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


def figures(found: list[Installation]) -> list[Family]:
    """The versions, and the end of life of each branch where it is known."""
    versions = Family(
        "leitstand_php_version_info", "gauge", "An installed PHP.", ("branch", "version", "sapi")
    )
    for row in sorted({(entry.branch, entry.version, entry.sapi) for entry in found}):
        versions.add(1, *row)
    ends = Family(
        "leitstand_php_end_of_life_timestamp_seconds",
        "gauge",
        "End of the PHP project's security support for an installed branch.",
        ("branch",),
    )
    for branch in sorted({entry.branch for entry in found} & END_OF_LIFE.keys()):
        last_day = datetime.datetime.fromisoformat(END_OF_LIFE[branch]).replace(tzinfo=datetime.UTC)
        ends.add((last_day + datetime.timedelta(days=1)).timestamp(), branch)
    return [versions, ends]
