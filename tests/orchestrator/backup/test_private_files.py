"""Keys and the like are looked at as sshd looks at its own: owner, mode, and every folder above."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Site = Any
NOBODY = 65534
PROGRAM = Path(sys.executable).with_name("leitstand")
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to make files that are somebody else's")


def of_another_user(file: Path) -> str:
    os.chown(file, NOBODY, NOBODY)
    return f"{file} belongs to nobody"


def in_a_folder_of_another_user(file: Path) -> str:
    os.chown(file.parent, NOBODY, NOBODY)
    return f"{file.parent} belongs to nobody"


def in_a_folder_that_all_may_write(file: Path) -> str:
    file.parent.chmod(0o777)
    return f"{file.parent} may be changed by everyone"


def above_a_folder_that_a_group_may_write(file: Path) -> str:
    file.parent.parent.chmod(0o775)
    os.chown(file.parent.parent, 0, 1234)
    return f"{file.parent.parent} may be changed by its group"


def behind_a_link_of_another_user(file: Path) -> str:
    real = file.with_name("real")
    file.rename(real)
    file.symlink_to(real)
    os.chown(file, NOBODY, NOBODY, follow_symlinks=False)
    return f"{file} belongs to nobody"


SPOILT = [
    of_another_user,
    in_a_folder_of_another_user,
    in_a_folder_that_all_may_write,
    above_a_folder_that_a_group_may_write,
    behind_a_link_of_another_user,
]
spoilt = pytest.mark.parametrize("spoil", SPOILT, ids=[each.__name__ for each in SPOILT])


def moved(site: Site, file: Path) -> Path:
    """The file two folders deeper, which are for it alone."""
    folder = site.folder / "above" / "private"
    folder.mkdir(parents=True)
    return file.rename(folder / file.name)


@root_only
@spoilt
def test_keys_that_others_could_swap_are_refused_by_run_and_doctor_and_named_by_check(
    site: Site, spoil: Callable[[Path], str]
) -> None:
    keys = moved(site, site.folder / "keys")
    site.job["keys_file"] = str(keys)
    site.good("run", "site")
    expected = spoil(keys)
    ran = site.leitstand("run", "site")
    assert ran.status == 3
    assert ran.errors[-1].startswith(expected)
    assert "  hint: ch" in ran.stderr
    assert expected in site.leitstand("doctor", "site").stdout
    done = subprocess.run([PROGRAM, "check", "-c", site.config], capture_output=True, text=True, check=True)
    assert f"backups.site.keys_file: {expected}" in done.stderr


@root_only
def test_keys_are_not_made_where_others_could_swap_them(site: Site) -> None:
    folder = site.folder / "open"
    folder.mkdir()
    folder.chmod(0o777)
    site.job["keys_file"] = str(folder / "keys")
    ran = site.leitstand("keys", "generate")
    assert (ran.status, ran.errors) == (3, [f"{folder} may be changed by everyone; no keys were made"])
    assert list(folder.iterdir()) == []


@root_only
def test_credentials_that_others_could_swap_are_refused(on_swift: Site, swift: Any) -> None:
    credentials = on_swift.folder / "swift.ini"
    credentials.touch(mode=0o600)
    credentials.write_text(swift.credentials_file.read_text())
    on_swift.document["stores"]["swift"]["credentials_file"] = str(moved(on_swift, credentials))
    credentials = on_swift.folder / "above" / "private" / "swift.ini"
    on_swift.good("run", "site")
    expected = of_another_user(credentials)
    ran = on_swift.leitstand("run", "site")
    assert (ran.status, ran.errors[-1]) == (2, expected)


@root_only
def test_files_of_sources_and_ssh_that_others_could_change_are_reported_by_run_and_doctor(site: Site) -> None:
    (site.folder / "my").mkdir()
    options = site.folder / "my" / "my.cnf"
    options.touch(mode=0o600)
    site.job["sources"].append({"mysql": "shop", "defaults_file": str(options)})
    expected = in_a_folder_that_all_may_write(options)
    assert f"files: {expected}" in site.leitstand("doctor", "site").stdout
    assert expected in site.leitstand("run", "site").stderr
    site.document["hosts"]["here"]["ssh"] = {"identity_file": str(options)}
    assert f"files: {expected}" in site.leitstand("doctor", "site").stdout


def exported(
    site: Site, *more: str, out: Path | None = None, mode: int = 0o644
) -> subprocess.CompletedProcess[str]:
    site.write()
    argv = [PROGRAM, "backup", "keys", "export", *more, "--config", site.config]
    if out is None:
        return subprocess.run(argv, capture_output=True, text=True, check=False)
    descriptor = os.open(out, os.O_WRONLY | os.O_CREAT, mode)
    with os.fdopen(descriptor, "wb") as file:
        return subprocess.run(argv, stdout=file, stderr=subprocess.PIPE, text=True, check=False)


def test_the_recovery_kit_goes_into_no_file_that_others_may_read(site: Site) -> None:
    secret = (site.folder / "keys").read_text().split()[3]
    readable, private, kit = (site.folder / name for name in ("readable", "private", "kit.txt"))
    done = exported(site, out=readable)
    assert done.returncode == 2
    assert "--out FILE" in done.stderr
    assert readable.read_text() == ""
    assert exported(site, out=private, mode=0o600).returncode == 0
    assert secret in private.read_text()
    assert secret in exported(site).stdout, "a pipe, as to a printer"
    assert exported(site, "--out", str(kit)).returncode == 0
    assert (kit.stat().st_mode & 0o777, secret in kit.read_text()) == (0o600, True)
    again = exported(site, "--out", str(kit))
    assert (again.returncode, again.stderr.splitlines()[0]) == (2, f"{kit} exists already")
