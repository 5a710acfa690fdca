"""npm packages: installed for the whole host, or below an application."""

from exporter.inventory.package import add_package
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
    "/home/*/.nvm/versions/node/*/lib/node_modules",
    "/root/.nvm/versions/node/*/lib/node_modules",
)
LOCK_LIMIT = 32 * 1024 * 1024


def read(context: Context) -> Findings:
    findings = Findings()
    for folder in sorted({folder for place in PLACES for folder in context.tree.glob(place)}):
        if not add_locked(context.tree, findings, folder):
            for path in package_folders(context.tree, folder):
                add_one(context.tree, findings, folder, path)
    return findings


def add_locked(tree: Tree, findings: Findings, folder: str) -> bool:
    """Add what npm's own list in a node_modules names, those below other packages too; False without one."""
    try:
        locked = parse_lock(tree.text(f"{folder}/.package-lock.json", LOCK_LIMIT))
    except (OSError, ValueError):
        return False
    for place, name, version in locked:
        add_package(findings, "npm", (name, version), f"{folder.removesuffix('/node_modules')}/{place}")
    return True


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


def add_one(tree: Tree, findings: Findings, folder: str, path: str) -> None:
    try:
        add_package(findings, "npm", parse_manifest(tree.text(f"{path}/package.json")), folder)
    except (OSError, ValueError) as error:
        findings.skip(reason=f"{path}/package.json: {error}")


def parse_manifest(text: str) -> tuple[str, str]:
    """(name, version) of a package.json, empty where it has none. Raises ValueError for another text."""
    raw = load_json(text)
    fields = raw if isinstance(raw, dict) else {}
    return text_of(fields.get("name")), text_of(fields.get("version"))


def parse_lock(text: str) -> list[tuple[str, str, str]]:
    """[(folder, name, version)] of a package-lock.json; links to folders elsewhere are left out.

    Keys are paths as ``node_modules/a/node_modules/b``, docs.npmjs.com/cli/configuring-npm/package-lock-json.
    Raises ValueError for another text.
    """
    raw = load_json(text)
    packages = raw.get("packages") if isinstance(raw, dict) else None
    if not isinstance(packages, dict):
        raise ValueError("no packages")
    found = []
    for path, fields in packages.items():
        above, mark, name = path.rpartition("node_modules/")
        entry = fields if isinstance(fields, dict) else {}
        if mark and not entry.get("link"):
            found.append((f"{above}node_modules", name, text_of(entry.get("version"))))
    return found
