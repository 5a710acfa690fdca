"""Shell completion of HOST, JOB, --store and --snapshot; on any error it offers nothing."""

from collections.abc import Callable, Sequence

import click
from click.shell_completion import CompletionItem

from leitstand.errors import LeitstandError
from leitstand.options import config_to_complete
from orchestrator.state.context import Context
from orchestrator.state.facts import read_job

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
    """The job's snapshots as this host knows them, the newest first; no store is queried at the prompt."""
    known = {name for facts in read_job(context.state, job).values() for name in facts.known}
    return sorted(known, reverse=True)


def _hosts(context: Context, job: str) -> Sequence[str]:
    return list(context.fleet.hosts)


_OFFERED = {
    "host": _Offered(_hosts),
    "job": _Offered(_jobs),
    "only": _Offered(_stores),
    **dict.fromkeys(("snapshot_id", "older", "newer"), _Offered(_snapshots)),
}
