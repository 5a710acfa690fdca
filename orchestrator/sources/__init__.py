"""Every kind of source, by its settings."""

from orchestrator.config import (
    CommandSource,
    Job,
    MysqlSource,
    PostgresqlSource,
)
from orchestrator.config import FilesSource as FilesSettings
from orchestrator.config import SqliteSource as SqliteSettings
from orchestrator.sources.databases import CommandOutput, MysqlDumps, PostgresqlDumps
from orchestrator.sources.files import FilesSource, sqlite_companions
from orchestrator.sources.source import Report, Source, SourceError
from orchestrator.sources.sqlite import SqliteSource
from orchestrator.transport import Local, Transport

__all__ = ["Report", "Source", "SourceError", "open_sources"]

Settings = FilesSettings | SqliteSettings | MysqlSource | PostgresqlSource | CommandSource


def open_sources(job: Job) -> list[Source]:
    """A job's sources; nothing is read yet. Databases that have their own are left out of ``files``."""
    databases = [source.sqlite for source in job.sources if isinstance(source, SqliteSettings)]
    skip = frozenset(name for path in databases for name in sqlite_companions(path))
    return [_open_source(settings, job, skip, Local()) for settings in job.sources]


def _open_source(settings: Settings, job: Job, skip: frozenset[str], transport: Transport) -> Source:
    match settings:
        case FilesSettings():
            return FilesSource(settings, skip)
        case SqliteSettings():
            return SqliteSource(settings, job.scratch)
        case MysqlSource():
            return MysqlDumps(settings, transport)
        case PostgresqlSource():
            return PostgresqlDumps(settings, transport)
        case CommandSource():
            return CommandOutput(settings, transport)
