"""``leitstand status-page …``: collect the public state, serve the page, send it to other hosts."""

import click

from leitstand.lazy import LazyGroup, Table

COMMANDS: Table = {
    "collect": ("status_page.commands:collect", "Query Prometheus and write the pages, until SIGTERM."),
    "serve": ("status_page.commands:serve", "Serve the pages that `collect` writes, until SIGTERM."),
    "send": ("status_page.transfer_commands:send", "Send the pages to the other hosts that serve them."),
    "receive": ("status_page.transfer_commands:receive", "Take pages that `send` brings; started by sshd."),
}


@click.group(
    cls=LazyGroup,
    table=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Example: leitstand status-page serve --listen 127.0.0.1:8080",
)
def status_page() -> None:
    """Show the public which services are up and which are down."""
