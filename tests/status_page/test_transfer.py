"""Pages reach another host over a real sshd, complete or not at all, and say themselves how old they are."""

import io
import json
import os
import shlex
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from lab.patience import patient
from lab.sshd import Sshd
from leitstand.settings.fleet import Fleet
from status_page import ready
from status_page.config import StatusPage
from status_page.plan import make_plan
from status_page.rendering import bundle
from status_page.round import nothing_known
from status_page.transfer import LARGEST, ReadyError, Sender, Way, pack, take

ROOT = Path(__file__).parents[2]


PLAN = make_plan(Fleet.model_validate({"site": {"name": "Racing team"}}), StatusPage())


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("first")
    ready.publish(folder, bundle(nothing_known(PLAN, time.time())))
    return folder


@pytest.fixture
def here(tmp_path: Path, first: Path) -> Path:
    """The leitstand host's folder, with a first round."""
    shutil.copytree(first, tmp_path / "here", symlinks=True)
    return tmp_path / "here"


@pytest.fixture
def there(tmp_path: Path) -> Path:
    (tmp_path / "there").mkdir()
    return tmp_path / "there"


@pytest.fixture
def sshd(tmp_path: Path, there: Path) -> Iterator[Sshd]:
    with Sshd(tmp_path / "sshd") as running:
        words = ["env", f"PYTHONPATH={ROOT}", sys.executable, "-m", "leitstand", "status-page", "receive"]
        command = shlex.join([*words, "--folder", str(there)])
        key = (tmp_path / "sshd/identity.pub").read_text().strip()
        running.allow(f'restrict,command="{command}" {key}')
        yield running


def way(sshd: Sshd) -> Way:
    return Way(sshd.user, "127.0.0.1", sshd.port, sshd.identity, sshd.known_hosts)


def test_a_new_round_arrives_as_it_is_and_only_once(sshd: Sshd, here: Path, there: Path) -> None:
    sender = Sender(here)
    assert sender.round({"page2": way(sshd)}) == {}
    assert ready.load(there) == ready.load(here)
    before = (there / "current").resolve()
    assert sender.round({"page2": way(sshd)}) == {}
    assert (there / "current").resolve() == before
    ready.publish(here, bundle(nothing_known(PLAN, time.time() + 20)))
    assert sender.round({"page2": way(sshd)}) == {}
    assert ready.load(there) == ready.load(here)
    assert (there / "current").resolve() != before


def test_pages_whose_sender_has_stopped_become_stale_by_themselves(
    sshd: Sshd, here: Path, there: Path
) -> None:
    Sender(here).round({"page2": way(sshd)})
    arrived = ready.load(there)
    assert arrived is not None
    assert arrived.variant(time.time()) == "fresh"
    assert arrived.variant(time.time() + 3600) == "stale"


def test_a_host_that_is_down_is_named_and_the_others_get_the_pages(
    sshd: Sshd, here: Path, there: Path
) -> None:
    sender, working = Sender(here), way(sshd)
    broken = Way(working.user, "127.0.0.1", 1, working.identity, working.known_hosts)
    failed = sender.round({"page2": broken, "page3": working})
    assert list(failed) == ["page2"]
    assert "Connection refused" in failed["page2"]
    assert ready.load(there) == ready.load(here)


def test_the_key_can_do_nothing_else(sshd: Sshd, there: Path, tmp_path: Path) -> None:
    words = way(sshd).argv()[:-1]
    done = subprocess.run(
        [*words, "touch", str(tmp_path / "x")], input="", capture_output=True, text=True, timeout=patient(60)
    )
    assert done.returncode == 3
    assert "what was sent" in done.stderr
    assert not (tmp_path / "x").exists()


def test_the_command_sends_to_the_other_hosts_of_the_page_alone(
    sshd: Sshd, here: Path, there: Path, tmp_path: Path
) -> None:
    login = {"user": sshd.user, "port": sshd.port}
    document = {
        "hosts": {
            "control": {"address": "192.0.2.1", "roles": ["leitstand", "status_page"]},
            "page2": {"address": "0.0.0.0", "roles": ["watched", "status_page"], "deploy": login},
            "web1": {"address": "192.0.2.3", "roles": ["watched"]},
        },
        "status_page": {"folder": str(here)},
    }
    # A loopback address is refused for another host; the kernel takes 0.0.0.0 for one.
    (tmp_path / "leitstand.yml").write_text(yaml.safe_dump(document))
    place, rest = sshd.known_hosts.read_text().split(" ", 1)
    sshd.known_hosts.write_text(f"{place.replace('127.0.0.1', '0.0.0.0')} {rest}")
    argv = [sys.executable, "-m", "leitstand", "status-page", "send", "--once"]
    argv += ["--config", str(tmp_path / "leitstand.yml")]
    argv += ["--identity", str(sshd.identity), "--known-hosts", str(sshd.known_hosts)]
    done = subprocess.run(
        argv,
        capture_output=True,
        text=True,
        timeout=patient(60),
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    assert ready.load(there) == ready.load(here)


def changed(packed: bytes, name: str, **fields: Any) -> bytes:
    """The same tar with one member more, or another content of one."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(packed)) as old, tarfile.open(fileobj=buffer, mode="w") as tar:
        for member in old:
            content = old.extractfile(member)
            if member.name != name and content:
                tar.addfile(member, content)
        content_of_new = fields.pop("content", b"")
        info = tarfile.TarInfo(name)
        info.size = len(content_of_new)
        for field, value in fields.items():
            setattr(info, field, value)
        tar.addfile(info, io.BytesIO(content_of_new))
    return buffer.getvalue()


def pointing_outside(packed: bytes) -> bytes:
    with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
        member = tar.extractfile("manifest.json")
        assert member
        manifest = json.loads(member.read())
    first = next(iter(manifest["files"]["fresh"].values()))
    first["file"] = "../../../secret"
    return changed(packed, "manifest.json", content=json.dumps(manifest).encode())


DAMAGE = {
    "nothing": lambda packed: b"",
    "half": lambda packed: packed[: len(packed) // 2],
    "no tar": lambda packed: b"x" * 2000,
    "other pages": lambda packed: changed(packed, "fresh/en/index.html", content=b"<h1>all is well</h1>"),
    "no manifest": lambda packed: changed(packed, "manifest.json", content=b"{}"),
    "outside": lambda packed: changed(packed, "../../outside", content=b"x"),
    "absolute": lambda packed: changed(packed, "/outside", content=b"x"),
    "link": lambda packed: changed(packed, "fresh/link", type=tarfile.SYMTYPE, linkname="/etc"),
    "hard link": lambda packed: changed(packed, "fresh/link", type=tarfile.LNKTYPE, linkname="manifest.json"),
    "device": lambda packed: changed(packed, "fresh/null", type=tarfile.CHRTYPE),
    "too large": lambda packed: bytes(LARGEST + 1),
    "pointing outside": pointing_outside,
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_or_unexpected_round_is_not_served_and_leaves_nothing(
    here: Path, there: Path, damage: str
) -> None:
    packed = pack((here / "current").resolve())
    take(io.BytesIO(packed), there)
    before = sorted(there.rglob("*"))
    (there.parent / "secret").write_text("secret")
    (there.parent / "secret.gz").write_text("secret")
    with pytest.raises(ReadyError):
        take(io.BytesIO(DAMAGE[damage](packed)), there)
    assert sorted(there.rglob("*")) == before
    assert not (there.parent / "outside").exists()
    assert ready.load(there) == ready.load(here)


def test_only_the_last_rounds_are_kept(here: Path, there: Path) -> None:
    packed = pack((here / "current").resolve())
    for _ in range(6):
        take(io.BytesIO(packed), there)
    assert len(list((there / "releases").iterdir())) == 3
    assert (there / "current").resolve().exists()
