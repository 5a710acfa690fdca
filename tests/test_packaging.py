"""What is shipped: the wheel's contents, and each role started from it in an environment of its own."""

import runpy
import subprocess
import sys
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from lab.processes import Server, fetch, free_port
from leitstand.version import revision

REPOSITORY = Path(__file__).resolve().parent.parent
BUILD = runpy.run_path(str(REPOSITORY / "hatch_build.py"))
PACKAGES = {
    "leitstand",
    "exporter",
    "fleet_config",
    "fleet_inventory",
    "orchestrator",
    "rollout",
    "status_page",
}


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = [
        sys.executable,
        "-m",
        "build",  # of a source archive, and of the wheel from it
        "--no-isolation",
        "--outdir",
        str(folder),
        str(REPOSITORY),
    ]
    subprocess.run(build, check=True, capture_output=True)
    return next(folder.glob("*.whl"))


def test_the_wheel_holds_the_programs_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    top = {name.split("/", 1)[0] for name in names}
    assert {name for name in top if not name.endswith(".dist-info")} == PACKAGES
    assert "leitstand/share/prometheus/prometheus.yml" in names
    assert any(name.startswith("leitstand/share/grafana/dashboards/") for name in names)
    assert "leitstand/share/docs/runbooks/HostDown.md" in names


def test_the_wheel_knows_its_commit_and_its_version(wheel: Path) -> None:
    if not revision():
        pytest.skip("this is no checkout of git's")
    archive = zipfile.ZipFile(wheel)
    assert archive.read("leitstand/share/commit").decode() == f"{revision()}\n"
    assert archive.read("leitstand/share/version").decode() == f"{BUILD['version']()}\n"
    assert wheel.name.split("-")[1] == BUILD["version"]()


def test_the_wheel_is_marked_as_never_to_be_uploaded(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    metadata = next(name for name in archive.namelist() if name.endswith("METADATA"))
    assert "Private :: Do Not Upload" in archive.read(metadata).decode()


@pytest.mark.parametrize(
    ("url", "maintainers", "cure"),
    [
        ("https://example.org/leitstand", "| Ada |", "replace example.org in"),
        ("https://leitstand.test/", "| Ada | to be named |", "replace 'to be named' in"),
    ],
)
def test_a_release_with_placeholders_is_not_built(url: str, maintainers: str, cure: str) -> None:
    refuse = BUILD["refuse_placeholders"]
    refuse("0.1.1.dev3+g0123456789ab", {"Source": url}, maintainers)
    with pytest.raises(ValueError, match=cure):
        refuse("0.1.0", {"Issues": "https://leitstand.test/", "Source": url}, maintainers)
    refuse("0.1.0", {"Source": "https://leitstand.test/"}, "| Ada | Grace |")


def test_no_lock_file_names_a_host() -> None:
    for lock in (REPOSITORY / "requirements").glob("*.txt"):
        text = lock.read_text()
        assert "://" not in text, lock.name
        assert "--hash=sha256:" in text, lock.name


CONFIGURATION = """\
hosts: {{web1: {{address: 127.0.0.1}}}}
services: {{website: {{name: Website, url: "http://127.0.0.1:1/"}}}}
stores: {{disk: {{type: folder, path: {folder}/disk}}}}
backups:
  etc:
    host: web1
    sources: [{{files: {folder}/data}}]
    stores: [disk]
    keys_file: {folder}/keys
status_page: {{listen: "127.0.0.1:{port}", workers: 1}}
paths: {{state: {folder}/state, metrics: {folder}/metrics}}
"""


@dataclass
class Installed:
    """The wheel in an environment of its own, with one role's requirements, and a folder to work in."""

    folder: Path
    port: int = field(default_factory=free_port)

    def install(self, wheel: Path, role: str) -> None:
        subprocess.run([sys.executable, "-m", "venv", str(self.folder / "venv")], check=True)
        pip = [str(self.folder / "venv/bin/python"), "-m", "pip", "install", "--quiet", "--no-deps"]
        subprocess.run(
            [*pip, "--require-hashes", "-r", str(REPOSITORY / f"requirements/{role}.txt")], check=True
        )
        subprocess.run([*pip, str(wheel)], check=True)
        for name in ("data", "state", "metrics", "disk"):
            (self.folder / name).mkdir()
        (self.folder / "data" / "file").write_text("content")
        (self.folder / "leitstand.yml").write_text(CONFIGURATION.format(folder=self.folder, port=self.port))

    @property
    def program(self) -> str:
        return str(self.folder / "venv/bin/leitstand")

    def run(self, *arguments: str) -> str:
        ran = subprocess.run(
            [self.program, *arguments], capture_output=True, text=True, cwd=self.folder, check=False
        )
        assert ran.returncode == 0, ran.stderr
        return ran.stdout

    def serve(self, *arguments: str, ready_path: str) -> str:
        """Start a server, ask it for ``ready_path``, end it; what it answered."""
        server = Server("server", [self.program, *arguments], self.folder / "log", self.port, ready_path)
        try:
            return fetch(server.start().url + ready_path)[1]
        finally:
            server.stop()


@pytest.fixture
def installed(
    wheel: Path, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Installed:
    monkeypatch.setenv("LEITSTAND_CONFIG", str(tmp_path / "leitstand.yml"))
    monkeypatch.delenv("PYTHONPATH", raising=False)
    installed = Installed(tmp_path)
    installed.install(wheel, request.param)
    assert "Commands:" in installed.run("--help")
    return installed


@pytest.mark.slow
@pytest.mark.parametrize("installed", ["exporter"], indirect=True)
def test_the_exporter_starts_from_the_wheel_with_its_own_lock_only(installed: Installed) -> None:
    listen = f"--web.listen-address=127.0.0.1:{installed.port}"
    assert "node_cpu_seconds_total" in installed.serve("exporter", listen, ready_path="/metrics")


@pytest.mark.slow
@pytest.mark.parametrize("installed", ["orchestrator"], indirect=True)
def test_the_orchestrator_saves_and_restores_from_the_wheel_with_its_own_lock_only(
    installed: Installed,
) -> None:
    installed.run("backup", "keys", "generate")
    installed.run("backup", "run", "etc")
    installed.run("backup", "restore", "etc", "--target", str(installed.folder / "restored"))
    assert [path.read_text() for path in (installed.folder / "restored").rglob("file")] == ["content"]


@pytest.mark.slow
@pytest.mark.parametrize("installed", ["status-page"], indirect=True)
def test_the_status_page_starts_from_the_wheel_with_its_own_lock_only(installed: Installed) -> None:
    # Nobody measures here: the collector says so by its exit status, and the page by its words.
    subprocess.run([installed.program, "status-page", "collect", "--once"], cwd=installed.folder, check=False)
    assert "Unknown" in installed.serve("status-page", "serve", ready_path="/en/")
