"""Every kind of source, by its settings."""

from orchestrator.config import (
    CommandSource,
    Job,
    MysqlSource,
    PostgresqlSource,
    source_label,
)
from orchestrator.config import FilesSource as FilesSettings
from orchestrator.config import SqliteSource as SqliteSettings
from orchestrator.sources.files import FilesSource, sqlite_companions
from orchestrator.sources.source import Report, Source, SourceError
from orchestrator.sources.sqlite import SqliteSource

__all__ = ["Report", "Source", "SourceError", "open_sources"]

Settings = FilesSettings | SqliteSettings | MysqlSource | PostgresqlSource | CommandSource


def open_sources(job: Job) -> list[Source]:
    """A job's sources; nothing is read yet. Databases that have their own are left out of ``files``."""
    databases = [source.sqlite for source in job.sources if isinstance(source, SqliteSettings)]
    skip = frozenset(name for path in databases for name in sqlite_companions(path))
    return [_open_source(settings, job, skip) for settings in job.sources]


def _open_source(settings: Settings, job: Job, skip: frozenset[str]) -> Source:
    match settings:
        case FilesSettings():
            return FilesSource(settings, skip)
        case SqliteSettings():
            return SqliteSource(settings, job.scratch)
        case MysqlSource() | PostgresqlSource() | CommandSource():
            raise SourceError(f"{source_label(settings)}: this kind of source cannot be backed up yet")
