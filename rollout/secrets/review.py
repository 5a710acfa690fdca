"""``leitstand secrets check``: who can open what, and what is wrong."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from leitstand.errors import LeitstandError
from rollout.secrets.recipients import VAULTS, Recipient, Vault, is_reader, keys_of, read_recipients, stanzas
from rollout.secrets.scan import scan, vaults_in
from rollout.secrets.vaults import password_file, vault_files, vault_id


@dataclass(frozen=True)
class Review:
    """Vault → names of those who can open it, its files, and every problem, a line each."""

    readers: dict[str, list[str]] = field(default_factory=dict)
    files: dict[str, list[str]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def review(repository: Path, folder: Path) -> Review:
    """Look at the secrets in ``folder`` of a fleet's repository; needs no private key."""
    recipients = read_recipients(folder)
    found = Review({vault: _names(recipients, vault) for vault in VAULTS}, {vault: [] for vault in VAULTS})
    for file in vault_files(folder):
        try:
            found.files[vault_id(file.read_bytes())].append(file.name)
        except LeitstandError as error:
            found.problems.append(f"{file}: {error.message}")
    for vault in VAULTS:
        found.problems.extend(_of_password(folder, vault, recipients, bool(found.files[vault])))
    for file in elsewhere(repository, folder):
        what = f"is not in {folder}, so `leitstand secrets rotate` would not encrypt it again"
        found.problems.append(f"{file}: {what}; move it")
    for planted in scan(repository):
        if planted.kind != "vault" or planted.file.parent.absolute() != folder.absolute():
            found.problems.append(str(planted))
    return found


def elsewhere(repository: Path, folder: Path) -> list[Path]:
    """The vaults of the repository that are not directly in ``folder``."""
    return [file for file in vaults_in(repository) if file.parent.absolute() != folder.absolute()]


def _names(recipients: list[Recipient], vault: Vault) -> list[str]:
    return [one.name for one in recipients if vault in one.vaults]


def _of_password(folder: Path, vault: Vault, recipients: list[Recipient], needed: bool) -> Iterator[str]:
    file = password_file(folder, vault)
    if not file.exists():
        if needed or _names(recipients, vault):
            yield f"{file}: is missing, so no one can open the vault '{vault}'"
        return
    try:
        readers = stanzas(file.read_bytes())
    except LeitstandError as error:
        yield f"{file}: {error.message}"
        return
    for one in recipients:
        if vault in one.vaults and any(is_reader(key, readers) is False for key in one.keys):
            yield f"{file}: {one.name} cannot open it; run: leitstand secrets add-person {one.name} KEYFILE"
    if len(readers) > len(keys_of(recipients, vault)):
        yield f"{file}: more keys open it than recipients/ names; run: leitstand secrets rotate"
