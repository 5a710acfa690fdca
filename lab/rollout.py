"""A bare fleet for `leitstand apply`: "control", and hosts with a web site, as an admin finds them."""

import json
import shutil
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from lab.fleet import Fleet
from lab.fleet.host import Host
from lab.packages import package as found
from lab.processes import LabError
from lab.swift_process import make_certificates

CONTROL = "control"
CONFIGURATION = "/root/leitstand.yml"
PAGE = "status.fleet.test"
SMTP = "10.77.0.1:25"  # of the lab's mail server
LOGIN_KEY = "/root/.ssh/id_ed25519"
_BACKUP_KEY = "/root/.ssh/leitstand_backup"
_KNOWN_HOSTS = "/etc/leitstand/ssh/known_hosts"
_TLS = "/etc/ssl/status"
_APPLY_SECONDS = 1800
_LEITSTAND = ("env", "--chdir=/root", "leitstand")
_APPLY = ("apply", "--config", CONFIGURATION)
OURS = ("leitstand*.service", "prometheus*.service", "nginx.service")

Document = dict[str, Any]


@dataclass(frozen=True)
class Applied:
    """One `leitstand apply`: how long it took, its exit code, its report."""

    seconds: float
    code: int
    report: Mapping[str, Any]
    errors: str

    @property
    def changed(self) -> int:
        """Tasks that changed something, on all hosts together."""
        return sum(len(tasks) for tasks in self.report.get("changed", {}).values())

    def require(self, *codes: int) -> "Applied":
        """Itself. Raises LabError if it ended otherwise."""
        if self.code in codes:
            return self
        problems = self.report.get("problems") or self.report.get("stopped") or self.errors.strip()
        raise LabError(f"leitstand apply exited {self.code}: {problems}")


def configuration(fleet: Fleet) -> Document:
    """The content of leitstand.yml: every host watched; web1's site a service, backed up over SSH."""
    ssh = {"identity_file": _BACKUP_KEY, "known_hosts_file": _KNOWN_HOSTS}
    hosts: dict[str, Document] = {
        name: {"address": host.address, "roles": ["watched"], "deploy": {"identity_file": LOGIN_KEY}}
        for name, host in fleet.hosts.items()
    }
    hosts[CONTROL] = {"address": fleet[CONTROL].address, "roles": ["leitstand"]}
    hosts["web1"]["ssh"] = ssh
    return {
        "site": {
            "name": "Racing team",
            "languages": ["en", "de"],
            "time_zone": "Europe/Berlin",
            "url": f"https://{PAGE}/",
        },
        "hosts": hosts,
        "services": {"website": {"name": "Web site", "url": f"http://{fleet['web1'].address}/"}},
        "alerts": {
            "mail": {
                "to": ["admin@example.org"],
                "sender": "leitstand@example.org",
                "smarthost": SMTP,
                "require_tls": False,
            }
        },
        "stores": {"disk": {"type": "folder", "path": "/srv/backups"}},
        "backups": {
            "website": {
                "host": "web1",
                "sources": [{"files": "/var/www"}],
                "stores": ["disk"],
                "keys_file": "/etc/leitstand/keys",
                "schedule": "daily 03:00",
                "keep": {"daily": 7},
            }
        },
        "deploy": {
            "certificate": {"cert_file": f"{_TLS}/server.pem", "key_file": f"{_TLS}/server.key"},
        },
    }


@dataclass(frozen=True)
class Bare:
    """A fleet and what an admin does on its leitstand host."""

    fleet: Fleet
    packages: Path

    @property
    def control(self) -> Host:
        """The host that is to be the leitstand host."""
        return self.fleet[CONTROL]

    @property
    def authority(self) -> Path:
        """The CA of the page's certificate."""
        return self.fleet.folder / "tls" / "ca.pem"

    def prepare(self) -> None:
        """What Leitstand finds: a key that reaches every host, a web site, a certificate for the page."""
        shutil.copy(self.fleet.key, self.control.root / LOGIN_KEY.lstrip("/"))
        folder = self.fleet.folder / "tls"
        folder.mkdir()
        for path in make_certificates(folder, self.control.address, PAGE)[1:]:
            self.control.write(f"{_TLS}/{path.name}", path.read_text(), 0o600)
        # As a public CA would be: Prometheus probes the page, and a failure there is an alert.
        self.control.write("/usr/local/share/ca-certificates/status.crt", self.authority.read_text())
        self.control.run(["update-ca-certificates"])
        self.fleet.alias(PAGE, self.control)
        web1 = self.fleet["web1"]
        web1.run(["apt-get", "update", "-qq"])
        web1.run(["apt-get", "install", "-qq", "--yes", "--no-install-recommends", "nginx-light"])
        for number in range(50):
            web1.write(f"/var/www/html/{number:02}.html", f"<h1>Lap {number}</h1>\n" * 100)

    def install(self, package: Path | None = None) -> None:
        """Install a package on the leitstand host, also over a newer one; by default this checkout's."""
        package = package or found("leitstand", self.packages)
        shutil.copy(package, self.control.root / "root")
        self.control.run(["apt-get", "update", "-qq"])
        argv = ["apt-get", "install", "-qq", "--yes", "--no-install-recommends", "--allow-downgrades"]
        self.control.run([*argv, f"/root/{package.name}"])

    def configure(self, document: Document) -> None:
        """Write leitstand.yml."""
        self.control.write(CONFIGURATION, yaml.safe_dump(document, sort_keys=False), 0o600)

    def leitstand(self, *words: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
        """Run leitstand on the leitstand host, in root's home. With ``check``, LabError if it fails."""
        return self.control.run([*_LEITSTAND, *words], check=check, seconds=_APPLY_SECONDS)

    def apply(self, *options: str) -> Applied:
        """Run `leitstand apply` to its end."""
        start = time.monotonic()
        done = self.leitstand(*_APPLY, "--json", *options, check=False)
        lines = done.stdout.splitlines()
        report = json.loads(lines[-1]) if lines[-1:] and lines[-1].startswith("{") else {}
        return Applied(time.monotonic() - start, done.returncode, report, done.stderr)

    def start(self, *options: str) -> "subprocess.Popen[str]":
        """Start `leitstand apply`, with its messages in a pipe; it ends like any child."""
        argv = self.control.command([*_LEITSTAND, *_APPLY, *options])
        return subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )

    def processes(self) -> set[str]:
        """Host, unit and main process of each service of ours that runs."""
        return {line for host in self.fleet.hosts.values() for line in processes(host)}

    def query(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """What Prometheus on the leitstand host answers: labels and value. Raises LabError."""
        argv = ["curl", "-sSfG", "http://127.0.0.1:9090/api/v1/query", "--data-urlencode"]
        answer = json.loads(self.control.run([*argv, f"query={expression}"]).stdout)
        return [(one["metric"], float(one["value"][1])) for one in answer["data"]["result"]]


def processes(host: Host) -> set[str]:
    """Host, unit and main process of each service of ours that runs there."""
    argv = ["systemctl", "show", "--property=Id,MainPID", "--state=running", *OURS]
    blocks = host.run(argv).stdout.strip().split("\n\n")
    return {" ".join([host.name, *sorted(block.split())]) for block in blocks if block}
