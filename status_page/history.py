"""The collector's history in SQLite: newest observations, every change of state, every day."""

import contextlib
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import get_args

from leitstand.errors import LeitstandError
from status_page.snapshot import DayRow, Measured, Outage, State
from status_page.states import Observation

_SCHEMA = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = NORMAL;
CREATE TABLE IF NOT EXISTS snapshot (one INTEGER PRIMARY KEY CHECK (one = 1), written_at REAL, json TEXT)
    STRICT;
CREATE TABLE IF NOT EXISTS observation (service TEXT PRIMARY KEY, state TEXT, measured_at REAL) STRICT;
CREATE TABLE IF NOT EXISTS transition (service TEXT, at REAL, "from" TEXT, "to" TEXT,
    PRIMARY KEY (service, at)) STRICT;
CREATE TABLE IF NOT EXISTS day (service TEXT, date TEXT, up INTEGER, partial INTEGER, down INTEGER,
    maintenance INTEGER, unknown INTEGER, PRIMARY KEY (service, date)) STRICT;
"""
# Prometheus drops samples after its retention: a row from fewer samples never replaces one from more.
# Past maintenance is removed from leitstand.yml: rows of past days keep it.
_UPSERT_DAY = """
INSERT INTO day VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (service, date) DO UPDATE SET up = excluded.up, partial = excluded.partial, down = excluded.down,
    maintenance = excluded.maintenance, unknown = excluded.unknown
WHERE excluded.up + excluded.partial + excluded.down >= day.up + day.partial + day.down
    AND (excluded.maintenance >= day.maintenance OR excluded.date >= ?)
"""


class HistoryError(LeitstandError):
    """The history cannot be opened or written; the page itself does not depend on it."""


class History:
    """One file, one writer. Every method raises HistoryError when SQLite does."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with self._transaction() as connection:
            connection.executescript(_SCHEMA)

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(sqlite3.connect(self._path, timeout=2)) as connection, connection:
                connection.execute("PRAGMA synchronous = NORMAL")
                yield connection
        except (sqlite3.Error, OSError) as error:
            raise HistoryError(
                f"{self._path}: {error}", "if the file is damaged, move it away: a new one is created"
            ) from error

    def observations(self) -> dict[str, Observation]:
        with self._transaction() as connection:
            rows = connection.execute("SELECT service, state, measured_at FROM observation").fetchall()
        return {service: Observation(state, at) for service, state, at in rows if state in get_args(Measured)}

    def last_states(self) -> dict[str, tuple[State, float]]:
        """The last change of each service: to which state, and when."""
        query = 'SELECT service, "to", MAX(at) FROM transition GROUP BY service'
        with self._transaction() as connection:
            return {service: (state, at) for service, state, at in connection.execute(query)}

    def first_seen(self) -> dict[str, float]:
        query = "SELECT service, MIN(at) FROM transition WHERE \"to\" != 'unknown' GROUP BY service"
        with self._transaction() as connection:
            return dict(connection.execute(query).fetchall())

    def record(
        self,
        at: float,
        observations: Mapping[str, Observation],
        transitions: Iterable[tuple[str, State | None, State]],
        snapshot: str,
    ) -> None:
        """Store one round, in one transaction."""
        with self._transaction() as connection:
            connection.executemany(
                "INSERT OR REPLACE INTO observation VALUES (?, ?, ?)",
                [(name, seen.state, seen.measured_at) for name, seen in observations.items()],
            )
            connection.executemany(
                "INSERT OR REPLACE INTO transition VALUES (?, ?, ?, ?)",
                [(name, at, before, after) for name, before, after in transitions],
            )
            connection.execute("INSERT OR REPLACE INTO snapshot VALUES (1, ?, ?)", (at, snapshot))

    def keep_days(self, rows: Mapping[str, DayRow], today: str) -> None:
        """Store one row by service, unless the stored one has more data. Idempotent.

        That is more measured time, on any day, or more maintenance, on a day before ``today``.
        """
        values = [
            (name, row.date, row.up, row.partial, row.down, row.maintenance, row.unknown, today)
            for name, row in rows.items()
        ]
        with self._transaction() as connection:
            connection.executemany(_UPSERT_DAY, values)

    def days(self, since: str) -> dict[str, dict[str, DayRow]]:
        """The rows from a date on, by service and date."""
        query = "SELECT service, date, up, partial, down, maintenance, unknown FROM day WHERE date >= ?"
        result: dict[str, dict[str, DayRow]] = {}
        with self._transaction() as connection:
            for service, *row in connection.execute(query, (since,)):
                result.setdefault(service, {})[row[0]] = DayRow(*row)
        return result

    def outages(self, since: float) -> list[Outage]:
        """Outages (down or partly reachable) that began at ``since`` or later, oldest first."""
        query = 'SELECT service, at, "to" FROM transition WHERE at >= ? ORDER BY at'
        with self._transaction() as connection:
            return outages(connection.execute(query, (since,)).fetchall())


def outages(changes: Iterable[tuple[str, float, State]]) -> list[Outage]:
    """Outages from changes of state in order of time. A service becoming unknown does not end its outage."""
    open_outages: dict[str, Outage] = {}
    finished: list[Outage] = []
    for service, at, state in changes:
        current = open_outages.get(service)
        if state in ("unknown", "maintenance") or (current and current.state == state):
            continue
        if current:
            finished.append(replace(open_outages.pop(service), end=at))
        if state in ("down", "partial"):
            open_outages[service] = Outage(service, state, at, None)
    return sorted([*finished, *open_outages.values()], key=lambda outage: outage.start)
