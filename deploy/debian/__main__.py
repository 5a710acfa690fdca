"""The command ``deploy/debian/build``."""

import sys
from pathlib import Path

import click

from deploy.debian import release, source
from deploy.debian.targets import MACHINES, TARGETS
from leitstand.errors import LeitstandError


@click.command(epilog="Example: deploy/debian/build --out dist --for debian12 --sign-key release-key")
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="Folder for the packages; made if missing."
)
@click.option(
    "--for",
    "names",
    multiple=True,
    type=click.Choice(list(TARGETS)),
    help="System, repeatable. Default: all of them.",
)
@click.option(
    "--arch",
    type=click.Choice(list(MACHINES)),
    default="amd64",
    show_default=True,
    help="Debian's name of the architecture.",
)
@click.option(
    "--wheels",
    type=click.Path(path_type=Path),
    default=source.ROOT / ".check/wheels",
    help="Folder that keeps what was downloaded. Default: .check/wheels in the checkout.",
)
@click.option("--sign-key", type=click.Path(path_type=Path), help="Private SSH key that signs SHA256SUMS.")
def build(out: Path, names: tuple[str, ...], arch: str, wheels: Path, sign_key: Path | None) -> None:
    """Build the packages leitstand-exporter and leitstand, with lists of what is in them and SHA256SUMS.

    The same commit gives the same bytes, on any machine. All systems can be built for on one.
    """
    checkout = source.read()
    if checkout.changed:
        click.echo(
            f"warning: not a commit alone, {len(checkout.changed)} files differ: {checkout.changed[0]} …",
            err=True,
        )
    targets = [TARGETS[name] for name in names or TARGETS]
    made = release.build(checkout, targets, arch, wheels.absolute(), out.absolute())
    if sign_key:
        made.append(release.sign(made[-1], sign_key.absolute()))
    for path in made:
        click.echo(f"{path.stat().st_size / 1e6:7.2f} MB  {path}")
    if not sign_key:
        click.echo("not signed: no --sign-key", err=True)


def main() -> None:
    """Run the command; errors become a line and a hint."""
    try:
        build()
    except LeitstandError as error:
        click.echo("\n".join(error.lines()), err=True)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
