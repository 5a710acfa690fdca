"""Names with brackets, stars and the like are found as they are; patterns go on being patterns."""

import json
from pathlib import Path
from typing import Any

import pytest

Site = Any
NAMES = [
    "[ 1080p ] (2018).xml",
    "a[1].txt",
    "what?.txt",
    "*",
    "star*.txt",
    "back\\slash",
    "[",
    "]",
    "[!x]",
    "\\[a]",
]


@pytest.fixture
def odd(site: Site) -> Site:
    for name in [*NAMES, "a1.txt", "starry.txt", "whats.txt", "x"]:
        (site.www / name).write_text(name)
    site.good("run", "site")
    return site


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("whole", [True, False])
def test_a_name_means_itself_before_it_is_a_pattern(
    odd: Site, tmp_path: Path, name: str, whole: bool
) -> None:
    pattern = str(odd.www / name) if whole else name
    for command in ("ls", "find"):
        lines = odd.good(command, "site", "--json", "--", pattern).stdout.splitlines()
        assert [Path(json.loads(line)["path"]).name for line in lines] == [name]
    odd.good("restore", "site", "--target", tmp_path / "out", "--", pattern)
    (restored,) = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert restored.read_text() == name
    assert odd.good("cat", "site", str(odd.www / name)).stdout == name


def test_a_selection_that_names_no_file_is_a_pattern(odd: Site) -> None:
    lines = odd.good("ls", "site", "a[0-9].txt", "star*", "--json").stdout.splitlines()
    names = {Path(json.loads(line)["path"]).name for line in lines}
    assert names == {"a1.txt", "starry.txt", "star*.txt", "start"}


def test_restore_leaves_out_what_is_excluded(odd: Site, tmp_path: Path) -> None:
    target = tmp_path / "out"
    exclude = ["--exclude", "a[1].txt", "--exclude", "uploads", "--exclude", "*.php"]
    dry = odd.good("restore", "site", "--target", target, "--dry-run", *exclude)
    ran = odd.good("restore", "site", "--target", target, *exclude)
    assert dry.stdout.split(" would")[0] == ran.stdout.split(" restored")[0]
    left = {path.name for path in odd.www.rglob("*")} - {path.name for path in target.rglob("*")}
    assert left == {"a[1].txt", "uploads", "photo.jpg", "notes.txt", "secret.php"}
