"""What is loaded by string exists, and is all that import-linter cannot see."""

import importlib
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import grimp
import pytest

from lab.imports import LOADED_BY_STRING, build, pictures
from leitstand.cli import COMMANDS

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROGRAMS = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
# Where a name becomes a module at run time: the tables that are looked at here, and what is not ours.
LOADERS = {"leitstand/lazy.py", "leitstand/settings/config.py"}
LOADERS |= {"exporter/modules.py", "exporter/lean_import.py"}  # anybody's collectors; prometheus_client


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return build(with_external=True)


@pytest.mark.parametrize("name", [name for names in LOADED_BY_STRING.values() for name in names])
def test_names_loaded_by_string_exist_in_a_module_of_a_program(name: str, graph: grimp.ImportGraph) -> None:
    module, attribute = name.split(":")
    assert module in graph.modules
    assert module.split(".")[0] in PROGRAMS
    assert callable(getattr(importlib.import_module(module), attribute))


def test_every_program_has_a_command() -> None:
    assert {command.split(".")[0] for command, _ in COMMANDS.values()} == set(PROGRAMS)


def test_nothing_else_loads_by_string() -> None:
    loads = re.compile(r"\bimport_module\b|\b__import__\b|\bspec_from_|\brun_(module|path)\b")
    files = [path for program in PROGRAMS for path in (ROOT / program).rglob("*.py")]
    found = {str(path.relative_to(ROOT)) for path in files if loads.search(path.read_text())}
    assert found == LOADERS


def test_a_configuration_is_checked_without_the_requirements_of_any_role(graph: grimp.ImportGraph) -> None:
    modules = {name.split(":")[0] for name in LOADED_BY_STRING["leitstand.settings.config"]}
    modules |= {"leitstand.commands", "fleet_config.cli"}
    upstream = {each.split(".")[0] for module in modules for each in graph.find_upstream_modules(module)}
    names = {re.split(r"[^a-z-]", name)[0].replace("-", "_") for name in PROJECT["project"]["dependencies"]}
    needed = upstream - set(PROGRAMS) - sys.stdlib_module_names
    provided = {
        package
        for package, distributions in packages_distributions().items()
        if any(each.lower().replace("-", "_") in {*names, "pydantic_core"} for each in distributions)
    }
    assert needed <= provided


def test_no_room_of_a_program_is_outside_the_contracts(graph: grimp.ImportGraph) -> None:
    found = list(pictures(graph))
    assert {each.package for each in found if "." not in each.package} == set(PROGRAMS)
    assert [room for each in found for room in each.unguarded] == []
