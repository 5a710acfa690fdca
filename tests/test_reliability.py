"""RELIABILITY.md names tests that exist, and forgets no test of faults."""

import ast
import re
from pathlib import Path

TESTS = Path(__file__).parent
PAGE = (TESTS.parent / "RELIABILITY.md").read_text()
NAMED = re.findall(r"`([\w/]+\.py)::(\w+)`", PAGE)


def names_in(path: Path) -> set[str]:
    """The names of a file's tests."""
    found = ast.walk(ast.parse(path.read_text()))
    return {
        node.name for node in found if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }


def test_every_test_that_is_named_exists() -> None:
    assert len(NAMED) > 80
    missing = [f"{path}::{name}" for path, name in NAMED if not (TESTS / path).is_file()]
    missing += [
        f"{path}::{name}"
        for path, name in NAMED
        if (TESTS / path).is_file() and name not in names_in(TESTS / path)
    ]
    assert missing == []


def test_every_row_has_a_promise_a_fault_and_a_test() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("| ") and not line.startswith("| promise ")]
    for row in rows:
        cells = [cell.strip() for cell in row.strip("|").split(" | ")]
        assert len(cells) == 3, row
        assert all(cells), row
        assert "::" in cells[2], row


def test_every_test_of_a_fault_of_the_backups_is_in_the_table() -> None:
    folder = TESTS / "orchestrator" / "faults"
    there = {
        (path.relative_to(TESTS).as_posix(), name)
        for path in folder.glob("test_*.py")
        for name in names_in(path)
    }
    assert there - set(NAMED) == set()
