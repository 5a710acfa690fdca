"""Options and helpers shared by the commands of ``leitstand backup``."""

import functools
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from leitstand.errors import EXIT_FAILED, EXIT_OK, EXIT_WARNINGS, LeitstandError
from leitstand.logs import log_times_in
from leitstand.options import config_option
from leitstand.text import visible
from orchestrator.backup.signals import breaking_off
from orchestrator.cli.output import moment
from orchestrator.config.tasks import Action, Task
from orchestrator.scheduler.slots import Parallelism
from orchestrator.state.context import Context
from orchestrator.state.facts import read_facts
from orchestrator.stores import StoreError

store_option = click.option("--store", "only", help="Only this store of the job.")
snapshot_option = click.option(
    "--snapshot", "snapshot_id", help="Name of the snapshot, as shown by 'list'; default: the newest."
)

if_allowed_option = click.option(
    "--if-allowed",
    is_flag=True,
    help="Exit with 0 if the store's credentials do not allow this; another machine does it.",
)

Command = Callable[..., int]


class NothingYetError(LeitstandError):
    """A default task has no snapshot to work on yet; not a failure."""

    exit_code = EXIT_WARNINGS


def when_due(action: Action) -> Callable[[Command], Command]:
    """Give a command of a JOB the option to do nothing before its schedule says so."""

    def decorate(command: Command) -> Command:
        @click.option(
            "--if-due",
            is_flag=True,
            help="Run only if due; for timers of 'every 6h', which check repeatedly.",
        )
        @functools.wraps(command)
        def call(context: Context, *given: Any, if_due: bool, **arguments: Any) -> int:
            if not if_due:
                return command(context, *given, **arguments)
            from orchestrator.scheduler.due import due_task

            found = due_task(context, Task(arguments["job"] or "", action))
            if not found.due:
                click.echo(
                    f"{found.task.name}: not due before {moment(found.start.timestamp(), found.start.tzinfo)}"
                )
                return EXIT_OK
            began, status = time.time(), EXIT_FAILED
            try:
                status = command(context, *given, **arguments)
            finally:  # an interrupted task is due again
                if not isinstance(sys.exception(), click.Abort | KeyboardInterrupt):
                    found.ended(context, began, good=status in (EXIT_OK, EXIT_WARNINGS))
            return status

        return call

    return decorate


_COUNT = click.IntRange(min=1)


def with_path(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the configuration as its first argument, and its path as ``config_path``."""

    @config_option
    @functools.wraps(command)
    def call(config_path: Path, **arguments: Any) -> Any:
        with breaking_off():
            context = Context.load(config_path)
            log_times_in(context.fleet.site.zone)
            return command(context, config_path=config_path, **arguments)

    return call


def with_context(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the configuration as its first argument."""

    @with_path
    @functools.wraps(command)
    def call(context: Context, *, config_path: Path, **arguments: Any) -> Any:
        return command(context, **arguments)

    return call


def limits_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options for how much is done at a time; the command gets them as ``limits``."""

    @click.option(
        "--parallel",
        type=_COUNT,
        default=4,
        show_default=True,
        help="Maximum number of jobs to run in parallel.",
    )
    @click.option(
        "--per-host", type=_COUNT, default=1, show_default=True, help="Maximum parallel jobs per host."
    )
    @click.option(
        "--per-store", type=_COUNT, default=2, show_default=True, help="Maximum parallel jobs per store."
    )
    @functools.wraps(command)
    def call(*given: Any, parallel: int, per_host: int, per_store: int, **arguments: Any) -> Any:
        return command(*given, limits=Parallelism(parallel, per_host, per_store), **arguments)

    return call


def is_left_to_others(context: Context, job: str, action: Action, error: LeitstandError) -> bool:
    """Whether a task failed because credentials may not do it; says so and notes it.

    Raises NothingYetError where the job has never been run.
    """
    from orchestrator.repository.snapshot import NoSuchSnapshotError

    known = read_facts(context.state, context.settings.backups).get(job, {}).values()
    if isinstance(error, NoSuchSnapshotError) and not any(each.last_success for each in known):
        raise NothingYetError(f"{error.message}: {action} waits for the first one", error.hint) from error
    if not (isinstance(error, StoreError) and error.whose):
        return False
    context.facts().denied(job, error.whose, action)
    warn(f"{error.message}: {action} is left to another machine")
    warn(f"  hint: set '{action}: never' in the job here, and run it with credentials that allow it")
    return True


def warn(text: str) -> None:
    """One line on standard error."""
    click.echo(visible(text), err=True)


def warn_of(error: LeitstandError) -> None:
    """An error that does not end the command, with its hint."""
    for line in error.lines():
        warn(line)
