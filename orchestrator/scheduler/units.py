"""systemd units that run jobs by their schedules: a hardened service and a timer for each task.

Sources: systemd.exec(5), systemd.timer(5), systemd.time(7).
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path, PurePath
from zoneinfo import ZoneInfo

from leitstand.files import write_atomically
from leitstand.settings.fleet import Paths
from leitstand.settings.models import duration_text
from orchestrator.config.schedule import WEEKDAYS, Schedule
from orchestrator.config.settings import CommandSettings, FilesSettings, Job, SqliteSettings
from orchestrator.config.tasks import Task, TaskPlan, longest_offset, options, plans
from orchestrator.state.context import Context

MARK = "# Written by 'leitstand backup install-timers'; changes here are lost.\n"
PREFIX = "leitstand-backup-"
PUT_OFF_YEARS = 10  # for which starts that the clock skips are written down
LONGEST_PAUSE = timedelta(minutes=5)  # between two checks whether 'every 6h' is over

# Rights that no task needs.
_ALWAYS = """\
UMask=0077
LimitCORE=0
ProtectSystem=strict
ProtectHome=read-only
ProtectKernelTunables=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectClock=yes
ProtectHostname=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
RestrictRealtime=yes
LockPersonality=yes
SystemCallArchitectures=native
"""
# Rights that the admin's programs may need, in hooks and command sources: sudo, mount, a compiler.
_WITHOUT_PROGRAMS = """\
NoNewPrivileges=yes
RestrictSUIDSGID=yes
RestrictNamespaces=yes
MemoryDenyWriteExecute=yes
PrivateDevices=yes
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM
"""


def units(context: Context, config: Path, program: str) -> dict[str, str]:
    result: dict[str, str] = {}
    zone = context.fleet.site.time_zone
    for task, plan in plans(context.settings.backups).items():
        name = f"{PREFIX}{task.action}-{task.job}"
        result[f"{name}.service"] = _service(context, task, plan, config, program)
        result[f"{name}.timer"] = _timer(task, plan, context.settings.backups[task.job], zone)
    return result


def write_units(folder: Path, texts: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """Write units that are new or differ; remove those of tasks that are gone.

    Returns the names of both. Raises OSError.
    """
    ours = [path for path in sorted(folder.glob(f"{PREFIX}*")) if path.is_file() and not path.is_symlink()]
    removed = [path for path in ours if path.name not in texts and path.read_text().startswith(MARK)]
    before = {path.name: path.read_text() for path in ours}
    changed = [name for name, text in sorted(texts.items()) if before.get(name) != text]
    for name in changed:
        write_atomically(folder / name, texts[name])
    for path in removed:
        path.unlink()
    return changed, [path.name for path in removed]


def _service(context: Context, task: Task, plan: TaskPlan, config: Path, program: str) -> str:
    job = context.settings.backups[task.job]
    words = [program, "backup", task.action, task.job, "--config", str(config), *options(task, job)]
    words += ["--if-due"] if plan.schedule.every or plan.first else []
    lines = [
        MARK,
        f"[Unit]\nDescription=Leitstand: {task.action} of backup {task.job}\n",
        "Wants=network-online.target\nAfter=network-online.target\n\n",
        f"[Service]\nType=oneshot\nExecStart={' '.join(map(_quoted, words))}\n",
        "# 1: finished with warnings, which Prometheus reports.\nSuccessExitStatus=1\n",
        "# SIGTERM goes to leitstand alone, which stops its children and cleans up.\nKillMode=mixed\n",
        "TimeoutStartSec=infinity\nTimeoutStopSec=15min\n",
        "Nice=10\nCPUSchedulingPolicy=batch\nIOSchedulingClass=best-effort\nIOSchedulingPriority=7\n\n",
        _ALWAYS,
        *_allowed(context, task, job),
    ]
    return "".join(lines)


def _allowed(context: Context, task: Task, job: Job) -> Iterator[str]:
    """Settings that depend on the job: where it writes, what it reads, which programs it runs."""
    local = context.fleet.hosts[job.host].ssh is None
    runs_here = local and task.action == "run"
    reads_here = runs_here or (local and task.action == "verify" and job.verify.spot is not None)
    paths = context.fleet.paths
    scratch = job.drill.scratch or job.scratch
    writes = {paths.state, paths.metrics, *context.folders(job)}
    if paths.state == Paths().state:
        # Made by systemd where nothing has run yet: this unit could not make it.
        yield f"StateDirectory={paths.state.name}\n"
    yield from (
        f"ReadWritePaths={_quoted('-' + str(path), variables=False)}\n" for path in sorted({*writes, scratch})
    )
    if not (reads_here and _covers(job, "/tmp", "/var/tmp")) and task.action != "drill":  # noqa: S108
        yield "PrivateTmp=yes\n"
    elif task.action != "run":
        yield "ReadWritePaths=-/tmp -/var/tmp\n"  # large manifests are read there, encrypted
    if not (reads_here and _covers(job, "/usr/lib/modules", "/lib/modules")):
        yield "ProtectKernelModules=yes\n"
    programs = (runs_here and _has_programs(job)) or task.action == "drill"
    if not programs:
        yield _WITHOUT_PROGRAMS
        # Root's right to write into others' folders (where this unit may write), and to read everything.
        yield f"CapabilityBoundingSet=CAP_DAC_OVERRIDE{' CAP_DAC_READ_SEARCH CAP_FOWNER' if local else ''}\n"


def _covers(job: Job, *places: str) -> bool:
    """Whether a source of files contains one of these places, or is in one."""
    sources = [PurePath(s.files) for s in job.sources if isinstance(s, FilesSettings)]
    sources += [PurePath(s.sqlite) for s in job.sources if isinstance(s, SqliteSettings)]
    found = [(source, PurePath(place)) for source in sources for place in places]
    return any(place.is_relative_to(source) or source.is_relative_to(place) for source, place in found)


def _has_programs(job: Job) -> bool:
    hooks = (*job.hooks.before, *job.hooks.after, *job.hooks.failure)
    return bool(hooks) or any(isinstance(source, CommandSettings) for source in job.sources)


def _quoted(word: str, *, variables: bool = True) -> str:
    """A word as systemd reads it back: quoted, without specifiers and, where it knows any, variables.

    Those are in commands only (systemd.service(5)).
    """
    plain = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    plain = plain.replace("$", "$$") if variables else plain
    return f'"{plain}"' if plain != word or not word or " " in word or "'" in word or ";" in word else word


def _timer(task: Task, plan: TaskPlan, job: Job, zone: str) -> str:
    lines = timer_lines(plan.first or plan.schedule, zone)
    if plan.first:
        lines += ["Persistent=true"]
    elif plan.schedule.every is None:
        delay = longest_offset(job.jitter, plan.schedule.interval).total_seconds()
        lines += ["# Starts missed while this host was down are made up for.", "Persistent=true"]
        lines += [f"RandomizedDelaySec={delay:.0f}", "FixedRandomDelay=true"]
    when = "".join(f"{line}\n" for line in lines)
    return (
        f"{MARK}[Unit]\nDescription=Leitstand: {task.action} of backup {task.job}, {plan.schedule.text}\n\n"
        f"[Timer]\n{when}AccuracySec=30s\n\n[Install]\nWantedBy=timers.target\n"
    )


def _put_off_lines(schedule: Schedule, zone: ZoneInfo, year: int) -> list[str]:
    """Starts of the coming years that the clock skips, each at the time that it becomes.

    systemd leaves out a time that is not there in spring, a whole day of a daily job.
    """
    first, last = date(year, 1, 1), date(year + PUT_OFF_YEARS, 1, 1)
    days = (first + timedelta(days=number) for number in range((last - first).days))
    found = {
        start
        for day in days
        if _is_short(day, zone) and schedule.starts_on(day)
        for minute in schedule.minutes
        if (start := _skipped(day, minute, zone)) is not None
    }
    return [f"OnCalendar={start:%Y-%m-%d %H:%M:%S} UTC" for start in sorted(found)]


def _is_short(day: date, zone: ZoneInfo) -> bool:
    """Whether the clock skips something on a day, or as it ends."""
    begin, end = (datetime.combine(each, time(), zone).utcoffset() for each in (day, day + timedelta(days=1)))
    return begin is not None and end is not None and begin < end


def _skipped(day: date, minute: int, zone: ZoneInfo) -> datetime | None:
    """A time of the day that is not there, as the time that it becomes."""
    wanted = datetime.combine(day, time(minute // 60, minute % 60), zone)
    start = wanted.astimezone(UTC)
    return None if start.astimezone(zone).replace(tzinfo=None) == wanted.replace(tzinfo=None) else start


def timer_lines(schedule: Schedule, zone: str, year: int | None = None) -> list[str]:
    """A schedule as systemd writes it, from ``year`` (this one) on. Cron's 'either day' becomes two lines.

    ``every`` is counted from the last run, which systemd forgets at a reboot: the timer checks now and
    then whether the task is due.
    """
    if schedule.every is not None:
        pause = min(LONGEST_PAUSE, max(timedelta(minutes=1), schedule.every / 10))
        return ["OnBootSec=2min", "OnActiveSec=1min", f"OnUnitInactiveSec={duration_text(pause)}"]
    weekdays = ",".join(WEEKDAYS[day].capitalize() for day in sorted(schedule.weekdays))
    put_off = _put_off_lines(schedule, ZoneInfo(zone), year or datetime.now(ZoneInfo(zone)).year)
    if schedule.either_day:
        lines = [_calendar(schedule, "", True, zone), _calendar(schedule, f"{weekdays} ", False, zone)]
    else:
        lines = [_calendar(schedule, f"{weekdays} " if len(schedule.weekdays) < 7 else "", True, zone)]
    return lines + put_off


def _calendar(schedule: Schedule, weekdays: str, use_days: bool, zone: str) -> str:
    months = _listed(schedule.months, 12)
    days = _listed(schedule.days, 31) if use_days else "*"
    hours = ",".join(f"{hour:02}" for hour in sorted({minute // 60 for minute in schedule.minutes}))
    minutes = ",".join(f"{minute:02}" for minute in sorted({minute % 60 for minute in schedule.minutes}))
    return f"OnCalendar={weekdays}*-{months}-{days} {hours}:{minutes}:00 {zone}"


def _listed(numbers: frozenset[int], all_of_them: int) -> str:
    if len(numbers) == all_of_them:
        return "*"
    return ",".join(f"{number:02}" for number in sorted(numbers))
