"""What is shipped: the wheel's contents, and each role started from it in an environment of its own."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
PACKAGES = {"leitstand", "exporter", "fleet_inventory", "orchestrator", "status_page"}


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = [
        sys.executable,
        "-m",
        "build",
        "--wheel",
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


def test_the_wheel_is_marked_as_never_to_be_uploaded(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    metadata = next(name for name in archive.namelist() if name.endswith("METADATA"))
    assert "Private :: Do Not Upload" in archive.read(metadata).decode()


def test_no_lock_file_names_a_host() -> None:
    for lock in (REPOSITORY / "requirements").glob("*.txt"):
        text = lock.read_text()
        assert "://" not in text, lock.name
        assert "--hash=sha256:" in text, lock.name


@pytest.mark.slow
@pytest.mark.parametrize(
    ("role", "command"),
    [
        ("exporter", ["exporter", "--help"]),
        ("orchestrator", ["backup", "run", "--help"]),
        ("status-page", ["status-page", "serve", "--help"]),
    ],
)
def test_a_role_starts_from_the_wheel_with_its_own_lock_only(
    wheel: Path, tmp_path: Path, role: str, command: list[str]
) -> None:
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True)
    python = tmp_path / "venv" / "bin" / "python"
    install = [str(python), "-m", "pip", "install", "--quiet", "--no-deps"]
    subprocess.run(
        [*install, "--require-hashes", "-r", str(REPOSITORY / f"requirements/{role}.txt")], check=True
    )
    subprocess.run([*install, str(wheel)], check=True)
    for arguments in (["--help"], command):
        ran = subprocess.run(
            [str(python.parent / "leitstand"), *arguments],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            check=False,
        )
        assert ran.returncode == 0, ran.stderr
        assert "Example:" in ran.stdout
