"""The shipped rules and a rendered fleet, as every test of this room needs them."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fleet_config.alertmanager import alertmanager_files
from fleet_config.expected import Expected
from fleet_config.output import write_files
from fleet_config.prometheus import Addresses, prometheus_files
from lab.patience import patient
from leitstand.settings.config import load_document, read
from leitstand.settings.fleet import Fleet

ROOM = Path(__file__).parent.parent.parent / "prometheus"
Run = Callable[..., "subprocess.CompletedProcess[str]"]

FLEET = """
site: {name: {de: Rennteam, en: "Racing $team"}}
hosts:
  web1: {address: 192.0.2.11}
  web2: {address: "2001:db8::1", exporter_port: 9900}
services:
  website:
    name: Website
    url: "https://www.example.org/"
    expect: '(?i)will"kommen\\s+#1: {x}'
  wiki: {name: Wiki, url: "http://wiki.example.org/", status: [200, 302]}
probing: {canaries: ["https://www.debian.org/"]}
alerts:
  mail: {to: [a@example.org, b@example.org], sender: leitstand@example.org, require_tls: false}
  webhook_url: "http://127.0.0.1:8080/alerts"
  watchdog_url: "http://127.0.0.1:8080/watchdog"
"""


@pytest.fixture(scope="session")
def room() -> Path:
    return ROOM


@pytest.fixture(scope="session")
def run() -> Run:
    """Run a program to its end; its output in one text."""

    def run_program(*argv: object) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [str(part) for part in argv],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=patient(300),
            check=False,
        )

    return run_program


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    return read_text(tmp_path, FLEET, Fleet)


@pytest.fixture
def fleet_from(tmp_path: Path) -> Callable[..., Any]:
    """A fleet, or other sections, from the text of a leitstand.yml."""
    return lambda text, owner=Fleet: read_text(tmp_path, text, owner)


def read_text(folder: Path, text: str, owner: type[Any]) -> Any:
    path = folder / "leitstand.yml"
    path.write_text(text)
    return read(load_document(path), owner)


@pytest.fixture
def rendered(fleet: Fleet, tmp_path: Path) -> Path:
    """A folder for Prometheus and, in ``alertmanager/``, one for Alertmanager."""
    write_files(tmp_path / "out", prometheus_files(fleet, Expected(), Addresses(), ROOM))
    write_files(tmp_path / "out" / "alertmanager", alertmanager_files(fleet, ROOM / "alertmanager"))
    return tmp_path / "out"
