"""Packages are installed as root on every host, so they come only from where root alone can put them."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from leitstand.errors import LeitstandError
from leitstand.settings.config import ConfigError
from rollout.apply.command import Request, apply
from rollout.apply.deployments import Deployments
from rollout.apply.engine import Wishes
from rollout.apply.packages import keep, lay_out, new_packages
from rollout.apply.shown import Shown

NAME = "leitstand-exporter_1.2.3+deb12_amd64.deb"
OTHER = 65534  # nobody
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files of other users")


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    (tmp_path / "kept").mkdir(mode=0o755)
    return tmp_path / "kept"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "folder").mkdir(mode=0o755)
    (tmp_path / "folder" / NAME).write_bytes(b"package")
    (tmp_path / "folder" / "leitstand_9.9.9+deb12_amd64.deb").write_bytes(b"another release")
    return tmp_path / "folder"


def test_new_packages_of_the_release_are_kept(kept: Path, folder: Path) -> None:
    keep(new_packages("1.2.3", [folder, folder], kept), kept)
    assert [path.name for path in kept.iterdir()] == [NAME]
    assert (kept / NAME).read_bytes() == b"package"
    assert new_packages("1.2.3", [folder], kept) == {}


def by_its_group(path: Path) -> None:
    os.chown(path, 0, OTHER)
    path.chmod(0o775)


HARM: dict[str, tuple[Callable[[Path], None], str]] = {
    "owner of the folder": (lambda folder: os.chown(folder, OTHER, OTHER), "belongs to nobody"),
    "owner of the file": (lambda folder: os.chown(folder / NAME, OTHER, OTHER), "belongs to nobody"),
    "owner above": (lambda folder: os.chown(folder.parent, OTHER, OTHER), "belongs to nobody"),
    "mode of the folder": (lambda folder: folder.chmod(0o777), "may be changed by everyone"),
    "mode of the file": (lambda folder: (folder / NAME).chmod(0o666), "may be changed by everyone"),
    "group of the folder": (by_its_group, "may be changed by its group"),
}


@pytest.mark.parametrize("harm", HARM)
def test_a_package_that_others_could_have_put_there_is_refused_in_one_line(
    tmp_path_factory: pytest.TempPathFactory, folder: Path, harm: str
) -> None:
    kept = tmp_path_factory.mktemp("kept")
    do, what = HARM[harm]
    do(folder)
    with pytest.raises(LeitstandError, match=what) as refused:
        new_packages("1.2.3", [folder], kept)
    assert len(refused.value.lines()) == 2
    assert list(kept.iterdir()) == []


def test_a_link_to_another_users_file_is_refused(kept: Path, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    os.chown(tmp_path / "theirs", OTHER, OTHER)
    (folder / NAME).rename(tmp_path / "theirs" / NAME)
    (folder / NAME).symlink_to(tmp_path / "theirs" / NAME)
    with pytest.raises(LeitstandError, match="theirs belongs to nobody"):
        new_packages("1.2.3", [folder], kept)


def test_another_file_under_a_version_that_is_kept_is_refused(kept: Path, folder: Path) -> None:
    (kept / NAME).write_bytes(b"another file")
    with pytest.raises(LeitstandError, match="differs from the package of the same version"):
        new_packages("1.2.3", [folder], kept)
    assert (kept / NAME).read_bytes() == b"another file"


def test_the_very_package_that_is_kept_may_lie_in_anyones_folder(kept: Path, folder: Path) -> None:
    (kept / NAME).write_bytes(b"package")
    os.chown(folder / NAME, OTHER, OTHER)
    assert new_packages("1.2.3", [folder], kept) == {}


def test_a_folder_of_kept_packages_that_others_may_change_is_refused(kept: Path, folder: Path) -> None:
    kept.chmod(0o777)
    with pytest.raises(LeitstandError, match="may be changed by everyone"):
        new_packages("1.2.3", [folder], kept)


def test_a_pipe_in_place_of_a_package_does_not_hang(kept: Path, folder: Path) -> None:
    (folder / NAME).unlink()
    os.mkfifo(folder / NAME)
    with pytest.raises(LeitstandError, match="is not a file"):
        new_packages("1.2.3", [folder], kept)


def test_a_run_that_changes_nothing_finds_new_and_kept_packages_without_keeping_any(
    kept: Path, folder: Path, tmp_path: Path
) -> None:
    (kept / "leitstand_1.2.3+deb12_amd64.deb").write_bytes(b"kept")
    lay_out(tmp_path / "tried", kept)
    keep(new_packages("1.2.3", [folder], kept), tmp_path / "tried")
    assert {path.name: path.read_bytes() for path in (tmp_path / "tried").iterdir()} == {
        "leitstand_1.2.3+deb12_amd64.deb": b"kept",
        NAME: b"package",
    }
    assert [path.name for path in kept.iterdir()] == ["leitstand_1.2.3+deb12_amd64.deb"]


@pytest.mark.parametrize("harm", HARM)
def test_a_configuration_that_others_may_change_is_refused_before_anything_is_done(
    tmp_path: Path, folder: Path, harm: str
) -> None:
    (folder / NAME).unlink()
    config = folder / NAME  # the harm is done to this name
    config.write_text("hosts:\n  control: {address: 192.0.2.10, roles: [leitstand]}\n")
    do, what = HARM[harm]
    do(folder)
    request = Request(config, "1.2.3", Wishes(), [])
    with pytest.raises(ConfigError, match=what):
        apply(request, Deployments(tmp_path / "deployments"), Shown(), lambda _: True)
    assert not (tmp_path / "deployments").exists()
