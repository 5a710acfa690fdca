"""The command line of ``leitstand exporter``: every option, and the setting it becomes.

Options that node_exporter has keep its names, so that its command lines and unit files keep working.
"""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import click

from exporter.collectors import COLLECTORS
from exporter.collectors.options import Options, flag
from exporter.inventory import SOURCES
from exporter.inventory.inventory import DEFAULT_INTERVAL
from exporter.inventory.watch import WATCHED
from exporter.modules import OPTION as MODULE
from exporter.node_exporter_flags import WEB_CONFIG, hidden_options, renamed, renamed_web_config
from exporter.roots import Roots
from exporter.web.conversation import Limits
from leitstand.activation import SYSTEMD
from leitstand.errors import UsageError
from leitstand.logs import set_up_logging

_LOG = logging.getLogger(__name__)
_MOST_REQUESTS = 1000
DEFAULT_ADDRESS = ":9815"
Given = Mapping[str, Any]
_PATH = click.Path(path_type=Path)
# Paths that the exporter uses itself.
_RESERVED = ("/inventory", "/-/healthy", "/-/ready")
_LEVELS = {"debug": "debug", "info": "info", "warn": "warning", "warning": "warning", "error": "error"}


def _option(name: str, parameter: str, explanation: str, **settings: Any) -> click.Option:
    return click.Option([name, parameter], help=explanation, **settings)


def _switch(name: str, parameter: str, explanation: str, default: bool | None) -> click.Option:
    return _option(f"{name}/--no-{name[2:]}", parameter, explanation, default=default)


def _web() -> Iterable[click.Option]:
    yield _option(
        "--web.listen-address",
        "listen",
        "Address to listen on, host:port. May be given several times.",
        multiple=True,
        default=(DEFAULT_ADDRESS,),
        show_default=True,
    )
    words = "Listen only on the sockets that systemd passes."
    yield _switch("--web.systemd-socket", "systemd_socket", words, False)
    words = (
        "File with TLS, client certificates, users and headers, in the format of Prometheus' own exporters."
    )
    yield _option(WEB_CONFIG, "web_config", words, type=_PATH)
    words = "Path of the live metrics."
    yield _option("--web.telemetry-path", "telemetry_path", words, default="/metrics", show_default=True)
    yield _option(
        "--web.max-requests",
        "max_requests",
        f"Maximum number of requests handled at once; further ones get 503. 0 means {_MOST_REQUESTS}.",
        type=click.IntRange(0),
        default=Limits.requests,
        show_default=True,
    )

    words = "Omit process_* and the server's own metrics."
    yield _switch("--web.disable-exporter-metrics", "without_own", words, False)


def _paths() -> Iterable[click.Option]:
    for name, default in (("proc", "/proc"), ("sys", "/sys"), ("root", "/")):
        words = f"Where the host's {default} is mounted."
        yield _option(f"--path.{name}fs", name, words, type=_PATH, default=Path(default), show_default=True)
    words = "Path of udev's database; default: run/udev/data below --path.rootfs."
    yield _option("--path.udev.data", "udev", words, type=_PATH)


def _logging() -> Iterable[click.Option]:
    levels = click.Choice(list(_LEVELS), case_sensitive=False)
    yield _option("--log.level", "log_level", "As leitstand's --log-level.", type=levels)
    formats = click.Choice(["text", "logfmt", "json"], case_sensitive=False)
    yield _option("--log.format", "log_format", "As leitstand's --log-format.", type=formats)


def _inventory() -> Iterable[click.Option]:
    yield _option(
        "--inventory.interval",
        "interval",
        "Seconds between two updates of the inventory.",
        type=click.FloatRange(min=1),
        default=DEFAULT_INTERVAL,
        show_default=True,
    )
    words = "File that keeps the time of the last change of the inventory across restarts."
    yield _option("--inventory.state", "state", words, type=_PATH)
    yield _option(
        "--inventory.watch",
        "watch",
        "Package whose version is served at every scrape, besides the usual ones; * and ? are wildcards. "
        "May be given several times.",
        multiple=True,
    )
    words = "Watch the usual packages: kernel, libc, OpenSSL, SSH, web servers, PHP, databases, mail."
    yield _switch("--inventory.watch-usual", "watch_usual", words, True)
    words = "Disable all sources; enable single ones with --inventory.NAME."
    yield _option("--inventory.disable-defaults", "disable_sources", words, is_flag=True)
    for name, entry in SOURCES.items():
        words = f"Read {entry.summary}."
        yield _switch(f"--inventory.{name}", f"source_{name}", words, None)


def _collectors() -> Iterable[click.Option]:
    words = "Disable all collectors; enable single ones with --collector.NAME."
    yield _switch("--collector.disable-defaults", "disable_collectors", words, False)
    words = "Serve node_exporter's metrics (node_*); disable where node_exporter runs, too."
    yield _switch("--node-metrics", "node_metrics", words, True)
    for name, entry in COLLECTORS.items():
        words = f"Collect {entry.summary} ({'enabled' if entry.is_default else 'disabled'} by default)."
        yield _switch(f"--collector.{name}", f"collector_{name}", words, None)
    words = "Your own prometheus_client collector, package.module:Class. May be given several times."
    yield _option(MODULE, "modules", words, multiple=True)
    for setting in fields(Options):
        name = flag(setting.name)
        yield _option(
            f"{name}/--no-{name[2:]}" if isinstance(setting.default, bool) else name,
            f"option_{setting.name}",
            setting.metadata["explanation"],
            default=setting.default,
            multiple=isinstance(setting.default, tuple),
            show_default=bool(setting.default),
        )


def all_options() -> list[click.Option]:
    """Every option, in the order of the help."""
    return [*_web(), *_paths(), *_logging(), *_inventory(), *_collectors(), *hidden_options()]


def roots_of(given: Given) -> Roots:
    return Roots(given["proc"], given["sys"], given["root"], given["udev"])


def web_config_of(given: Given) -> Path | None:
    """The web configuration file; None for an empty name, which is node_exporter's default.

    Raises UsageError if the option is given under both of its names.
    """
    former = renamed_web_config(given)
    path: Path | None = Path(former) if former else given["web_config"]
    return None if path == Path() else path


def limits_of(given: Given) -> Limits:
    return Limits(requests=min(given["max_requests"] or _MOST_REQUESTS, _MOST_REQUESTS))


def options_of(given: Given) -> Options:
    """The collectors' settings. Raises UsageError if an option is given under both of its names."""
    settings = {setting.name: given[f"option_{setting.name}"] for setting in fields(Options)}
    if given["without_own"]:
        settings["own_process"] = False
    return Options(**settings | renamed(given))


def addresses_of(given: Given) -> list[str]:
    """The listen addresses; with ``--web.systemd-socket`` only systemd's sockets, as in node_exporter."""
    listen = list(given["listen"])
    if not given["systemd_socket"]:
        return listen
    if listen != [DEFAULT_ADDRESS]:
        _LOG.warning("--web.listen-address has no effect: --web.systemd-socket is given, too")
    return [SYSTEMD]


def telemetry_path_of(given: Given) -> str:
    """The path of the live metrics. Raises UsageError for one that could not be requested."""
    path: str = given["telemetry_path"]
    if not path.startswith("/") or path.startswith("//") or path.rstrip("/") in _RESERVED:
        raise UsageError(
            f"--web.telemetry-path: {path!r} cannot be the path of the metrics", "write /metrics"
        )
    return path


def collectors_of(given: Given) -> list[str]:
    """The collectors to build: the defaults, changed by the switches."""
    by_default = not given["disable_collectors"]
    return [
        name
        for name, entry in COLLECTORS.items()
        if _is_on(given[f"collector_{name}"], entry.is_default and by_default)
        and (given["node_metrics"] or entry.group != "node")
    ]


def sources_of(given: Given) -> list[str]:
    by_default = not given["disable_sources"]
    return [name for name in SOURCES if _is_on(given[f"source_{name}"], by_default)]


def _is_on(switch: bool | None, by_default: bool) -> bool:
    return by_default if switch is None else switch


def watched_of(given: Given) -> tuple[str, ...]:
    return (*given["watch"], *(WATCHED if given["watch_usual"] else ()))


def set_up_log(given: Given) -> None:
    """Log as the exporter's own options say; without them, ``leitstand``'s options apply."""
    level, form = given["log_level"], given["log_format"]
    if level or form:
        set_up_logging(_LEVELS[level or "info"], "json" if form == "json" else "text")
