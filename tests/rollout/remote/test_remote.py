"""``leitstand apply --on`` reaches ``leitstand deploy receive`` over a real sshd, and nothing else there."""

import io
import json
import os
import shlex
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.patience import patient
from lab.sshd import Sshd
from leitstand.errors import LeitstandError, UsageError
from rollout.incoming.receive import receive
from rollout.remote.parcel import Order, pack, unpack
from rollout.remote.send import Way

ROOT = Path(__file__).parents[3]
GOOD = "hosts:\n  control: {address: 192.0.2.1, roles: [leitstand]}\n"
# In place of the roll-out itself, which would change this machine: it says what it was given.
STAND_IN = """
import sys
from pathlib import Path
from rollout.incoming.receive import receive
def roll_out(words):
    print(*words, flush=True)
    print((Path(words[0].removeprefix("--config=")) / "leitstand.yml").read_text())
    print("warning: said aloud", file=sys.stderr)
    return 1
from leitstand.errors import LeitstandError
try:
    sys.exit(receive(sys.stdin.buffer, Path(sys.argv[1]), roll_out))
except LeitstandError as error:
    print(*error.lines(), sep="\\n", file=sys.stderr)
    sys.exit(error.exit_code)
"""
Done = subprocess.CompletedProcess[str]


@pytest.fixture
def sshd(tmp_path: Path) -> Iterator[Sshd]:
    with Sshd(tmp_path / "sshd") as running:
        key = (tmp_path / "sshd/identity.pub").read_text().strip()
        (tmp_path / "stand_in.py").write_text(STAND_IN)
        words = ["env", f"PYTHONPATH={ROOT}", sys.executable, tmp_path / "stand_in.py", tmp_path / "incoming"]
        running.allow(f'restrict,command="{shlex.join(map(str, words))}" {key}')
        yield running


def apply(sshd: Sshd, config: Path, *words: str, host: str = "") -> Done:
    argv = [sys.executable, "-m", "leitstand", "apply", "--config", str(config), *words]
    argv += ["--on", host or f"{sshd.user}@127.0.0.1:{sshd.port}"]
    argv += ["--identity", str(sshd.identity), "--known-hosts", str(sshd.known_hosts)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(argv, capture_output=True, text=True, timeout=patient(120), env=environment)


def written(folder: Path, text: str) -> Path:
    (folder / "leitstand.yml").write_text(text)
    return folder / "leitstand.yml"


def test_a_configuration_is_applied_there_and_output_and_exit_code_come_back(
    sshd: Sshd, tmp_path: Path
) -> None:
    done = apply(
        sshd, written(tmp_path, GOOD), "--host", "control", "--dry-run", "--without-gate", "a; touch x"
    )
    assert done.returncode == 1, done.stderr
    kept = tmp_path / "incoming/000001"
    assert done.stdout == (f"--config={kept} --host=control --dry-run --without-gate=a; touch x\n{GOOD}\n")
    assert "warning: said aloud" in done.stderr
    assert [path.name for path in kept.iterdir()] == ["leitstand.yml"]


def test_a_configuration_with_mistakes_is_refused_there_and_not_kept(sshd: Sshd, tmp_path: Path) -> None:
    done = apply(sshd, written(tmp_path, "hosts: {web1: {}}\n"))
    assert done.returncode == 2
    assert "leitstand.yml:1: hosts.web1" in done.stderr
    assert list((tmp_path / "incoming").iterdir()) == []


def test_a_changed_host_key_is_refused(sshd: Sshd, tmp_path: Path) -> None:
    place, *_ = sshd.known_hosts.read_text().split()
    other = (sshd.folder / "identity.pub").read_text().split()[:2]
    sshd.known_hosts.write_text(f"{place} {' '.join(other)}\n")
    done = apply(sshd, written(tmp_path, GOOD))
    assert done.returncode == 3
    assert "REMOTE HOST IDENTIFICATION HAS CHANGED" in done.stderr
    assert "the outcome is unknown" in done.stderr


def test_the_key_of_the_pipeline_can_start_nothing_else(sshd: Sshd, tmp_path: Path) -> None:
    words = ["ssh", "-i", str(sshd.identity), "-p", str(sshd.port), "-o", "BatchMode=yes"]
    words += [
        "-o",
        f"UserKnownHostsFile={sshd.known_hosts}",
        f"{sshd.user}@127.0.0.1",
        "touch",
        f"{tmp_path}/x",
    ]
    done = subprocess.run(
        words, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=patient(60)
    )
    assert done.returncode == 3
    assert "what was sent is refused" in done.stderr
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("host", ["-oProxyCommand=touch x", "", "a b"])
def test_a_host_that_is_an_option_is_refused(host: str) -> None:
    with pytest.raises(UsageError, match="is not a host"):
        Way(host).argv()


def test_links_out_of_the_folder_are_not_sent(tmp_path: Path) -> None:
    (tmp_path / "secret.yml").symlink_to("/etc/hostname")
    with pytest.raises(UsageError, match="is a link"):
        pack(tmp_path, Order())


def parcel(*members: tuple[str, bytes, bytes], order: object = None) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        request = ("request.json", tarfile.REGTYPE, json.dumps(order or {}).encode())
        for name, kind, content in (request, *members):
            info = tarfile.TarInfo(name)
            info.type, info.size, info.linkname = kind, len(content), "/etc/shadow"
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"no tar",
        parcel(),
        parcel(("leitstand.yml", tarfile.REGTYPE, GOOD.encode()))[:1000],
        parcel(("../leitstand.yml", tarfile.REGTYPE, b"x")),
        parcel(("/etc/leitstand.yml", tarfile.REGTYPE, b"x")),
        parcel(("leitstand.yml", tarfile.SYMTYPE, b"")),
        parcel(("leitstand.yml", tarfile.LNKTYPE, b"")),
        parcel(("leitstand.yml", tarfile.FIFOTYPE, b"")),
        parcel(("a.yml", tarfile.REGTYPE, b"x"), ("a.yml", tarfile.REGTYPE, b"y")),
        parcel(("a.sh", tarfile.REGTYPE, b"x")),
        parcel(("a.yml", tarfile.REGTYPE, b"x"), order={"accept_host_keys": True}),
        parcel(("a.yml", tarfile.REGTYPE, b"x"), order={"hosts": "web1"}),
        parcel(("a.yml", tarfile.REGTYPE, b"x"), order={"hosts": [1]}),
        parcel(("a.yml", tarfile.REGTYPE, b"x"), order=["x"]),
    ],
)
def test_a_parcel_with_anything_unexpected_is_refused_and_nothing_is_written(
    tmp_path: Path, sent: bytes
) -> None:
    with pytest.raises(LeitstandError, match="what was sent is refused"):
        receive(io.BytesIO(sent), tmp_path / "incoming", lambda _: 0)
    assert not (tmp_path / "incoming").exists()


@given(st.binary(max_size=3000), st.integers(0, 4000))
def test_any_damage_is_refused_or_harmless(noise: bytes, at: int) -> None:
    packed = parcel(("leitstand.yml", tarfile.REGTYPE, GOOD.encode()))
    try:
        _, files = unpack(packed[:at] + noise + packed[at + len(noise) :])
    except LeitstandError:
        return
    assert all("/" not in name and name.endswith(("yml", "yaml")) for name in files)


def test_only_the_last_ten_configurations_are_kept(tmp_path: Path) -> None:
    for _ in range(12):
        receive(io.BytesIO(pack(written(tmp_path, GOOD), Order())), tmp_path / "incoming", lambda _: 0)
    assert sorted(path.name for path in (tmp_path / "incoming").iterdir())[0] == "000003"


def test_the_line_for_authorized_keys_lets_a_key_do_one_thing(tmp_path: Path) -> None:
    words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "runner", "-f", str(tmp_path / "key")]
    subprocess.run(words, check=True)
    argv = [sys.executable, "-m", "leitstand", "deploy", "authorize"]
    done = subprocess.run([*argv, str(tmp_path / "key.pub")], capture_output=True, text=True)
    kind, key, _ = (tmp_path / "key.pub").read_text().split()
    assert done.stdout == f'restrict,command="/usr/bin/leitstand deploy receive" {kind} {key}\n'
    (tmp_path / "key.pub").write_text(f"{kind} {key}\nssh-rsa AAAA two\n")
    for file in ("key", "key.pub"):
        refused = subprocess.run([*argv, str(tmp_path / file)], capture_output=True, text=True)
        assert (refused.returncode, refused.stdout) == (2, "")
        assert "is not a public SSH key" in refused.stderr
