"""Snap and Flatpak applications, from the files these keep of what is installed."""

from exporter.inventory.package import add_package
from exporter.inventory.source import Context, Findings
from exporter.inventory.text import VERSION, search
from exporter.tree import Tree

# The second is Red Hat's.
SNAPS = ("/snap", "/var/lib/snapd/snap")


def read(context: Context) -> Findings:
    findings = Findings()
    # "current" is the mounted revision.
    for path in [path for place in SNAPS for path in context.tree.glob(f"{place}/*/current/meta/snap.yaml")]:
        version = search(rf"""^version:[ \t]*['"]?({VERSION})""", context.tree.text_or_empty(path))
        add_package(findings, "snap", (path.split("/")[-4], version), manual=True)
    for path in context.tree.glob("/var/lib/flatpak/app/*/current/active"):
        pair = (path.split("/")[5], flatpak_version(context.tree, path))
        add_package(findings, "flatpak", pair, manual=True)
    return findings


def flatpak_version(tree: Tree, path: str) -> str:
    """The newest release that the application's AppStream data names, or the first digits of its commit."""
    for pattern in ("files/share/metainfo/*.xml", "files/share/appdata/*.xml"):
        for file in tree.glob(f"{path}/{pattern}"):
            found = search(rf"""<release\s[^<>]*\bversion=["']({VERSION})["']""", tree.text_or_empty(file))
            if found:
                return found
    return tree.resolve(path).rpartition("/")[2][:12] if tree.is_folder(path) else ""
