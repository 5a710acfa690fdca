"""Virtual hosts of the inventory as services that the public may ask for."""

import ipaddress
import re
from collections.abc import Iterator
from dataclasses import replace

from rollout.suggest.thing import SERVICE, Facts, Fields, Thing, shown, text, texts

_HTTP, _HTTPS = 80, 443
_NAME = re.compile(r"(?=.{1,253}\Z)[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})+")
_LOOPBACK = re.compile(r"(?:127\.[0-9.]+|\[::1\]|localhost)(?::[0-9]+)?|unix:.*")
_PORT = re.compile(r"(?:\A|:)([0-9]{1,5})\Z")
# What RE2 would read as syntax.
_SYNTAX = re.compile(r"[\\.+*?()|\[\]{}^$]")
_LONGEST_TITLE = 100
_PLACEHOLDER = re.compile(r"Welcome to nginx|Default Page|It works|Test Page", re.IGNORECASE)


def services(host: str, facts: Facts) -> Iterator[Thing]:
    """Each name that a visitor could ask for, once; over HTTPS if one of its virtual hosts has that."""
    found: dict[str, list[Thing]] = {}
    for fields in facts.get("virtual_host", []):
        for thing in service(host, fields):
            found.setdefault(thing.name, []).append(thing)
    for same in found.values():
        best = max(same, key=lambda thing: thing.url.startswith("https:"))
        yield replace(best, names=tuple(dict.fromkeys(name for thing in same for name in thing.names)))


def service(host: str, fields: Fields) -> Iterator[Thing]:
    """A virtual host as a service; nothing for one that only redirects, or that no visitor can reach."""
    names = [name for each in public_names(fields) if (name := each)]
    ports = public_ports(texts(fields, "listen"))
    if not names or not ports or fields.get("redirect") is True:
        return
    where = f"{text(fields, 'server') or 'web server'}, {text(fields, 'file') or 'unknown file'}"
    yield Thing(
        host,
        SERVICE,
        names[0],
        shown(f"virtual host of {where}"),
        url=url_of(names[0], ports, with_tls=bool(texts(fields, "certificates"))),
        names=tuple(names),
        expect=expected(text(fields, "title")),
    )


def expected(title: str) -> str:
    """A title as a regular expression; empty if it is a placeholder's, or not sure to be sent like this."""
    is_sure = (
        title.isprintable() and "\N{REPLACEMENT CHARACTER}" not in title and len(title) <= _LONGEST_TITLE
    )
    return _SYNTAX.sub(r"\\\g<0>", title) if is_sure and not _PLACEHOLDER.search(title) else ""


def public_names(fields: Fields) -> list[str]:
    """The names of a virtual host that a visitor could ask for: no wildcard, pattern or address."""
    given = [text(fields, "name"), *texts(fields, "aliases")]
    return list(dict.fromkeys(name for each in given if is_public(name := tidy(each))))


def tidy(name: str) -> str:
    """One spelling for all of a name. nginx's ``.example.org`` is ``example.org`` and all below it."""
    return name.lower().removesuffix(".").removeprefix(".")


def is_public(name: str) -> bool:
    """Whether a name could be in the public's DNS, or in that of an organisation."""
    if not _NAME.fullmatch(name) or name.endswith((".localhost", ".localdomain", ".invalid")):
        return False
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return not re.search(r"\.[0-9]+\Z", name)
    return False


def public_ports(listen: list[str]) -> set[int]:
    """The ports of addresses as written in the configuration, but for those of this machine alone."""
    open_to_others = [address for address in listen if not _LOOPBACK.fullmatch(address)]
    if listen and not open_to_others:
        return set()
    found = {int(port[1]) for address in open_to_others if (port := _PORT.search(address))}
    return {port for port in found if 0 < port < 65536} or {_HTTP}


def url_of(name: str, ports: set[int], *, with_tls: bool) -> str:
    """The URL that a visitor would ask for."""
    if _HTTPS in ports:
        return f"https://{name}/"
    others = sorted(ports - {_HTTP})
    if with_tls and others:
        return f"https://{name}:{others[0]}/"
    return f"http://{name}/" if _HTTP in ports else f"http://{name}:{others[0]}/"
