"""Host keys: pinned once, in what OpenSSH reads; never replaced silently."""

import subprocess
from pathlib import Path

import pytest

from lab.sshd import Sshd
from leitstand.errors import LeitstandError
from rollout.apply.host_keys import Place, fingerprint, new_keys, pin, pinned, scan

PLACES = {"web1": Place("192.0.2.11", 22), "web2": Place("web2.example.org", 2222)}


def make_key(folder: Path, name: str) -> str:
    """A public key, ``TYPE BASE64``."""
    path = folder / name
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
    return " ".join(path.with_suffix(".pub").read_text().split()[:2])


def test_openssh_finds_what_was_pinned_and_prints_the_same_fingerprint(tmp_path: Path) -> None:
    known_hosts = tmp_path / "ssh" / "known_hosts"
    keys = {host: make_key(tmp_path, host) for host in PLACES}
    pin(known_hosts, PLACES, {"web1": keys["web1"]})
    pin(known_hosts, PLACES, {"web2": keys["web2"]})
    for host, name in (("web1", "192.0.2.11"), ("web2", "[web2.example.org]:2222")):
        argv = ["ssh-keygen", "-l", "-F", name, "-f", known_hosts]
        found = subprocess.run(argv, capture_output=True, text=True, check=True)
        assert fingerprint(keys[host]) in found.stdout
    assert new_keys(PLACES, keys, pinned(known_hosts)) == {}
    assert known_hosts.stat().st_mode & 0o777 == 0o600


def test_a_real_sshd_presents_its_key_and_hosts_that_do_not_answer_are_missing(tmp_path: Path) -> None:
    with Sshd(tmp_path / "sshd") as sshd:
        places = {
            "web1": Place("127.0.0.1", sshd.port),
            "down": Place("127.0.0.2", sshd.port),
            "elsewhere": Place("127.0.0.1", 1),
        }
        key = " ".join((tmp_path / "sshd" / "host_key.pub").read_text().split()[:2])
        assert scan(places) == {"web1": key}


def test_only_hosts_that_are_not_pinned_are_new(tmp_path: Path) -> None:
    keys = {host: make_key(tmp_path, host) for host in PLACES}
    known = {PLACES["web1"].name: keys["web1"]}
    assert new_keys(PLACES, keys, known) == {"web2": keys["web2"]}
    assert new_keys(PLACES, {}, known) == {}, "a host that does not answer has no key"


def test_a_changed_key_is_refused_with_both_fingerprints_and_the_cure(tmp_path: Path) -> None:
    old, new = make_key(tmp_path, "old"), make_key(tmp_path, "new")
    with pytest.raises(LeitstandError) as caught:
        new_keys(PLACES, {"web2": new}, {PLACES["web2"].name: old})
    assert fingerprint(old) in caught.value.message
    assert fingerprint(new) in caught.value.message
    assert "ssh-keygen -R '[web2.example.org]:2222'" in caught.value.hint
