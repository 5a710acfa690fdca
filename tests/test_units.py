"""What is shipped for systemd, as systemd reads it; and that it closes what it says."""

import os
import re
import shutil
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from lab.patience import patient
from lab.processes import free_port, wait_until

FOLDER = Path(__file__).resolve().parent.parent / "deploy" / "systemd"
DOCS = FOLDER.parent.parent / "docs"
UNITS = sorted(path for path in FOLDER.iterdir() if path.is_file())
DROP_INS = sorted(FOLDER.glob("*.d/*.conf"))
LOCKED_UP = (
    "leitstand-exporter",
    "leitstand-inventory",
    "leitstand-status-collector",
    "leitstand-status-page",
    "leitstand-status-send",
)
needs_systemd = pytest.mark.skipif(
    not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed"
)


def verify(*units: Path) -> list[str]:
    argv = ["systemd-analyze", "verify", "--man=no", *units]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    names = [unit.name for unit in units]
    return [
        line
        for line in done.stderr.splitlines()
        if any(name in line for name in names) or "leitstand" in line
    ]


@needs_systemd
def test_systemd_finds_nothing_wrong_with_any_unit(tmp_path: Path) -> None:
    for unit in UNITS:
        (tmp_path / unit.name).write_text(
            unit.read_text().replace("/opt/leitstand/bin/leitstand", "/bin/true")
        )
    assert verify(*sorted(tmp_path.iterdir())) == []


@needs_systemd
@pytest.mark.parametrize("drop_in", DROP_INS, ids=lambda path: path.parent.name)
def test_systemd_finds_nothing_wrong_with_a_drop_in(drop_in: Path, tmp_path: Path) -> None:
    unit = tmp_path / drop_in.parent.name.removesuffix(".d")
    unit.write_text("[Service]\nExecStart=/bin/true\n")
    shutil.copytree(drop_in.parent, tmp_path / drop_in.parent.name)
    assert verify(unit) == []
    wrong = tmp_path / drop_in.parent.name / drop_in.name
    wrong.write_text(wrong.read_text().replace("MemoryMax", "MemoryMost"))
    assert verify(unit) != [] or "MemoryMost" in str(
        subprocess.run(
            ["systemd-analyze", "verify", "--man=no", unit], capture_output=True, check=False
        ).stderr
    )


@needs_systemd
@pytest.mark.parametrize("name", LOCKED_UP)
def test_units_with_network_access_score_1_5_or_better(name: str) -> None:
    gate = ["systemd-analyze", "security", "--offline=yes", "--no-pager", "--threshold=15"]
    done = subprocess.run([*gate, FOLDER / f"{name}.service"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_every_unit_is_installed_and_removed_by_the_documentation() -> None:
    pages = "".join(path.read_text() for path in DOCS.glob("*.md"))
    removal = (DOCS / "uninstall.md").read_text()
    for unit in UNITS:
        assert re.search(
            rf"deploy/systemd/{unit.name.partition('.')[0]}|deploy/systemd/leitstand-status-\*", pages
        ), unit
    for drop_in in DROP_INS:
        assert f"deploy/systemd/{drop_in.parent.name}" in pages
        assert drop_in.parent.name in removal


CONFIGURATION = """\
services: {{website: {{name: Website, url: "http://127.0.0.1:1/"}}}}
status_page: {{prometheus: "http://127.0.0.1:1", folder: {folder}/page, workers: 2}}
paths: {{state: {folder}/state, metrics: {folder}/metrics}}
"""


@pytest.mark.skipif(
    os.geteuid() != 0 or not all(map(shutil.which, ("unshare", "systemd-socket-activate"))),
    reason="a network of its own needs root",
)
def test_the_web_server_answers_visitors_from_a_network_without_anything(tmp_path: Path) -> None:
    config, port = tmp_path / "leitstand.yml", free_port()
    config.write_text(CONFIGURATION.format(folder=tmp_path))
    leitstand = [sys.executable, "-m", "leitstand", "status-page"]
    subprocess.run([*leitstand, "collect", "--once", "--config", config], check=False, capture_output=True)
    # As the unit has it: systemd listens outside, the process has PrivateNetwork.
    start = ["systemd-socket-activate", "-l", f"127.0.0.1:{port}", "unshare", "--net", *leitstand]
    start += ["serve", "--listen", "systemd", "--config", str(config)]
    with (tmp_path / "log").open("w") as log, subprocess.Popen(start, stdout=log, stderr=log) as server:
        try:
            wait_until(lambda: connects(port), "the socket")
            for _ in range(20):
                with urllib.request.urlopen(
                    f"http://127.0.0.1:{port}/api/v1/status.json", timeout=patient(60)
                ) as answer:
                    assert answer.status == 200
            links = subprocess.run(
                ["nsenter", f"--net=/proc/{server.pid}/ns/net", "ip", "-o", "addr"],
                capture_output=True,
                text=True,
                check=True,
            ).stdout
            assert links == "", "it has a network"
        finally:
            server.terminate()


def connects(port: int) -> bool:
    with socket.socket() as link:
        return link.connect_ex(("127.0.0.1", port)) == 0


@needs_systemd
@pytest.mark.parametrize("page", ["quickstart-by-hand.md", "exporter.md"])
def test_the_drop_ins_of_the_documentation_are_such_as_systemd_reads(page: str, tmp_path: Path) -> None:
    text = re.sub(r"^  ", "", (DOCS / page).read_text(), flags=re.MULTILINE)
    found = re.findall(r"^cat >/etc/systemd/system/(\S+) <<END\n(.*?)\nEND$", text, re.MULTILINE | re.DOTALL)
    assert found
    for unit in FOLDER.glob("leitstand-exporter.*"):
        (tmp_path / unit.name).write_text(
            unit.read_text().replace("/opt/leitstand/bin/leitstand", "/bin/true")
        )
    for name, content in found:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content + "\n")
    assert verify(*(path for path in sorted(tmp_path.iterdir()) if path.is_file())) == []
    (tmp_path / found[0][0]).write_text("[Socket]\nIPAddressAllow=nowhere\n")
    assert verify(*(path for path in sorted(tmp_path.iterdir()) if path.is_file())) != []
