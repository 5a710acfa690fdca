"""New passwords for all vaults, all or none: a complete new folder takes the old one's place in one step."""

import ctypes
import os
import shutil
from pathlib import Path

from leitstand.errors import LeitstandError
from leitstand.files import sync_folder, write_atomically
from rollout.secrets.recipients import VAULTS, Vault, keys_of, read_recipients
from rollout.secrets.vaults import (
    close_vault,
    new_password,
    open_vault,
    seal_password,
    vault_files,
    vault_id,
)

_AT_FDCWD, _RENAME_EXCHANGE = -100, 2  # fcntl.h, linux/fs.h


def rotate(folder: Path) -> list[Path]:
    """Make new passwords and encrypt every vault of ``folder`` with them; returns the vaults.

    Raises LeitstandError and leaves everything as it was: nothing of the old folder is changed before the
    new one was opened again.
    """
    recipients = read_recipients(folder)
    vaults: list[Vault] = [vault for vault in VAULTS if keys_of(recipients, vault)]
    plain = {file: (vault_id(file.read_bytes()), open_vault(folder, file)) for file in vault_files(folder)}
    new = folder.with_name(f".{folder.name}.{os.urandom(4).hex()}")
    shutil.copytree(folder, new, symlinks=True)
    try:
        for vault in vaults:
            seal_password(new, vault, new_password(), recipients)
        for file, (vault, text) in plain.items():
            write_atomically(new / file.name, close_vault(new, vault, text))
            if open_vault(new, new / file.name) != text:
                raise LeitstandError(f"{file}: did not open again", "nothing was changed")
        exchange(folder, new)
    finally:
        shutil.rmtree(new)
    return list(plain)


def exchange(one: Path, other: Path) -> None:
    """Exchange two folders in one step (renameat2(2)). Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    names = os.fsencode(one), os.fsencode(other)
    if libc.renameat2(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(one))
    sync_folder(one.parent)
