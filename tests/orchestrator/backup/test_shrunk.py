"""When a source has shrunk so far that an admin should look."""

from pathlib import Path

import pytest

from leitstand.settings.models import Model
from orchestrator.backup.shrunk import FEWEST, TIMES_TOLD, Shrinkage


class Settings(Model):
    path: str = "/srv"


def run(file: Path, entries: int, path: str = "/srv") -> list[str]:
    """What a run says that finds so many entries."""
    found = Shrinkage.since(file)
    found.note("files", Settings(path=path), entries)
    found.save(file)
    return found.found


@pytest.mark.parametrize(
    ("before", "now", "is_told"),
    [
        (100, 51, False),
        (100, 50, True),
        (FEWEST, FEWEST // 2, True),
        (FEWEST, FEWEST // 2 + 1, False),
        (FEWEST - 1, 2, False),
        (FEWEST - 1, 1, True),
        (FEWEST - 1, 0, True),
        (2, 1, True),
        (1, 1, False),
        (1, 0, True),
        (0, 0, False),
        (0, 5, False),
    ],
)
def test_a_loss_of_half_is_reported_for_many_and_of_all_for_few(
    tmp_path: Path, before: int, now: int, is_told: bool
) -> None:
    assert run(tmp_path / "held.json", before) == []
    assert bool(run(tmp_path / "held.json", now)) == is_told


def test_a_source_that_stays_small_is_reported_for_a_week_and_then_accepted(tmp_path: Path) -> None:
    file = tmp_path / "held.json"
    run(file, 100)
    assert [bool(run(file, 10)) for _ in range(TIMES_TOLD + 2)] == [True] * TIMES_TOLD + [False] * 2
    assert run(file, 10) == []
    assert run(file, 5) != []


def test_a_source_that_comes_back_is_no_longer_reported(tmp_path: Path) -> None:
    file = tmp_path / "held.json"
    run(file, 100)
    assert run(file, 10) != []
    assert run(file, 90) == []
    assert run(file, 80) == []


def test_other_settings_are_another_source(tmp_path: Path) -> None:
    file = tmp_path / "held.json"
    run(file, 100)
    assert run(file, 1, path="/srv/www") == []
