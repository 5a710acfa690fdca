"""Each way in which SSH fails has the hint that ends it, in run and in doctor, with the real OpenSSH."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lab.processes import free_port
from lab.sshd import Sshd
from orchestrator.sources.ssh_hints import ssh_hint

Site = Any
FACTS = {"name": "web1", "address": "192.0.2.11", "user": "root", "port": 22, "identity": "/etc/key"}


@pytest.fixture
def far(site: Site, sshd: Sshd) -> Site:
    ssh = {"user": sshd.user, "port": sshd.port, "identity_file": str(sshd.identity)}
    ssh["known_hosts_file"] = str(sshd.known_hosts)
    site.document["hosts"]["far"] = {"address": "127.0.0.1", "ssh": ssh}
    site.job.update(host="far", sources=[{"files": str(site.www)}])
    return site


def ssh(far: Site) -> dict[str, Any]:
    found: dict[str, Any] = far.document["hosts"]["far"]["ssh"]
    return found


def no_key(far: Site, sshd: Sshd, folder: Path) -> str:
    ssh(far)["identity_file"] = str(folder / "none")
    return f"ssh-keygen -t ed25519 -N '' -f {folder}/none; then: leitstand backup authorize far"


def another_key(far: Site, sshd: Sshd, folder: Path) -> str:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / "key")], check=True)
    ssh(far)["identity_file"] = str(folder / "key")
    return "leitstand backup authorize far prints the line for its authorized_keys"


def a_key_with_a_passphrase(far: Site, sshd: Sshd, folder: Path) -> str:
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "secret", "-f", str(folder / "key")], check=True
    )
    ssh(far)["identity_file"] = str(folder / "key")
    return "leitstand backup authorize far prints the line for its authorized_keys"


def other_commands(far: Site, sshd: Sshd, folder: Path) -> str:
    script = folder / "read-far"
    told = far.good("authorize", "far", "--json").json()
    script.write_text(told["script"])
    script.chmod(0o755)
    (sshd.folder / "authorized_keys").write_text(
        told["line"].replace(told["script_path"], str(script)) + "\n"
    )
    far.job["sources"] = [{"files": str(far.www / "uploads")}]
    return "its sources or hooks have changed: run leitstand backup authorize far again"


def unknown_host(far: Site, sshd: Sshd, folder: Path) -> str:
    (folder / "hosts").touch()
    ssh(far)["known_hosts_file"] = str(folder / "hosts")
    return "its host key is not known here: leitstand backup authorize far"


def another_host_key(far: Site, sshd: Sshd, folder: Path) -> str:
    place = sshd.known_hosts.read_text().split()[0]
    (folder / "hosts").write_text(f"{place} {(sshd.folder / 'identity.pub').read_text()}")
    ssh(far)["known_hosts_file"] = str(folder / "hosts")
    return "its host key has changed"


def nothing_listens(far: Site, sshd: Sshd, folder: Path) -> str:
    ssh(far)["port"] = free_port()
    return f"is sshd running there, on port {ssh(far)['port']}?"


def no_such_name(far: Site, sshd: Sshd, folder: Path) -> str:
    far.document["hosts"]["far"]["address"] = "no-such-host.invalid"
    return "is hosts.far.address right? It is no-such-host.invalid"


@pytest.mark.parametrize(
    "spoil",
    [
        *(no_key, another_key, a_key_with_a_passphrase, other_commands),
        *(unknown_host, another_host_key, nothing_listens, no_such_name),
    ],
    ids=lambda spoil: spoil.__name__,
)
def test_each_error_of_ssh_has_the_hint_that_fits(
    far: Site, sshd: Sshd, tmp_path: Path, spoil: Callable[[Site, Sshd, Path], str]
) -> None:
    kept = (sshd.folder / "authorized_keys").read_text()
    (tmp_path / "own").mkdir()
    try:
        expected = spoil(far, sshd, tmp_path / "own")
        ran = far.leitstand("run", "site")
        assert ran.status == 3
        assert any("hint: " in line and expected in line for line in ran.stderr.splitlines())
        doctor = far.leitstand("doctor", "site")
        assert doctor.status == 3
        assert any("hint: " in line and expected in line for line in doctor.stdout.splitlines())
        (line,) = [each for each in doctor.stdout.splitlines() if ": files/" in each]
        assert line.count(far.job["sources"][0]["files"]) == 1, "the source's name stands there once"
    finally:
        (sshd.folder / "authorized_keys").write_text(kept)


@pytest.mark.parametrize(
    ("status", "said", "hint"),
    [
        (255, "ssh: connect to host 192.0.2.11 port 22: Connection timed out", "is 192.0.2.11 up"),
        (255, "ssh: connect to host 192.0.2.11 port 22: No route to host", "is 192.0.2.11 up"),
        (255, "Timeout, server 192.0.2.11 not responding.", "is 192.0.2.11 up"),
        (255, "WARNING: UNPROTECTED PRIVATE KEY FILE!\nPermission denied (publickey).", "chmod 600 /etc/key"),
        (255, 'Load key "/etc/key": error in libcrypto\nPermission denied (x).', "must be a private key"),
        (255, "kex_exchange_identification: read: Connection reset by peer", "'journalctl -u ssh'"),
        (255, "Unable to negotiate with 192.0.2.11: no matching host key type found", "too old"),
        (255, "something new", "try: ssh to web1"),
        (127, "env: 'mariadb-dump': No such file or directory", "is the program installed on web1?"),
        (126, "bash: /usr/bin/x: Permission denied", ""),
        (2, "tar: /srv: Cannot open: Permission denied", ""),
    ],
)  # fmt: skip
def test_messages_of_ssh_have_a_hint(status: int, said: str, hint: str) -> None:
    found = ssh_hint(status, said, FACTS)
    assert found.startswith(hint) or hint in found
    assert bool(found) is bool(hint)
