"""PHP packages that composer installed below applications."""

from exporter.inventory.package import add_package
from exporter.inventory.source import Context, Findings
from exporter.inventory.text import load_json, text_of

PLACES = (
    "/var/www/*/vendor",
    "/var/www/*/*/vendor",
    "/var/www/*/*/*/vendor",
    "/srv/*/vendor",
    "/srv/*/*/vendor",
    "/srv/*/*/*/vendor",
    "/opt/*/vendor",
    "/usr/share/*/vendor",
    "/home/*/*/vendor",
    "/root/.config/composer/vendor",
)
LIMIT = 32 * 1024 * 1024


def read(context: Context) -> Findings:
    findings = Findings()
    for folder in sorted({folder for place in PLACES for folder in context.tree.glob(place)}):
        path = f"{folder}/composer/installed.json"
        if not context.tree.is_file(path):
            continue
        try:
            packages = parse_installed(context.tree.text(path, LIMIT))
        except (OSError, ValueError) as error:
            findings.skip(reason=f"{path}: {error}")
            continue
        for pair in packages:
            add_package(findings, "composer", pair, folder)
    return findings


def parse_installed(text: str) -> list[tuple[str, str]]:
    """[(name, version)], either empty if an entry lacks it; composer 1 wrote a list, 2 an object with it."""
    raw = load_json(text)
    entries = raw.get("packages") if isinstance(raw, dict) else raw
    if not isinstance(entries, list):
        raise ValueError("no list of packages")
    objects = [entry if isinstance(entry, dict) else {} for entry in entries]
    return [(text_of(entry.get("name")), text_of(entry.get("version"))) for entry in objects]
