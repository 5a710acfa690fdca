"""npm packages: installed for the whole host, or directly below an application."""

from exporter.inventory.source import Context, Findings
from exporter.inventory.text import load_json, text_of
from exporter.tree import Tree

PLACES = (
    "/usr/lib/node_modules",
    "/usr/local/lib/node_modules",
    "/opt/*/node_modules",
    "/opt/*/lib/node_modules",
    "/srv/*/node_modules",
    "/srv/*/*/node_modules",
    "/var/www/*/node_modules",
    "/var/www/*/*/node_modules",
    "/home/*/*/node_modules",
)


def read(context: Context) -> Findings:
    """Every package with the folder it stands in."""
    findings = Findings()
    for folder in sorted({folder for place in PLACES for folder in context.tree.glob(place)}):
        for path in package_folders(context.tree, folder):
            add_package(context.tree, findings, folder, path)
    return findings


def package_folders(tree: Tree, folder: str) -> list[str]:
    """Folders of packages below a node_modules, those of a scope (``@scope/name``) among them."""
    found: list[str] = []
    for name in tree.names(folder):
        path = f"{folder}/{name}"
        if name.startswith("@"):
            found += [f"{path}/{inner}" for inner in tree.names(path)]
        elif not name.startswith("."):
            found.append(path)
    return [path for path in found if tree.is_file(f"{path}/package.json")]


def add_package(tree: Tree, findings: Findings, folder: str, path: str) -> None:
    """Add the package in one folder."""
    try:
        name, version = parse_manifest(tree.text(f"{path}/package.json"))
    except (OSError, ValueError):
        findings.skip()
        return
    findings.add(
        "package",
        manager="npm",
        name=name,
        version=version,
        arch="",
        source="",
        path=folder,
        manual=None,
        installed=None,
    )


def parse_manifest(text: str) -> tuple[str, str]:
    """(name, version) of a package.json. Raises ValueError without them."""
    raw = load_json(text)
    fields = raw if isinstance(raw, dict) else {}
    name, version = text_of(fields.get("name")), text_of(fields.get("version"))
    if not name or not version:
        raise ValueError("no name or version")
    return name, version
