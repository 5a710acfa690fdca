"""``python -m lab.imports``: the imports per package and between its rooms, as import-linter sees them.

A room is a module or folder at the top of a package. It is unguarded if no layers contract names it.
"""

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grimp

from leitstand.cli import COMMANDS
from leitstand.settings.config import OWNERS
from orchestrator.cli import group
from rollout import cli as rollout

PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"
LOADED_BY_STRING = {
    "leitstand.cli": [command for command, _ in COMMANDS.values()],
    "orchestrator.cli.group": [command for command, _ in group.COMMANDS.values()],
    "rollout.cli": [command for command, _ in rollout.COMMANDS.values()],
    "leitstand.settings.config": [*OWNERS, *filter(None, OWNERS.values())],
}


@dataclass(frozen=True)
class Picture:
    """A package: its modules, and which room imports which; ``levels`` is the longest chain."""

    package: str
    modules: int
    arrows: Mapping[str, frozenset[str]]
    unguarded: frozenset[str]

    @property
    def levels(self) -> int:
        return max(self._height(room) for room in self.arrows)

    def _height(self, room: str) -> int:
        return 1 + max(map(self._height, self.arrows[room]), default=0)


def build(*, with_external: bool = False) -> grimp.ImportGraph:
    """The imports of all packages; what is loaded by string is not one."""
    packages = _settings()["root_packages"]
    return grimp.build_graph(*packages, cache_dir=None, include_external_packages=with_external)


def pictures(graph: grimp.ImportGraph) -> Iterator[Picture]:
    """One for each package with a layers contract for its rooms."""
    contracts = [each for each in _settings()["contracts"] if each["type"] == "layers"]
    for package in sorted({package for each in contracts for package in each.get("containers", ())}):
        named = {
            f"{package}.{room.strip()}"
            for each in contracts
            if package in each.get("containers", ())
            for layer in each["layers"]
            for room in layer.split("|")
        }
        rooms = graph.find_children(package)
        arrows = {room: frozenset(_imported(graph, room, package) - {room}) for room in rooms}
        yield Picture(package, len(graph.find_descendants(package)) + 1, arrows, frozenset(rooms - named))


def _imported(graph: grimp.ImportGraph, room: str, package: str) -> set[str]:
    """The rooms of ``package`` that a room imports."""
    modules = {room} | graph.find_descendants(room)
    found = {each for module in modules for each in graph.find_modules_directly_imported_by(module)}
    depth = package.count(".") + 2
    return {".".join(each.split(".")[:depth]) for each in found if each.startswith(f"{package}.")}


def _settings() -> dict[str, Any]:
    settings: dict[str, Any] = tomllib.loads(PYPROJECT.read_text())["tool"]["importlinter"]
    return settings


def main() -> None:
    """Print a line per package, then what is loaded by string."""
    print(f"{'package':16} {'modules':>7} {'rooms':>6} {'arrows':>6} {'levels':>6} {'unguarded':>9}")
    for each in pictures(build()):
        arrows = sum(map(len, each.arrows.values()))
        figures = f"{each.modules:7} {len(each.arrows):6} {arrows:6} {each.levels:6} {len(each.unguarded):9}"
        print(f"{each.package:16} {figures}")
    for module, names in LOADED_BY_STRING.items():
        print(f"{module} loads by string: {', '.join(names)}")


if __name__ == "__main__":
    main()
