"""The common part of packages of languages and bundles: no architecture, no source package."""

from exporter.inventory.source import Findings


def add_package(
    findings: Findings,
    manager: str,
    pair: tuple[str, str],
    path: str = "",
    *,
    manual: bool | None = None,
    installed: int | None = None,
) -> None:
    """Add a package by ``pair``, its name and version; one that lacks either is skipped."""
    name, version = pair
    if not name or not version:
        findings.skip(reason=f"a package of {manager} without name or version{' in ' * bool(path)}{path}")
        return
    findings.add(
        "package",
        manager=manager,
        name=name,
        version=version,
        arch="",
        source="",
        path=path,
        manual=manual,
        installed=installed,
    )
