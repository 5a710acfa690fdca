"""The settings of a host's sshd with which backups can read their jobs' data there, and nothing else."""

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from leitstand.errors import UsageError
from leitstand.settings.hosts import Host
from orchestrator.backup.hooks import RunHooks
from orchestrator.config.settings import ALL_DATABASES, FilesSettings, Job
from orchestrator.sources import open_sources, open_transport
from orchestrator.sources.databases import DumpSource
from orchestrator.sources.remote_files import RemoteFilesSource
from orchestrator.sources.source import Source
from orchestrator.sources.ssh import Ssh
from orchestrator.sources.tar_patterns import tar_cannot

FOLDER = "/usr/local/lib/leitstand"


@dataclass(frozen=True)
class Authorization:
    """The forced command as a script, where it and the line of authorized_keys go, how to pin the host's key.

    ``known_as`` is how known_hosts calls the host (ssh-keygen(1), -F); ``scan`` fetches its key.
    """

    host: str
    jobs: tuple[str, ...]
    script: str
    script_path: str
    line: str
    authorized_keys: str
    known_hosts: str
    known_as: str
    scan: str


def authorize(name: str, host: Host, jobs: Mapping[str, Job]) -> Authorization:
    """The settings that host ``name`` needs for these jobs.

    sshd runs the forced command instead of the client's, which it passes as
    SSH_ORIGINAL_COMMAND (sshd(8), AUTHORIZED_KEYS): the script runs it only if it is exactly one of
    the jobs' own.
    """
    transport = open_transport(name, host)
    if not isinstance(transport, Ssh):
        raise UsageError(f"host '{name}' is read locally: it has no ssh section", f"add hosts.{name}.ssh")
    if not jobs:
        raise UsageError(f"no backup reads host '{name}'", "name a host that a backup has")
    script = "".join([*_head(name, jobs), *_cases(transport, host, jobs), *_tail()])
    path = f"{FOLDER}/read-{name}"
    known_hosts = str(transport.known_hosts_file or "~/.ssh/known_hosts")
    return Authorization(
        host=name,
        jobs=tuple(sorted(jobs)),
        script=script,
        script_path=path,
        line=f'restrict,command="{path}" {_public_key(host)}',
        authorized_keys=f"~{transport.user}/.ssh/authorized_keys",
        known_hosts=known_hosts,
        known_as=_known_as(transport),
        scan=f"ssh-keyscan -p {transport.port} {transport.address} >> {for_shell(known_hosts)}",
    )


def for_shell(path: str) -> str:
    """A path as a word of a command; one that begins in a home keeps its ``~``."""
    return path if path.startswith("~") else shlex.quote(path)


def _known_as(transport: Ssh) -> str:
    """sshd(8), SSH_KNOWN_HOSTS FILE FORMAT: in brackets when the port is not the usual one."""
    return transport.address if transport.port == 22 else f"[{transport.address}]:{transport.port}"


def _head(name: str, jobs: Iterable[str]) -> list[str]:
    return [
        "#!/bin/sh\n",
        f"# Lets Leitstand read what these backups of {name} hold: {', '.join(sorted(jobs))}. No more.\n",
        "# Made by: leitstand backup authorize. Make it anew when a source of these backups changes.\n",
        'case "$SSH_ORIGINAL_COMMAND" in\n',
    ]


def _cases(transport: Ssh, host: Host, jobs: Mapping[str, Job]) -> list[str]:
    texts = [_commands(transport, host, job_name, job) for job_name, job in jobs.items()]
    commands = sorted({text for found in texts for text in found})
    return [f"{shlex.quote(text)})\n  exec {text} ;;\n" for text in commands]


def _tail() -> list[str]:
    return ["esac\n", "echo 'leitstand: this key may not run that here' >&2\n", "exit 126\n"]


def _commands(transport: Ssh, host: Host, name: str, job: Job) -> list[str]:
    for settings in job.sources:
        if ALL_DATABASES in (getattr(settings, "mysql", ""), getattr(settings, "postgresql", "")):
            raise UsageError(
                "a source of all databases ('*') needs commands that are not known beforehand",
                "name each database, so that the host can allow just these",
            )
        _refuse_what_tar_cannot_leave_out(name, settings)
    hooks = RunHooks(name, job.host, job.hooks, transport)
    of_hooks = [transport.remote_command(argv, env) for argv, env in hooks.commands()]
    of_sources = [text for source in open_sources(job, host) for text in _of_source(transport, source)]
    return [*of_hooks, *of_sources]


def _refuse_what_tar_cannot_leave_out(job: str, settings: object) -> None:
    """Raise UsageError for a pattern that is applied only here, to what the host has sent."""
    patterns = settings.exclude if isinstance(settings, FilesSettings) else []
    for pattern in filter(tar_cannot, patterns):
        raise UsageError(
            f"{job}: exclude '{pattern}': the host's tar cannot apply this pattern: the key could read it",
            "write it without '?', '[!…]', letters beyond ASCII in '[…]', and so that it does not match '.'",
        )


def _of_source(transport: Ssh, source: Source) -> list[str]:
    match source:
        case RemoteFilesSource():
            calls = [source.argv(), source.argv_of_file()]
            calls += [source.argv_of_mount()] if source.settings.must_be_mounted else []
            return [transport.remote_command(argv, source.env) for argv in calls]
        case DumpSource():
            dumps = [transport.remote_command(dump.argv, dump.env) for dump in source.dumps()]
            return dumps + [transport.remote_command(argv) for argv in source.questions()]
        case _:
            return []


def _public_key(host: Host) -> str:
    """The public half beside the private key, if it is there to be read."""
    identity = host.ssh.identity_file if host.ssh else None
    public = Path(f"{identity}.pub") if identity else None
    if public is None or not public.is_file():
        return "PUT-THE-PUBLIC-KEY-HERE"
    return " ".join(public.read_text().split()[:2]) + " leitstand"
