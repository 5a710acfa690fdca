"""What the project says about itself is true."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def packages(requirements: list[str]) -> set[str]:
    return {re.split(r"[\[<>=!~ ]", requirement)[0].lower() for requirement in requirements}


def test_every_requirement_has_a_reason_and_nothing_else_is_listed():
    page = (ROOT / "docs" / "dependencies.md").read_text()
    told = {
        heading: set(re.findall(r"^\| ([a-z0-9-]+) \|", text, re.MULTILINE)) - {"package"}
        for heading, text in re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)
    }
    (debian,) = re.findall(r'^PACKAGES="(.*?)"', (ROOT / "check").read_text(), re.MULTILINE | re.DOTALL)
    (fleet,) = re.findall(r'^FLEET_PACKAGES="(.*)"', (ROOT / "lab" / "setup.sh").read_text(), re.MULTILINE)
    assert told.pop("Debian packages") == set(debian.replace("$FLEET_PACKAGES", fleet).split())
    extras = {name: packages(found) for name, found in PROJECT["project"]["optional-dependencies"].items()}
    tools = packages([package for group in PROJECT["dependency-groups"].values() for package in group])
    tools |= extras.pop("dev")
    expected = {"Every role": packages(PROJECT["project"]["dependencies"]), "Development and tests": tools}
    refused = told.pop("Looked at and not taken")
    assert told == {**expected, **extras}
    assert not refused & set.union(*told.values()), "a library is taken or it is not"


def test_the_changelog_keeps_its_form():
    page = (ROOT / "CHANGELOG.md").read_text()
    headings = re.findall(r"^## (.*)$", page, re.MULTILINE)
    assert headings[0] == "[Unreleased]"
    assert all(re.fullmatch(r"\[[0-9.]+\] - \d{4}-\d\d-\d\d", heading) for heading in headings[1:])
    allowed = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    assert set(re.findall(r"^### (.*)$", page, re.MULTILINE)) <= allowed


def anchors(page: Path) -> set[str]:
    """What stands behind ``#`` in links to the headings of a page: small letters, digits, hyphens."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_links_between_the_project_s_pages_lead_somewhere():
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    for page in pages:
        for target, anchor in re.findall(r"\]\((?!https?:|mailto:)([^)#]*)#?([^)]*)\)", page.read_text()):
            file = page.parent / target if target else page
            assert file.exists(), f"{page.name} names {target}"
            assert not anchor or anchor in anchors(file), f"{page.name} names {target}#{anchor}"


@pytest.mark.parametrize("page", ["ARCHITECTURE.md", "CONTRIBUTING.md", "MAINTAINERS.md"])
def test_every_path_that_these_pages_name_is_there(page):
    named = re.findall(r"`([a-z_.-]+/[a-z_./-]*)`", (ROOT / page).read_text())  # NAME stands for any
    inside = [path for path in named if not (ROOT / path).exists()]  # such as `cli/`, of a program
    assert [path for path in inside if not any(ROOT.glob(f"*/{path}"))] == []
