"""``leitstand backup authorize``: what to install where, so that a host can be read over SSH."""

import json
from dataclasses import asdict
from pathlib import PurePosixPath

import click

from leitstand.errors import UsageError
from leitstand.options import json_option
from orchestrator.authorize import Authorization, for_shell
from orchestrator.authorize import authorize as authorization_of
from orchestrator.cli.options import with_context
from orchestrator.state.context import Context


@click.command(epilog="Example: leitstand backup authorize web1")
@click.argument("host")
@json_option
@with_context
def authorize(context: Context, host: str, as_json: bool) -> None:
    """Print what to install on HOST so that its backups, and nothing else, can be read over SSH.

    Repeat this when a source of these backups changes: the host allows exactly their commands.
    """
    found = context.fleet.hosts.get(host)
    if found is None:
        known = ", ".join(sorted(context.fleet.hosts)) or "none is configured"
        raise UsageError(f"there is no host '{host}'", f"hosts: {known}")
    jobs = {name: job for name, job in context.settings.backups.items() if job.host == host}
    authorization = authorization_of(host, found, jobs)
    click.echo(json.dumps(asdict(authorization), indent=1) if as_json else _steps(authorization))


def _steps(authorization: Authorization) -> str:
    """The steps in the order in which they are done."""
    name, script = authorization.host, authorization.script.rstrip("\n")
    there, keys, here = (
        PurePosixPath(path).parent
        for path in (authorization.script_path, authorization.authorized_keys, authorization.known_hosts)
    )
    return f"""\
On {name}, as root, once: mkdir -p {there}; mkdir -p -m 700 {keys}

1. Save this as {authorization.script_path}, then: chmod 755 {authorization.script_path}

{script}

2. Append this line, unbroken, to {authorization.authorized_keys}:

{authorization.line}

On this machine:

3. Pin the host's key. Fetch it, and compare its fingerprint with what the host itself prints:

   mkdir -p -m 700 {for_shell(str(here))}
   {authorization.scan}
   ssh-keygen -lf {for_shell(authorization.known_hosts)} -F '{authorization.known_as}'

   on {name}:  for key in /etc/ssh/ssh_host_*_key.pub; do ssh-keygen -lf "$key"; done

   Remove the line again if they differ: then another machine answers at that address.

4. Try it: leitstand backup run {authorization.jobs[0]}"""
