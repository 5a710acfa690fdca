"""Debian's packages, from dpkg's own status file and apt's list of what came as a dependency."""

import contextlib
from collections.abc import Iterator

from exporter.inventory.source import Context, Findings, Item
from exporter.roots import NoData
from exporter.tree import Tree

STATUS = "/var/lib/dpkg/status"
STATUS_LIMIT = 128 * 1024 * 1024


def read(context: Context) -> Findings:
    """Every installed package, with version, architecture, source, origin and time. NoData without dpkg."""
    try:
        status = context.tree.text(STATUS, STATUS_LIMIT)
    except FileNotFoundError as error:
        raise NoData("no dpkg here") from error
    findings = Findings()
    states = context.tree.text_or_empty("/var/lib/apt/extended_states", STATUS_LIMIT)
    automatic = parse_automatic(states)
    times = install_times(context.tree)
    for package in findings.known(STATUS, parse_status(status, findings)):
        name, arch = str(package["name"]), str(package["arch"])
        # apt lists what is of architecture "all" under the native architecture.
        is_automatic = (name, arch) in automatic or (arch == "all" and (name, "") in automatic)
        installed = times.get(f"{name}:{arch}", times.get(name))
        findings.add("package", **package, manual=not is_automatic if states else None, installed=installed)
    return findings


def stanzas(text: str, findings: Findings | None = None) -> Iterator[dict[str, str]]:
    """The paragraphs of a control file, deb822(5): field name in lower case -> first line of its value.

    A second Package begins a paragraph, too: where the line between two is damaged, neither costs the other.
    Lines that are no fields are counted in ``findings``.
    """
    fields: dict[str, str] = {}
    for line in text.split("\n"):
        name, colon, value = line.partition(":")
        name = name.lower()
        if fields and (not line.strip() or (name == "package" and name in fields)):
            yield fields
            fields = {}
        if line[:1] in ("#", "", " ", "\t", "\r"):
            continue
        if colon and name.isascii() and not set(name) & set(" \t"):
            fields[name] = value.strip()
        elif findings:
            findings.skip(reason="a line of a control file that is no field")
    if fields:
        yield fields


def parse_status(text: str, findings: Findings) -> Iterator[Item | None]:
    """The installed packages of dpkg's status file; None for a paragraph that is no package at all."""
    for fields in stanzas(text, findings):
        package = parse_package(fields)
        if package or is_malformed(fields):
            yield package


def parse_package(fields: dict[str, str]) -> Item | None:
    """The package of a status paragraph; None for one that is not installed or lacks name or version.

    The third word of Status is what is on the disk (dpkg(1)): "half-configured" and the like are there too.
    """
    words = fields.get("status", "").split()
    if len(words) != 3 or words[2] in ("not-installed", "config-files"):
        return None
    name, version = fields.get("package", ""), fields.get("version", "")
    if not name or not version:
        return None
    source = fields.get("source", "").split(" ")[0]
    return {
        "manager": "dpkg",
        "name": name,
        "version": version,
        "arch": fields.get("architecture", ""),
        "source": source if source != name else "",
        "path": "",
    }


def is_malformed(fields: dict[str, str]) -> bool:
    """True for a paragraph that is no package at all, rather than one not installed."""
    return (
        len(fields.get("status", "").split()) != 3
        or not fields.get("package")
        or (
            not fields.get("version") and fields["status"].split()[2] not in ("not-installed", "config-files")
        )
    )


def parse_automatic(text: str) -> set[tuple[str, str]]:
    """(name, architecture) of what apt installed as a dependency; architecture "" stands for any."""
    found: set[tuple[str, str]] = set()
    for fields in stanzas(text):
        if fields.get("auto-installed") == "1":
            found |= {
                (fields.get("package", ""), fields.get("architecture", "")),
                (fields.get("package", ""), ""),
            }
    return found


def install_times(tree: Tree) -> dict[str, int]:
    """Name, or name:architecture, -> Unix time of the last unpacking: when dpkg wrote its list of files."""
    times: dict[str, int] = {}
    folder = "/var/lib/dpkg/info"
    for name in tree.names(folder) if tree.is_folder(folder) else []:
        if name.endswith(".list"):
            status = tree.stat(f"{folder}/{name}")
            with contextlib.suppress(AttributeError):
                times[name.removesuffix(".list")] = int(status.st_mtime)  # type: ignore[union-attr]
    return times
