"""Types of single values: addresses, URLs, time zones, patterns, moments."""

import ipaddress
import re
import warnings
from datetime import datetime
from difflib import get_close_matches
from functools import cache
from typing import Annotated, Any
from urllib.parse import SplitResult, urlsplit
from zoneinfo import available_timezones

from pydantic import AfterValidator, BeforeValidator, Field

from leitstand.settings.models import SettingError
from leitstand.settings.re2 import why_not_re2

_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_ZONE = re.compile(r"[A-Za-z0-9._-]*")  # such as %eth0; ipaddress takes any text, even with line breaks
_HOST_NAME = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(?:\.{_LABEL})*\.?")


def is_address(value: str) -> str:
    """Return ``value`` if it is an IP address or a host name."""
    if not is_ip_address(value) and (not _HOST_NAME.fullmatch(value) or re.fullmatch(r"[0-9.]+", value)):
        raise SettingError("an address is just an IPv4 or IPv6 address or a host name", _address_hint(value))
    return value


def is_ip_address(value: str) -> bool:
    """Whether it is an IPv4 or IPv6 address, as opposed to a name."""
    if not _ZONE.fullmatch(value.partition("%")[2]):
        return False
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return False
    return True


def _address_hint(value: str) -> str:
    if "://" in value:
        return "remove 'http://' and everything after the host"
    if re.search(r"[^:]:\d+\Z|\]:\d+\Z", value):
        return "remove the port and set exporter_port"
    if value.startswith("["):
        return "remove the brackets"
    return "such as 192.0.2.11, 2001:db8::11 or web1.example.org"


@cache
def _time_zones() -> set[str]:
    # About 20 ms each time: it reads the whole folder of zones.
    return available_timezones()


def _is_time_zone(value: str) -> str:
    known = _time_zones()
    if known and value not in known:
        cities = [zone for zone in sorted(known) if zone.rpartition("/")[2].lower() == value.lower()]
        near = cities or get_close_matches(value, sorted(known), n=1)
        raise SettingError(
            "no such time zone", f"did you mean {near[0]}?" if near else "such as Europe/Berlin or UTC"
        )
    return value


def split_url(value: str) -> SplitResult:
    """The parts of an http or https URL without credentials; SettingError for anything else."""
    try:
        parts = urlsplit(value)
        wrong = parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0
    except ValueError:
        wrong = True
    if wrong or not value.isprintable() or " " in value:
        hint = "write https:// before the host" if "://" not in value else "such as https://www.example.org/"
        raise SettingError("a URL begins with http:// or https:// and a host", hint)
    if parts.username is not None or parts.password is not None:
        raise SettingError("a URL must not contain a user name or password")
    host = parts.hostname or ""
    start = value.lower().find(host)
    require_host(value[start : start + len(host)] or host)  # as written
    return parts


def require_host(host: str) -> None:
    """Raises SettingError unless a URL's host is an IP address or a host name of ASCII letters."""
    if not host.isascii():
        # blackbox_exporter looks up the letters as written, so such a service would always be down.
        raise SettingError("a host name in a URL must be ASCII", _ascii_hint(host))
    try:
        is_address(host)
    except SettingError:
        variable = "variables are not replaced: write the host name" if set(host) & set("${}%") else ""
        hint = variable or "such as www.example.org: letters, digits and hyphens between single dots"
        raise SettingError(f"'{host}' is not a host name", hint) from None


def _ascii_hint(host: str) -> str:
    try:
        name = host.encode("idna").decode()
    except UnicodeError:
        name = ""
    # Python follows the rules of 2003: these letters would give another name, perhaps of another owner.
    changed = set(host) & set("ß\u03c2\u200c\u200d")
    return f"write {name}" if name and not changed else "write it in its xn-- form"


def _is_url(value: str) -> str:
    scheme = split_url(value).scheme
    # Prometheus and Alertmanager would read it as a template, or not as a URL, and reject the whole file.
    if "{{" in value or "}}" in value:
        raise SettingError("a URL must not contain '{{' or '}}'", "write braces as %7B and %7D")
    if re.search(r"%(?![0-9A-Fa-f]{2})", value):
        raise SettingError(
            "in a URL, each '%' must be followed by two hexadecimal digits", "write '%' itself as %25"
        )
    # Phones write "Https://", which blackbox_exporter reads as a host name.
    return scheme + value[len(scheme) :]


def _is_regular_expression(value: str) -> str:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            re.compile(value)
    except (re.error, OverflowError, RecursionError) as error:
        raise SettingError(
            f"not a regular expression: {error}", "put a backslash before a literal . * + ? ( ) [ {"
        ) from None
    # With one such pattern in its configuration, blackbox_exporter does not start, so no service is probed.
    if reason := why_not_re2(value):
        raise SettingError(
            f"blackbox_exporter cannot match this: {reason}", "it only supports RE2 regular expressions"
        )
    return value


def _is_mail_address(value: str) -> str:
    # Alertmanager reads '{{' as a template, and some other letters as the syntax of a list.
    if not re.fullmatch(r"[\w.!#$%&'*+/=?^`{|}~-]+@[\w.-]+", value) or "{{" in value:
        raise SettingError("a mail address is needed", "such as admin@example.org")
    return value


_USER_NAME = re.compile(r"^[a-z_][a-z0-9_.-]*$")


def _is_user_name(value: str) -> str:
    if not _USER_NAME.fullmatch(value):
        raise SettingError(
            "a user name is lower-case letters, digits, '.', '_' and '-'", "such as root or admin"
        )
    return value


def _is_network(value: str) -> str:
    if "%" in value:  # packet filters know no zones, and ipaddress takes any text for one
        raise SettingError("an address that is let in has no '%'", "such as 192.0.2.10 or 2001:db8::/64")
    try:
        ipaddress.ip_network(value)
    except ValueError as error:
        hint = "such as 192.0.2.10 or 2001:db8::/64"
        if "host bits" in str(error):
            hint = f"write {ipaddress.ip_network(value, strict=False)}"
        raise SettingError("an IP address or a network is needed", hint) from None
    return value


def _is_mail_server(value: str) -> str:
    host, _, port = value.rpartition(":")
    if not port.isascii() or not port.isdigit() or not 1 <= int(port[:6]) <= 65535 or not host:
        raise SettingError("a mail server is a host and a port", "such as mail.example.org:587")
    is_address(host.removeprefix("[").removesuffix("]"))
    return value


def _parse_moment(value: Any) -> datetime:
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        moment = None
    if not isinstance(moment, datetime) or moment.tzinfo is None:
        raise SettingError("a date, a time and a time zone are needed", "such as 2026-12-01T20:00:00+01:00")
    return moment


_LISTEN = re.compile(r"^(\[[0-9a-fA-F:.]+\]|[^\[\]:\s]+):(\d{1,5})$")


def split_listen(value: str) -> tuple[str, int]:
    """``127.0.0.1:8080`` or ``[::1]:8080`` as address and port; ValueError for anything else."""
    match = _LISTEN.match(value)
    if not match or int(match[2]) > 65535:
        raise ValueError("an address to listen on is written as 127.0.0.1:8080 or [::1]:8080")
    return match[1].strip("[]"), int(match[2])


def _is_listen(value: str) -> str:
    host, _ = split_listen(value)
    if value.endswith("\n") or not (is_ip_address(host) or _HOST_NAME.fullmatch(host)):
        raise SettingError("it is not an address and a port", "such as 127.0.0.1:8080 or [::1]:8080")
    return value


Address = Annotated[str, AfterValidator(is_address)]
Listen = Annotated[str, AfterValidator(_is_listen)]
TimeZone = Annotated[str, AfterValidator(_is_time_zone)]
ProbeUrl = Annotated[
    str, AfterValidator(_is_url), Field(json_schema_extra={"pattern": "^[hH][tT][tT][pP][sS]?://"})
]
Pattern = Annotated[str, AfterValidator(_is_regular_expression)]
Port = Annotated[int, Field(ge=1, le=65535)]
MailAddress = Annotated[str, AfterValidator(_is_mail_address)]
UserName = Annotated[
    str, AfterValidator(_is_user_name), Field(json_schema_extra={"pattern": _USER_NAME.pattern})
]
Network = Annotated[str, AfterValidator(_is_network)]
MailServer = Annotated[str, AfterValidator(_is_mail_server)]
Moment = Annotated[datetime, BeforeValidator(_parse_moment, json_schema_input_type=str)]
