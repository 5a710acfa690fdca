"""Groups of commands that load a command when it is called, and list all without loading any."""

import importlib
import sys
from importlib.util import find_spec
from typing import Any

import click
from click.shell_completion import CompletionItem

from leitstand.errors import LeitstandError

# Name -> its click command (``module:attribute``), and its one line in the group's --help.
Table = dict[str, tuple[str, str]]
# Which role's requirements a program needs, for the hint when an import fails.
ROLES = {
    "exporter": "exporter",
    "orchestrator": "orchestrator",
    "rollout": "rollout",
    "status_page": "status-page",
}


def not_installed(command: str, error: ModuleNotFoundError, role: str = "dev") -> LeitstandError:
    """The error of a command whose requirements this host does not have."""
    what = f"'{command}' needs the Python package {error.name}, which is not installed"
    if not find_spec("pip"):  # /opt/leitstand of the Debian packages
        return LeitstandError(
            what, "it is part of the Debian package 'leitstand', not of 'leitstand-exporter'"
        )
    pip = f"{sys.executable} -m pip install --require-hashes --no-deps"
    return LeitstandError(what, f"{pip} -r requirements/{role}.txt")


class LazyGroup(click.Group):
    """A click group whose commands are listed in a table and imported when called."""

    def __init__(self, *args: Any, table: Table, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.table = table

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.table:
            from difflib import get_close_matches

            near = get_close_matches(cmd_name, self.table, n=1)
            return ctx.fail(f"No such command '{cmd_name}'. Did you mean '{near[0]}'?") if near else None
        module, attribute = self.table[cmd_name][0].split(":")
        try:
            command: click.Command = getattr(importlib.import_module(module), attribute)
        except ModuleNotFoundError as error:
            role = ROLES.get(module.split(".")[0], "dev")
            raise not_installed(f"{ctx.command_path} {cmd_name}", error, role) from error
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete the commands without importing any."""
        names = [
            CompletionItem(name, help=summary)
            for name, (_, summary) in self.table.items()
            if name.startswith(incomplete)
        ]
        return names + click.Command.shell_complete(self, ctx, incomplete)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in self.table.items()])
