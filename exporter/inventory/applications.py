"""Know a web application by its files, and its version by what these say."""

from collections.abc import Iterator
from dataclasses import dataclass

from exporter.inventory.text import VERSION, search
from exporter.tree import Tree

LIMIT = 4 * 1024 * 1024


@dataclass(frozen=True)
class Mark:
    """An application: the file that holds its version, and the expressions whose groups, dotted, are it.

    ``also`` must be there too, where the file alone could be another's.
    """

    name: str
    file: str
    patterns: tuple[str, ...]
    also: str = ""


def quoted(before: str) -> str:
    """An expression for a version in quotes after ``before``."""
    return rf"""{before}\s*['"]({VERSION})"""


MARKS = (
    Mark("WordPress", "wp-includes/version.php", (quoted(r"^\$wp_version\s*="),)),
    Mark("Nextcloud", "version.php", (quoted(r"^\$OC_VersionString\s*="),), also="lib/private/Server.php"),
    Mark("MediaWiki", "includes/Defines.php", (quoted(r"define\(\s*'MW_VERSION'\s*,"),)),
    Mark("MediaWiki", "includes/DefaultSettings.php", (quoted(r"^\$wgVersion\s*="),)),
    Mark("Drupal", "core/lib/Drupal.php", (quoted(r"^\s*const VERSION\s*="),)),
    Mark(
        "Drupal",
        "includes/bootstrap.inc",
        (quoted(r"^define\(\s*'VERSION'\s*,"),),
        also="modules/system/system.module",
    ),
    Mark(
        "Joomla",
        "libraries/src/Version.php",
        (
            r"const MAJOR_VERSION\s*=\s*(\d+)",
            r"const MINOR_VERSION\s*=\s*(\d+)",
            r"const PATCH_VERSION\s*=\s*(\d+)",
        ),
    ),
    Mark(
        "Joomla",
        "libraries/cms/version/version.php",
        (quoted(r"\bRELEASE\s*="), quoted(r"\bDEV_LEVEL\s*=")),
    ),
    Mark("TYPO3", "typo3/sysext/core/Classes/Information/Typo3Version.php", (quoted(r"const VERSION\s*="),)),
    Mark(
        "TYPO3", "vendor/typo3/cms-core/Classes/Information/Typo3Version.php", (quoted(r"const VERSION\s*="),)
    ),
    Mark(
        "TYPO3",
        "typo3/sysext/core/Classes/Core/SystemEnvironmentBuilder.php",
        (quoted(r"define\(\s*'TYPO3_version'\s*,"),),
    ),
    Mark("phpMyAdmin", "libraries/classes/Version.php", (quoted(r"const VERSION\s*="),)),
    Mark(
        "phpMyAdmin",
        "src/Version.php",
        (quoted(r"const VERSION\s*="),),
        also="resources/templates/login/form.twig",
    ),
    Mark("phpMyAdmin", "libraries/classes/Config.php", (quoted(r"'PMA_VERSION'\s*,"),)),
    Mark("Matomo", "core/Version.php", (quoted(r"const VERSION\s*="),), also="matomo.php"),
    Mark("Roundcube", "program/include/iniset.php", (quoted(r"define\(\s*'RCMAIL_VERSION'\s*,"),)),
    Mark("Moodle", "version.php", (quoted(r"^\$release\s*="),), also="lib/moodlelib.php"),
    Mark("Moodle", "public/version.php", (quoted(r"^\$release\s*="),), also="public/lib/moodlelib.php"),
    Mark("GitLab", "VERSION", (rf"^({VERSION})",), also="app/models/merge_request.rb"),
)


def identify(tree: Tree, folder: str) -> Iterator[tuple[str, str]]:
    """(name, version) of the applications in a folder; a version that cannot be read is empty."""
    known: set[str] = set()
    for mark in MARKS:
        path = f"{folder}/{mark.file}"
        if (
            mark.name in known
            or not tree.is_file(path)
            or (mark.also and not tree.is_file(f"{folder}/{mark.also}"))
        ):
            continue
        version = parse_version(tree.text_or_empty(path, LIMIT), mark.patterns)
        # Without a mark of its own, a file without version is more likely another application's.
        if version or mark.also:
            known.add(mark.name)
            yield mark.name, version


def parse_version(text: str, patterns: tuple[str, ...]) -> str:
    """The version in a file: the first group of each expression, joined by dots; empty if one is missing."""
    found = [search(pattern, text) for pattern in patterns]
    return ".".join(found) if all(found) else ""
