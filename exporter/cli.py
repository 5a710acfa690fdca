"""``leitstand exporter``: build the collectors, the inventory and the server, and run until told to stop."""

import gc
import logging
import signal
import threading
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import click

from exporter.app import App
from exporter.collectors import COLLECTORS
from exporter.collectors.collector import Collector, Roots
from exporter.collectors.options import Options, flag
from exporter.inventory.inventory import DEFAULT_INTERVAL, InventoryService
from exporter.scrape import Scraper
from exporter.server import Server
from leitstand import __version__

DEFAULT_ADDRESS = ":9815"
_LOG = logging.getLogger(__name__)
_EXAMPLES = """Examples:

\b
  leitstand exporter --web.listen-address 127.0.0.1:9815
  leitstand exporter --no-collector.hwmon --collector.filesystem.mount-points-exclude '^/(dev|proc|sys)($|/)'
  leitstand exporter --no-node-metrics        # beside a node_exporter on the same host
"""


def _switches() -> list[click.Option]:
    """``--collector.NAME/--no-collector.NAME`` of every collector."""
    return [
        click.Option(
            [f"--collector.{name}/--no-collector.{name}", f"collector_{name}"],
            default=None,
            help=f"Serve {entry.summary}. {'On' if entry.is_default else 'Off'} unless told otherwise.",
        )
        for name, entry in COLLECTORS.items()
    ]


def _settings() -> list[click.Option]:
    """The collectors' own options."""
    return [
        click.Option(
            [flag(entry.name), f"option_{entry.name}"],
            default=entry.default,
            multiple=isinstance(entry.default, tuple),
            is_flag=isinstance(entry.default, bool),
            show_default=bool(entry.default),
            help=entry.metadata["explanation"],
        )
        for entry in fields(Options)
    ]


class _ExporterCommand(click.Command):
    """A command whose options come from the registries."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.params += [*_switches(), *_settings()]


def chosen(switches: Mapping[str, bool | None], disable_defaults: bool, node_metrics: bool) -> list[str]:
    """The collectors to build: defaults, and what the switches say otherwise."""
    names = []
    for name, entry in COLLECTORS.items():
        switch = switches.get(name)
        is_on = (entry.is_default and not disable_defaults) if switch is None else switch
        if is_on and (node_metrics or entry.group != "node"):
            names.append(name)
    return names


def build_collectors(names: list[str], roots: Roots, options: Options) -> dict[str, Collector]:
    """The collectors of these names. Raises UsageError for an option that makes no sense."""
    return {name: COLLECTORS[name].build(roots, options) for name in names}


@click.command(cls=_ExporterCommand, epilog=_EXAMPLES)
@click.version_option(__version__, "--version", prog_name="leitstand exporter")
@click.option(
    "--web.listen-address",
    "listen",
    multiple=True,
    default=(DEFAULT_ADDRESS,),
    show_default=True,
    help="Where to answer, host:port; may be given several times.",
)
@click.option(
    "--web.config.file",
    "web_config",
    type=click.Path(path_type=Path),
    help="TLS, client certificates, users and headers; the format of Prometheus' own exporters.",
)
@click.option("--web.telemetry-path", "telemetry_path", default="/metrics", show_default=True)
@click.option(
    "--path.procfs", "proc", type=click.Path(path_type=Path), default=Path("/proc"), show_default=True
)
@click.option("--path.sysfs", "sys", type=click.Path(path_type=Path), default=Path("/sys"), show_default=True)
@click.option("--path.rootfs", "root", type=click.Path(path_type=Path), default=Path("/"), show_default=True)
@click.option(
    "--collector.disable-defaults", "disable_defaults", is_flag=True, help="Only what is switched on."
)
@click.option(
    "--node-metrics/--no-node-metrics",
    "node_metrics",
    default=True,
    help="Without them no name starts with node_: for hosts that run node_exporter too.",
)
@click.option(
    "--inventory.interval",
    "interval",
    type=click.FloatRange(min=1),
    default=DEFAULT_INTERVAL,
    show_default=True,
    help="Seconds between two looks at software and other slow things.",
)
@click.option(
    "--inventory.state",
    "state",
    type=click.Path(path_type=Path),
    help="File that remembers when the inventory changed last, across restarts.",
)
def exporter(
    listen: tuple[str, ...],
    web_config: Path | None,
    telemetry_path: str,
    proc: Path,
    sys: Path,
    root: Path,
    disable_defaults: bool,
    node_metrics: bool,
    interval: float,
    state: Path | None,
    **rest: Any,
) -> None:
    """Serve this host's figures and inventory to Prometheus.

    Metrics that node_exporter has keep its names and meaning. /metrics holds the live figures,
    /metrics/inventory one series per item of the inventory, /inventory all of it as JSON.
    """
    roots = Roots(proc, sys, root)
    options = Options(**{key.removeprefix("option_"): rest[key] for key in rest if key.startswith("option_")})
    switches = {key.removeprefix("collector_"): rest[key] for key in rest if key.startswith("collector_")}
    collectors = build_collectors(chosen(switches, disable_defaults, node_metrics), roots, options)
    inventory = InventoryService(roots, interval, state=state)
    scraper = Scraper(collectors, lambda: inventory.snapshot().metrics, node_metrics=node_metrics)
    app = App(scraper, inventory, telemetry_path)
    server = Server(list(listen), app, web_config)
    app.observe(server.status)
    serve(server, inventory)


def serve(server: Server, inventory: InventoryService) -> None:
    """Run until SIGTERM or SIGINT."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    inventory.start()
    for address in server.addresses:
        _LOG.info("listening on %s", address)
    # What exists by now lives until the end: the collector need not walk it again and again.
    gc.collect()
    gc.freeze()
    try:
        server.serve_until(stop)
    finally:
        inventory.close()
