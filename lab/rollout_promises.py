"""What a roll-out promises, checked on real hosts by the demo and by tests.

A check returns what was seen or raises LabError. Each leaves the hosts as leitstand.yml wants them.
"""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lab.fleet import Fleet, debian_base
from lab.fleet.services import MailSink
from lab.packages import built_packages, target_of_this_python
from lab.processes import LabError, wait_until
from lab.rollout import CONTROL, LOGIN_KEY, PAGE, Applied, Bare, Document, configuration

NAMES = (CONTROL, "web1", "web2")
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


@contextmanager
def bare_fleet(say: Say) -> Iterator[Scene]:
    """Three hosts as an admin finds them. Nothing of them is left, however it ends."""
    say("the packages of this checkout (the first time: a minute)")
    packages = built_packages(target_of_this_python())
    say("a Debian that the hosts start from (the first time: some minutes)")
    base = debian_base(say=say)
    say("booting the hosts, each with systemd, sshd and an empty disk")
    with Fleet(base, NAMES) as hosts, hosts.mail_sink() as sink:
        bare = Bare(hosts, packages)
        bare.prepare()
        yield Scene(bare, sink)


@contextmanager
def rolled_out_fleet(say: Say) -> Iterator[tuple[Scene, Applied]]:
    """The hosts after their first `leitstand apply`, and how that ended."""
    with bare_fleet(say) as scene:
        scene.bare.install()
        scene.bare.configure(configuration(scene.fleet))
        yield scene, scene.bare.apply("--accept-host-keys")


def rolls_out(scene: Scene) -> str:
    """The first `leitstand apply` makes three bare hosts what the file says."""
    applied = scene.bare.apply("--accept-host-keys").require(0, 1)
    hosts = ", ".join(f"{host} {len(tasks)}" for host, tasks in applied.report["changed"].items())
    return f"{applied.seconds:.0f} s; changes: {hosts}"


def is_as_wanted(scene: Scene) -> str:
    """Release and configuration that run are the wanted ones on every host."""

    def rows() -> list[dict[str, object]]:
        found: list[dict[str, object]] = json.loads(
            scene.bare.leitstand("deploy", "status", "--json", check=False).stdout
        )
        return found

    wait_until(lambda: all(row["as_wanted"] for row in rows()), "all hosts to run what is wanted", pause=1)
    return f"{len(rows())} hosts run the release and configuration that are wanted"


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
    """A host without power is named, and rolled out to once it is back; the others are as wanted."""
    web2 = scene.fleet["web2"]
    scene.bare.configure(with_own_login_key(scene))
    web2.cut_power()
    others = [f"--host={name}" for name in NAMES if name != CONTROL]
    applied = scene.bare.apply(*others).require(3)
    problems = applied.report["problems"]
    if list(problems) != ["web2"]:
        raise LabError(f"it named {problems}")
    web2.boot()
    later = scene.bare.apply("--host=web2").require(0, 1)
    if list(later.report["changed"]) != ["web2"]:
        raise LabError(f"later it changed {later.report['changed']}")
    is_as_wanted(scene)
    return (
        f"{applied.seconds:.0f} s; web2: {problems['web2'].splitlines()[0][:60]}; later {later.seconds:.0f} s"
    )


def with_own_login_key(scene: Scene) -> Document:
    """Another leitstand.yml: it says something new about web2 alone."""
    control = scene.bare.control
    control.run(["cp", "--preserve=mode", LOGIN_KEY, f"{LOGIN_KEY}.web2"])
    document = configuration(scene.fleet)
    document["hosts"]["web2"]["deploy"]["identity_file"] = f"{LOGIN_KEY}.web2"
    return document


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
