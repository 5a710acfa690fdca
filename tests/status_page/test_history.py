import sqlite3
from pathlib import Path

import pytest

from status_page.collector import open_history
from status_page.history import History, HistoryError, outages
from status_page.snapshot import DayRow, Outage
from status_page.states import Observation

TODAY = "2026-11-21"


@pytest.fixture
def history(tmp_path: Path) -> History:
    return open_history(tmp_path)


def test_a_day_is_computed_again_without_harm_and_never_replaced_by_a_poorer_one(history):
    full = DayRow("2026-11-20", up=80_000, down=60, unknown=6_340)
    for _ in range(3):
        history.keep_days({"mail": full}, TODAY)
    history.keep_days({"mail": DayRow("2026-11-20", up=10, unknown=86_390)}, TODAY)
    assert history.days("2026-11-01") == {"mail": {"2026-11-20": full}}


def test_a_gap_heals_when_prometheus_has_more(history):
    history.keep_days({"mail": DayRow("2026-11-20", up=10, unknown=86_390)}, TODAY)
    history.keep_days({"mail": DayRow("2026-11-20", up=86_000, unknown=400)}, TODAY)
    assert history.days("2026-11-20")["mail"]["2026-11-20"].up == 86_000


def test_time_without_a_measurement_counts_from_the_round_it_passes(history):
    for unknown in (0, 500):
        row = DayRow(TODAY, up=3_600, unknown=unknown)
        history.keep_days({"mail": row}, TODAY)
    assert history.days(TODAY) == {"mail": {TODAY: row}}


def test_a_maintenance_that_is_over_and_removed_does_not_become_an_outage(history):
    worked_on = DayRow("2026-11-20", up=79_200, maintenance=7_200)
    history.keep_days({"mail": worked_on}, TODAY)
    history.keep_days({"mail": DayRow("2026-11-20", up=79_200, down=7_200)}, TODAY)
    assert history.days("2026-11-20") == {"mail": {"2026-11-20": worked_on}}


def test_work_that_ends_early_counts_today_only_as_long_as_it_is_announced(history):
    history.keep_days({"mail": DayRow(TODAY, up=3_600, maintenance=7_200)}, TODAY)
    shorter = DayRow(TODAY, up=7_200, maintenance=3_600)
    history.keep_days({"mail": shorter}, TODAY)
    assert history.days(TODAY) == {"mail": {TODAY: shorter}}


def test_only_the_newest_snapshot_is_kept(history, tmp_path):
    for at in (1.0, 2.0):
        history.record(
            at, {"mail": Observation("up", at)}, [("mail", None, "up")] if at == 1 else [], str(at)
        )
    with sqlite3.connect(tmp_path / "history.sqlite") as connection:
        assert connection.execute("SELECT written_at, json FROM snapshot").fetchall() == [(2.0, "2.0")]
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()
    assert history.observations() == {"mail": Observation("up", 2.0)}
    assert history.last_states() == {"mail": ("up", 1.0)}
    assert history.first_seen() == {"mail": 1.0}


def test_a_damaged_file_is_an_error_with_a_hint(tmp_path):
    (tmp_path / "history.sqlite").write_bytes(b"no database" * 1000)
    with pytest.raises(HistoryError) as caught:
        History(tmp_path / "history.sqlite")
    assert "move it away" in caught.value.hint


@pytest.mark.parametrize("between", ["unknown", "maintenance"])
def test_an_outage_lasts_through_a_time_without_measurements(between):
    changes = [
        ("mail", 1, "up"),
        ("mail", 2, "down"),
        ("mail", 3, between),
        ("mail", 4, "down"),
        ("mail", 9, "up"),
    ]
    assert outages(changes) == [Outage("mail", "down", 2, 9)]


def test_an_outage_that_turns_partial_is_two_and_the_last_is_open():
    changes = [("mail", 2, "down"), ("web", 3, "partial"), ("mail", 5, "partial")]
    assert outages(changes) == [
        Outage("mail", "down", 2, 5),
        Outage("web", "partial", 3, None),
        Outage("mail", "partial", 5, None),
    ]
