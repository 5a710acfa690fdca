"""``./demo``: start everything, run the main job, show where to look, stay until Ctrl-C."""

import argparse
import contextlib
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from lab.grafana import start_grafana
from lab.incident import play_incident
from lab.processes import LabError, wait_until
from lab.promises import Outcome, keep, page_state
from lab.stack import REPOSITORY, Stack

EXAMPLES = """\
examples:
  ./demo              start all, run a backup, show a table, stay until Ctrl-C
  ./demo --once       the same, check each promise, end; exit code 0, or 1 naming what failed
  ./demo --incident   take the sample web site down and watch: page, alert mail, recovery
"""


def main() -> int:
    """Run the demo; 0 when every promise held, 1 when one did not."""
    arguments = parse()
    started = time.monotonic()
    for number in (signal.SIGTERM, signal.SIGINT):  # also where a background job was told to ignore it
        signal.signal(number, _interrupt)

    def say(text: str) -> None:
        print(f"  [{time.monotonic() - started:5.1f} s] {text}", flush=True)

    folder: Path = arguments.folder
    clear(folder)
    print(f"\033[1mLeitstand demo\033[0m: all state under {folder}")
    with Stack(folder, say) as stack, contextlib.suppress(KeyboardInterrupt):
        return run(stack, arguments, say)
    print("\nstopped; nothing is left running")
    return 0


def run(stack: Stack, arguments: argparse.Namespace, say: Callable[[str], None]) -> int:
    """Start, do the job, and what the options ask for."""
    try:
        stack.start()
        grafana = start_grafana(stack)
        if arguments.incident:
            return play_incident(stack, say)
        outcomes = keep(stack, say)
    except LabError as error:
        print(f"failed: {error}", file=sys.stderr)
        return 1
    print_table(stack, outcomes, grafana)
    failed = [outcome for outcome in outcomes if not outcome.held]
    if arguments.once:
        return 1 if failed else 0
    stay(stack)
    return 0


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="./demo",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--once", action="store_true", help="check every promise, then end with exit code 0 or 1"
    )
    parser.add_argument("--incident", action="store_true", help="play an outage and its end, with times")
    parser.add_argument(
        "--folder", type=Path, default=REPOSITORY / ".demo", help="where all state goes (%(default)s)"
    )
    return parser.parse_args()


def clear(folder: Path) -> None:
    """Begin anew, but only in a folder that is ours: one that is empty or holds a demo."""
    if folder.exists() and any(folder.iterdir()) and not (folder / "leitstand.yml").exists():
        print(f"{folder} is not empty and holds no demo\n  hint: name another --folder", file=sys.stderr)
        raise SystemExit(2)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def print_table(stack: Stack, outcomes: list[Outcome], grafana: str) -> None:
    """One table: what, URL or path, state."""
    rows = [
        (outcome.what, outcome.where, ("ok    " if outcome.held else "FAILED") + f" {outcome.seen}")
        for outcome in outcomes
    ]
    rows += [
        ("status page", stack.url("page", "/"), "open it"),
        ("Prometheus", stack.url("prometheus", "/alerts"), "open it"),
        ("Alertmanager", stack.url("alertmanager", "/"), "open it"),
        ("exporter", stack.url("exporter", "/"), "open it"),
        ("Grafana", grafana.split(" ", 1)[0], grafana.split(" ", 1)[1]),
        ("configuration", str(stack.config), "read it"),
        ("alert mails", str(stack.folder / "mail"), f"{len(stack.mails())} so far"),
    ]
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    print()
    for what, where, state in (("what", "where", "state"), *rows):
        print(f"  {what:<{widths[0]}}  {where:<{widths[1]}}  {state}")
    print(flush=True)


def stay(stack: Stack) -> None:
    """A live line until Ctrl-C."""
    print("  Ctrl-C ends the demo and everything it started. Every interval is a fifth of the usual one.")
    while True:
        dead = [server.name for server in stack.dead()]
        state = f"dead: {', '.join(dead)}" if dead else "all servers run"
        alerts = stack.query('count(ALERTS{alertstate="firing",alertname!="Watchdog"}) or vector(0)')
        firing = alerts[0]["value"][1] if alerts else "?"  # type: ignore[index]
        website = page_state(stack, "website")
        print_live(f"  {time.strftime('%H:%M:%S')}  {state} · website: {website} · alerts firing: {firing}")
        with contextlib.suppress(LabError):
            wait_until(lambda: False, "the next line", seconds=3, pause=0.5)


def print_live(line: str) -> None:
    """Replace the last line on a terminal; one line after the other elsewhere."""
    if sys.stdout.isatty():
        print(f"\r\033[K{line}", end="", flush=True)
    else:
        print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
