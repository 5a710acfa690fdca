"""The kinds of sources, by their settings."""

from collections.abc import Collection
from pathlib import Path

from leitstand.settings.hosts import Host
from orchestrator.config.settings import (
    CommandSettings,
    FilesSettings,
    Job,
    MysqlSettings,
    PostgresqlSettings,
    SqliteSettings,
)
from orchestrator.sources.databases import CommandOutput, MysqlDumps, PostgresqlDumps, RemoteSqliteDump
from orchestrator.sources.files import FilesSource, FirstNames, sqlite_companions
from orchestrator.sources.remote_files import RemoteFilesSource
from orchestrator.sources.source import Hindered, Report, Source, SourceError
from orchestrator.sources.sqlite import SqliteSource
from orchestrator.sources.ssh import LOCAL, Ssh, Transport

__all__ = ["Hindered", "Report", "Source", "SourceError", "open_sources"]

Settings = FilesSettings | SqliteSettings | MysqlSettings | PostgresqlSettings | CommandSettings


def open_sources(job: Job, host: Host | None = None, stores: Collection[Path] = ()) -> list[Source]:
    """A job's sources; nothing is read yet. ``files`` sources skip databases that are sources themselves, and
    the contents of ``stores``, the job's own stores that are folders of this machine. A ``host`` with an ssh
    section is read over SSH; any other host is this machine."""
    transport = open_transport(job.host, host)
    databases = [source.sqlite for source in job.sources if isinstance(source, SqliteSettings)]
    skip = frozenset(name for path in databases for name in sqlite_companions(path))
    first_names: FirstNames = {}  # a file may have hard links in several sources
    return [_open_source(settings, job, skip, transport, stores, first_names) for settings in job.sources]


def open_transport(name: str, host: Host | None) -> Transport:
    """How the programs of a source are run on a host."""
    if host is None or host.ssh is None:
        return LOCAL
    ssh = host.ssh
    return Ssh(name, host.address, ssh.user, ssh.port, ssh.identity_file, host.known_hosts_file)


def _open_source(
    settings: Settings,
    job: Job,
    skip: frozenset[str],
    transport: Transport,
    stores: Collection[Path],
    first_names: FirstNames,
) -> Source:
    match settings:
        case FilesSettings():
            if isinstance(transport, Ssh):
                return RemoteFilesSource(settings, transport, skip, job.limits)
            return FilesSource(settings, skip, stores, first_names=first_names)
        case SqliteSettings():
            if isinstance(transport, Ssh):
                return RemoteSqliteDump(settings, transport)
            return SqliteSource(settings, job.scratch)
        case MysqlSettings():
            return MysqlDumps(settings, transport)
        case PostgresqlSettings():
            return PostgresqlDumps(settings, transport)
        case CommandSettings():
            return CommandOutput(settings, transport)
