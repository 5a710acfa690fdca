"""What the inventory knows of data that should be in a backup: applications, databases, mail, volumes."""

import posixpath
import re
from collections.abc import Callable, Iterator

from rollout.suggest.services import public_names
from rollout.suggest.thing import DATABASE, MAIL, VOLUME, WEB, Facts, Fields, Thing, shown, text, texts

ALL = "*"
HostOf = Callable[[str], str]  # the host of leitstand.yml behind a name or address, empty if there is none
_DATABASE_NAME = re.compile(r"[A-Za-z0-9_$][A-Za-z0-9_$-]{0,62}")
# What packages and the system put there: the one comes back with its package, the other is not to be kept.
_NOT_OWN = re.compile(
    r"/(?:|(?:bin|boot|dev|etc|lib|nix|opt/gitlab/embedded|proc|run|s?bin|snap|sys|tmp|usr|"
    r"var/(?:cache|lib/leitstand|lib/snapd|run|tmp))(?:/.*)?)"
)
# Too much for one web site: naming it would save the whole machine.
_TOO_MUCH = ("/", "/var", "/home", "/opt", "/root", "/srv", "/mnt", "/media", "/var/lib")
_ENGINES = {"MariaDB": "mysql", "MySQL": "mysql", "PostgreSQL": "postgresql"}
_OF_SERVERS = ("information_schema", "performance_schema", "mysql", "sys")
# Names that say nothing: half of all web roots are called like this.
_USUAL = re.compile(
    r"current|home|(?:public_|http)?html|httpdocs|htdocs|opt|public|srv|var|web(?:root)?|www(?:root)?"
)
_DATABASE_IMAGE = re.compile(r"mysql|mariadb|postgres|postgis|mongo|percona|couchdb|influxdb|timescale")


def data(host: str, facts: Facts, host_of: HostOf) -> Iterator[Thing]:
    """Everything that should be in a backup. The folders nearest to the root come first."""
    webs = [*applications(host, facts, host_of), *sites(host, facts)]
    yield from sorted(webs, key=lambda thing: (thing.kind != WEB, thing.label.count("/")))
    yield from servers(host, facts)
    yield from mail_stores(host, facts)
    yield from volumes(host, facts)


def applications(host: str, facts: Facts, host_of: HostOf) -> Iterator[Thing]:
    """Each web application: its folder, its data elsewhere, and its databases, all of one group."""
    for fields in facts.get("web_application", []):
        path, hosts = text(fields, "path"), texts(fields, "hosts")
        kind = text(fields, "name") or "web application"
        served = f", served as {hosts[0]}" if hosts else ""
        for folder in [path, *texts(fields, "data")]:
            if is_own(folder):
                what = f"{kind}{served}" if folder == path else f"data of {kind} in {path}"
                yield folder_thing(host, WEB, folder, what, path)
        for database in texts(fields, "databases"):
            yield from database_of(host, database, f"database of {kind} in {path}", path, host_of)


def sites(host: str, facts: Facts) -> Iterator[Thing]:
    """The root of each virtual host that has a name."""
    for fields in facts.get("virtual_host", []):
        root, names = text(fields, "root").rstrip("/"), public_names(fields)
        if names and is_own(root) and root not in _TOO_MUCH and fields.get("redirect") is not True:
            yield folder_thing(host, WEB, root, f"web site, served as {names[0]}", root)


def folder_thing(host: str, kind: str, path: str, why: str, group: str) -> Thing:
    """A folder to save; one whose path cannot be written in leitstand.yml has no source."""
    path = path.rstrip("/")
    source = {"files": path} if is_writable(path) else {}
    return Thing(host, kind, shown(path), shown(why), source, group=group, label=path)


def is_own(path: str) -> bool:
    """Whether a folder holds more than what packages or the system put there."""
    return path.startswith("/") and not _NOT_OWN.fullmatch(path)


def is_writable(path: str) -> bool:
    """Whether a path can be a setting: one line, absolute, normal, and as the host has it."""
    return path.isprintable() and posixpath.normpath(path) == path and "\N{REPLACEMENT CHARACTER}" not in path


def database_of(host: str, name: str, why: str, group: str, host_of: HostOf) -> Iterator[Thing]:
    """A database that an application names: ``ENGINE:NAME``, ``ENGINE:NAME@SERVER`` or ``sqlite:PATH``."""
    engine, _, rest = name.partition(":")
    if engine == "sqlite" and rest.startswith("/"):
        source = {"sqlite": rest} if is_writable(rest) else {}
        yield Thing(host, DATABASE, shown(name), shown(why), source, group=group, label=group)
    elif engine in _ENGINES.values():
        database, _, server = rest.partition("@")
        place = host_of(server) if server else host
        if place in ("", host):
            source = one_of_server(engine, database) if place else {}
            yield Thing(host, DATABASE, shown(name), shown(why), source, group=group, label=group)
        else:
            yield of_server(place, engine, database, f"{why} on {host}")


def of_server(host: str, engine: str, database: str, why: str) -> Thing:
    """A database in a group of its own."""
    name = f"{engine}:{database}"
    return Thing(
        host, DATABASE, shown(name), shown(why), one_of_server(engine, database), group=name, label=name
    )


def one_of_server(engine: str, database: str) -> Fields:
    """The source of a database; empty if its name cannot be a setting."""
    return {engine: database} if database == ALL or _DATABASE_NAME.fullmatch(database) else {}


def servers(host: str, facts: Facts) -> Iterator[Thing]:
    """The databases of each server, or all of one whose databases the exporter may not see."""
    for fields in facts.get("database", []):
        engine = _ENGINES.get(text(fields, "name"))
        if engine is None or fields.get("running") is False:
            continue
        names = [name for name in texts(fields, "databases") if name not in _OF_SERVERS]
        known = isinstance(fields.get("databases"), list)
        if not known or any(not one_of_server(engine, name) for name in names):
            names = [ALL]
        for name in names:
            server = text(fields, "name")
            why = f"database of {server}" if name != ALL else f"{server}, whose databases are not all known"
            yield of_server(host, engine, name, why)


def mail_stores(host: str, facts: Facts) -> Iterator[Thing]:
    """Where mail is kept."""
    for fields in facts.get("mail_store", []):
        path = text(fields, "path")
        if is_own(path):
            yield folder_thing(host, MAIL, path, f"mail of {text(fields, 'program') or 'this host'}", "mail")


def volumes(host: str, facts: Facts) -> Iterator[Thing]:
    """Volumes and bound folders of containers."""
    for fields in facts.get("container_volume", []):
        path, name = text(fields, "path"), text(fields, "name")
        if not is_own(path) or path in _TOO_MUCH:
            continue
        users = ", ".join(texts(fields, "containers")[:3])
        runtime = text(fields, "runtime")
        why = f"volume of {runtime}" if name != ALL else f"{runtime}, whose volumes are not known"
        why += f", used by {users}" if users else ""
        if any(_DATABASE_IMAGE.search(image) for image in texts(fields, "images")):
            why += "; a database writes to it: a dump is safer, see docs/backups-recipes.md"
        yield folder_thing(host, VOLUME, path, why, f"volume {name or path}")


def label_of(group: str, served: str) -> str:
    """A short name for a group: its last word that says something, or the name that it is served as."""
    parts = [part for part in re.split(r"[/: *]", group) if part]
    telling = [part for part in parts if not _USUAL.fullmatch(part)]
    if served and (not telling or _USUAL.fullmatch(parts[-1])):
        return served
    return telling[-1] if telling else "web"
