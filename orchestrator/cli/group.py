"""``leitstand backup …``: its commands, each loaded when it is used."""

import click

from leitstand.lazy import LazyGroup, Table

COMMANDS: Table = {
    "authorize": (
        "orchestrator.cli.authorize:authorize",
        "Print what a host needs to be backed up over SSH.",
    ),
    "cat": ("orchestrator.cli.browse:cat", "Write one file of a snapshot to standard output."),
    "catalog": ("orchestrator.cli.proof:catalog", "Rebuild this host's records of its jobs."),
    "diff": ("orchestrator.cli.browse:diff", "Show the differences between two snapshots."),
    "doctor": ("orchestrator.cli.doctor:doctor", "Try everything that a run needs."),
    "drill": ("orchestrator.cli.proof:drill", "Test the restore of a snapshot in a scratch folder."),
    "find": ("orchestrator.cli.browse:find", "Show which snapshots have certain files."),
    "forget": ("orchestrator.cli.keep:forget", "Delete one snapshot, regardless of 'keep'."),
    "hold": ("orchestrator.cli.keep:hold", "Keep one snapshot until it is released."),
    "install-timers": (
        "orchestrator.cli.serve:install_timers",
        "Write systemd timers for jobs with a schedule.",
    ),
    "keys": ("orchestrator.cli.keys:keys", "Create, print and retire the master keys."),
    "list": ("orchestrator.cli.listing:list_", "List snapshots as the stores have them."),
    "ls": ("orchestrator.cli.browse:ls", "List the contents of a snapshot."),
    "prune": ("orchestrator.cli.care:prune", "Delete the snapshots that 'keep' does not retain."),
    "restore": ("orchestrator.cli.restore:restore", "Restore a snapshot, or parts of it."),
    "run": ("orchestrator.cli.run:run", "Make a snapshot of a job now."),
    "serve": ("orchestrator.cli.serve:serve", "Run all tasks of all jobs on schedule."),
    "status": ("orchestrator.cli.status:status", "Show the status of each job."),
    "verify": ("orchestrator.cli.proof:verify", "Read snapshots back from the stores and verify them."),
}


class _Backup(LazyGroup):
    """Its commands, with shell completion of names."""

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
