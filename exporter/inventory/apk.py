"""Alpine's packages, from apk's own list."""

from collections.abc import Iterator

from exporter.collectors.collector import NoData
from exporter.inventory.source import Context, Findings, Item

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
    for package in parse_installed(context.tree.text(database, LIMIT)):
        if package is None:
            findings.skip()
        else:
            findings.add("package", **package, manual=package["name"] in wanted, installed=None)
    return findings


def parse_installed(text: str) -> Iterator[Item | None]:
    """The paragraphs of the list: one-letter fields, apk-db(5); None for one without name or version."""
    for paragraph in text.split("\n\n"):
        fields = {
            line[0]: line[2:] for line in paragraph.split("\n") if line[1:2] == ":" and line[0] in "PVAo"
        }
        if not paragraph.strip():
            continue
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


def parse_world(text: str) -> set[str]:
    """Names in the list of what was asked for, without their version constraints."""
    for character in "<>=~@":
        text = text.replace(character, " #")
    return {word for word in text.split() if not word.startswith("#")}
