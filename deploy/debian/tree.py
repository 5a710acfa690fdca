"""The files of a package as they will lie on the host."""

import gzip
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from click.shell_completion import get_completion_class

from deploy.debian.source import Source
from deploy.debian.targets import Target

HERE = Path(__file__).parent
SCRIPTS = {path.name for path in (HERE / "scripts").iterdir()}
PROGRAM = "opt/leitstand"
_COMPLETIONS = {
    "bash": "usr/share/bash-completion/completions/leitstand",
    "zsh": "usr/share/zsh/vendor-completions/_leitstand",
    "fish": "usr/share/fish/vendor_completions.d/leitstand.fish",
}


@dataclass(frozen=True)
class Package:
    """What one package has of the checkout; paths are globs."""

    name: str
    roles: tuple[str, ...]  # whose requirements
    programs: tuple[str, ...]
    units: str
    docs: tuple[str, ...]
    shares: tuple[str, ...]  # of leitstand/share in the wheel
    trees: tuple[str, ...]  # folders beside this file


EXPORTER = Package(
    "leitstand-exporter",
    roles=("exporter",),
    programs=("leitstand", "exporter", "leitstand-*.dist-info"),
    units="leitstand-exporter.*",
    docs=("exporter*.md", "inventory.md", "reference/metrics.md", "reference/node-exporter.md"),
    shares=("version", "commit", "docs"),
    trees=("common",),
)
LEITSTAND = Package(
    "leitstand",
    roles=("exporter", "orchestrator", "status-page"),
    programs=("*",),
    units="leitstand-*",
    docs=("**/*.md", "**/*.json", "**/*.png"),
    shares=("*",),
    trees=("common", "leitstand"),
)


def site_packages(target: Target) -> str:
    """Where its Python, seeing ``pyvenv.cfg``, looks for modules: there alone, besides its own."""
    return f"{PROGRAM}/lib/python{target.python}/site-packages"


def lay_out(
    package: Package, source: Source, wheel: Path, libraries: Path, target: Target, into: Path
) -> None:
    """Copy everything but the documents that only a package has. Modes and times come last: `settle`."""
    packages = into / site_packages(target)
    shutil.copytree(libraries, packages)
    for program in package.programs:
        for folder in sorted(wheel.glob(program)):
            shutil.copytree(folder, packages / folder.name, ignore=shutil.ignore_patterns("share", "RECORD"))
    for pattern in package.shares:
        for path in sorted((wheel / "leitstand/share").glob(pattern)):
            _copy(path, packages / "leitstand/share" / path.name)
    for tree in package.trees:
        shutil.copytree(HERE / tree, into, dirs_exist_ok=True)
    for unit in sorted((source.root / "deploy/systemd").glob(package.units)):
        _copy(unit, into / "usr/lib/systemd/system" / unit.name)
    for folder in (
        sorted((source.root / "deploy/systemd").glob("*.d")) if package.name == LEITSTAND.name else ()
    ):
        _copy(
            folder, into / "usr/share/leitstand/systemd" / folder.name
        )  # for units of others: apply installs them
    _copy(HERE / "overrides", into / "usr/share/lintian/overrides" / package.name)
    _link(into)
    _complete(into)
    _document(package, source, into)


def _copy(path: Path, to: Path) -> None:
    to.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir():
        shutil.copytree(path, to, ignore=shutil.ignore_patterns("tests"))  # of rules
    else:
        shutil.copyfile(path, to)


def _link(into: Path) -> None:
    (into / PROGRAM / "bin/python3").symlink_to("/usr/bin/python3")
    (into / "usr/bin").mkdir(parents=True)
    (into / "usr/bin/leitstand").symlink_to("/opt/leitstand/bin/leitstand")
    (into / "var/cache/leitstand/releases").mkdir(parents=True)


def _complete(into: Path) -> None:
    from leitstand.cli import leitstand

    for shell, name in _COMPLETIONS.items():
        kind = get_completion_class(shell)
        assert kind is not None  # noqa: S101 - click knows these three
        (into / name).parent.mkdir(parents=True, exist_ok=True)
        (into / name).write_text(
            kind(leitstand, {}, "leitstand", "_LEITSTAND_COMPLETE").source().strip() + "\n"
        )


def _document(package: Package, source: Source, into: Path) -> None:
    docs = into / "usr/share/doc" / package.name
    for pattern in package.docs:
        for path in sorted((source.root / "docs").glob(pattern)):
            _copy(path, docs / path.relative_to(source.root / "docs"))
    _copy(source.root / "CHANGELOG.md", docs / "NEWS.md")


def write_compressed(path: Path, text: str) -> None:
    """As Debian wants its changelogs; without a time inside."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(text.encode(), mtime=0))


def settle(root: Path, epoch: int) -> None:
    """The same modes and times everywhere, whatever umask and clock the build ran under."""
    for path in sorted(root.rglob("*"), reverse=True):
        if not path.is_symlink():
            path.chmod(_mode(path, root))
        os.utime(path, (epoch, epoch), follow_symlinks=False)
    root.chmod(0o755)
    os.utime(root, (epoch, epoch))


def _mode(path: Path, root: Path) -> int:
    runs = path.parent.name == "bin" or path.name == "vault-client"
    runs = path.name in SCRIPTS if path.parent == root / "DEBIAN" else runs
    return 0o755 if runs or path.is_dir() else 0o644
