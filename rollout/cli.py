"""``leitstand deploy …``: what the roll-out made, and where it stands."""

import click

from leitstand.lazy import LazyGroup, Table

COMMANDS: Table = {
    "status": ("rollout.apply.cli:status", "Print what each host runs, beside what it should."),
    "diff": ("rollout.difference.cli:diff", "Print what would change between two leitstand.yml."),
    "receive": ("rollout.incoming.cli:receive", "Apply what `leitstand apply --on` sends; started by sshd."),
    "authorize": ("rollout.incoming.cli:authorize", "Print the authorized_keys line for a sender's key."),
    "certificates": (
        "rollout.certificates:certificates",
        "Make or renew the certificates of the hosts' exporters.",
    ),
}


@click.group(cls=LazyGroup, table=COMMANDS, epilog="Example: leitstand deploy status")
def deploy() -> None:
    """See and prepare what `leitstand apply` does.

    Exit codes: 0 all good, 1 finished with warnings, 2 wrong usage or configuration, 3 failed.
    """
