"""The exporter's own CPU and memory use, under the names that every Prometheus client uses."""

import os
import sys
from collections.abc import Iterable

from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from exporter.collectors.options import Options
from exporter.exposition import Family, Kind, Row
from leitstand.version import REVISION, VERSION


class OwnProcess(Collector):
    """process_* and leitstand_exporter_build_info, of this process, regardless of the roots."""

    def __init__(self, options: Options) -> None:
        self._process = ProcessCollector(registry=None) if options.own_process else None
        version = "{}.{}.{}".format(*sys.version_info[:3])
        self._build = ((VERSION, REVISION, version), 1)
        # Of its unit, as it was when this process started: it proves which configuration really runs.
        self._configuration = os.environ.get("LEITSTAND_CONFIGURATION")

    def collect(self) -> Iterable[Family]:
        yield Family(
            "leitstand_exporter_build_info",
            "gauge",
            "Version of the exporter, the commit it was built from, and its Python version.",
            ("version", "revision", "python"),
            [self._build],
        )
        if self._configuration:
            yield Family(
                "leitstand_exporter_configuration_info",
                "gauge",
                "Hash of the configuration that `leitstand apply` gave this host when the exporter started.",
                ("configuration",),
                [((self._configuration,), 1)],
            )
        # As our own families, which are written faster.
        for metric in self._process.collect() if self._process else ():
            kind: Kind = "counter" if metric.type == "counter" else "gauge"
            rows: list[Row] = [((), sample.value) for sample in metric.samples]
            yield Family(metric.samples[0].name, kind, metric.documentation, (), rows)
