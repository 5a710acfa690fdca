"""The sections ``stores`` and ``backups`` of leitstand.yml; for a store see `orchestrator.config.stores`.

Imports pydantic alone: checking needs nothing else.
"""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from leitstand.settings.fleet import Fleet, unknown
from leitstand.settings.models import AbsolutePath, Duration, Model, Name, SettingError
from leitstand.settings.problems import Finding
from orchestrator.config.conflicts import (
    overlapping_sources,
    repeated_accounts,
    same_places,
    sources_in_stores,
)
from orchestrator.config.fields import (
    KIBIBYTE,
    MEBIBYTE,
    NEVER,
    WHEN,
    Argv,
    DatabaseName,
    FileName,
    Size,
    SourcePath,
    When,
    WhenOrNever,
)
from orchestrator.config.limits import Limits
from orchestrator.config.schedule import Schedule, parse_schedule
from orchestrator.config.stores import FolderSettings, StoreSettings, place_of

ALL_DATABASES = "*"
OWN_TIME = f"{WHEN} 'never' turns it off. Default if the job has a schedule, some time after its runs:"


class FilesSettings(Model):
    """A folder with all that is in it, or one file."""

    files: SourcePath = Field(description="Path of the folder or file.")
    include: list[str] = Field(
        default=[], description="Patterns: save only matching paths; see docs/backups.md."
    )
    exclude: list[str] = Field(
        default=[], description="Patterns: leave out matching paths; see docs/backups.md."
    )
    one_file_system: bool = Field(default=True, description="Do not enter other file systems mounted below.")
    exclude_caches: bool = Field(default=True, description="Leave out folders that hold a CACHEDIR.TAG.")
    exclude_if_present: list[FileName] = Field(
        default=[],
        description="Leave out folders that contain a file with such a name, for example .nobackup.",
    )
    exclude_larger: Size | None = Field(default=None, description="Leave out files larger than this.")
    must_be_mounted: bool = Field(
        default=False, description="Fail unless it is on a different file system than '/'."
    )
    minimum_files: int = Field(default=0, ge=0, description="Fail if there are fewer files.")


class SqliteSettings(Model):
    """An SQLite database, copied consistently while it is in use."""

    sqlite: SourcePath = Field(description="Path of the database file.")
    memory_limit: Size = Field(
        default="16MiB",
        validate_default=True,
        description="A larger copy goes to an unlinked file in the scratch folder.",
    )


class DumpSettings(Model):
    """Settings of every source that is the output of a program."""

    timeout: Duration = Field(
        default="6h", validate_default=True, description="A dump that takes longer fails."
    )
    minimum_size: Size = Field(default=1, ge=0, description="A dump of fewer bytes fails the run.")


class MysqlSettings(DumpSettings):
    """A database of MariaDB or MySQL, or all of them (``"*"``)."""

    mysql: DatabaseName = Field(description="Name of the database, or '*' for all.")
    defaults_file: AbsolutePath | None = Field(
        default=None, description="Option file on the host, mode 0600, with user and password."
    )
    users: bool = Field(default=False, description="Save users and grants too (MariaDB).")
    history: bool = Field(
        default=True, description="Save the history of system-versioned tables (MariaDB 10.11 and newer)."
    )
    by_table: bool = Field(
        default=False,
        description="Write one file per table, all from one transaction; see docs/backups-recipes.md.",
    )


class PostgresqlSettings(DumpSettings):
    """A database of PostgreSQL, or all of them (``"*"``)."""

    postgresql: DatabaseName = Field(description="Name of the database, or '*' for all.")
    format: Literal["plain", "custom"] = Field(
        default="plain", description="Format, as for pg_dump --format."
    )
    globals: bool = Field(default=False, description="Save roles and grants too.")
    service: Name | None = Field(default=None, description="An entry of the service file.")
    service_file: AbsolutePath | None = Field(
        default=None, description="Path of the service file; default: that of libpq."
    )
    password_file: AbsolutePath | None = Field(
        default=None, description="Password file (pgpass) on the host, mode 0600."
    )
    host: str | None = Field(
        default=None, description="Host name of the server, or the folder of its socket."
    )
    port: int | None = Field(default=None, ge=1, le=65535, description="Port of the server.")
    user: str | None = Field(default=None, description="User name to log in with.")


class CommandSettings(DumpSettings):
    """The standard output of a program."""

    command: Argv = Field(description="The program and its arguments, word by word.")
    name: Name = Field(description="Name of its folder in the archive.")
    file_name: Name | None = Field(
        default=None, description="Name of the file in the archive; default 'output'."
    )


SOURCE_KINDS = ("files", "sqlite", "mysql", "postgresql", "command")


def _source_tag(value: Any) -> str | None:
    # The tag must differ from the key: the configuration's error paths drop what is not in the file.
    for kind in SOURCE_KINDS:
        if (isinstance(value, dict) and kind in value) or (isinstance(value, Model) and hasattr(value, kind)):
            return f"{kind} source"
    return None


SourceSettings = Annotated[
    Annotated[FilesSettings, Tag("files source")]
    | Annotated[SqliteSettings, Tag("sqlite source")]
    | Annotated[MysqlSettings, Tag("mysql source")]
    | Annotated[PostgresqlSettings, Tag("postgresql source")]
    | Annotated[CommandSettings, Tag("command source")],
    Discriminator(
        _source_tag,
        custom_error_type="source_kind",
        custom_error_message="a source is one of files, sqlite, mysql, postgresql or command; "
        "such as {files: /var/www}",
    ),
]


def _newest_of_each(period: str) -> Any:
    return Field(
        default=0, ge=0, description=f"Keep the newest snapshot of each of the last N {period} that have one."
    )


class Keep(Model):
    """How many snapshots to keep: the newest of each hour, day, …; without any rule everything is kept."""

    last: int = Field(default=0, ge=0, description="Keep this many of the most recent snapshots.")
    hourly: int = _newest_of_each("hours")
    daily: int = _newest_of_each("days")
    weekly: int = _newest_of_each("weeks")
    monthly: int = _newest_of_each("months")
    yearly: int = _newest_of_each("years")
    within: Duration | None = Field(default=None, description="Keep every snapshot younger than this.")
    min: int = Field(default=1, ge=1, description="Always keep at least this many good snapshots.")
    grace: Duration = Field(
        default="7d",
        validate_default=True,
        description="How long a snapshot stays marked before it is deleted.",
    )

    @property
    def keeps_everything(self) -> bool:
        """Whether no rule was given, so that nothing is ever deleted."""
        counts = (self.last, self.hourly, self.daily, self.weekly, self.monthly, self.yearly)
        return not any(counts) and self.within is None


class Hooks(Model):
    """Programs to run before and after a run, on the host with the data; each is a list of words."""

    before: list[Argv] = Field(
        default=[], description="Run before anything is read; if one fails, the run fails."
    )
    after: list[Argv] = Field(
        default=[], description="Always run at the end, even after a failure, to clean up."
    )
    failure: list[Argv] = Field(default=[], description="Run when the run failed, before the 'after' hooks.")
    timeout: Duration = Field(
        default="10m",
        validate_default=True,
        ge=timedelta(seconds=1),
        description="Time limit for each program.",
    )


class Drill(Model):
    """How a job's newest snapshot is tested by restoring it; or ``never``."""

    schedule: WhenOrNever | None = Field(default=None, description=f"{OWN_TIME} monthly.")
    scratch: AbsolutePath | None = Field(
        default=None, description="Folder with space for the whole job; default: the job's scratch."
    )
    check: Argv | None = Field(
        default=None, description="Program that checks the restored files; $RESTORED is their folder."
    )
    timeout: Duration = Field(default="1h", validate_default=True, description="Time limit for the check.")

    @property
    def timing(self) -> Schedule | None:
        return parse_schedule(self.schedule) if self.schedule not in (None, NEVER) else None


class VerifySettings(Model):
    """When snapshots are verified, and how much of them each time; or ``never``."""

    schedule: WhenOrNever | None = Field(default=None, description=f"{OWN_TIME} daily.")
    share: str | None = Field(
        default="1/30",
        pattern=r"^1/[1-9][0-9]{0,3}$",
        description="Fraction of all stored volumes to verify per run; null: the whole newest snapshot.",
    )
    spot: int | None = Field(
        default=20,
        ge=1,
        le=10_000,
        description="Number of files to compare with the live source once a week; null: none.",
    )


class Pruning(Model):
    """When snapshots that ``keep`` does not retain are deleted; or ``never``."""

    schedule: WhenOrNever | None = Field(default=None, description=f"{OWN_TIME} weekly.")
    most_percent: int = Field(
        default=30,
        ge=1,
        le=100,
        description="A prune that would mark 3 or more snapshots, and more than this, stops until confirmed.",
    )


def _never_alone(value: object) -> object:
    if value is False or value in ("off", "no", "none"):
        raise SettingError("this word does not turn it off", f"write {NEVER}")
    return {"schedule": NEVER} if value == NEVER else value


def _or_never(kind: type[Model]) -> BeforeValidator:
    return BeforeValidator(_never_alone, json_schema_input_type=kind | Literal["never"])


class Job(Model):
    """Sources of one host, backed up together: encrypted in one archive, sent to one or more stores."""

    host: Name = Field(description="Host to back up (a name from hosts).")
    sources: list[SourceSettings] = Field(min_length=1, description="What to back up.")
    stores: list[Name] = Field(min_length=1, description="Where to store it (names from stores).")
    schedule: When | None = Field(default=None, description=WHEN)
    jitter: Duration = Field(
        default="5m",
        validate_default=True,
        ge=timedelta(0),
        description="Maximum delay of scheduled starts, to spread jobs; 0s: none.",
    )
    hooks: Hooks = Field(default=Hooks(), description="Programs to run before and after a run.")
    limits: Limits = Field(default=Limits(), description="Limits for what one source may send.")
    keep: Keep = Field(default=Keep(), description="Which snapshots to keep; default: all.")
    verify: Annotated[VerifySettings, _or_never(VerifySettings)] = Field(
        default=VerifySettings(), description="When snapshots are verified."
    )
    drill: Annotated[Drill, _or_never(Drill)] = Field(
        default=Drill(), description="When a restore is tested."
    )
    prune: Annotated[Pruning, _or_never(Pruning)] = Field(
        default=Pruning(), description="When expired snapshots are deleted."
    )
    keys_file: AbsolutePath | None = Field(
        default=None, description="Keys file, created by 'leitstand backup keys generate'."
    )
    keys_command: Argv | None = Field(
        default=None, description="Program that prints the content of the keys file."
    )
    volume_size: Size = Field(
        default="64MiB", validate_default=True, description="Size of an object in the store, 64KiB to 4GiB."
    )
    uploads: int = Field(
        default=1,
        ge=1,
        le=8,
        description="Number of volumes to upload in parallel; each is kept in scratch meanwhile.",
    )
    policy: Literal["warn", "fail"] = Field(
        default="warn", description="What happens if a file cannot be read: a warning, or the run fails."
    )
    scratch: AbsolutePath = Field(
        default=Path("/var/tmp"),  # noqa: S108 - only unlinked files of mode 0600 are there
        description="Folder with space for three volumes (encrypted) and SQLite databases (not encrypted).",
    )

    @model_validator(mode="after")
    def names_its_keys_once(self) -> Self:
        if (self.keys_file is None) == (self.keys_command is None):
            raise ValueError("a backup needs its keys: either keys_file or keys_command")
        return self

    @model_validator(mode="after")
    def volume_size_is_sensible(self) -> Self:
        if not 64 * KIBIBYTE <= self.volume_size <= 4096 * MEBIBYTE:
            raise ValueError("volume_size must be between 64KiB and 4GiB")
        return self

    @property
    def timing(self) -> Schedule | None:
        return parse_schedule(self.schedule) if self.schedule else None


class BackupSettings(Model):
    """The sections that the orchestrator owns."""

    stores: dict[Name, StoreSettings] = Field(
        default={},
        description="Where snapshots are kept: folders, and buckets of OpenStack Swift or another S3.",
    )
    backups: dict[Name, Job] = Field(default={})

    def cross_check(self, fleet: Fleet) -> Iterator[Finding]:
        """Unknown hosts and stores; a store named twice; sources that hold the same files."""
        known: dict[str, object] = dict(self.stores)
        for name, job in self.backups.items():
            path = ("backups", name)
            if job.host not in fleet.hosts:
                yield unknown((*path, "host"), "host", job.host, fleet.hosts)
            for index, store in enumerate(job.stores):
                if store not in self.stores:
                    yield unknown((*path, "stores", index), "store", store, known)
                elif store in job.stores[:index]:
                    yield (*path, "stores", index), f"store '{store}' is named twice", "name each store once"
            labels = [source_label(source) for source in job.sources]
            yield from overlapping_sources(path, labels)
            yield from same_places(
                path, job.stores, {store: place_of(each) for store, each in self.stores.items()}
            )
            if (host := fleet.hosts.get(job.host)) is not None and host.ssh is None:
                yield from sources_in_stores(path, labels, self.folders(job))
            yield from repeated_accounts(path, job.sources)

    def folders(self, job: Job) -> dict[str, Path]:
        """The job's stores that are folders of this machine, by name; unknown names are left out."""
        found = {name: self.stores.get(name) for name in job.stores}
        return {name: store.path for name, store in found.items() if isinstance(store, FolderSettings)}


def source_label(
    source: FilesSettings | SqliteSettings | MysqlSettings | PostgresqlSettings | CommandSettings,
) -> str:
    """The name of a source in messages, and the folder of its entries in the archive.

    ``files/var/www``, ``sqlite/srv/guestbook.sqlite``, ``mysql/website``: kinds never meet.
    """
    match source:
        case FilesSettings():
            return f"files{source.files}".rstrip("/")
        case SqliteSettings():
            return f"sqlite{source.sqlite}"
        case MysqlSettings():
            return "mysql" if source.mysql == ALL_DATABASES else f"mysql/{source.mysql}"
        case PostgresqlSettings():
            every = source.postgresql == ALL_DATABASES
            return "postgresql" if every else f"postgresql/{source.postgresql}"
        case CommandSettings():
            return f"command/{source.name}"
