"""The reference pages say what the code does, and examples in the docs are good configurations."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from docs.reference.generate import main
from lab.patience import patient
from leitstand.cli import COMMANDS
from leitstand.settings.config import check, load_document, owners

ROOT = Path(__file__).parents[3]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
SECTIONS = {name for owner in owners() for name in owner.model_fields}


def examples() -> list[tuple[str, str]]:
    """Every fenced YAML text with sections of leitstand.yml, and its page."""
    found = [
        (page.name, block)
        for page in PAGES
        for block in re.findall(
            r"^```ya?ml\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
        )
    ]
    return [(page, block) for page, block in found if is_configuration(yaml.safe_load(block))]


def is_configuration(data: object) -> bool:
    return isinstance(data, dict) and bool(data) and data.keys() <= SECTIONS


def test_the_generated_pages_are_fresh():
    command = [sys.executable, str(ROOT / "docs" / "reference" / "generate.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=patient(300))
    assert done.returncode == 0, f"run docs/reference/generate.py: {done.stdout}{done.stderr}"


def test_a_stale_page_is_noticed_and_rewritten(tmp_path):
    codes = [
        CliRunner().invoke(main, [*flags, "--root", str(tmp_path)]).exit_code
        for flags in (["--check"], [], ["--check"])
    ]
    assert codes == [1, 0, 0]
    page = tmp_path / "docs/inventory.md"
    page.write_text(page.read_text().replace("| `dpkg` |", "| `deb` |"))
    assert (
        CliRunner().invoke(main, ["--check", "--root", str(tmp_path)]).output == "stale: docs/inventory.md\n"
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_in_the_reference(command):
    assert f"## leitstand {command}\n" in (ROOT / "docs/reference/commands.md").read_text()


def test_every_command_has_an_example():
    page = (ROOT / "docs/reference/commands.md").read_text()
    commands = dict(re.findall(r"^## (leitstand[^\n]*)\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL))
    assert len(commands) > 30
    assert [name for name, text in commands.items() if "Example" not in text] == []


def test_every_key_is_in_the_reference():
    page = (ROOT / "docs/reference/configuration.md").read_text()
    for section in SECTIONS:
        assert re.search(rf"^## {section}(: NAME)?$", page, re.MULTILINE)


def test_every_key_has_a_meaning_and_a_section_is_not_shown_as_one_of_its_kinds():
    page = (ROOT / "docs/reference/configuration.md").read_text()
    keys = re.findall(r"^\| `(\w+)` \| .* \| (.*) \|$", page, re.MULTILINE)
    assert len(keys) > 100
    assert [key for key, meaning in keys if not meaning.strip()] == []
    assert "## stores: NAME\n\nWhere snapshots are kept" in page


@pytest.mark.parametrize(("page", "example"), examples())
def test_an_example_in_the_docs_passes_the_check(tmp_path, page, example):
    file = tmp_path / "leitstand.yml"
    file.write_text(example)
    # A page shows the section it is about: hosts, services and stores stand elsewhere.
    elsewhere = ("unknown host", "unknown store", "unknown service")
    wrong = [problem for problem in check(load_document(file)) if not problem.what.startswith(elsewhere)]
    assert wrong == [], page
