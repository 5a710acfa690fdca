"""Passwords of vaults and the vaults themselves: every plain text stays in pipes and in our memory."""

import os
import secrets
from pathlib import Path

from leitstand.errors import LeitstandError
from leitstand.files import write_atomically
from leitstand.process import Finished, run
from leitstand.share import share
from rollout.secrets.recipients import VAULTS, Recipient, Vault, keys_of

MARK = b"$ANSIBLE_VAULT;"
_TIMEOUT = 60.0
_BYTES = 32  # of a new password, before it is encoded


def identity() -> Path:
    """The private key that opens passwords: LEITSTAND_IDENTITY, else the user's own for SSH."""
    named = os.environ.get("LEITSTAND_IDENTITY")
    return Path(named) if named else Path.home() / ".ssh" / "id_ed25519"


def password_file(folder: Path, vault: Vault) -> Path:
    """The age file with a vault's password."""
    return folder / f"{vault}.age"


def open_password(folder: Path, vault: Vault) -> bytes:
    """A vault's password, opened with our identity. Raises LeitstandError, such as for a foreign key."""
    file = password_file(folder, vault)
    try:
        encrypted = file.read_bytes()
    except OSError as error:
        raise LeitstandError(
            f"{file}: cannot be read: {error.strerror}", "leitstand secrets check"
        ) from error
    done = run(
        ["age", "--decrypt", "--identity", str(identity().absolute())], timeout=_TIMEOUT, stdin=encrypted
    )
    if done.status:
        raise LeitstandError(
            f"{file}: {identity()} does not open it: {done.last_words}",
            "name your key by LEITSTAND_IDENTITY; who can open it: leitstand secrets check",
        )
    return done.stdout


def seal_password(folder: Path, vault: Vault, password: bytes, recipients: list[Recipient]) -> None:
    """Write a vault's password for all who may open it. Raises LeitstandError, such as without anyone."""
    words = [word for key in keys_of(recipients, vault) for word in ("--recipient", key)]
    done = _good(run(["age", "--armor", *words], timeout=_TIMEOUT, stdin=password), "age")
    write_atomically(password_file(folder, vault), done.stdout)


def new_password() -> bytes:
    """A new random password."""
    return secrets.token_urlsafe(_BYTES).encode()


def seal_all(folder: Path, recipients: list[Recipient], vaults: set[Vault]) -> None:
    """Encrypt the passwords of ``vaults`` again, for exactly these; one that does not exist yet is made.

    All are opened before one is written. Raises LeitstandError.
    """
    for vault in vaults:
        if not keys_of(recipients, vault):
            raise LeitstandError(
                f"no one else would be able to open the vault '{vault}'", "add another person first"
            )
    passwords = {
        vault: open_password(folder, vault) if password_file(folder, vault).exists() else new_password()
        for vault in sorted(vaults)
    }
    for vault, password in passwords.items():
        seal_password(folder, vault, password, recipients)


def vault_files(folder: Path) -> list[Path]:
    """The vaults in ``folder``."""
    return sorted(path for path in folder.glob("vault_*") if path.is_file())


def vault_id(content: bytes) -> Vault:
    """Which password a vault needs (``$ANSIBLE_VAULT;1.2;AES256;ID``; without an ID, default)."""
    words = content.partition(b"\n")[0].decode(errors="replace").strip().split(";")
    if words[0] != MARK.decode().rstrip(";"):
        raise LeitstandError("is not encrypted", "ansible-vault encrypt --encrypt-vault-id default FILE")
    named = words[3] if len(words) > 3 else "default"
    for vault in VAULTS:
        if vault == named:
            return vault
    raise LeitstandError(f"needs an unknown vault id '{named}'", f"known: {', '.join(VAULTS)}")


def open_vault(folder: Path, file: Path) -> bytes:
    """The plain text of a vault, with a password of ``folder``. Raises LeitstandError."""
    content = file.read_bytes()
    try:
        vault = vault_id(content)
    except LeitstandError as error:
        raise LeitstandError(f"{file}: {error.message}", error.hint) from error
    return _good(_ansible_vault(folder, vault, "decrypt", content), str(file)).stdout


def close_vault(folder: Path, vault: Vault, plain: bytes) -> bytes:
    """``plain`` as a vault with a password of ``folder``."""
    return _good(_ansible_vault(folder, vault, "encrypt", plain), "ansible-vault").stdout


def _ansible_vault(folder: Path, vault: Vault, action: str, content: bytes) -> Finished:
    client = share("ansible") / "vault-client"
    if not os.access(client, os.X_OK):  # Ansible would take its text for the password
        raise LeitstandError(f"{client}: is not executable", f"chmod +x {client}")
    words = ["--encrypt-vault-id", vault] if action == "encrypt" else []
    return run(
        ["ansible-vault", action, "--vault-id", f"{vault}@{client}", *words, "--output", "-", "-"],
        timeout=_TIMEOUT,
        stdin=content,
        env={"LEITSTAND_SECRETS": str(folder.absolute()), "LEITSTAND_IDENTITY": str(identity().absolute())},
    )


def _good(done: Finished, what: str) -> Finished:
    if done.status:
        raise LeitstandError(f"{what}: {done.last_words}", "leitstand secrets check")
    return done
