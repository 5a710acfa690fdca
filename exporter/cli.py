"""``leitstand exporter``: build the collectors, the inventory and the server, and run until a signal."""

import gc
import logging
import signal
import threading
from typing import Any

import click

from exporter.collectors import COLLECTORS
from exporter.flags import (
    addresses_of,
    all_options,
    collectors_of,
    limits_of,
    options_of,
    roots_of,
    set_up_log,
    sources_of,
    telemetry_path_of,
    watched_of,
    web_config_of,
)
from exporter.inventory.inventory import InventoryService
from exporter.modules import load_collector
from exporter.node_exporter_flags import log_notices
from exporter.scrape import Scraper
from exporter.web.app import App, server_names
from exporter.web.server import Server
from leitstand.version import VERSION

_LOG = logging.getLogger(__name__)
_EXAMPLES = """Examples:

\b
  leitstand exporter --web.listen-address 127.0.0.1:9815
  leitstand exporter --no-collector.hwmon --collector.filesystem.mount-points-exclude '^/(dev|proc|sys)($|/)'
  leitstand exporter --no-inventory.npm --inventory.watch 'postgis*' --inventory.watch rspamd
  leitstand exporter --no-node-metrics        # where node_exporter runs on the same host, too
  leitstand exporter --collector.module shop.metrics:Queue
"""


@click.command(params=list[click.Parameter](all_options()), epilog=_EXAMPLES)
@click.version_option(VERSION, "--version", prog_name="leitstand exporter")
def exporter(**given: Any) -> None:
    """Serve this host's metrics and inventory to Prometheus.

    Metrics that node_exporter has keep its names and meaning. /metrics has the live metrics,
    /metrics/inventory one series per item of the inventory, /inventory the whole inventory as JSON.
    """
    set_up_log(given)
    log_notices(given)
    roots, options = roots_of(given), options_of(given)
    collectors = {name: COLLECTORS[name].build(roots, options) for name in collectors_of(given)}
    last = {"textfile": collectors.pop("textfile")} if "textfile" in collectors else {}
    others = {place: load_collector(place) for place in given["modules"]}
    inventory = InventoryService(
        roots, given["interval"], sources_of(given), watch=watched_of(given), state=given["state"]
    )
    scraper = Scraper(
        {**collectors, **others, **last},
        lambda: inventory.snapshot().metrics,
        reserved=server_names(),
        node_metrics=given["node_metrics"],
    )
    app = App(scraper, inventory, telemetry_path_of(given))
    server = Server(addresses_of(given), app, web_config_of(given), limits_of(given))
    if not given["without_own"]:
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
    # Everything built so far lives until the end: the garbage collector need not scan it each time. Nor
    # what a scrape builds, some thousand objects, which go when their page is sent.
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000)
    try:
        server.serve_until(stop)
    finally:
        inventory.close()
