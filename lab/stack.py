"""The whole of Leitstand on loopback, every server real, all state under one folder."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from fleet_config.durations import scale
from lab.patience import patient
from lab.processes import (
    DIE_WITH_PARENT,
    READY_SECONDS,
    LabError,
    PortTakenError,
    Server,
    fetch,
    free_ports,
    on_free_ports,
    wait_until,
)
from lab.sample_site import WELCOME, make_site
from lab.shorten import shorten_folder

REPOSITORY = Path(__file__).resolve().parent.parent
PYTHON = sys.executable
SWIFT_PYTHON = REPOSITORY / ".venv-swift" / "bin" / "python"
SPEED = 5.0  # intervals, windows and waiting times are shorter than in production by this factor
PORTS = ("swift", "site", "exporter", "prometheus", "alertmanager", "blackbox", "mail", "page", "grafana")

CONFIGURATION = """\
# The demo's configuration, as you would write your own.
# Check it with: leitstand check --config {folder}/leitstand.yml
site:
  name: {{de: Rennteam, en: Racing team}}
  languages: [de, en]
  time_zone: Europe/Berlin

hosts:
  web1: {{address: 127.0.0.1, exporter_port: {exporter}}}

services:
  website:
    name: {{de: Webseite, en: Website}}
    url: "http://127.0.0.1:{site}/"
    expect: "{welcome}"
    hosts: [web1]
  storage:
    name: {{de: Dateiablage, en: File storage}}
    url: "http://127.0.0.1:{swift}/healthcheck"

probing:
  canaries: ["http://127.0.0.1:{swift}/healthcheck"]   # if these fail, too, this host is offline

alerts:
  mail:
    to: [admin@example.org]
    sender: leitstand@example.org
    smarthost: "127.0.0.1:{mail}"
    require_tls: false

stores:
  swift:
    type: s3
    endpoint: "http://127.0.0.1:{swift}"
    bucket: backups
    credentials_file: {folder}/swift.ini
  disk: {{type: folder, path: {folder}/disk}}

backups:
  website:
    host: web1
    sources:
      - {{files: {folder}/site/www, exclude: ["*/cache/*"]}}
      - {{sqlite: {folder}/site/guestbook.sqlite}}
    stores: [swift, disk]
    schedule: daily 03:00
    keep: {{daily: 7, weekly: 4, monthly: 12}}
    keys_file: {folder}/keys

status_page:
  prometheus: "http://127.0.0.1:{prometheus}"
  listen: "127.0.0.1:{page}"
  interval: {interval}
  fresh_for: 30s
  unknown_after: 40s

paths: {{state: {folder}/state, metrics: {folder}/metrics}}
"""


@dataclass(frozen=True)
class Ran:
    """A finished ``leitstand`` command."""

    status: int
    stdout: str
    stderr: str


@dataclass
class Stack:
    """Every server, by name, and the folder for all their files. Use as a context manager."""

    folder: Path
    say: Callable[[str], None] = lambda _: None
    speed: float = SPEED
    servers: dict[str, Server] = field(default_factory=dict)
    ports: dict[str, int] = field(default_factory=dict)

    def __enter__(self) -> "Stack":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def config(self) -> Path:
        """The leitstand.yml of this stack."""
        return self.folder / "leitstand.yml"

    def start(self) -> None:
        """Write the configuration and start everything; ``stop`` ends what was started."""
        on_free_ports(self._start_servers)
        self.say("generating the backup keys")
        self.leitstand("backup", "keys", "generate", check=True)

    def _start_servers(self) -> None:
        """Start all; if one finds its port taken, all end again, as the ports are in the files."""
        self.prepare()
        try:
            for step in (self.start_site, self.start_swift, self.start_monitoring, self.start_page):
                step()
        except PortTakenError as error:
            self.say(f"{str(error).partition(';')[0]}: another program took its port; retrying with others")
            self.stop()
            self.servers, self.ports = {}, {}
            for path in self.folder.iterdir():
                if path.is_dir():
                    shutil.rmtree(path)
            raise

    def prepare(self) -> None:
        """Make the folders, the sample site and leitstand.yml, and choose free ports."""
        self.folder = self.folder.resolve()
        for name in ("logs", "metrics/status-page", "state", "disk", "mail", "prometheus", "alertmanager"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        self.ports = self.ports or free_ports(*PORTS)
        make_site(self.folder / "site")
        facts = {"folder": self.folder, "welcome": WELCOME, "interval": scale("15s", 1 / self.speed)}
        self.config.write_text(CONFIGURATION.format(**facts, **self.ports))

    def start_site(self) -> None:
        """Start the sample web site and a test mail server."""
        self.say("starting a sample web site and a mail server")
        site = [PYTHON, "-P", "-m", "lab.sample_site", str(self.ports["site"]), str(self.folder / "site")]
        self.add("site", site)
        mail = [PYTHON, "-P", "-m", "lab.mail_sink", str(self.ports["mail"]), str(self.folder / "mail")]
        self.add("mail", mail, ready_path=None)

    def start_swift(self) -> None:
        """OpenStack Swift, its credentials as a file, and the bucket."""
        self.say("starting OpenStack Swift with its S3 API")
        script = REPOSITORY / "lab" / "swift_server.py"
        argv = [str(SWIFT_PYTHON), str(script), str(self.folder / "swift"), str(self.ports["swift"])]
        swift = self.add("swift", argv, ready_path="/healthcheck")
        wait_until(lambda: '{"endpoint"' in swift.log.read_text(), "Swift's ready line")
        lines = [line for line in swift.log.read_text().splitlines() if line.startswith('{"endpoint"')]
        ready = json.loads(lines[-1])
        credentials = self.folder / "swift.ini"
        credentials.touch(mode=0o600)
        credentials.write_text(
            f"[default]\naccess_key = {ready['access_key']}\nsecret_key = {ready['secret_key']}\n"
        )

    def start_monitoring(self) -> None:
        """Exporter, blackbox_exporter, Alertmanager and Prometheus, configured by ``leitstand render``."""
        self.say("starting the exporter")
        self.start_exporter()
        self.render()
        self.say("starting blackbox_exporter, Alertmanager and Prometheus")
        rendered = self.folder / "prometheus"
        blackbox = ["prometheus-blackbox-exporter", f"--config.file={rendered}/blackbox.yml"]
        self.add(
            "blackbox", [*blackbox, f"--web.listen-address={self.at('blackbox')}"], ready_path="/-/healthy"
        )
        alertmanager = [
            "prometheus-alertmanager",
            f"--config.file={self.folder}/alertmanager/alertmanager.yml",
            f"--storage.path={self.folder}/alertmanager-data",
            f"--web.listen-address={self.at('alertmanager')}",
            "--cluster.listen-address=",
            f"--web.external-url={self.url('alertmanager')}",
        ]
        self.add("alertmanager", alertmanager, ready_path="/-/ready")
        prometheus = [
            "prometheus",
            f"--config.file={rendered}/prometheus.yml",
            f"--storage.tsdb.path={self.folder}/prometheus-data",
            f"--web.listen-address={self.at('prometheus')}",
            "--storage.tsdb.retention.time=2d",
            "--web.cors.origin=none",
            # As in operation, only faster: alerts outlast a Prometheus that is away for minutes.
            f"--rules.alert.resend-delay={round(120 / self.speed)}s",
            f"--rules.alert.for-grace-period={round(60 / self.speed)}s",
        ]
        self.add("prometheus", prometheus, ready_path="/-/ready")

    def start_exporter(self) -> Server:
        """The exporter of the one host."""
        argv = [PYTHON, "-P", "-m", "leitstand", "exporter", "--web.listen-address", self.at("exporter")]
        for folder in (self.folder / "metrics", self.folder / "metrics" / "status-page"):
            argv += ["--collector.textfile.directory", str(folder)]
        return self.add("exporter", argv, ready_path="/-/healthy")

    def start_page(self) -> None:
        """The status collector and the status page."""
        self.say("starting the status collector and the status page")
        for name, verb, port in (("collector", "collect", 0), ("page", "serve", self.ports["page"])):
            argv = [PYTHON, "-P", "-m", "leitstand", "status-page", verb, "--config", str(self.config)]
            self.add(name, argv, port=port, ready_path="/-/healthy")

    def render(self) -> None:
        """Render Prometheus' and Alertmanager's folders, then shorten their durations by ``speed``."""
        folder = self.folder
        programs = ("prometheus", "alertmanager", "blackbox")
        addresses = [part for name in programs for part in (f"--{name}", self.at(name))]
        self.leitstand("render", "prometheus", "--out", str(folder / "prometheus"), *addresses, check=True)
        self.leitstand("render", "alertmanager", "--out", str(folder / "alertmanager"), check=True)
        for name in ("prometheus", "alertmanager"):
            shorten_folder(folder / name, self.speed)

    def add(
        self, name: str, argv: list[str], port: int | None = None, ready_path: str | None = "/"
    ) -> Server:
        """Start a server and register it under its name."""
        log = self.folder / "logs" / f"{name}.log"
        environment = {"PYTHONPATH": str(REPOSITORY)}  # `lab` is not installed
        server = Server(name, argv, log, self.ports[name] if port is None else port, ready_path, environment)
        self.servers[name] = server
        return server.start()

    def at(self, name: str) -> str:
        """``127.0.0.1:PORT`` of a server."""
        return f"127.0.0.1:{self.ports[name]}"

    def url(self, name: str, path: str = "") -> str:
        """The URL of a path on a server."""
        return f"http://{self.at(name)}{path}"

    def leitstand(self, *arguments: str, check: bool = False) -> Ran:
        """Run ``leitstand`` with this stack's configuration; with ``check``, LabError if it fails."""
        environment = {**os.environ, "LEITSTAND_CONFIG": str(self.config)}
        argv = [*DIE_WITH_PARENT, PYTHON, "-P", "-m", "leitstand", *arguments]
        done = subprocess.run(
            argv, capture_output=True, text=True, env=environment, timeout=patient(300), check=False
        )
        if check and done.returncode:
            raise LabError(
                f"leitstand {' '.join(arguments)} exited {done.returncode}:\n{done.stdout}{done.stderr}"
            )
        return Ran(done.returncode, done.stdout, done.stderr)

    def query(self, expression: str) -> list[dict[str, object]]:
        """The samples of an instant query to Prometheus; empty also when it does not answer."""
        status, body = fetch(self.url("prometheus", f"/api/v1/query?query={quote(expression)}"))
        answer = json.loads(body) if status == 200 else {}
        samples: list[dict[str, object]] = answer.get("data", {}).get("result", [])
        return samples

    def wait(
        self,
        condition: Callable[[], object],
        what: str,
        seconds: float = READY_SECONDS,
        pause: float = 0.05,
    ) -> float:
        """`wait_until`, unless a server ends meanwhile: then ServerEndedError at once."""

        def met() -> object:
            self.require_running()
            return condition()

        return wait_until(met, what, seconds, pause)

    def require_running(self) -> None:
        """Raise ServerEndedError, with the end of its log, if a server ended unexpectedly."""
        for server in self.servers.values():
            server.require_running()

    def mails(self) -> list[str]:
        """Every mail that arrived, oldest first."""
        return [path.read_text(errors="replace") for path in sorted((self.folder / "mail").glob("*.eml"))]

    def stop(self) -> None:
        """End every server, the newest first."""
        for server in reversed(list(self.servers.values())):
            server.stop()
