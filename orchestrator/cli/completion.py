"""Shell completion of HOST, JOB, --store and --snapshot; on any error it offers nothing."""

from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import timedelta

import click
from click.shell_completion import CompletionItem

from leitstand.errors import LeitstandError
from leitstand.options import config_to_complete
from orchestrator.config.stores import S3Settings
from orchestrator.repository.catalog import scan
from orchestrator.state.context import Context
from orchestrator.stores import Store, open_store

_PATIENCE = {"tries": 1, "timeout": timedelta(seconds=3)}  # the user waits at the prompt
Offer = Callable[[Context, str], Sequence[str]]  # configuration and the job that was named, "" for none


class _Offered(click.types.StringParamType):
    """Any text; the shell offers what ``offer`` finds."""

    def __init__(self, offer: Offer) -> None:
        self.offer = offer

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        # Arguments before an option that still lacks its value are in `args`.
        job = ctx.params.get("job") or next(iter(ctx.args), "")
        try:
            context = Context.load(config_to_complete(ctx))
            names = self.offer(context, job)
        except LeitstandError:
            return []
        return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def offer_names(command: click.Command) -> None:
    """Let the shell offer hosts, jobs, stores and snapshots wherever a command takes one."""
    for parameter in command.params:
        if parameter.name in _OFFERED:
            parameter.type = _OFFERED[parameter.name]
    for each in command.commands.values() if isinstance(command, click.Group) else ():
        offer_names(each)


def _jobs(context: Context, job: str) -> Sequence[str]:
    return context.job_names(None)


def _stores(context: Context, job: str) -> Sequence[str]:
    return context.job(job).stores if job else list(context.settings.stores)


def _snapshots(context: Context, job: str) -> Sequence[str]:
    """The job's snapshots, the newest first, from the first store that answers."""
    for name in context.job(job).stores:
        try:
            with closing(_impatient(context, name)) as store:
                found = [each.name.id for each in scan(store, context.job(job).host, job) if each.committed]
        except LeitstandError:
            continue
        return found[::-1]
    return []


def _impatient(context: Context, name: str) -> Store:
    settings = context.settings.stores[name]
    if isinstance(settings, S3Settings):
        settings = settings.model_copy(update=_PATIENCE)
    return open_store(name, settings)


def _hosts(context: Context, job: str) -> Sequence[str]:
    return list(context.fleet.hosts)


_OFFERED = {
    "host": _Offered(_hosts),
    "job": _Offered(_jobs),
    "only": _Offered(_stores),
    **dict.fromkeys(("snapshot_id", "older", "newer"), _Offered(_snapshots)),
}
