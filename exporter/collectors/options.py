"""Settings of the live collectors, under node_exporter's own names, so that its command lines keep working.

A field ``filesystem_mount_points_exclude`` is the option ``--collector.filesystem.mount-points-exclude``.
"""

import re
from dataclasses import dataclass, field, fields

from leitstand.errors import UsageError

_MOST_SECONDS = 3600.0
DEFAULT_TEXTFILE_FOLDERS = (
    "/var/lib/prometheus/node-exporter",
    "/var/lib/leitstand/metrics",
    "/var/lib/leitstand/metrics/status-page",
    "/var/lib/leitstand/metrics/coverage",
)


def _setting(default: str, explanation: str) -> str:
    setting: str = field(default=default, metadata={"explanation": explanation})
    return setting


def _switch(explanation: str, *, default: bool = False) -> bool:
    switch: bool = field(default=default, metadata={"explanation": explanation})
    return switch


@dataclass(frozen=True)
class Options:
    """Settings of the collectors. Patterns are regular expressions; empty means no pattern."""

    textfile_directory: tuple[str, ...] = field(
        default=(),
        metadata={
            "explanation": "Folder of *.prom files to serve; may be given several times. Without it: "
            + ", ".join(DEFAULT_TEXTFILE_FOLDERS)
        },
    )
    filesystem_mount_points_exclude: str = _setting(
        r"^/(dev|proc|run/credentials/.+|sys|var/lib/docker/.+|var/lib/containers/storage/.+)($|/)",
        "Mount points to exclude.",
    )
    filesystem_mount_points_include: str = _setting("", "Mount points to include; all others are excluded.")
    filesystem_fs_types_exclude: str = _setting(
        "^(autofs|binfmt_misc|bpf|cgroup2?|configfs|debugfs|devpts|devtmpfs|erofs|fusectl|hugetlbfs|iso9660|mqueue"
        "|nsfs|overlay|proc|procfs|pstore|rpc_pipefs|securityfs|selinuxfs|squashfs|sysfs|tracefs)$",
        "File system types to exclude.",
    )
    filesystem_fs_types_include: str = _setting("", "File system types to include; all others are excluded.")
    filesystem_mount_timeout: str = _setting(
        "2s", "Seconds after which a mount that does not answer counts as stuck."
    )
    netdev_device_exclude: str = _setting("^lo$", "Network devices to exclude.")
    netdev_device_include: str = _setting("", "Network devices to include; all others are excluded.")
    netdev_address_info: bool = _switch("Serve the addresses of network devices.")
    netdev_enable_detailed_metrics: bool = _switch(
        "Serve each kind of error separately, under its own name: receive_errors instead of receive_errs."
    )
    netdev_label_ifalias: bool = _switch("Add the device's alias as the label ifalias.")
    netclass_ignored_devices: str = _setting("^$", "Network devices to exclude from netclass.")
    netclass_ignore_invalid_speed: bool = _switch(
        "Omit the speed of devices that report -1, which would become -125000."
    )
    own_process: bool = _switch("Serve the exporter's own CPU and memory use, as process_*.", default=True)
    cpu_guest: bool = _switch("Serve node_cpu_guest_seconds_total.", default=True)
    cpu_info: bool = _switch("Serve model, microcode and cache of each CPU.")
    cpu_info_flags_include: str = _setting("", "CPU flags to serve; implies --collector.cpu.info.")
    cpu_info_bugs_include: str = _setting("", "CPU bugs to serve; implies --collector.cpu.info.")
    stat_softirq: bool = _switch("Serve software interrupts by kind.")
    powersupply_ignored_supplies: str = _setting("^$", "Power supplies to exclude.")
    diskstats_device_exclude: str = _setting(
        r"^(z?ram|loop|fd|(h|s|v|xv)d[a-z]|nvme\d+n\d+p)\d+$", "Disks and partitions to exclude."
    )
    diskstats_device_include: str = _setting("", "Disks and partitions to include; all others are excluded.")
    arp_device_exclude: str = _setting("", "Network devices to exclude from arp.")
    arp_device_include: str = _setting("", "Network devices to include in arp; all others are excluded.")
    netstat_fields: str = _setting(
        "^(.*_(InErrors|InErrs)|Ip_Forwarding|Ip(6|Ext)_(InOctets|OutOctets)|Icmp6?_(InMsgs|OutMsgs)"
        "|TcpExt_(Listen.*|Syncookies.*|TCPSynRetrans|TCPTimeouts|TCPOFOQueue|TCPRcvQDrop)"
        "|Tcp_(ActiveOpens|InSegs|OutSegs|OutRsts|PassiveOpens|RetransSegs|CurrEstab)"
        "|Udp6?_(InDatagrams|OutDatagrams|NoPorts|RcvbufErrors|SndbufErrors))$",
        "Fields of netstat to serve.",
    )
    vmstat_fields: str = _setting("^(oom_kill|pgpg|pswp|pg.*fault).*", "Fields of vmstat to serve.")
    systemd_unit_include: str = _setting(".+", "Units to include; the whole name must match.")
    systemd_unit_exclude: str = _setting(
        r".+\.(automount|device|mount|scope|slice|target)", "Units to exclude; the whole name must match."
    )
    systemd_enable_restarts_metrics: bool = _switch("Serve the number of restarts of each service.")
    systemd_enable_task_metrics: bool = _switch("Serve the number of tasks of each service, and its limit.")
    systemd_enable_start_time_metrics: bool = _switch("Serve the time at which each unit became active.")
    hwmon_chip_exclude: str = _setting("", "Sensor chips to exclude.")
    hwmon_chip_include: str = _setting("", "Sensor chips to include; all others are excluded.")
    hwmon_sensor_exclude: str = _setting("", "Sensors to exclude, as chip;sensor.")
    hwmon_sensor_include: str = _setting("", "Sensors to include, as chip;sensor; all others are excluded.")


def flag(name: str) -> str:
    """The command-line option of a field of `Options`."""
    collector, _, rest = name.partition("_")
    # One option is nested below another: --collector.cpu.info.flags-include.
    return f"--collector.{collector}.{rest.replace('info_', 'info.').replace('_', '-')}"


def pattern(options: Options, name: str) -> re.Pattern[str]:
    """The field's compiled pattern. Raises UsageError naming the option."""
    try:
        return re.compile(_as_python(getattr(options, name)))
    except re.error as error:
        raise UsageError(f"{flag(name)}: not a regular expression: {error}") from error


# Parts of Go's regular expressions that Python would read differently.
_CLASSES = {
    "alnum": "0-9A-Za-z",
    "alpha": "A-Za-z",
    "blank": r"\t ",
    "digit": "0-9",
    "lower": "a-z",
    "space": r"\t\n\v\f\r ",
    "upper": "A-Z",
    "word": r"\w",
    "xdigit": "0-9A-Fa-f",
}
_OF_GO = re.compile(r"\\.|\[:(\w+):\]", re.DOTALL)


def _as_python(text: str) -> str:
    """A Go pattern in Python's syntax: ``[[:alnum:]]`` and ``\\z``. Raises re.error for another class."""

    def rewritten(match: re.Match[str]) -> str:
        if match[1] is None:
            return r"\Z" if match[0] == r"\z" else match[0]
        if match[1] not in _CLASSES:
            raise re.error(f"unknown class {match[0]}")
        return _CLASSES[match[1]]

    return _OF_GO.sub(rewritten, text)


@dataclass(frozen=True)
class Selection:
    """Which names to serve: those that match the include pattern, or do not match the exclude pattern."""

    include: re.Pattern[str] | None
    exclude: re.Pattern[str] | None

    def takes(self, name: str) -> bool:
        if self.exclude is not None and self.exclude.search(name):
            return False
        return self.include is None or self.include.search(name) is not None


def selection(options: Options, subject: str) -> Selection:
    """The selection of ``<subject>_include`` and ``<subject>_exclude``. Raises UsageError if both are set.

    An include pattern alone replaces the default exclude pattern, as in node_exporter.
    """
    include, exclude = f"{subject}_include", f"{subject}_exclude"
    defaults = {entry.name: entry.default for entry in fields(Options)}
    if getattr(options, include):
        if getattr(options, exclude) not in ("", defaults[exclude]):
            raise UsageError(f"{flag(include)} and {flag(exclude)} cannot be combined", "give one of them")
        return Selection(pattern(options, include), None)
    return Selection(None, pattern(options, exclude) if getattr(options, exclude) else None)


_PART = re.compile(r"(\d+(?:\.\d+)?)(h|ms|m|s)", re.ASCII)
_DURATION = re.compile(rf"(?:{_PART.pattern})+", re.ASCII)
_UNIT_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}


def seconds(options: Options, name: str) -> float:
    """The field's value in seconds: ``5s``, ``1m30s`` or ``5``. Raises UsageError naming the option."""
    text = getattr(options, name)
    written = f"{text}s" if text.replace(".", "", 1).isdecimal() else text
    parts = _PART.findall(written) if _DURATION.fullmatch(written) else []
    value = sum(float(number) * _UNIT_SECONDS[unit] for number, unit in parts)
    if not 0 < value < _MOST_SECONDS:
        raise UsageError(f"{flag(name)}: {text!r} is not a duration", "write seconds, such as 5s or 500ms")
    return value
