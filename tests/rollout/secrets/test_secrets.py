"""Secrets in git, with the real age, ssh-keygen and ansible-vault."""

import base64
import os
import random
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from lab.patience import patient
from leitstand.errors import LeitstandError
from rollout.secrets import rotation, vaults
from rollout.secrets.scan import KINDS, find

CANARY = "canary-7f3e9a"
ROOT = Path(__file__).parents[3]
Done = subprocess.CompletedProcess[str]


def ssh_key(folder: Path, name: str) -> Path:
    words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(folder / name)]
    subprocess.run(words, check=True)
    return folder / name


@dataclass
class Repository:
    folder: Path
    keys: dict[str, Path]

    def call(self, who: str, *words: str) -> Done:
        environment = {**os.environ, "LEITSTAND_IDENTITY": str(self.keys[who]), "PYTHONPATH": str(ROOT)}
        argv = [sys.executable, "-m", "leitstand", "secrets", *words]
        return subprocess.run(
            argv, capture_output=True, text=True, timeout=patient(120), cwd=self.folder, env=environment
        )

    def add(self, who: str, name: str, *words: str) -> Done:
        return self.call(who, "add-person", name, f"{self.keys[name]}.pub", *words)

    def ansible_vault(self, who: str, *words: str, stdin: str = "") -> Done:
        environment = {**os.environ, "LEITSTAND_IDENTITY": str(self.keys[who])}
        return subprocess.run(
            ["ansible-vault", *words],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=patient(120),
            cwd=self.folder,
            env=environment,
        )

    def state(self) -> dict[str, bytes]:
        found = (path for path in self.folder.rglob("*") if path.is_file())
        return {str(path.relative_to(self.folder)): path.read_bytes() for path in found}


@pytest.fixture
def repository(first: Repository, tmp_path: Path) -> Repository:
    shutil.copytree(first.folder, tmp_path / "fleet")
    return Repository(tmp_path / "fleet", first.keys)


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    keys, folder = tmp_path_factory.mktemp("keys"), tmp_path_factory.mktemp("fleet")
    made = Repository(folder, {name: ssh_key(keys, name) for name in ("ada", "bob", "eve")})
    for name in ("ada", "bob"):
        assert made.add("ada", name).returncode == 0
    for vault in ("default", "control"):
        client = f"{vault}@{ROOT}/deploy/ansible/vault-client"
        words = ["encrypt", "--vault-id", client, "--encrypt-vault-id", vault, "--output"]
        file = f"secrets/vault_{vault}.yml"
        done = made.ansible_vault("ada", *words, file, "-", stdin=f"password: {CANARY}\n")
        assert done.returncode == 0, done.stderr
    return made


def test_each_person_opens_the_vaults_and_another_key_is_refused(repository: Repository) -> None:
    for who in ("ada", "bob"):
        for vault in ("default", "control"):
            done = repository.call(who, "open", f"secrets/vault_{vault}.yml")
            assert (done.returncode, done.stdout) == (0, f"password: {CANARY}\n"), done.stderr
    refused = repository.call("eve", "open", "secrets/vault_default.yml")
    assert (refused.returncode, refused.stdout) == (3, "")
    assert CANARY not in refused.stderr
    added = repository.add("eve", "eve")
    assert added.returncode == 3
    assert "does not open it" in added.stderr
    assert not (repository.folder / "secrets/recipients/eve.pub").exists()


def test_a_pipeline_opens_only_the_vault_that_is_named(repository: Repository) -> None:
    assert repository.add("ada", "eve", "--opens", "default").returncode == 0
    assert repository.call("eve", "open", "secrets/vault_default.yml").returncode == 0
    assert repository.call("eve", "open", "secrets/vault_control.yml").returncode == 3
    assert "control: opened by ada, bob;" in repository.call("eve", "check").stdout


def test_a_person_who_was_removed_opens_nothing_and_rotation_is_asked_for(repository: Repository) -> None:
    removed = repository.call("ada", "remove-person", "bob")
    assert removed.returncode == 1
    assert "leitstand secrets rotate" in removed.stderr
    assert repository.call("bob", "open", "secrets/vault_default.yml").returncode == 3
    last = repository.call("ada", "remove-person", "ada")
    assert last.returncode == 3
    assert "no one else would be able to open" in last.stderr


def test_a_rotation_makes_old_passwords_useless_and_keeps_every_text(repository: Repository) -> None:
    before = repository.state()
    old = repository.folder.parent / "old"
    subprocess.run(["cp", "-r", str(repository.folder / "secrets"), str(old)], check=True)
    done = repository.call("ada", "rotate")
    assert done.returncode == 0, done.stderr
    for vault in ("default", "control"):
        file = f"secrets/vault_{vault}.yml"
        assert repository.call("bob", "open", file).stdout == f"password: {CANARY}\n"
        assert before[file] != repository.state()[file]
        assert repository.call("ada", "open", file, "--folder", str(old)).returncode == 3
    assert sorted(before) == sorted(repository.state())
    assert CANARY not in done.stdout + done.stderr


def test_a_rotation_that_fails_changes_nothing(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LEITSTAND_IDENTITY", str(repository.keys["ada"]))
    before = repository.state()
    made = rotation.close_vault

    def full_disk_at_the_second(*words: object) -> bytes:
        monkeypatch.setattr(rotation, "close_vault", refuse)
        return made(*words)  # type: ignore[arg-type]

    def refuse(*_: object) -> bytes:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(rotation, "close_vault", full_disk_at_the_second)
    with pytest.raises(OSError, match="No space"):
        rotation.rotate(repository.folder / "secrets")
    assert repository.state() == before


def test_a_client_that_ansible_would_take_for_a_password_file_is_refused(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LEITSTAND_IDENTITY", str(repository.keys["ada"]))
    (tmp_path / "vault-client").write_text((ROOT / "deploy/ansible/vault-client").read_text())
    monkeypatch.setattr(vaults, "share", lambda _: tmp_path)
    before = repository.state()
    with pytest.raises(LeitstandError, match="vault-client: is not executable"):
        rotation.rotate(repository.folder / "secrets")
    assert repository.state() == before


def test_passwords_and_texts_are_in_no_argument_and_no_file(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "argv"
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("age", "ansible-vault"):
        real = subprocess.run(["which", name], capture_output=True, text=True, check=True).stdout.strip()
        (tools / name).write_text(
            f'#!/bin/sh\nprintf "%s\\n" "$*" >> {log}\nenv >> {log}\nexec {real} "$@"\n'
        )
        (tools / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    assert repository.call("ada", "rotate").returncode == 0
    words = ["age", "--decrypt", "-i", str(repository.keys["ada"]), "secrets/default.age"]
    password = subprocess.run(words, cwd=repository.folder, capture_output=True, check=True).stdout
    assert len(password) > 40
    for secret in (password, CANARY.encode()):
        assert secret not in log.read_bytes()
        assert all(secret not in content for content in repository.state().values())


def test_check_names_an_unencrypted_vault_and_a_planted_key_without_the_secret(
    repository: Repository,
) -> None:
    assert repository.call("eve", "check").returncode == 0
    (repository.folder / "secrets/vault_mail.yml").write_text(f"mail_password: {CANARY}\n")
    (repository.folder / "notes").write_bytes(repository.keys["ada"].read_bytes())
    done = repository.call("eve", "check")
    assert done.returncode == 3
    assert "secrets/vault_mail.yml: is not encrypted" in done.stderr
    assert "notes:1: private key in plain text" in done.stderr
    assert CANARY not in done.stdout + done.stderr


@pytest.mark.parametrize("place", ["group_vars/all/vault_mail.yml", "secrets/old/vault_x.yml", "mail.yml"])
def test_check_names_a_vault_that_a_rotation_would_leave_out(repository: Repository, place: str) -> None:
    file = repository.folder / place
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes((repository.folder / "secrets/vault_default.yml").read_bytes())
    done = repository.call("eve", "check")
    assert done.returncode == 3
    assert f"{place}: is not in secrets, so `leitstand secrets rotate` would not" in done.stderr


def test_check_names_a_person_whose_key_was_only_copied_into_the_folder(repository: Repository) -> None:
    key = Path(f"{repository.keys['eve']}.pub").read_text()
    (repository.folder / "secrets/recipients/eve.pub").write_text(key)
    done = repository.call("ada", "check")
    assert done.returncode == 3
    assert "eve cannot open it; run: leitstand secrets add-person eve" in done.stderr


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("../eve", "ssh-ed25519 AAAA x", "is not a name"),
        ("eve", "-----BEGIN OPENSSH PRIVATE KEY-----\nx\n", "this is a private key"),
        ("eve", "ecdsa-sha2-nistp256 AAAA x", "of a kind that age does not take"),
        ("eve", "--output=/tmp/x", "of a kind that age does not take"),
        ("eve", "", "contains no public key"),
    ],
)
def test_a_wrong_name_or_key_is_refused_in_one_line(
    repository: Repository, name: str, content: str, message: str
) -> None:
    file = repository.folder / "key"
    file.write_text(content)
    done = repository.call("ada", "add-person", name, "key")
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 2


def _letters(number: int, alphabet: str = "ABCDEFGHJKLMNPQRSTUVWXYZ234567") -> str:
    return "".join(random.Random(1).choices(alphabet, k=number))


# Put together here, so that no scanner takes this file for a leak.
PLANTED = {
    "private key": "-----BEGIN " + "RSA PRIVATE KEY-----",
    "age identity": "AGE-SECRET-KEY-1" + _letters(58),
    "access key of a cloud": "AKIA" + _letters(16),
    "token of GitHub": "ghp_" + _letters(36),
    "token of GitLab": "glpat-" + _letters(20),
    "token of Slack": "xoxb-" + _letters(20),
    "token of Grafana": "glsa_" + _letters(32) + "_0a1b2c3d",
    "password in a URL": "https://ada:" + "hunter22" + "@example.org/",
    "password in a setting": "smtp_password: " + "hunter2222",
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_planted_secret_is_found_at_its_line(kind: str) -> None:
    assert (3, kind) in list(find(f"site:\n  x: 1\n{PLANTED[kind]}\n".encode()))


@pytest.mark.parametrize(
    "line",
    [
        "password_file: /etc/leitstand/mail",
        "password: '{{ vault_password }}'",
        "password: /etc/leitstand/password",
        "password:",
        "token: $TOKEN",
        "url: https://example.org:8443/@x",
        base64.b64encode(b"public" * 20).decode(),
    ],
)
def test_an_ordinary_line_is_no_finding(line: str) -> None:
    assert list(find(line.encode())) == []
