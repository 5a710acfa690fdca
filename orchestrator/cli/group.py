"""``leitstand backup …``: its commands, each loaded when it is asked for."""

import click

from leitstand.lazy import LazyGroup, Table

COMMANDS: Table = {
    "authorize": ("orchestrator.cli.authorize:authorize", "Print what a host must be given to be backed up."),
    "cat": ("orchestrator.cli.browse:cat", "Write one file of a snapshot to standard output, proven."),
    "catalog": ("orchestrator.cli.proof:catalog", "What this host remembers of its jobs."),
    "diff": ("orchestrator.cli.browse:diff", "Say what differs between two snapshots of a job."),
    "doctor": ("orchestrator.cli.doctor:doctor", "Try what a run needs: keys, stores, sources."),
    "drill": ("orchestrator.cli.proof:drill", "Restore a snapshot to a scratch place and prove it."),
    "find": ("orchestrator.cli.browse:find", "Say in which snapshots files are found."),
    "forget": ("orchestrator.cli.keep:forget", "Delete one snapshot, whatever 'keep' says."),
    "hold": ("orchestrator.cli.keep:hold", "Keep one snapshot until it is released."),
    "install-timers": (
        "orchestrator.cli.serve:install_timers",
        "Write systemd timers for jobs with a schedule.",
    ),
    "keys": ("orchestrator.cli.keys:keys", "Make, print and check the master keys."),
    "list": ("orchestrator.cli.listing:list_", "List snapshots as the stores have them."),
    "ls": ("orchestrator.cli.browse:ls", "List what a snapshot holds."),
    "prune": ("orchestrator.cli.care:prune", "Delete the snapshots that 'keep' no longer keeps."),
    "restore": ("orchestrator.cli.restore:restore", "Restore a snapshot, or parts of it."),
    "run": ("orchestrator.cli.run:run", "Make a snapshot of a job, now."),
    "serve": ("orchestrator.cli.serve:serve", "Run all jobs and their proofs by their schedules."),
    "status": ("orchestrator.cli.status:status", "How every job is: last run, proofs, problem."),
    "verify": ("orchestrator.cli.proof:verify", "Read snapshots back from the stores and prove them."),
}


class _Backup(LazyGroup):
    """Its commands, with the names that a shell offers."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        command = super().get_command(ctx, cmd_name)
        if command and ctx.resilient_parsing:  # a shell completes the line
            from orchestrator.cli.completion import offer_names

            offer_names(command)
        return command


@click.group(cls=_Backup, table=COMMANDS, epilog="Example: leitstand backup run website")
def backup() -> None:
    """Back up, verify, list and restore; manage keys.

    Exit codes: 0 all good, 1 finished with warnings, 2 wrong usage or configuration, 3 failed.
    """
