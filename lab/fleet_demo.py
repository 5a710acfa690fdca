"""Leitstand rolled out to three hosts, all of it real: boot them, install, apply, prove, stay."""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lab.demo import INTERRUPTED, bold, visible_lines
from lab.fleet import Fleet, debian_base, fleet_impossible
from lab.fleet.services import MailSink
from lab.packages import built_packages, target_of_this_python
from lab.processes import LabError, wait_until
from lab.promises import Outcome
from lab.rollout import CONFIGURATION, CONTROL, PAGE, Bare, configuration
from lab.show import print_results, promise_row

NAMES = (CONTROL, "web1", "web2")
_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_KEY = "/etc/ssh/ssh_host_ed25519_key"
Say = Callable[[str], None]
Check = Callable[["Scene"], str]


@dataclass(frozen=True)
class Scene:
    """The hosts, and the mail server beside them."""

    bare: Bare
    sink: MailSink

    @property
    def fleet(self) -> Fleet:
        """The hosts."""
        return self.bare.fleet


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
    """Three hosts as an admin finds them. Nothing of them is left, however it ends."""
    if reason := fleet_impossible():
        raise LabError(reason)
    say("the packages of this checkout (the first time: a minute)")
    packages = built_packages(target_of_this_python())
    say("a Debian that the hosts start from (the first time: some minutes)")
    base = debian_base(say=say)
    say("booting the hosts, each with systemd, sshd and an empty disk")
    with Fleet(base, NAMES) as hosts, hosts.mail_sink() as sink:
        try:
            bare = Bare(hosts, packages)
            bare.prepare()
            yield Scene(bare, sink)
        finally:
            for number in _SIGNALS:  # a second Ctrl-C must not leave the rest running
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


def rolls_out(scene: Scene) -> str:
    """The first `leitstand apply` makes three bare hosts what the file says."""
    applied = scene.bare.apply("--accept-host-keys").require(0, 1)
    hosts = ", ".join(f"{host} {len(tasks)}" for host, tasks in applied.report["changed"].items())
    return f"{applied.seconds:.0f} s; changes: {hosts}"


def is_as_wanted(scene: Scene) -> str:
    """Release and configuration that run are the wanted ones on every host."""
    rows = json.loads(scene.bare.leitstand("deploy", "status", "--json").stdout)
    return f"{len(rows)} hosts run the release and configuration that are wanted"


def is_measured(scene: Scene) -> str:
    """Prometheus reaches each exporter over TLS, and everything else that it measures."""
    wanted = set(NAMES)

    def up() -> bool:
        found = {labels["instance"] for labels, value in scene.bare.query('up{job="host"}') if value == 1}
        return found == wanted and not scene.bare.query("up == 0")

    wait_until(up, "every target to be up", pause=1)
    return f"{len(scene.bare.query('up == 1'))} targets are up, {', '.join(NAMES)} among them"


def changes_nothing(scene: Scene) -> str:
    """A second `leitstand apply` finds nothing to do."""
    applied = scene.bare.apply().require(0, 1)
    if applied.changed:
        raise LabError(f"it changed: {applied.report['changed']}")
    return f"{applied.seconds:.0f} s; 0 changes"


def mail_arrives(scene: Scene) -> str:
    """The roll-out sent a test mail."""
    wait_until(lambda: any("MailTest" in mail for mail in scene.sink.mails()), "the test mail", pause=1)
    return "MailTest"


def backs_up(scene: Scene) -> str:
    """The web site on web1 is read over SSH; the newest snapshot is restored and compared."""
    scene.bare.leitstand("backup", "run", "website")
    drill = scene.bare.leitstand("backup", "drill", "website").stdout.strip().splitlines()
    timers = scene.bare.control.run(["systemctl", "list-timers", "--all", "leitstand-*", "--output=json"])
    names = [timer["unit"].removesuffix(".timer") for timer in json.loads(timers.stdout)]
    return f"{drill[-1].strip()}; timers: {len(names)}"


def page_answers(scene: Scene) -> str:
    """Anyone sees the page over HTTPS, and on it the web site as available."""
    url = f"https://{PAGE}/api/v1/status.json"
    place = f"{PAGE}:443:{scene.bare.control.address}"
    argv = ["curl", "-sSf", "--cacert", str(scene.bare.authority), "--resolve", place, url]

    def state() -> str:
        done = scene.fleet.outsider().run(argv, check=False)
        services = json.loads(done.stdout)["services"] if done.returncode == 0 else []
        return next((one["state"] for one in services if one["id"] == "website"), "")

    wait_until(lambda: state() == "up", "the page to show the web site as available", pause=1)
    return "web site: up"


def shows_no_more(scene: Scene) -> str:
    """A machine that no host knows finds SSH everywhere, and the web servers."""
    wanted = {CONTROL: [22, 80, 443], "web1": [22, 80], "web2": [22]}
    stranger = scene.fleet.outsider()
    found = {name: stranger.open_ports(scene.fleet[name].address) for name in NAMES}
    if found != wanted:
        raise LabError(f"open ports are {found}")
    return "; ".join(f"{name} {' '.join(map(str, ports))}" for name, ports in found.items())


def names_the_lost(scene: Scene) -> str:
    """A host without power is named; the others are as wanted."""
    scene.fleet["web2"].cut_power()
    applied = scene.bare.apply().require(3)
    scene.fleet["web2"].boot()
    problems = applied.report["problems"]
    if list(problems) != ["web2"]:
        raise LabError(f"it named {problems}")
    return f"{applied.seconds:.0f} s; web2: {problems['web2'].splitlines()[0][:60]}"


def refuses_another_key(scene: Scene) -> str:
    """A host whose SSH host key changed is refused, with both fingerprints; nothing is changed."""
    web2 = scene.fleet["web2"]
    web2.run(["sh", "-c", f"cp -a {_KEY} /root && rm {_KEY}* && ssh-keygen -A && systemctl restart ssh"])
    applied = scene.bare.apply("--accept-host-keys")
    web2.run(["sh", "-c", f"cp -a /root/{Path(_KEY).name} {_KEY} && ssh-keygen -yf {_KEY} >{_KEY}.pub"])
    web2.run(["systemctl", "restart", "ssh"])
    prints = re.findall(r"SHA256:\S{8}", applied.errors)
    if "its SSH host key changed" not in applied.errors or len(prints) != 2:
        raise LabError(f"it was not refused: {applied.report or applied.errors}")
    return f"pinned {prints[0]}…, found {prints[1]}…"


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
