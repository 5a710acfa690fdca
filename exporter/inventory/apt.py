"""Pending updates, from the lists that apt already has. Nothing is downloaded and no lock is taken.

python-apt needs 90 MB and a second of CPU for this; here only paragraphs of installed packages are read.
What apt itself would not install yet, by phasing, is not pending.
"""

import bz2
import gzip
import lzma
import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from exporter.inventory.apt_policy import INSTALLED, Archive, Candidate, Policy, read_pins
from exporter.inventory.apt_sources import used_lists
from exporter.inventory.dpkg import STATUS, STATUS_LIMIT, parse_package, stanzas
from exporter.inventory.phasing import ALL, Phasing, read_phasing
from exporter.inventory.programs import may_run
from exporter.inventory.source import Context, Findings, Metric
from exporter.inventory.text import search
from exporter.roots import NoData
from exporter.tree import Tree
from leitstand.process import run
from leitstand.versions import dpkg_key

LISTS = "/var/lib/apt/lists"
# Knows every compression that apt itself may have chosen for the lists.
APT_HELPER = "/usr/lib/apt/apt-helper"
LIST_LIMIT = 256 * 1024 * 1024
HELPER_TIME_LIMIT = 20.0
PARAGRAPH_LIMIT = 64 * 1024
# Changed by every `apt-get update`, also by one that brought nothing new.
STAMPS = ("/var/lib/apt/periodic/update-success-stamp", f"{LISTS}/partial", LISTS)
DECOMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.decompress,
    ".xz": lzma.decompress,
    ".bz2": bz2.decompress,
}
# What the decompressors raise, besides OSError.
_DAMAGED = (EOFError, ValueError, lzma.LZMAError, zlib.error)
_PACKAGE = re.compile(rb"^Package: *(\S+)[ \t]*$", re.MULTILINE)


@dataclass(frozen=True)
class Installed:
    name: str
    arch: str
    version: str
    source: str
    held: bool


@dataclass(frozen=True)
class Offered:
    """A paragraph of a Packages file; what it does not say is empty.

    ``source`` is as written, with its version in parentheses where that is another.
    """

    name: str
    version: str
    arch: str
    source: str
    phased: int


# (name, architecture) -> version -> who offers it, each archive once, in order.
Offers = dict[tuple[str, str], dict[str, dict[Archive, Offered]]]


def read(context: Context) -> Findings:
    """Every pending update. NoData without lists: then nothing is known, which is not "no updates"."""
    tree = context.tree
    lists = [name for name in tree.names(LISTS) if re.search(r"_Packages(\.\w+)?$", name)]
    lists = used_lists(tree, lists)
    if not lists or not tree.is_file(STATUS):
        raise NoData("no lists of apt here")
    installed = parse_installed(tree.text(STATUS, STATUS_LIMIT))
    wanted = {package.name.encode() for package in installed}
    releases = {name: parse_release(tree.text_or_empty(f"{LISTS}/{name}")) for name in release_files(tree)}
    offers: Offers = {}
    findings, lists_left = Findings(), len(lists)
    for name in lists:
        release = release_of(name, list(releases))
        archive = archive_of(name, release, releases.get(release, Archive()))
        try:
            unknown = collect(offers, decompressed(context, f"{LISTS}/{name}"), wanted, archive)
            findings.skip(unknown, f"{LISTS}/{name}: a package without version or architecture")
        except (OSError, *_DAMAGED) as error:
            findings.skip(reason=f"{LISTS}/{name}: {error}")
            lists_left -= 1
    if not lists_left:
        raise ValueError(findings.reason)
    add_updates(findings, installed, offers, Policy(read_pins(tree)), read_phasing(tree))
    findings.metrics.append(lists_family(tree))
    return findings


def parse_installed(status: str) -> list[Installed]:
    """The installed packages of dpkg's status file; the last word on each holds."""
    found: dict[tuple[str, str], Installed] = {}
    for fields in stanzas(status):  # whose damage is counted by the source that lists the packages
        package = parse_package(fields)
        if package:
            held = fields["status"].startswith("hold ")
            name, arch = str(package["name"]), str(package["arch"])
            source = str(package["source"]) or name
            found[name, arch] = Installed(name, arch, str(package["version"]), source, held)
    return list(found.values())


def release_files(tree: Tree) -> list[str]:
    return [name for name in tree.names(LISTS) if name.endswith(("InRelease", "_Release"))]


def release_of(packages: str, releases: list[str]) -> str:
    """The Release file of a Packages file: the one whose name, less its last word, is the longest prefix."""
    stems = {name.removesuffix("InRelease").removesuffix("Release"): name for name in releases}
    fitting = [stem for stem in stems if packages.startswith(stem)]
    return stems[max(fitting, key=len)] if fitting else ""


def parse_release(text: str) -> Archive:
    """The header of a Release file. Debian and its derivatives name security archives ``…-security``."""
    head = text.partition("\nSHA256:")[0].partition("\nMD5Sum:")[0]
    names = ("Suite", "Codename", "Version", "Origin", "Label")
    fields = {name.lower(): search(rf"^{name}:(.*)", head).strip() for name in names}
    security = search(r"(?i)^(?:Suite|Codename|Label): *\S*-(security)\s*$", head)
    held_back = search(r"(?i)^NotAutomatic: *(yes)", head)
    backports = search(r"(?i)^ButAutomaticUpgrades: *(yes)", head)
    priority = (INSTALLED if backports else 1) if held_back else 500
    return Archive(**fields, priority=priority, security=bool(security))


def archive_of(packages: str, release: str, archive: Archive) -> Archive:
    """The archive of a list: what its Release file says, with what stands in the list's own name."""
    stem = release.removesuffix("InRelease").removesuffix("Release")
    component = packages.removeprefix(stem).partition("_")[0] if stem else ""
    architecture = search(r"_binary-([^_]+)_Packages", packages)
    return replace(archive, site=packages.partition("_")[0], component=component, architecture=architecture)


def decompressed(context: Context, path: str) -> bytes:
    """The content of a list. Raises OSError, or one of _DAMAGED."""
    suffix = path[path.rindex("_Packages") + len("_Packages") :]
    if suffix in DECOMPRESSORS:
        return DECOMPRESSORS[suffix](context.tree.read(path, LIST_LIMIT))
    if not may_run(context, APT_HELPER):
        raise OSError(f"{path}: nothing here can unpack {suffix}")
    answer = run([APT_HELPER, "cat-file", path], timeout=HELPER_TIME_LIMIT)
    if answer.status:
        raise OSError(f"{path}: {answer.stderr[:200]}")
    return answer.stdout


def collect(offers: Offers, text: bytes, wanted: set[bytes], archive: Archive) -> int:
    """Add to ``offers`` what a Packages file offers of the wanted names; key: (name, architecture).

    Returns how many of them have no version or architecture. Raises ValueError for what is no such file.
    """
    if text.strip() and not _PACKAGE.search(text):
        raise ValueError("no list of packages")
    unknown = 0
    for offered in parse_packages(text, wanted):
        if offered.version and offered.arch:
            versions = offers.setdefault((offered.name, offered.arch), {})
            versions.setdefault(offered.version, {})[archive] = offered
        else:
            unknown += 1
    return unknown


def parse_packages(text: bytes, wanted: set[bytes]) -> Iterator[Offered]:
    """The wanted paragraphs.

    A regular expression, as the file has 50 MB. A paragraph also ends where the next Package begins.
    """
    end_before = 0
    for found in _PACKAGE.finditer(text):
        begin, end_before = end_before, found.end()
        if found[1] not in wanted:
            continue
        # Bounded to both sides: a file without an empty line must not be searched whole for each package.
        first, last = max(begin, found.start() - PARAGRAPH_LIMIT), found.end() + PARAGRAPH_LIMIT
        blank = text.rfind(b"\n\n", first, found.start())
        start = blank + 1 if blank >= 0 else found.start() if begin else first
        ends = [text.find(mark, found.end(), last) for mark in (b"\n\n", b"\nPackage:")]
        end = min([end for end in ends if end >= 0], default=last)
        paragraph = text[start:end].decode("utf-8", "replace")
        yield Offered(
            found[1].decode(),
            search(r"^Version: *(\S+)", paragraph),
            search(r"^Architecture: *(\S+)", paragraph),
            search(r"^Source: *(.*)", paragraph).strip(),
            int(search(r"^Phased-Update-Percentage: *(\d{1,3})[ \t]*$", paragraph) or ALL),
        )


def candidates(package: Installed, offers: Offers) -> list[Candidate]:
    found: dict[str, dict[Archive, Offered]] = {package.version: {}}
    for arch in (package.arch, "all"):  # a package may become "all" or cease to be
        for version, archives in offers.get((package.name, arch), {}).items():
            found.setdefault(version, {}).update(archives)
    return [
        Candidate(
            package.name,
            package.source,
            version,
            tuple(archives),
            next(map(built_from, archives.values()), ""),
            min((offered.phased for offered in archives.values()), default=ALL),
        )
        for version, archives in found.items()
    ]


def built_from(offered: Offered) -> str:
    """Name and version of the source package, as apt joins them."""
    name, _, version = offered.source.partition(" ")
    return f"{name or offered.name}-{version.strip('()') or offered.version}"


def waits(package: Installed, best: Candidate, offered: list[Candidate], phasing: Phasing) -> bool:
    """Whether apt keeps a package back until its update is for more machines.

    Not if something between the two is from a security archive, by its suite.
    """
    own, new = dpkg_key(package.version), dpkg_key(best.version)
    between = [one for one in offered if own < dpkg_key(one.version) < new]
    is_secure = any(archive.suite.endswith("-security") for one in between for archive in one.archives)
    return not is_secure and phasing.holds_back(best.built_from, best.phased)


def closes_a_hole(package: Installed, offered: list[Candidate]) -> bool:
    """True if a security archive has something newer, also where the newest comes from elsewhere."""
    own = dpkg_key(package.version)
    return any(archive.security for one in offered if dpkg_key(one.version) > own for archive in one.archives)


def add_updates(
    findings: Findings, installed: list[Installed], offers: Offers, policy: Policy, phasing: Phasing
) -> None:
    """Add an item for each pending update, and their counts; what is held counts apart."""
    pending = Counter({"true": 0, "false": 0})
    held = 0
    for package in installed:
        offered = candidates(package, offers)
        best = policy.choose(package.version, offered)
        if best is None or waits(package, best, offered, phasing):
            continue
        security = closes_a_hole(package, offered)
        findings.add(
            "update",
            manager="dpkg",
            name=package.name,
            arch=package.arch,
            version=package.version,
            candidate=best.version,
            security=security,
            held=package.held,
        )
        held += package.held
        pending["true" if security else "false"] += not package.held
    findings.metrics += figures(pending, held)


def figures(pending: Mapping[str, int], held: int) -> list[Metric]:
    """How many updates wait, by security, and how many are held back."""
    waiting = Metric(
        "leitstand_pending_updates",
        "gauge",
        "Packages with a newer version in apt's lists, excluding those on hold.",
        ("manager", "security"),
    )
    for security, count in pending.items():
        waiting.add(count, "dpkg", security)
    holding = Metric(
        "leitstand_held_updates", "gauge", "Packages on hold that have a newer version.", ("manager",)
    )
    holding.add(held, "dpkg")
    return [waiting, holding]


def lists_family(tree: Tree) -> Metric:
    """When apt's lists were last brought up to date."""
    family = Metric(
        "leitstand_package_lists_timestamp_seconds",
        "gauge",
        "When the package lists were last refreshed.",
        ("manager",),
    )
    times = [status.st_mtime for status in map(tree.stat, STAMPS) if status]
    family.add(max(times, default=0.0), "dpkg")
    return family
