"""Alpine's packages, from apk's own list."""

from collections.abc import Iterator

from exporter.inventory.source import Context, Findings, Item
from exporter.roots import NoData

# The second is where apk-tools 3 keeps it on merged-usr systems.
DATABASES = ("/lib/apk/db/installed", "/usr/lib/apk/db/installed")
LIMIT = 64 * 1024 * 1024


def read(context: Context) -> Findings:
    """Every installed package. NoData without apk."""
    database = next((path for path in DATABASES if context.tree.is_file(path)), None)
    if database is None:
        raise NoData("no apk here")
    wanted = parse_world(context.tree.text_or_empty("/etc/apk/world"))
    findings = Findings()
    for package in findings.known(database, parse_installed(context.tree.text(database, LIMIT))):
        findings.add("package", **package, manual=package["name"] in wanted, installed=None)
    return findings


def parse_installed(text: str) -> Iterator[Item | None]:
    """The paragraphs of the list: one-letter fields, apk-db(5); None for one without name or version."""
    for fields in paragraphs(text):
        name, version = fields.get("P"), fields.get("V")
        source = fields.get("o", "")
        yield (
            {
                "manager": "apk",
                "name": name,
                "version": version,
                "arch": fields.get("A", ""),
                "source": source if source != name else "",
                "path": "",
            }
            if name and version
            else None
        )


def paragraphs(text: str) -> Iterator[dict[str, str]]:
    """Letter -> value of each paragraph; empty for a line that is none.

    A second checksum or name begins a paragraph, too, should the line between two be missing.
    """
    fields: dict[str, str] = {}
    for line in text.split("\n"):
        letter = line[:1] if line[1:2] == ":" else ""
        if fields and (not line.strip() or (letter in ("C", "P") and letter in fields)):
            yield fields
            fields = {}
        if letter:
            fields[letter] = line[2:]
        elif line.strip():
            yield {}
    if fields:
        yield fields


def parse_world(text: str) -> set[str]:
    """Names in the list of what was asked for, without their version constraints."""
    for character in "<>=~@":
        text = text.replace(character, " #")
    return {word for word in text.split() if not word.startswith("#")}
