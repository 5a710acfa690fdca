"""commands.md: ``--help`` of every command."""

from collections.abc import Iterator
from typing import Any

import click

from leitstand.cli import leitstand
from leitstand.errors import LeitstandError

WIDTH = 80  # of a terminal, for --help


def commands_page() -> str:
    """`--help` of every command."""
    parts = [
        "<!-- Made by docs/reference/generate.py from --help; change that. -->\n",
        "# Commands\n",
        "`leitstand COMMAND --help` prints the same.\n",
    ]
    for path, text in helps(leitstand, "leitstand", None):
        parts.append(f"## {path}\n\n```\n{text.rstrip()}\n```\n")
    return "\n".join(parts)


def helps(command: click.Command, name: str, parent: click.Context | None) -> Iterator[tuple[str, str]]:
    """(path, help) of a command, then of those below it."""
    settings: dict[str, Any] = {"terminal_width": WIDTH, "max_content_width": WIDTH}
    settings.update(command.context_settings)
    context = click.Context(command, info_name=name, parent=parent, **settings)
    yield context.command_path, command.get_help(context)
    if isinstance(command, click.Group):
        for inner in command.list_commands(context):
            found = subcommand(command, context, inner)
            if found is not None and not found.hidden:
                yield from helps(found, inner, context)


def subcommand(group: click.Group, context: click.Context, name: str) -> click.Command | None:
    """A command of a group; None if its packages are not installed."""
    try:
        return group.get_command(context, name)
    except LeitstandError as error:
        click.echo(f"left out: {error.message}", err=True)
        return None
