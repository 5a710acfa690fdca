"""Leitstand on this machine, all of it real: start everything, run the main job, show where to look, stay."""

import argparse
import os
import shlex
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from lab.grafana import start_grafana
from lab.incident import play_incident
from lab.own_folder import FolderError, own_folder
from lab.processes import LabError
from lab.promises import keep, page_state
from lab.show import LiveLine, print_table
from lab.stack import REPOSITORY, Stack
from leitstand.text import visible

INTERRUPTED = 130  # as a shell gives for Ctrl-C

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def main() -> int:
    """Run the demo; 0 when every promise held, 1 when one did not."""
    arguments = parse()
    started = time.monotonic()

    def say(text: str) -> None:
        print(f"  [{time.monotonic() - started:5.1f} s] {text}", flush=True)

    try:
        for number in _SIGNALS:  # also if this is a background job, which ignores it
            signal.signal(number, _interrupt)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)  # ./demo blocked them until here
        with own_folder(arguments.folder) as folder:
            return in_folder(folder, arguments, say)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except FolderError as error:
        print(f"error: {error}\n  hint: choose another --folder", file=sys.stderr)
        return 2
    except BrokenPipeError:  # as in "./demo | head": no reader is left, not even for Python's last message
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def in_folder(folder: Path, arguments: argparse.Namespace, say: Callable[[str], None]) -> int:
    """Run the demo in a locked folder; nothing keeps running, however it ends."""
    print(f"{bold('Leitstand demo')}: all state under {folder}", flush=True)
    stack = Stack(folder, say)
    try:
        return run(stack, arguments, say)
    except KeyboardInterrupt:
        print("\ninterrupted before the end", file=sys.stderr)
        return INTERRUPTED
    finally:
        for number in _SIGNALS:  # a second Ctrl-C must not leave the rest running
            signal.signal(number, signal.SIG_IGN)
        stack.stop()
        print("stopped; nothing is left running", flush=True)


def run(stack: Stack, arguments: argparse.Namespace, say: Callable[[str], None]) -> int:
    """Start everything, back up, and do what the options say."""
    try:
        stack.start()
        grafana = start_grafana(stack)
        if arguments.incident:
            return play_incident(stack, say)
        outcomes = keep(stack, say)
        print_table(stack, outcomes, grafana, stays=not arguments.once)
        if not arguments.once:
            stay(stack)
    except LabError as error:
        print(f"failed: {visible_lines(str(error))}", file=sys.stderr)
        return 1
    return 0 if all(outcome.held for outcome in outcomes) else 1


def parse() -> argparse.Namespace:
    """The command line, which ``./demo`` has already checked and documents."""
    parser = argparse.ArgumentParser(prog="./demo", add_help=False)
    ways = parser.add_mutually_exclusive_group()
    ways.add_argument("--once", action="store_true")
    ways.add_argument("--incident", action="store_true")
    parser.add_argument("--folder", type=called_from, default=REPOSITORY / ".demo")
    return parser.parse_args()


def called_from(path: str) -> Path:
    """A path relative to where ./demo was called; ./demo itself runs in the repository."""
    return Path(os.environ.get("LEITSTAND_CALLED_FROM", "."), path).resolve()


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def bold(text: str) -> str:
    """Bold on a terminal, plain elsewhere."""
    return f"\033[1m{text}\033[0m" if sys.stdout.isatty() else text


def stay(stack: Stack) -> None:
    """Show a live line until Ctrl-C, the normal end of a demo. Raises ServerEndedError when a server ends."""
    print("  Every interval is a fifth of the usual one. Try it from another terminal:")
    command = [f"{REPOSITORY}/.venv/bin/leitstand", "backup", "status", "--config", str(stack.config)]
    print(f"    {shlex.join(command)}")
    print("  Ctrl-C ends the demo and everything it started.", flush=True)
    line = LiveLine()
    try:
        while True:
            stack.require_running()
            line.show(state_line(stack))
            time.sleep(3)
    except KeyboardInterrupt:
        print(flush=True)


def visible_lines(text: str) -> str:
    """The lines of a log without control characters."""
    return "\n".join(visible(line) for line in text.splitlines())


def state_line(stack: Stack) -> str:
    """Servers, the public state of the web site, and the names of the firing alerts."""
    samples = stack.query('group by (alertname) (ALERTS{alertstate="firing",alertname!="Watchdog"})')
    firing = sorted(sample["metric"]["alertname"] for sample in samples)  # type: ignore[index]
    parts = [
        "all servers are running",
        f"website: {page_state(stack, 'website')}",
        f"alerts: {', '.join(firing) or 'none'}",
    ]
    return " · ".join(parts)


if __name__ == "__main__":
    sys.exit(main())
