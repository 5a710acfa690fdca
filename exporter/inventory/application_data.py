"""Where a web application keeps its data: its databases, by its configuration, and folders elsewhere.

Names alone: user names and passwords, which stand beside them, are not taken.
"""

import posixpath
import re
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from exporter.tree import Tree

LIMIT = 1024 * 1024
_ENGINES = re.compile(r"(?i)(?:pdo_|pdo\\)?(?:(mysql|mariadb)|(pgsql|postgres)|(sqlite))\w*")
_LOCAL = re.compile(r"(?:localhost|127\.0\.0\.1|\[?::1\]?|)(?::\d+)?|[\w.]*:?/.*|p:.*")
# As a database server may call one. What holds a variable is not known.
_NAME = re.compile(r"[^\s'\"$%{}@:]{1,64}")
_SERVER = re.compile(r"[A-Za-z0-9._-]{1,253}|\[[0-9a-fA-F:.]+\]")
_COMMENT = re.compile(r"/\*.*?\*/|^[ \t]*(?://|#|;|\*)[^\n]*$", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Place:
    """Files that hold the configuration, and what the settings in them are called.

    ``url`` holds all in one; ``data`` is a folder; ``lite`` is the path of an SQLite database, with {name},
    {data} and {path}; ``otherwise`` is the engine if the configuration names none.
    """

    files: tuple[str, ...]
    engine: str = ""
    name: str = ""
    server: str = ""
    url: str = ""
    data: str = ""
    lite: str = "{name}"
    otherwise: str = ""


_ENV = (".env.local", ".env")
PLACES = {
    "WordPress": Place(("wp-config.php", "../wp-config.php"), "", "DB_NAME", "DB_HOST", otherwise="mysql"),
    "Nextcloud": Place(
        ("config/config.php",), "dbtype", "dbname", "dbhost", data="datadirectory", lite="{data}/{name}.db"
    ),
    "MediaWiki": Place(
        ("LocalSettings.php",), "wgDBtype", "wgDBname", "wgDBserver", data="wgSQLiteDataDir",
        lite="{data}/{name}.sqlite",
    ),
    "Drupal": Place(("sites/default/settings.php",), "driver", "database", "host"),
    "Joomla": Place(("configuration.php",), "dbtype", "db", "host"),
    "TYPO3": Place(
        ("config/system/settings.php", "../config/system/settings.php", "typo3conf/system/settings.php",
         "typo3conf/LocalConfiguration.php"), "driver", "dbname", "host", lite="{path}",
    ),
    "Matomo": Place(("config/config.ini.php",), "adapter", "dbname", "host", otherwise="mysql"),
    "Moodle": Place(("config.php", "../config.php"), "dbtype", "dbname", "dbhost", data="dataroot"),
    "Roundcube": Place(("config/config.inc.php",), url="config['db_dsnw']"),
    "Laravel": Place(
        _ENV, "DB_CONNECTION", "DB_DATABASE", "DB_HOST", url="DATABASE_URL", lite="{name}", otherwise="mysql"
    ),
    "Symfony": Place(_ENV, url="DATABASE_URL"),
}  # fmt: skip


@dataclass(frozen=True)
class Data:
    """``databases`` as ENGINE:NAME, ENGINE:NAME@SERVER or sqlite:PATH; None if unknown."""

    databases: list[str] | None
    folders: list[str]


def data_of(tree: Tree, application: str, folder: str) -> Data:
    """What the configuration of an application in ``folder`` tells of its data."""
    place = PLACES.get(application)
    if place is None:
        return Data([], [])
    for name in place.files:
        path = posixpath.normpath(f"{folder}/{name}")
        if tree.is_file(path):
            try:
                return parse(_COMMENT.sub("", tree.text(path, LIMIT)), place, folder)
            except OSError:
                return Data(None, [])
    return Data([], [])


def parse(text: str, place: Place, folder: str) -> Data:
    """What the text of a configuration tells; None for databases that it does not name in plain words."""
    data = setting(text, place.data)
    outside = data.startswith("/") and not f"{data}/".startswith(f"{folder}/")
    folders = [data.rstrip("/")] if outside else []
    if place.url and (url := setting(text, place.url)):
        found = of_url(url, folder)
    else:
        engine = engine_of(setting(text, place.engine)) or place.otherwise
        found = of_settings(text, place, engine, folder)
    return Data([found] if found else None, folders)


def setting(text: str, name: str) -> str:
    """The first value of a setting, in PHP (array, constant, variable), an ini or .env file; else empty."""
    if not name:
        return ""
    pattern = (
        rf"(?:^[ \t]*(?:export[ \t]+)?|['\"$>]){re.escape(name)}['\"]?\s*(?:=>|=|,)[ \t]*"
        r"(?:\"([^\"\n]*)\"|'([^'\n]*)'|([^\s'\";,()]++)(?!\())"
    )
    found = re.search(pattern, text, re.MULTILINE)
    return next(filter(None, found.groups()), "") if found else ""


def engine_of(word: str) -> str:
    """mysql, postgresql, sqlite, or empty."""
    found = _ENGINES.match(word)
    return ("mysql", "postgresql", "sqlite")[(found.lastindex or 1) - 1] if found else ""


def of_url(url: str, folder: str) -> str:
    """The database of a URL such as ``mysql://user:password@server/name``; empty if it is not understood."""
    url = url.replace("%kernel.project_dir%", folder)
    try:
        parts = urlsplit(url)
        scheme, host, path = engine_of(parts.scheme), parts.hostname or "", unquote(parts.path)
    except ValueError:
        return ""
    if scheme == "sqlite":
        return of_file("/" + path.lstrip("/"), folder)
    return of_server(scheme, path.lstrip("/"), host)


def of_settings(text: str, place: Place, engine: str, folder: str) -> str:
    """The database of single settings; empty if one is missing."""
    name = setting(text, place.name)
    if engine != "sqlite":
        return of_server(engine, name, setting(text, place.server))
    data = setting(text, place.data) or f"{folder}/data"
    path = setting(text, "path")
    return of_file(place.lite.format(name=name or "owncloud", data=data, path=path), folder)


def of_server(engine: str, name: str, server: str) -> str:
    """A database on a server, which is left out where it is this machine."""
    if not engine or not _NAME.fullmatch(name):
        return ""
    if _LOCAL.fullmatch(server):
        return f"{engine}:{name}"
    host = re.sub(r":\d+\Z", "", server) if server.count(":") == 1 else server
    return f"{engine}:{name}@{host.strip('[]')}" if _SERVER.fullmatch(host) or ":" in host else ""


def of_file(path: str, folder: str) -> str:
    """An SQLite database; a relative path is in the application's folder."""
    unclear = not path or path == ":memory:" or "%" in path or "$" in path
    return "" if unclear else f"sqlite:{posixpath.normpath(posixpath.join(folder, path))}"
