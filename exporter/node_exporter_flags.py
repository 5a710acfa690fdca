"""node_exporter's options that ours does not have under that name: former names, and those without effect.

A unit file for node_exporter 1.0 to 1.12 starts this exporter unchanged. Sources: ``node_exporter --help``
and, for hidden options, its code.
"""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any, NamedTuple

import click

from exporter.collectors.options import Options, flag
from exporter.not_served import NOT_SERVED, NOT_SERVED_LATER
from leitstand.errors import UsageError

_LOG = logging.getLogger(__name__)
Given = Mapping[str, Any]
_DEFAULTS = {setting.name: setting.default for setting in fields(Options)}

# Former name of an option: the field of Options that it sets.
FORMER = {
    "--collector.diskstats.ignored-devices": "diskstats_device_exclude",
    "--collector.filesystem.ignored-fs-types": "filesystem_fs_types_exclude",
    "--collector.filesystem.ignored-mount-points": "filesystem_mount_points_exclude",
    "--collector.netdev.device-blacklist": "netdev_device_exclude",
    "--collector.netdev.device-whitelist": "netdev_device_include",
    "--collector.netdev.ignored-devices": "netdev_device_exclude",
    "--collector.systemd.unit-blacklist": "systemd_unit_exclude",
    "--collector.systemd.unit-whitelist": "systemd_unit_include",
}
# Up to 1.4, as in Ubuntu 22.04.
FORMER_WEB_CONFIG, WEB_CONFIG = "--web.config", "--web.config.file"


class WithoutEffect(NamedTuple):
    """An option that is accepted and changes nothing. ``is_switch``: no value follows it."""

    name: str
    is_switch: bool
    reason: str


_NETLINK = "the same values are read from files"
_ABOUT_OURS = (
    WithoutEffect("--runtime.gomaxprocs", False, "this program is not written in Go"),
    WithoutEffect("--collector.arp.netlink", True, _NETLINK),
    WithoutEffect("--collector.netclass.netlink", True, _NETLINK),
    WithoutEffect("--collector.netclass_rtnl.with-stats", True, _NETLINK),
    WithoutEffect("--collector.netdev.netlink", True, _NETLINK),
    WithoutEffect(
        "--collector.filesystem.stat-workers", False, "one thread collects, plus one for each that hangs"
    ),
    WithoutEffect("--collector.systemd.private", True, "the system bus answers every user"),
)
# Options of collectors that are not served, by collector.
_VALUES = {
    "ethtool": ("device-include", "device-exclude", "metrics-include"),
    "infiniband": ("device-include", "device-exclude"),
    "interrupts": ("name-include", "name-exclude"),
    "ipvs": ("backend-labels",),
    "ntp": ("server", "server-port", "protocol-version", "ip-ttl", "max-distance", "local-offset-tolerance"),
    "pcidevice": ("idsfile",),
    "perf": ("cpus", "tracepoint", "hardware-profilers", "software-profilers", "cache-profilers"),
    "qdisc": ("fixtures", "device-include", "device-exclude"),
    "runit": ("servicedir",),
    "slabinfo": ("slabs-include", "slabs-exclude"),
    "supervisord": ("url",),
    "sysctl": ("include", "include-info"),
    "tapestats": ("ignored-devices",),
    "wifi": ("fixtures",),
}
_SWITCHES = {
    "bcache": ("priorityStats",),
    "interrupts": ("include-zeros",),
    "ntp": ("server-is-local",),
    "pcidevice": ("names",),
    "perf": ("disable-hardware-profilers", "disable-software-profilers", "disable-cache-profilers"),
    "rapl": ("enable-zone-label",),
}


def without_effect() -> list[WithoutEffect]:
    """Every option of node_exporter that is accepted and has no effect here."""
    absent = NOT_SERVED | NOT_SERVED_LATER
    switches = [
        WithoutEffect(f"--collector.{name}", True, f"not served: {reason}")
        for name, (_, reason) in absent.items()
    ]
    further = [
        WithoutEffect(f"--collector.{name}.{option}", is_switch, f"{name} is not served")
        for table, is_switch in ((_VALUES, False), (_SWITCHES, True))
        for name, options in table.items()
        for option in options
    ]
    misspelt = [
        WithoutEffect(f"--collector.qdisk.{option}", False, "qdisc is not served")
        for option in _VALUES["qdisc"][1:]
    ]
    return [*switches, *_ABOUT_OURS, *further, *misspelt]


def hidden_options() -> Iterable[click.Option]:
    for name in (*FORMER, FORMER_WEB_CONFIG):
        yield click.Option([name, _parameter(name)], hidden=True)
    for option in without_effect():
        switch = f"{option.name}/--no-{option.name[2:]}" if option.is_switch else option.name
        parameter = _parameter(option.name)
        yield click.Option([switch, parameter], hidden=True, multiple=not option.is_switch, default=None)


def renamed(given: Given) -> dict[str, str]:
    """Fields of Options set under a former name. Raises UsageError if the current name is given as well."""
    found: dict[str, str] = {}
    for name, field in FORMER.items():
        value = given[_parameter(name)]
        if not value:
            continue
        if field in found or given[f"option_{field}"] != _DEFAULTS[field]:
            raise UsageError(f"{name} is a former name of {flag(field)}", "give one of them, once")
        found[field] = value
    return found


def renamed_web_config(given: Given) -> str:
    """The web configuration file under the option's former name; empty without it.

    Raises UsageError if the current name is given as well.
    """
    path: str = given[_parameter(FORMER_WEB_CONFIG)] or ""
    if path and given["web_config"]:
        raise UsageError(f"{FORMER_WEB_CONFIG} is a former name of {WEB_CONFIG}", "give one of them, once")
    return path


def log_notices(given: Given) -> None:
    """Log one line for each option that has no effect or has been renamed."""
    present = {name: flag(field) for name, field in FORMER.items()} | {FORMER_WEB_CONFIG: WEB_CONFIG}
    for former, name in present.items():
        if given[_parameter(former)]:
            _LOG.warning("%s is a former name; write %s", former, name)
    for option in without_effect():
        # Disabling a collector that does not exist has its effect.
        if given[_parameter(option.name)]:
            _LOG.warning("%s has no effect: %s", option.name, option.reason)


def _parameter(name: str) -> str:
    return "foreign_" + "".join(sign if sign.isalnum() else "_" for sign in name[2:]).lower()
