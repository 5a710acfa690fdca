"""``leitstand secrets …``: the fleet's secrets in its git repository."""

import json
import sys
from dataclasses import asdict
from pathlib import Path

import click

from leitstand.errors import EXIT_FAILED, EXIT_OK, EXIT_WARNINGS, LeitstandError, UsageError
from leitstand.options import json_option
from rollout.secrets.recipients import (
    VAULTS,
    Recipient,
    Vault,
    read_keys,
    read_recipients,
    valid_name,
    write_recipient,
)
from rollout.secrets.review import review
from rollout.secrets.rotation import rotate as make_new
from rollout.secrets.vaults import open_vault, seal_all

_folder_option = click.option(
    "--folder",
    default=Path("secrets"),
    show_default=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder with recipients, passwords and vaults.",
)


@click.group(epilog="Example: leitstand secrets check")
def secrets() -> None:
    """Keep the fleet's secrets in git: each person and the pipeline opens them with an own key.

    Vaults (`secrets/vault_*.yml`) are Ansible's. The password of each vault id, `default` and `control`, is
    an age file for the keys in `secrets/recipients/`. Your key: LEITSTAND_IDENTITY, else ~/.ssh/id_ed25519.

    Exit codes: 0 all good, 1 finished with warnings, 2 wrong usage, 3 failed.
    """


@secrets.command("add-person", epilog="Example: leitstand secrets add-person ada ada.pub")
@click.argument("name")
@click.argument("key_file", type=click.Path(path_type=Path))
@click.option(
    "--opens",
    "vaults",
    multiple=True,
    type=click.Choice(VAULTS),
    help="Only this vault; repeatable. Default: all.",
)
@_folder_option
def add_person(name: str, key_file: Path, vaults: tuple[Vault, ...], folder: Path) -> int:
    """Let the SSH or age public keys in KEY_FILE open the vaults; with new keys, the old ones do not."""
    recipient = Recipient(valid_name(name), read_keys(key_file), vaults or VAULTS)
    folder.mkdir(parents=True, exist_ok=True)
    before = read_recipients(folder)
    others = [one for one in before if one.name != name]
    former = {vault for one in before if one.name == name for vault in one.vaults}
    seal_all(folder, [*others, recipient], {*former, *recipient.vaults})
    write_recipient(folder, recipient)
    click.echo(f"{name} opens: {', '.join(recipient.vaults)}; commit {folder}")
    return EXIT_OK


@secrets.command("remove-person", epilog="Example: leitstand secrets remove-person ada")
@click.argument("name")
@_folder_option
def remove_person(name: str, folder: Path) -> int:
    """Encrypt the passwords again without NAME, who still knows the old ones: rotate afterwards."""
    recipients = {one.name: one for one in read_recipients(folder)}
    if name not in recipients:
        raise UsageError(f"no one is called '{name}'", f"known: {', '.join(recipients) or 'none'}")
    former = recipients.pop(name)
    seal_all(folder, list(recipients.values()), set(former.vaults))
    (folder / "recipients" / f"{name}.pub").unlink()
    click.echo(f"{name} opens no vault from the next commit on")
    click.echo(
        f"{name} may have kept the old passwords, and git keeps the old files: "
        "run 'leitstand secrets rotate', then replace the secrets themselves",
        err=True,
    )
    return EXIT_WARNINGS


@secrets.command(epilog="Example: leitstand secrets rotate")
@_folder_option
def rotate(folder: Path) -> int:
    """Make new passwords and encrypt every vault with them: all or none."""
    done = make_new(folder)
    click.echo(f"new passwords; {len(done)} vaults encrypted again; commit {folder}")
    return EXIT_OK


@secrets.command("open", epilog="Example: leitstand secrets open secrets/vault_mail.yml")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@_folder_option
def open_(file: Path, folder: Path) -> int:
    """Print the plain text of a vault, for a pipe or a look. It is written to no file."""
    sys.stdout.buffer.write(open_vault(folder, file))
    return EXIT_OK


@secrets.command(epilog="Example: leitstand secrets check")
@click.option(
    "--repository",
    default=Path(),
    show_default="this folder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Where to look for secrets in plain text.",
)
@_folder_option
@json_option
def check(repository: Path, folder: Path, as_json: bool) -> int:
    """Say who can open which vault; refuse unencrypted vaults and secrets in plain text. Needs no key.

    Exit codes: 0 all good, 2 wrong usage, 3 something is wrong.
    """
    found = review(repository, folder)
    if as_json:
        click.echo(json.dumps(asdict(found), indent=2))
        return EXIT_FAILED if found.problems else EXIT_OK
    for vault in VAULTS:
        people, files = (", ".join(part[vault]) or "none" for part in (found.readers, found.files))
        click.echo(f"{vault}: opened by {people}; files: {files}")
    for problem in found.problems:
        click.echo(problem, err=True)
    if found.problems:
        raise LeitstandError(
            f"{len(found.problems)} problems with secrets", "replace a secret that was in git"
        )
    return EXIT_OK
