"""``leitstand deploy receive`` and ``leitstand deploy authorize``."""

import base64
import re
import sys
from pathlib import Path

import click

from leitstand.errors import UsageError
from rollout.apply.cli import apply
from rollout.incoming.receive import INCOMING
from rollout.incoming.receive import receive as take

_KEY = re.compile(
    r"((?:sk-)?(?:ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp\d+)(?:@openssh\.com)?) ([A-Za-z0-9+/=]+)(?: .*)?"
)
_MOST = 16384  # bytes of a public key's file


@click.command(epilog='Example: command="/usr/bin/leitstand deploy receive" in authorized_keys')
@click.option(
    "--folder",
    default=INCOMING,
    show_default=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Where the last ten configurations are kept.",
)
def receive(folder: Path) -> int:
    """Take a configuration from standard input, check it and apply it; started by sshd.

    `leitstand apply --on HOST` sends it. Exit codes: those of `leitstand apply`.
    """
    return take(sys.stdin.buffer, folder, _apply)


def _apply(words: list[str]) -> int:
    return int(apply.main(args=words, prog_name="leitstand apply", standalone_mode=False) or 0)


@click.command(epilog="Example: leitstand deploy authorize runner.pub >> /root/.ssh/authorized_keys")
@click.argument("key_file", type=click.Path(path_type=Path))
def authorize(key_file: Path) -> None:
    """Print the authorized_keys line that lets a public key send configurations, and nothing else."""
    try:
        with key_file.open("rb") as file:
            text = file.read(_MOST).decode(errors="replace").strip()
    except OSError as error:
        raise UsageError(f"{key_file}: cannot be read: {error.strerror}", "give a public key") from error
    match = _KEY.fullmatch(text)
    if match is None or not _names_its_kind(match[1], match[2]):
        raise UsageError(f"{key_file}: is not a public SSH key", "give one such as id_ed25519.pub")
    click.echo(f'restrict,command="/usr/bin/leitstand deploy receive" {match[1]} {match[2]}')


def _names_its_kind(kind: str, encoded: str) -> bool:
    """Whether the key itself begins with its kind (RFC 4253, 6.6)."""
    try:
        content = base64.b64decode(encoded, validate=True)
    except ValueError:
        return False
    return content[4 : 4 + len(kind)] == kind.encode() and int.from_bytes(content[:4]) == len(kind)
