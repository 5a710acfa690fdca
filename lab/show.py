"""The demo's output: a table that fits the terminal, and a live status line."""

import time
from dataclasses import dataclass

from lab.promises import Outcome
from lab.stack import Stack
from leitstand.tables import terminal_width

Row = tuple[str, str, str]


def print_table(stack: Stack, outcomes: list[Outcome], grafana: str, *, stays: bool) -> None:
    """One table: name, URL or path, state; as blocks if the terminal is too narrow.

    Failures follow below in full: they may contain the end of a log.
    """
    rows = [promise_row(outcome) for outcome in outcomes]
    address, _, login = grafana.partition(" ")
    invitation = "open in a browser" if stays else "ends with this run"
    rows += [
        ("status page", stack.url("page", "/"), invitation),
        ("Prometheus", stack.url("prometheus", "/alerts"), invitation),
        ("Alertmanager", stack.url("alertmanager", "/"), invitation),
        ("exporter", stack.url("exporter", "/"), invitation),
        ("Grafana", address, login),
        ("configuration", str(stack.config), "read the file"),
        ("alert mails", str(stack.folder / "mail"), f"{len(stack.mails())} so far"),
    ]
    print_results(rows, outcomes)


def print_results(rows: list[Row], outcomes: list[Outcome]) -> None:
    """The table, and each failure in full."""
    print("\n" + "\n".join(table_lines(rows, terminal_width())) + "\n", flush=True)
    failed = [outcome for outcome in outcomes if not outcome.held]
    if failed:
        print(f"  {len(failed)} of {len(outcomes)} promises were not kept:")
    for outcome in failed:
        print(f"  {outcome.what}: {outcome.seen}", flush=True)


def promise_row(outcome: Outcome) -> Row:
    """A promise and, in one line, whether it was kept."""
    seen = outcome.seen.strip().splitlines() or [""]
    return outcome.what, outcome.where, f"{'ok' if outcome.held else 'FAILED':<6} {seen[0]}"


def table_lines(rows: list[Row], width: int | None) -> list[str]:
    """Columns if they fit into ``width`` characters, else each row as a small block."""
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    lines = [f"  {a:<{widths[0]}}  {b:<{widths[1]}}  {c}" for a, b, c in (("what", "where", "state"), *rows)]
    if width is None or max(map(len, lines)) <= width:
        return lines
    return [
        line
        for what, where, state in rows
        for line in (f"  {what}: {' '.join(state.split())}", f"      {where}")
    ]


@dataclass
class LiveLine:
    """A live status line."""

    last: str = ""

    def show(self, text: str) -> None:
        """Replace the last line on a terminal; elsewhere print a new one when something has changed."""
        width, line = terminal_width(), f"  {time.strftime('%H:%M:%S')}  {text}"
        if width is not None:
            print(f"\r\033[K{line[: width - 1]}", end="", flush=True)
        elif text != self.last:
            print(line, flush=True)
        self.last = text
