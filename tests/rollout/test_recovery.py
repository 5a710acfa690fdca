"""A machine and the leitstand host are lost: the commands of docs/deploy-recovery.md bring them back."""

import logging
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from lab.fleet import Fleet, Host, debian_base, fleet_impossible
from lab.packages import built_packages, package, target_of_this_python
from lab.processes import LabError, wait_until
from lab.rollout import CONTROL, LOGIN_KEY, Bare, configuration
from lab.swift_process import Swift

IMPOSSIBLE = fleet_impossible()
pytestmark = [pytest.mark.slow, pytest.mark.skipif(IMPOSSIBLE is not None, reason=str(IMPOSSIBLE))]
LOG = logging.getLogger(__name__)
PAGE = (Path(__file__).parents[2] / "docs/deploy-recovery.md").read_text()
HISTORIES = ("status-page/history.sqlite", "inventory/inventory.sqlite")
APT = 'APT::Get::Assume-Yes "true";\nAPT::Install-Recommends "false";\nDpkg::Use-Pty "false";\n'
MARK = "import sqlite3, sys; print(sqlite3.connect(sys.argv[1]).execute(sys.argv[2]).fetchall())"


def block(kind: str, with_text: str) -> str:
    """The one block of the page that has a text, without its indentation."""
    blocks = re.findall(rf"^( *)```{kind}\n(.*?)^ *```", PAGE, re.DOTALL | re.MULTILINE)
    (found,) = (text.replace(f"\n{indent}", "\n").strip() for indent, text in blocks if with_text in text)
    return found


@dataclass(frozen=True)
class Scene:
    """Two hosts that were rolled out, a store beside them, and what was printed and put away."""

    bare: Bare
    swift: Swift
    ca: str  # of the store
    kit: str

    def follow(self, commands: str) -> str:
        """Run a block of the page on the leitstand host."""
        own = {
            "192.0.2.11": self.bare.fleet["web1"].address,
            "leitstand apply": "leitstand apply --accept-host-keys",
        }
        for text, ours in own.items():
            commands = commands.replace(text, ours)
        start = time.monotonic()
        done = self.bare.control.run(["sh", "-ec", f"cd /root\n{commands}"], check=False, seconds=1800)
        LOG.info("%.0f s: %s", time.monotonic() - start, commands)
        assert done.returncode in (0, 1), done.stdout + done.stderr
        return done.stdout

    def history(self, file: str, statement: str) -> str:
        """Ask a database below the leitstand host's state."""
        argv = ["python3", "-c", MARK, f"/var/lib/leitstand/{file}", statement]
        return self.bare.control.run(argv).stdout.strip()


def document(fleet: Fleet, swift: Swift) -> dict[str, Any]:
    """The leitstand.yml: what the page says of jobs, and a store that is on no host."""
    found = configuration(fleet)
    remote = {"type": "s3", "endpoint": swift.endpoint, "bucket": "backups"}
    files = {"credentials_file": "/etc/leitstand/s3.ini", "ca_file": "/etc/leitstand/s3-ca.pem"}
    found["stores"] = {"main": {**remote, **files}}
    jobs = found["backups"]
    jobs["website"]["stores"] = ["main"]
    jobs["history"] = yaml.safe_load(block("yaml", "history:"))["backups"]["history"]
    etc = [{"files": "/etc", "exclude": ["/etc/leitstand/keys"]}]
    jobs["etc"] = {**jobs["website"], "host": CONTROL, "sources": etc}
    return found


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    try:
        packages = built_packages(target_of_this_python())
    except LabError as error:
        pytest.skip(str(error))
    with Fleet(debian_base(), [CONTROL, "web1"]) as fleet, fleet.mail_sink(), fleet.swift() as swift:
        assert swift.ca_file
        bare = Bare(fleet, packages)
        bare.prepare()
        bare.install()
        control = bare.control
        control.write("/etc/leitstand/s3.ini", swift.credentials_file.read_text(), 0o600)
        control.write("/etc/leitstand/s3-ca.pem", ca := swift.ca_file.read_text())
        bare.configure(document(fleet, swift))
        bare.apply("--accept-host-keys").require(0, 1)
        kit = bare.leitstand("backup", "keys", "export").stdout
        yield Scene(bare, swift, ca, kit)


def as_wanted(scene: Scene) -> bool:
    return scene.bare.leitstand("deploy", "status", check=False).returncode == 0


def back_up(scene: Scene, job: str) -> None:
    """Run a job; a file that changes while it is read, as Prometheus' newest, is a warning."""
    done = scene.bare.leitstand("backup", "run", job, check=False)
    assert done.returncode in (0, 1), done.stdout + done.stderr


def test_a_lost_machine_is_back_with_its_data(scene: Scene) -> None:
    back_up(scene, "website")
    scene.bare.fleet.replace("web1")
    down = 'service:verdict{service="website"} == 0'
    wait_until(lambda: scene.bare.query(down), "the loss to be seen", pause=1)
    scene.follow(block("sh", "ssh-keygen -R"))
    assert as_wanted(scene)
    web1 = scene.bare.fleet["web1"]
    web1.run(["apt-get", "update", "-qq"])
    web1.run(["apt-get", "install", "-qq", "--yes", "--no-install-recommends", "nginx-light"])
    scene.follow(block("sh", "tar -C"))
    assert "Lap 7" in web1.run(["curl", "-sSf", "http://127.0.0.1/07.html"]).stdout
    assert web1.run(["stat", "-c", "%a", "/", "/var"]).stdout.split() == ["755", "755"]
    back_up(scene, "website")


def empty_machine_and_what_was_put_away(scene: Scene) -> Host:
    """A new leitstand host with the package, the recovery kit's keys, access to the store, a small file."""
    control = scene.bare.fleet.replace(CONTROL)
    control.write("/etc/apt/apt.conf.d/90lab", APT)
    control.write("/usr/local/share/ca-certificates/status.crt", scene.bare.authority.read_text())
    control.run(["update-ca-certificates"])
    shutil.copy(package("leitstand", scene.bare.packages), control.root / "root")
    lines = [line for line in scene.kit.splitlines() if re.match(r"leitstand-keys|\d+ [A-Z2-7]{52} ", line)]
    control.write("/root/keys", "\n".join(lines) + "\n")
    control.write("/root/s3.ini", scene.swift.credentials_file.read_text())
    control.write("/root/s3-ca.pem", scene.ca)
    small = block("yaml", "/root/s3.ini").replace("192.0.2.10", control.address)
    small = small.replace("/root/s3.ini", "/root/s3.ini, ca_file: /root/s3-ca.pem")
    control.write("/root/lost.yml", small.replace("https://swift.example.org", scene.swift.endpoint))
    return control


def test_a_lost_leitstand_host_is_back_with_its_history(scene: Scene) -> None:
    scene.bare.control.run(["systemctl", "start", "leitstand-inventory.service"])
    for file in HISTORIES:
        scene.history(file, "CREATE TABLE of_a_test (x)")
    for job in ("etc", "history"):
        back_up(scene, job)
    measured = f'count_over_time(up{{job="prometheus"}}[1m] @ {time.time():.0f})'
    assert scene.bare.query(measured)

    control = empty_machine_and_what_was_put_away(scene)
    scene.follow(block("sh", "apt install"))
    scene.follow(block("sh", "/root/lost.yml"))
    control.run(["cp", "-a", "/root/lost/files/etc/ssl/status", "/etc/ssl/"])  # the page's certificate
    shutil.copy(scene.bare.fleet.key, control.root / LOGIN_KEY.lstrip("/"))

    scene.follow(block("sh", "leitstand check"))
    assert as_wanted(scene)
    assert not scene.bare.query(measured)
    scene.follow(block("sh", "systemctl stop prometheus"))

    def measured_before() -> bool:
        with suppress(LabError):  # it is starting
            return bool(scene.bare.query(measured))
        return False

    wait_until(measured_before, "the samples from before the loss", pause=1)
    control.run(["systemctl", "start", "leitstand-inventory.service"])
    for file in HISTORIES:
        assert scene.history(file, "SELECT count(*) FROM of_a_test") == "[(0,)]"
    assert control.run(["systemctl", "--failed", "--plain", "--no-legend"]).stdout == ""
    for job in ("etc", "website", "history"):
        back_up(scene, job)
