"""The ``leitstand`` command: loads each program's commands only when they are called.

So a host that installed one role's requirements can use that role, and ``--help`` is quick.
"""

import logging
import os
import re
import select
import signal
import sys
from typing import Any, TextIO

import click

from leitstand.errors import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_OK, EXIT_USAGE, LeitstandError
from leitstand.lazy import LazyGroup, Table, not_installed
from leitstand.logs import LogFormat, set_up_logging
from leitstand.process import keep_out_of_cores
from leitstand.text import harmless, visible
from leitstand.version import REVISION, VERSION

COMMANDS: Table = {
    "init": (
        "rollout.init.command:init",
        "Write the first leitstand.yml, from the answers to some questions.",
    ),
    "check": ("leitstand.commands:check", "Check leitstand.yml and print every problem."),
    "apply": ("rollout.apply.cli:apply", "Make every host what leitstand.yml says."),
    "remove": ("rollout.removal.cli:remove", "Take everything off hosts again, but no backup."),
    "render": ("fleet_config.cli:render", "Write the configuration of Prometheus, Alertmanager and Grafana."),
    "ansible-inventory": ("fleet_config.cli:ansible_inventory", "Print the Ansible inventory of the fleet."),
    "alerts": ("fleet_config.alerts:alerts", "Try the way of alerts to people."),
    "schema": ("leitstand.commands:schema", "Print the JSON Schema of leitstand.yml, for editors."),
    "runbook": ("leitstand.commands:runbook", "Print what to do when an alert fires."),
    "suggest": ("rollout.suggest.cli:suggest_command", "Find what is neither watched nor backed up."),
    "exporter": ("exporter.cli:exporter", "Serve this host's metrics and inventory to Prometheus."),
    "inventory": ("fleet_inventory.cli:inventory", "Pull, search and compare the inventories of all hosts."),
    "backup": ("orchestrator.cli.group:backup", "Back up, verify, list and restore; manage keys."),
    "deploy": ("rollout.cli:deploy", "See and prepare what the roll-out does to each host."),
    "secrets": ("rollout.secrets.cli:secrets", "Keep the fleet's secrets in git, for several people."),
    "status-page": ("status_page.cli:status_page", "Collect the states of services; serve the status page."),
}
_COMMIT = f", commit {REVISION}" if REVISION else ""


class _BrokenPipe(Exception):  # noqa: N818 - it only carries the error past click
    """A BrokenPipeError of a command. click would exit with 1, silently, for any pipe."""


class _Roof(LazyGroup):
    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            raise _BrokenPipe from error


@click.command(
    cls=_Roof,
    table=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Example: leitstand check --config /etc/leitstand/leitstand.yml",
)
@click.version_option(VERSION, prog_name="leitstand", message=f"%(prog)s, version %(version)s{_COMMIT}")
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    show_default=True,
    help="Minimum log level; logs go to standard error.",
)
@click.option(
    "--log-format",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="Log format: text, or one JSON object per line.",
)
def leitstand(log_level: str, log_format: LogFormat) -> None:
    """The control room of a small fleet: health, backups, status page.

    Exit codes: 0 all good, 1 finished with warnings, 2 wrong usage or configuration, 3 failed.
    """
    set_up_logging(log_level, log_format)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; the only place where errors become lines and exit codes."""
    keep_out_of_cores()
    _have_standard_streams()
    os.environ["PYTHONSAFEPATH"] = "1"  # so that no Python child imports code from the working folder
    sys.exit(_interruptible(arguments))


def _interruptible(arguments: list[str] | None) -> int:
    """Run the command line; meanwhile Ctrl-C raises an exception. Restores the handler afterwards."""
    before = signal.getsignal(signal.SIGINT)
    try:
        if before is not signal.SIG_IGN:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        return run(arguments)
    finally:
        signal.signal(signal.SIGINT, before)


def run(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    try:
        result: Any = leitstand.main(args=arguments, prog_name="leitstand", standalone_mode=False)
        sys.stdout.flush()
    except click.ClickException as error:
        _show(error)
        return EXIT_USAGE
    except LeitstandError as error:
        click.echo("\n".join(error.lines()), err=True)
        return error.exit_code
    except ModuleNotFoundError as error:  # `check` asks every program for its settings
        click.echo("\n".join(not_installed("leitstand", error).lines()), err=True)
        return EXIT_FAILED
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        return EXIT_INTERRUPTED
    except _BrokenPipe as error:
        return _unexpected(error.__cause__ or error)
    except Exception as error:  # noqa: BLE001 - the last place where an error can become one line
        return _unexpected(error)
    return result if isinstance(result, int) else EXIT_OK


def _have_standard_streams() -> None:
    """Replace closed streams (`>&-`) by /dev/null: otherwise a file that we open would become one.

    From now on, control characters written to them are replaced.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    # Stays open, like a file descriptor: no context manager.
    sys.stdout = harmless(sys.stdout or open(1, "w", closefd=False))  # noqa: SIM115
    sys.stderr = harmless(sys.stderr or open(2, "w", closefd=False))  # noqa: SIM115


def _show(error: click.ClickException) -> None:
    """Print a usage error like any other error, or the help of a group called without a command."""
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        error.show()
        return
    context = error.ctx if isinstance(error, click.UsageError) else None
    command = context.command_path if context else "leitstand"
    message = error.format_message()
    file = re.search(r"unexpected extra argument \((\S+\.ya?ml)\)", message)
    click.echo(visible(f"{command}: {message}"), err=True)
    click.echo(visible(f"  hint: {command} {f'--config {file[1]}' if file else '--help'}"), err=True)


def _unexpected(error: BaseException) -> int:
    # No traceback reaches a user; --log-level debug shows it.
    logging.getLogger(__name__).debug("internal error", exc_info=error)
    if isinstance(error, OSError):
        reader_is_gone = isinstance(error, BrokenPipeError) and _nobody_reads(sys.stdout)
        _give_up_output()
        if not reader_is_gone:
            click.echo(visible(f"{error.filename or 'input or output'}: {error.strerror or error}"), err=True)
        return EXIT_FAILED
    first_line = next(iter(str(error).splitlines()), "")
    click.echo(visible(f"internal error: {type(error).__name__}: {first_line}"), err=True)
    click.echo("  hint: run again with 'leitstand --log-level debug …' and report the output", err=True)
    return EXIT_FAILED


def _nobody_reads(stream: TextIO) -> bool:
    """Whether the reader of our output is gone (`| head`), as opposed to a broken connection."""
    poll = select.poll()
    poll.register(stream.fileno(), 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))


def _give_up_output() -> None:
    # Buffered output would fail again when the interpreter exits, with a message of Python's.
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
