"""Which lists apt still uses: those of a source that was taken out stay on the disk until the next update."""

import re
from collections.abc import Iterator
from urllib.parse import unquote

from exporter.inventory.phasing import option, read_configuration
from exporter.tree import Tree

PLACES = ("/etc/apt/sources.list", "/etc/apt/sources.list.d/*.list", "/etc/apt/sources.list.d/*.sources")
# Type, options, URI, suite; sources.list(5).
_LINE = re.compile(r"^\s*deb(?P<source>-src)?\s+(?:\[[^\]]*\]\s+)?(?P<uri>\S+)\s+(?P<suite>\S+)")
_URI = re.compile(r"[a-z0-9+.-]+:(?://(?:[^/@]*@)?)?(?P<place>.*)", re.IGNORECASE)
# What apt writes as %xx in the name of a list (URItoFileName in strutl.cc).
_QUOTED = re.compile(r"""[\\|{}\[\]<>"^~_=!@#$%&*\x00-\x20\x7f-\xff]""")


class UnknownSource(Exception):  # noqa: N818 - what it is, not what went wrong
    """A source that is not understood: then no list can be called unused."""


def used_lists(tree: Tree, names: list[str]) -> list[str]:
    """Those of the names of lists that a source has; all of them if it is not known."""
    try:
        stems = tuple(list_stems(tree))
    except (UnknownSource, OSError):
        return names
    return [name for name in names if name.startswith(stems)] if stems else names


def list_stems(tree: Tree) -> Iterator[str]:
    """The prefix of the names of each source's lists. Raises UnknownSource, OSError."""
    if option(read_configuration(tree), "Source(?:list|parts)"):
        raise UnknownSource("apt is configured to read its sources elsewhere")
    for path in [path for pattern in PLACES for path in tree.glob(pattern)]:
        text = tree.text(path)
        for uri, suite in parse_paragraphs(text) if path.endswith(".sources") else parse_lines(text):
            yield stem(uri, suite)


def parse_lines(text: str) -> Iterator[tuple[str, str]]:
    """(URI, suite) of each line of a sources.list. Raises UnknownSource."""
    for line in text.splitlines():
        said = line.partition("#")[0].strip()
        found = _LINE.match(said)
        if said and not found:
            raise UnknownSource(said)
        if found and not found["source"]:
            yield unquote(found["uri"]), unquote(found["suite"])


def parse_paragraphs(text: str) -> Iterator[tuple[str, str]]:
    """(URI, suite) of each paragraph of a .sources file, each URI with each suite."""
    plain = re.sub(r"(?m)^#.*\n?", "", text)
    for paragraph in re.split(r"\n[ \t]*\n", plain):
        # A value goes on in lines that begin with a blank.
        lines = re.sub(r"\n[ \t]+", " ", paragraph).split("\n")
        fields = {
            name.lower().strip(): value.split() for name, _, value in (line.partition(":") for line in lines)
        }
        is_off = fields.get("enabled", ["yes"])[:1] in (
            ["no"],
            ["false"],
            ["0"],
            ["off"],
            ["without"],
            ["disable"],
        )
        if "deb" in fields.get("types", []) and not is_off:
            yield from ((uri, suite) for uri in fields.get("uris", []) for suite in fields.get("suites", []))


def stem(uri: str, suite: str) -> str:
    """The prefix of apt's names of the lists. Raises UnknownSource, as for a CD or a variable."""
    found = _URI.fullmatch(uri)
    if not found or uri.startswith("cdrom:") or "$(" in uri + suite:
        raise UnknownSource(uri)
    place = re.sub(r"^\[([^\]]*)\]", r"\1", found["place"]).rstrip("/") + "/"  # an address of IPv6
    if suite != "/":
        place += suite if suite.endswith("/") else f"dists/{suite}/"
    octets = place.encode().decode("latin-1")
    return _QUOTED.sub(lambda octet: f"%{ord(octet[0]):02x}", octets).replace("/", "_")
