"""The sections ``stores`` and ``backups`` of leitstand.yml; `orchestrator.config.stores` has what a store is.

pydantic alone: checking needs nothing else.
"""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from leitstand.settings.fleet import Finding, Fleet, unknown
from leitstand.settings.models import AbsolutePath, Duration, Model, Name, SettingError
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
OWN_TIME = (
    f"{WHEN} 'never' for not at all. By default, where the job has a schedule, some time after its runs:"
)


class FilesSettings(Model):
    """A folder with all that is in it, or one file."""

    files: SourcePath = Field(description="The folder, or the one file.")
    include: list[str] = Field(
        default=[], description="Patterns of what is saved, nothing else; see docs/backups.md."
    )
    exclude: list[str] = Field(default=[], description="Patterns of what is left out; see docs/backups.md.")
    one_file_system: bool = Field(default=True, description="Do not enter other file systems mounted below.")
    exclude_caches: bool = Field(default=True, description="Leave out folders that hold a CACHEDIR.TAG.")
    exclude_if_present: list[FileName] = Field(
        default=[], description="Leave out folders that hold a file of such a name, such as .nobackup."
    )
    exclude_larger: Size | None = Field(default=None, description="Leave out files of more than that.")
    must_be_mounted: bool = Field(
        default=False, description="Fail unless it lies on another file system than '/'."
    )
    minimum_files: int = Field(default=0, ge=0, description="Fail when there are fewer files.")


class SqliteSettings(Model):
    """An SQLite database, copied consistently while it is in use."""

    sqlite: SourcePath = Field(description="The database's file.")
    memory_limit: Size = Field(
        default="16MiB",
        validate_default=True,
        description="A larger copy goes to an unlinked file in the scratch folder.",
    )


class DumpSettings(Model):
    """What every source that is a program's output has."""

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
        default=True, description="Save what rows of system-versioned tables were before (MariaDB 10.11)."
    )
    by_table: bool = Field(
        default=False,
        description="A file for each table; all of one transaction. See docs/backups-recipes.md.",
    )


class PostgresqlSettings(DumpSettings):
    """A database of PostgreSQL, or all of them (``"*"``)."""

    postgresql: DatabaseName = Field(description="Name of the database, or '*' for all.")
    format: Literal["plain", "custom"] = Field(default="plain", description="As of pg_dump --format.")
    globals: bool = Field(default=False, description="Save roles and grants too.")
    service: Name | None = Field(default=None, description="An entry of the service file.")
    service_file: AbsolutePath | None = Field(
        default=None, description="That file; default: the one that libpq takes."
    )
    password_file: AbsolutePath | None = Field(
        default=None, description="pgpass file on the host, mode 0600."
    )
    host: str | None = Field(default=None, description="Host name, or the folder of the server's socket.")
    port: int | None = Field(default=None, ge=1, le=65535, description="Port of the server.")
    user: str | None = Field(default=None, description="Whom to log in as.")


class CommandSettings(DumpSettings):
    """What a program writes to its standard output."""

    command: Argv = Field(description="The program and its arguments, word by word.")
    name: Name = Field(description="What its folder in the archive is called.")
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


class Keep(Model):
    """How many snapshots stay: the newest of each hour, day, …; nothing given keeps everything."""

    last: int = Field(default=0, ge=0, description="So many of the newest snapshots, whatever their age.")
    hourly: int = Field(default=0, ge=0, description="How many hours keep their newest snapshot.")
    daily: int = Field(default=0, ge=0, description="How many days keep their newest snapshot.")
    weekly: int = Field(default=0, ge=0, description="How many weeks keep their newest snapshot.")
    monthly: int = Field(default=0, ge=0, description="How many months keep their newest snapshot.")
    yearly: int = Field(default=0, ge=0, description="How many years keep their newest snapshot.")
    within: Duration | None = Field(default=None, description="Everything younger than this stays.")
    min: int = Field(default=1, ge=1, description="So many always stay, whatever the other rules say.")
    grace: Duration = Field(
        default="7d", validate_default=True, description="So long it stays marked before it is deleted."
    )

    @property
    def keeps_everything(self) -> bool:
        """Whether no rule was given, so that nothing is ever deleted."""
        counts = (self.last, self.hourly, self.daily, self.weekly, self.monthly, self.yearly)
        return not any(counts) and self.within is None


class Hooks(Model):
    """Programs around a run, each a list of words, run where the data is; see docs/backups.md."""

    before: list[Argv] = Field(
        default=[], description="Before anything is read; one that fails ends the run."
    )
    after: list[Argv] = Field(default=[], description="At the end, always, whatever happened: to clean up.")
    failure: list[Argv] = Field(default=[], description="When the run failed, before the others of its end.")
    timeout: Duration = Field(
        default="10m", validate_default=True, ge=timedelta(seconds=1), description="For each program."
    )


class Drill(Model):
    """How a job's newest snapshot is restored for a test, and what proves it good; or ``never``."""

    schedule: WhenOrNever | None = Field(default=None, description=f"{OWN_TIME} monthly.")
    scratch: AbsolutePath | None = Field(
        default=None, description="Folder with room for the whole job; default: the job's scratch."
    )
    check: Argv | None = Field(
        default=None, description="A program that finds the restored tree in $RESTORED."
    )
    timeout: Duration = Field(default="1h", validate_default=True, description="For the check.")

    @property
    def timing(self) -> Schedule | None:
        """The schedule as it is written, parsed."""
        return parse_schedule(self.schedule) if self.schedule not in (None, NEVER) else None


class VerifySettings(Model):
    """When snapshots are read back, and how much of them each time; or ``never``."""

    schedule: WhenOrNever | None = Field(default=None, description=f"{OWN_TIME} daily.")
    share: str | None = Field(
        default="1/30",
        pattern=r"^1/[1-9][0-9]{0,3}$",
        description="So much of all snapshots' volumes each day; null: all of the newest snapshot.",
    )
    spot: int | None = Field(
        default=20,
        ge=1,
        le=10_000,
        description="As well, once a week: so many files held against the live source; null: none.",
    )


class Pruning(Model):
    """When what ``keep`` does not keep is deleted; or ``never``."""

    schedule: WhenOrNever | None = Field(default=None, description=f"{OWN_TIME} weekly.")
    most_percent: int = Field(
        default=30,
        ge=1,
        le=100,
        description="A prune that would mark 3 or more, and more of all than this, waits for your word.",
    )


def _never_alone(value: object) -> object:
    if value is False or value in ("off", "no", "none"):
        raise SettingError("this is turned off with another word", f"write {NEVER}")
    return {"schedule": NEVER} if value == NEVER else value


def _or_never(kind: type[Model]) -> BeforeValidator:
    return BeforeValidator(_never_alone, json_schema_input_type=kind | Literal["never"])


class Job(Model):
    """What is backed up together: sources of one host, sealed in one archive, sent to one or more stores."""

    host: Name = Field(description="Whose data it is; a name from the section hosts.")
    sources: list[SourceSettings] = Field(min_length=1, description="What is saved.")
    stores: list[Name] = Field(min_length=1, description="Where to; names from the section stores.")
    schedule: When | None = Field(default=None, description=WHEN)
    jitter: Duration = Field(
        default="5m",
        validate_default=True,
        ge=timedelta(0),
        description="'serve' and timers start up to so much later; 0s: on time.",
    )
    hooks: Hooks = Field(default=Hooks(), description="Programs around a run.")
    limits: Limits = Field(default=Limits(), description="What a source may give at most.")
    keep: Keep = Field(default=Keep(), description="Which snapshots stay; without it, all.")
    verify: Annotated[VerifySettings, _or_never(VerifySettings)] = Field(
        default=VerifySettings(), description="When snapshots are read back."
    )
    drill: Annotated[Drill, _or_never(Drill)] = Field(default=Drill(), description="When a restore is tried.")
    prune: Annotated[Pruning, _or_never(Pruning)] = Field(
        default=Pruning(), description="When what need not stay is deleted."
    )
    keys_file: AbsolutePath | None = Field(
        default=None, description="Made by 'leitstand backup keys generate'."
    )
    keys_command: Argv | None = Field(default=None, description="A program that prints the keys file.")
    volume_size: Size = Field(
        default="64MiB", validate_default=True, description="Size of an object in the store, 64KiB to 4GiB."
    )
    uploads: int = Field(default=1, ge=1, le=8, description="Volumes sent at a time; each waits in scratch.")
    policy: Literal["warn", "fail"] = Field(
        default="warn", description="What a file that cannot be read means for the run."
    )
    scratch: AbsolutePath = Field(
        default=Path("/var/tmp"),  # noqa: S108 - only unlinked files of mode 0600 stand there
        description="Folder with room for three volumes, encrypted, and for SQLite databases, which are not.",
    )

    @model_validator(mode="after")
    def names_its_keys_once(self) -> Self:
        if (self.keys_file is None) == (self.keys_command is None):
            raise ValueError("a backup needs its keys: either keys_file or keys_command")
        return self

    @model_validator(mode="after")
    def volume_size_is_sensible(self) -> Self:
        if not 64 * KIBIBYTE <= self.volume_size <= 4096 * MEBIBYTE:
            raise ValueError("volume_size must lie between 64KiB and 4GiB")
        return self

    @property
    def timing(self) -> Schedule | None:
        """The schedule, parsed."""
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
    """What a source is called in messages, and the folder in the archive that its entries stand under.

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
