"""A virtual host of any web server."""

from dataclasses import dataclass, field


@dataclass
class VirtualHost:
    """``listen`` as written; ``backends`` are FastCGI addresses, a socket's path or host:port.

    ``certificates`` are paths; ``folders`` are served besides the root, as by Alias; ``php`` is the branch of
    PHP that the server itself runs. ``redirect``: every request is redirected or refused; ``static``: nothing
    comes before the root's index.html.
    """

    server: str
    file: str
    names: list[str] = field(default_factory=list)
    listen: list[str] = field(default_factory=list)
    root: str = ""
    folders: list[str] = field(default_factory=list)
    certificates: list[str] = field(default_factory=list)
    backends: list[str] = field(default_factory=list)
    php: str = ""
    redirect: bool = False
    static: bool = False


def backend(address: str) -> str:
    """A FastCGI address in one form: the path of a socket, or host:port."""
    plain = address.strip().removeprefix("fcgi://").removeprefix("proxy:")
    plain = plain.partition("|")[0]
    return plain.removeprefix("unix:").rstrip(":/") if plain.startswith("unix:") else plain.partition("/")[0]
