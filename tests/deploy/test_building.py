"""What a build says, and what it refuses; quick, as nothing is packed."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from deploy.debian.archive import control_text, file_name
from deploy.debian.release import NAMESPACE, sign
from deploy.debian.source import Source
from deploy.debian.targets import TARGETS
from lab.packages import ROOT
from leitstand.errors import LeitstandError
from leitstand.share import share


def key(folder: Path) -> Path:
    path = folder / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "release", "-f", path], check=True)
    return path


def verified(sums: Path, allowed: Path) -> bool:
    argv = [
        "ssh-keygen",
        "-Y",
        "verify",
        "-f",
        allowed,
        "-I",
        "release",
        "-n",
        NAMESPACE,
        "-s",
        f"{sums}.sig",
    ]
    return subprocess.run(argv, input=sums.read_bytes(), capture_output=True, check=False).returncode == 0


def test_a_signature_is_verified_by_what_every_host_has_and_an_altered_file_is_not(tmp_path: Path) -> None:
    (sums := tmp_path / "SHA256SUMS").write_text("0123  a.deb\n")
    signer = key(tmp_path)
    (allowed := tmp_path / "allowed").write_text(f"release {signer.with_suffix('.pub').read_text()}")
    sign(sums, signer)
    first = (tmp_path / "SHA256SUMS.sig").read_bytes()
    assert verified(sums, allowed)
    assert sign(sums, signer).read_bytes() == first
    sums.write_text("4567  a.deb\n")
    assert not verified(sums, allowed)


def test_a_key_that_cannot_sign_is_one_line_and_leaves_no_old_signature(tmp_path: Path) -> None:
    (sums := tmp_path / "SHA256SUMS").write_text("0123  a.deb\n")
    (tmp_path / "SHA256SUMS.sig").write_text("of an earlier build")
    with pytest.raises(LeitstandError, match="ssh-keygen") as caught:
        sign(sums, tmp_path / "none")
    assert "private SSH key" in caught.value.hint
    assert not (tmp_path / "SHA256SUMS.sig").exists()


def test_a_build_without_wheels_and_without_a_package_index_is_one_clear_line(tmp_path: Path) -> None:
    nowhere = {"PIP_CONFIG_FILE": os.devnull, "PIP_INDEX_URL": "http://127.0.0.1:1/", "PIP_RETRIES": "0"}
    argv = [sys.executable, "-m", "deploy.debian", "--out", tmp_path / "dist", "--for", "debian12"]
    done = subprocess.run(
        [*argv, "--wheels", tmp_path / "wheels"],
        cwd=ROOT,
        env=os.environ | nowhere,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 3
    assert "is a package index reachable?" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert list((tmp_path / "dist").iterdir()) == []


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        ("0.1.0.dev7+g0123456789ab", "0.1.0.dev12+gabcdefabcdef"),
        ("0.1.0.dev12+gabcdefabcdef", "0.1.0"),
        ("0.1.0", "0.1.1.dev1+g0123456789ab"),
    ],
)
def test_debian_orders_our_versions_as_they_were_made(earlier: str, later: str) -> None:
    first, second = (Source(ROOT, version, 0, ()).debian_version + "+deb12" for version in (earlier, later))
    assert subprocess.run(["dpkg", "--compare-versions", first, "lt", second], check=False).returncode == 0


def test_a_package_of_the_next_system_is_newer_so_that_a_system_upgrade_replaces_it() -> None:
    older, newer = (f"0.1.0+{TARGETS[name].suffix}" for name in ("debian12", "debian13"))
    assert subprocess.run(["dpkg", "--compare-versions", older, "lt", newer], check=False).returncode == 0


SYSTEMS = {
    # the Python and the C library of each release, from its package archive
    "debian12": ("deb12", "3.11", "3.12", "2.36"),
    "debian13": ("deb13", "3.13", "3.14", "2.41"),
    "ubuntu24.04": ("ubuntu24.04", "3.12", "3.13", "2.39"),
}


@pytest.mark.parametrize("name", TARGETS)
def test_a_package_installs_on_its_own_system_alone(name: str) -> None:
    suffix, python, too_new, glibc = SYSTEMS[name]
    target = TARGETS[name]
    version = f"0.1.0+{target.suffix}"
    assert file_name("leitstand", version, "amd64") == f"leitstand_0.1.0+{suffix}_amd64.deb"
    text = control_text("leitstand", version, target, "amd64", 1)
    depends = re.search("^Depends: (.*)$", text, re.MULTILINE)
    assert depends
    assert f"python3 (>= {python}~), python3 (<< {too_new}~), libc6 (>= {glibc})" in depends[1]
    assert "ansible-core" in depends[1]
    assert target.platforms("arm64")[0] == f"manylinux_{glibc.replace('.', '_')}_aarch64"


def test_a_roll_out_knows_the_same_systems() -> None:
    systems = yaml.safe_load((share("ansible") / "roles/base/defaults/main.yml").read_text())["base_systems"]
    assert sorted(systems.values()) == sorted(target.suffix for target in TARGETS.values())


def test_no_lock_depends_on_the_python_that_builds() -> None:
    # pip judges such a condition by the Python that it runs on, not by the one it installs for.
    for role in ("exporter", "orchestrator", "status-page"):
        text = (ROOT / f"requirements/{role}.txt").read_text()
        assert not re.search(r"python_version|python_full_version|platform_machine", text), role
