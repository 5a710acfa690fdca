"""Leitstand rolled out to three hosts, all of it real: boot them, install, apply, prove, stay."""

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from lab.demo import INTERRUPTED, bold, visible_lines
from lab.fleet import fleet_impossible
from lab.processes import LabError
from lab.promises import Outcome
from lab.rollout import CONFIGURATION, CONTROL, PAGE, configuration
from lab.rollout_promises import (
    NAMES,
    Check,
    Say,
    Scene,
    backs_up,
    bare_fleet,
    changes_nothing,
    is_as_wanted,
    is_measured,
    mail_arrives,
    names_the_lost,
    page_answers,
    refuses_another_key,
    rolls_out,
    shows_no_more,
)
from lab.show import print_results, promise_row

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def main() -> int:
    """Run it; 0 when every promise held, 1 when one did not."""
    arguments = parse()
    started = time.monotonic()

    def say(text: str) -> None:
        print(f"  [{time.monotonic() - started:5.1f} s] {text}", flush=True)

    for number in _SIGNALS:  # also if this is a background job, which ignores them
        signal.signal(number, _interrupt)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)  # ./demo blocked them until here
    print(f"{bold('Leitstand demo')}: roll-out to {', '.join(NAMES)}", flush=True)
    try:
        with fleet(say) as scene:
            return run(scene, say, stays=not arguments.once)
    except KeyboardInterrupt:
        print("\ninterrupted before the end", file=sys.stderr)
        return INTERRUPTED
    except (LabError, subprocess.SubprocessError) as error:
        print(f"failed: {visible_lines(str(error))}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # as in "./demo | head": no reader is left, not even for Python's last message
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    finally:
        print("stopped; nothing is left running", flush=True)


def parse() -> argparse.Namespace:
    """The command line, which ``./demo`` has already checked and documents."""
    parser = argparse.ArgumentParser(prog="./demo --fleet", add_help=False)
    parser.add_argument("--once", action="store_true")
    return parser.parse_args()


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


@contextmanager
def fleet(say: Say) -> Iterator[Scene]:
    """The hosts; a second Ctrl-C does not keep them from being removed."""
    if reason := fleet_impossible():
        raise LabError(reason)
    with bare_fleet(say) as scene:
        try:
            yield scene
        finally:
            for number in _SIGNALS:
                signal.signal(number, signal.SIG_IGN)


def run(scene: Scene, say: Say, *, stays: bool) -> int:
    """Roll out, check each promise, show the results, and stay if wanted."""
    say(f"$ apt install ./leitstand_*.deb          (on {CONTROL})")
    scene.bare.install()
    scene.bare.configure(configuration(scene.fleet))
    say("$ leitstand apply                        (one leitstand.yml; some minutes)")
    outcomes = keep(scene, say)
    print_table(scene, outcomes, stays=stays)
    if stays:
        stay()
    return 0 if all(outcome.held for outcome in outcomes) else 1


PROMISES: tuple[tuple[str, str, Check], ...] = (
    ("bare hosts are rolled out", "leitstand apply", rolls_out),
    ("what runs is what is wanted", "leitstand deploy status", is_as_wanted),
    ("every host is monitored", "Prometheus", is_measured),
    ("a second time nothing changes", "leitstand apply", changes_nothing),
    ("alert mails arrive", "mail server", mail_arrives),
    ("web1 is backed up, restore proven", "leitstand backup run, drill", backs_up),
    ("the page shows the web site", f"https://{PAGE}/", page_answers),
    ("strangers find no other port", "all 65535 of each host", shows_no_more),
    ("a host without power is named", "leitstand apply", names_the_lost),
    ("another SSH host key is refused", "leitstand apply", refuses_another_key),
)


def keep(scene: Scene, say: Say) -> list[Outcome]:
    """Check every promise, in order, even if one fails; but none without the first."""
    outcomes: list[Outcome] = []
    for what, where, check in PROMISES:
        say(f"checking: {what}")
        try:
            outcomes.append(Outcome(what, where, True, check(scene)))
        except (LabError, OSError, ValueError, KeyError) as error:
            outcomes.append(Outcome(what, where, False, str(error)))
        if not outcomes[0].held:
            break
    return outcomes


def print_table(scene: Scene, outcomes: list[Outcome], *, stays: bool) -> None:
    """Each promise and what was seen; failures below in full."""
    state = "look around" if stays else "ends with this run"
    rows = [promise_row(outcome) for outcome in outcomes]
    rows += [(name, f".venv/bin/python -m lab.fleet shell {name}", state) for name in NAMES]
    rows.append(("configuration", f"{CONTROL}:{CONFIGURATION}", "read the file"))
    rows.append(("alert mails", str(scene.sink.folder), f"{len(scene.sink.mails())} so far"))
    print_results(rows, outcomes)


def stay() -> None:
    """Wait for Ctrl-C, the normal end of a demo."""
    print("  Look around from another terminal, as root:")
    print(f"    .venv/bin/python -m lab.fleet shell {CONTROL}    # then: leitstand deploy status")
    print("  Ctrl-C ends the demo and everything it started.", flush=True)
    try:
        signal.pause()
    except KeyboardInterrupt:
        print(flush=True)


if __name__ == "__main__":
    sys.exit(main())
