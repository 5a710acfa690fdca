"""What this machine says of itself, as defaults for answers."""

import re
import socket
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from leitstand.languages import LANGUAGES

_ZONES = "/zoneinfo/"
# Nothing is sent to these addresses of examples; the kernel only tells which own address it would use.
_ANYWHERE = ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1"))


@dataclass(frozen=True)
class Machine:
    """Defaults; each may be one that the settings refuse."""

    name: str
    address: str
    time_zone: str
    language: str


def this_machine(environment: Mapping[str, str], root: Path = Path("/")) -> Machine:
    """Name, address, time zone and language of this machine and its user."""
    name = re.sub(r"[^a-z0-9-]+", "-", socket.gethostname().partition(".")[0].lower()).strip("-")
    return Machine(name, own_address(), time_zone(root), language(environment))


def time_zone(root: Path) -> str:
    """As /etc/localtime links to it, otherwise as /etc/timezone names it; UTC if neither does."""
    with suppress(OSError):
        target = str((root / "etc/localtime").readlink())
        if _ZONES in target:
            return target.partition(_ZONES)[2]
    with suppress(OSError, UnicodeDecodeError):
        return (root / "etc/timezone").read_text().strip()
    return "UTC"


def language(environment: Mapping[str, str]) -> str:
    """The user's language if the status page has it, otherwise English."""
    locale = next((environment[key] for key in ("LC_ALL", "LC_MESSAGES", "LANG") if environment.get(key)), "")
    code = re.split(r"[_.@]", locale)[0].lower()
    return code if code in LANGUAGES else "en"


def own_address() -> str:
    """The address by which this machine reaches others; 127.0.0.1 if it reaches none."""
    for family, anywhere in _ANYWHERE:
        with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as link:
            link.connect((anywhere, 9))
            return str(link.getsockname()[0])
    return "127.0.0.1"
