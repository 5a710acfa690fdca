"""The Debian packages: the same bytes from the same commit, and nothing that does not belong there."""

import ctypes
import hashlib
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.debian.libraries import as_loaded
from lab.checkout import packages
from lab.packages import ROOT, WHEELS, changed_files, package, target_of_this_python
from leitstand.version import revision

NAMES = ("leitstand-exporter", "leitstand")
ROLES = {"leitstand-exporter": ("exporter",), "leitstand": ("exporter", "orchestrator", "status-page")}
PROGRAMS = packages()
BUILD = [sys.executable, "-m", "deploy.debian"]
pytestmark = pytest.mark.slow


def build(*arguments: str | Path, **settings: object) -> subprocess.CompletedProcess[str]:
    run = {"cwd": ROOT, "capture_output": True, "text": True, "check": False, **settings}
    return subprocess.run([*BUILD, *arguments], **run)  # type: ignore[call-overload,no-any-return]


@pytest.fixture(params=NAMES)
def deb(request: pytest.FixtureRequest, packages: Path) -> Path:
    return package(request.param, packages)


@pytest.fixture
def unpacked(deb: Path, tmp_path: Path) -> Path:
    subprocess.run(["dpkg-deb", "-R", deb, tmp_path / "root"], check=True)
    return tmp_path / "root"


def members(deb: Path) -> Iterator[tarfile.TarInfo]:
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", deb], stdout=subprocess.PIPE) as process:
        assert process.stdout
        with tarfile.open(fileobj=process.stdout, mode="r|") as archive:
            yield from archive


def elsewhere(folder: Path) -> Path:
    """A clone with the same state as this checkout, at another place."""
    subprocess.run(["git", "-c", "safe.directory=*", "clone", "-q", ROOT, folder], check=True)
    for name in changed_files():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).exists():
            shutil.copyfile(ROOT / name, folder / name)
        else:
            (folder / name).unlink()
    return folder


def test_another_build_elsewhere_gives_the_same_bytes(packages: Path, tmp_path: Path) -> None:
    checkout = elsewhere(tmp_path / "a checkout")
    odd = {"TZ": "Pacific/Kiritimati", "LC_ALL": "C", "TMPDIR": str(tmp_path), "PYTHONHASHSEED": "7"}
    env = os.environ | odd | {"PYTHONPATH": str(checkout)}
    target = target_of_this_python()
    time.sleep(1)  # of a second in which both were made, no trace of a clock would be seen
    done = build("--out", "dist", "--for", target, "--wheels", WHEELS, cwd=checkout, env=env, umask=0o077)
    assert done.returncode == 0, done.stderr
    again = {path.name: path.read_bytes() for path in (checkout / "dist").iterdir()}
    assert {
        path.name: path.read_bytes() == again.get(path.name) for path in packages.iterdir()
    } == dict.fromkeys(again, True)
    assert "not signed: no --sign-key" in done.stderr


def test_everything_belongs_to_root_with_the_usual_modes_and_the_time_of_the_commit(deb: Path) -> None:
    found = list(members(deb))
    assert {(each.uid, each.gid, each.uname, each.gname) for each in found} == {(0, 0, "root", "root")}
    assert {oct(each.mode) for each in found if not each.issym()} == {"0o755", "0o644"}
    git = ["git", "-c", "safe.directory=*", "log", "-1", "--format=%ct"]
    epoch = subprocess.run(git, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert {each.mtime for each in found} == {int(epoch)}
    runs = {each.name for each in found if each.mode & stat.S_IXUSR and each.isreg()}
    programs = {"leitstand", "keep-release", *(["vault-client"] if deb.name.startswith("leitstand_") else [])}
    assert {Path(name).name for name in runs} == programs


def test_nothing_of_the_machine_and_nothing_superfluous_is_in_it(unpacked: Path) -> None:
    files = [path for path in unpacked.rglob("*") if path.is_file() and not path.is_symlink()]
    names = {part for path in files for part in path.relative_to(unpacked).parts}
    assert not names & {
        "tests",
        "test",
        "__pycache__",
        "RECORD",
        "direct_url.json",
        "pip",
        "SelfTest",
        "bin.py",
    }
    here = [str(ROOT).encode(), b"leitstand-build-"]
    for path in files:
        content = path.read_bytes()
        assert [word for word in here if word in content] == [], path
    top = {path.relative_to(unpacked).parts[0] for path in files}
    assert top == {"DEBIAN", "etc", "opt", "usr"}


@pytest.mark.parametrize(("deb", "most"), [("leitstand-exporter", 25), ("leitstand", 70)], indirect=["deb"])
def test_it_takes_no_more_room_than_is_known(unpacked: Path, deb: Path, most: int) -> None:
    size = sum(path.lstat().st_size for path in unpacked.rglob("*") if not path.is_dir())
    assert size < most * 1e6
    assert deb.stat().st_size < 45e6  # what each of the three releases takes that a host keeps


def test_shared_libraries_end_where_programs_stop_reading_and_load(unpacked: Path) -> None:
    for path in unpacked.rglob("*.so"):
        library = path.read_bytes()
        assert as_loaded(library) == library
        ctypes.CDLL(str(path))


def test_each_module_of_ours_loads_with_what_is_in_the_package_alone(unpacked: Path) -> None:
    (packages,) = unpacked.glob("opt/leitstand/lib/*/site-packages")
    script = f"""\
import importlib, pathlib, sys
root = pathlib.Path({str(packages)!r})
sys.path.insert(0, str(root))
for path in sorted(path for name in {PROGRAMS} for path in (root / name).rglob("*.py")):
    module = ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
    if not module.endswith("__main__") and ".share." not in module:  # there: what Ansible loads
        importlib.import_module(module)
print(len(sys.modules))
"""
    python = Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info.minor}"
    done = subprocess.run([python, "-ISBc", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_program_knows_its_version_and_its_commit(unpacked: Path, deb: Path) -> None:
    (share,) = unpacked.glob("opt/leitstand/lib/*/site-packages/leitstand/share")
    version = (share / "version").read_text().strip()
    assert deb.name.split("_")[1].startswith(version.replace(".dev", "~dev") + "+")
    assert (share / "commit").read_text().strip() == revision()


@pytest.mark.parametrize("deb", ["leitstand"], indirect=True)
def test_the_package_of_the_leitstand_host_carries_that_of_the_others(unpacked: Path, packages: Path) -> None:
    exporter = package("leitstand-exporter", packages)
    carried = unpacked / "usr/share/leitstand/packages" / exporter.name
    assert carried.read_bytes() == exporter.read_bytes()
    (site,) = unpacked.glob("opt/leitstand/lib/*/site-packages")
    assert {path.stem for path in (site / "babel/locale-data").iterdir()} >= {"root", "de", "de_AT", "en_GB"}


def test_the_list_of_contents_has_every_locked_library_with_a_hash_of_the_lock(deb: Path) -> None:
    document = json.loads(deb.with_name(f"{deb.stem}.cdx.json").read_text())
    listed = {part["purl"]: part["hashes"][0]["content"] for part in document["components"]}
    locks = [(ROOT / f"requirements/{role}.txt").read_text() for role in ROLES[deb.name.split("_")[0]]]
    locked = {match for lock in locks for match in re.findall(r"^([\w.-]+)==(\S+)", lock, re.MULTILINE)}
    unused = {"pygments", "markdown-it-py", "mdurl"}
    assert set(listed) == {f"pkg:pypi/{name}@{version}" for name, version in locked if name not in unused}
    assert all(any(f"sha256:{digest}" in lock for lock in locks) for digest in listed.values())
    assert (
        document["metadata"]["component"]["hashes"][0]["content"]
        == hashlib.sha256(deb.read_bytes()).hexdigest()
    )
    assert all(part["licenses"] for part in document["components"])


@pytest.mark.skipif(not shutil.which("lintian"), reason="lintian is not installed")
def test_lintian_finds_no_error(deb: Path) -> None:
    done = subprocess.run(["lintian", "--fail-on", "error", deb], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_sums_are_those_of_the_files_and_an_altered_package_is_noticed(
    packages: Path, tmp_path: Path
) -> None:
    shutil.copytree(packages, copy := tmp_path / "copy")
    check = ["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"]
    assert subprocess.run(check, cwd=copy, check=False).returncode == 0
    assert {line.split("  ")[1] for line in (copy / "SHA256SUMS").read_text().splitlines()} == {
        path.name for path in copy.iterdir() if path.name != "SHA256SUMS"
    }
    with package("leitstand", copy).open("r+b") as file:
        file.seek(1_000_000)
        byte = file.read(1)
        file.seek(1_000_000)
        file.write(bytes([byte[0] ^ 1]))
    assert subprocess.run(check, cwd=copy, capture_output=True, check=False).returncode == 1
