"""What a test is given has a type: a reader need not run it to know."""

import re
from pathlib import Path

TESTS = Path(__file__).parent
FIXTURE = re.compile(r"@pytest\.fixture.*?\n *def (\w+)\((.*?)\)( -> .*?)?:\n", re.DOTALL)
UNTYPED = re.compile(r"(?:^|, )\w+(?=,|$)")


def test_every_fixture_has_types() -> None:
    found = [
        (path.relative_to(TESTS), match)
        for path in TESTS.rglob("*.py")
        for match in FIXTURE.finditer(path.read_text())
    ]
    assert len(found) > 150
    assert not [f"{path}: {match[1]}" for path, match in found if not match[3] or UNTYPED.search(match[2])]
