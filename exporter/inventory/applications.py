"""Know a web application by its files, and its version by what these say."""

from collections.abc import Iterator
from dataclasses import dataclass

from exporter.inventory.text import VERSION, search
from exporter.tree import Tree

LIMIT = 4 * 1024 * 1024


@dataclass(frozen=True)
class Mark:
    """An application: the file that holds its version, and the expressions whose groups, dotted, are it.

    ``also`` must be there too, and ``where`` match, where the file alone could be another's.
    """

    name: str
    file: str
    patterns: tuple[str, ...]
    also: str = ""
    where: str = ""


def quoted(before: str) -> str:
    """An expression for a version in quotes after ``before``."""
    return rf"""{before}\s*['"]({VERSION})"""


# PHP 8.3 lets a constant name its type.
CONSTANT = quoted(r"\bconst(?:\s+string)?\s+VERSION\s*=")


MARKS = (
    Mark("WordPress", "wp-includes/version.php", (quoted(r"^\$wp_version\s*="),)),
    # ownCloud has the same files, but for the vendor named in this one.
    Mark(
        "Nextcloud",
        "version.php",
        (quoted(r"^\$OC_VersionString\s*="),),
        where=r"""^\$vendor\s*=\s*(['"]nextcloud)""",
    ),
    Mark("MediaWiki", "includes/Defines.php", (quoted(r"define\(\s*'MW_VERSION'\s*,"),)),
    Mark("MediaWiki", "includes/DefaultSettings.php", (quoted(r"^\$wgVersion\s*="),)),
    Mark("Drupal", "core/lib/Drupal.php", (CONSTANT,)),
    Mark(
        "Drupal",
        "includes/bootstrap.inc",
        (quoted(r"^define\(\s*'VERSION'\s*,"),),
        also="modules/system/system.module",
    ),
    Mark("Drupal", "modules/system/system.module", (quoted(r"^define\(\s*'VERSION'\s*,"),)),
    Mark(
        "Joomla",
        "libraries/src/Version.php",
        (r"MAJOR_VERSION\s*=\s*(\d+)", r"MINOR_VERSION\s*=\s*(\d+)", r"PATCH_VERSION\s*=\s*(\d+)"),
    ),
    Mark(
        "Joomla", "libraries/cms/version/version.php", (quoted(r"\bRELEASE\s*="), quoted(r"\bDEV_LEVEL\s*="))
    ),
    Mark("TYPO3", "typo3/sysext/core/Classes/Information/Typo3Version.php", (CONSTANT,)),
    Mark("TYPO3", "vendor/typo3/cms-core/Classes/Information/Typo3Version.php", (CONSTANT,)),
    Mark(
        "TYPO3",
        "typo3/sysext/core/Classes/Core/SystemEnvironmentBuilder.php",
        (quoted(r"define\(\s*'TYPO3_version'\s*,"),),
    ),
    Mark("phpMyAdmin", "libraries/classes/Version.php", (CONSTANT,)),
    Mark("phpMyAdmin", "src/Version.php", (CONSTANT,), also="resources/templates/login/form.twig"),
    *(
        Mark("phpMyAdmin", f"libraries/{name}.php", (quoted(r"'PMA_VERSION'\s*,"),))
        for name in ("classes/Config", "Config", "Config.class")
    ),
    # The project's former name is still its name space.
    Mark("Matomo", "core/Version.php", (CONSTANT,), where=r"^(?:final )?(?:namespace|class) (Piwik)"),
    Mark("Roundcube", "program/include/iniset.php", (quoted(r"define\(\s*'RCMAIL_VERSION'\s*,"),)),
    Mark("Moodle", "version.php", (quoted(r"^\$release\s*="),), also="lib/moodlelib.php"),
    Mark("Moodle", "public/version.php", (quoted(r"^\$release\s*="),), also="public/lib/moodlelib.php"),
    Mark(
        "Laravel",
        "vendor/laravel/framework/src/Illuminate/Foundation/Application.php",
        (CONSTANT,),
        also="artisan",
    ),
    Mark("Symfony", "vendor/symfony/http-kernel/Kernel.php", (CONSTANT,), also="bin/console"),
    Mark("GitLab", "VERSION", (rf"^({VERSION})",), also="app/models/merge_request.rb"),
)


def identify(tree: Tree, folder: str, unread: set[str]) -> Iterator[tuple[str, str, str]]:
    """(name, version, its file) of the applications in a folder; a version that cannot be read is empty.

    Files that could tell of one, and are too large or not ours to read, are added to ``unread``.
    """
    known: set[str] = set()
    for mark in MARKS:
        path = f"{folder}/{mark.file}"
        if (
            mark.name in known
            or not tree.is_file(path)
            or (mark.also and not tree.is_file(f"{folder}/{mark.also}"))
        ):
            continue
        text = read(tree, path, unread)
        if mark.where and not search(mark.where, text):
            continue
        version = parse_version(text, mark.patterns)
        # Without a mark of its own, a file without version is more likely another application's.
        if version or mark.also:
            known.add(mark.name)
            yield mark.name, version, path


def read(tree: Tree, path: str, unread: set[str]) -> str:
    """The content of a file; empty, and added to ``unread``, if it cannot be had."""
    try:
        return tree.text(path, LIMIT)
    except OSError:
        unread.add(path)
        return ""


def parse_version(text: str, patterns: tuple[str, ...]) -> str:
    """The version in a file: the first group of each expression, joined by dots; empty if one is missing."""
    found = [search(pattern, text) for pattern in patterns]
    return ".".join(found) if all(found) else ""
