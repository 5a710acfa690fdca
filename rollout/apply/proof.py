"""The proof at the end of every run: what runs is what was wanted, on every host.

What was written is no proof: an old process may still run. So the release and the hash of the configuration
are taken from the metrics of the running programs, as Prometheus scraped them.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from leitstand.prometheus import Prometheus

RELEASE = 'leitstand_exporter_build_info{job="host"}'
CONFIGURATION = 'leitstand_exporter_configuration_info{job="host"}'
LOADED = "leitstand_configuration_info"  # recorded by a rule that shows what Prometheus has loaded
_UP = 'up{job="host"} == 1'


@dataclass(frozen=True)
class Runs:
    """What one host runs; empty where it is unknown."""

    release: str = ""
    configuration: str = ""

    @property
    def known(self) -> bool:
        """Whether the host says what it runs."""
        return bool(self.release)


def what_runs(prometheus: Prometheus) -> dict[str, Runs]:
    """What each host runs that Prometheus reaches at this moment. Raises PrometheusError."""
    up = {sample.labels.get("instance", "") for sample in prometheus.vector(_UP)}
    releases = _labels(prometheus, RELEASE, "version")
    configurations = _labels(prometheus, CONFIGURATION, "configuration")
    return {host: Runs(releases.get(host, ""), configurations.get(host, "")) for host in up}


def _labels(prometheus: Prometheus, metric: str, label: str) -> dict[str, str]:
    """The newest series of a host counts: after a restart the old one stays for a while."""
    found = sorted(prometheus.vector(f"timestamp({metric})"), key=lambda sample: sample.value)
    return {sample.labels.get("instance", ""): sample.labels.get(label, "") for sample in found}


def differences(wanted: Mapping[str, Runs], runs: Mapping[str, Runs]) -> Iterator[tuple[str, str]]:
    """Host and difference, in one line, of each host that does not run what is wanted."""
    for host, want in wanted.items():
        found = runs.get(host, Runs())
        if not found.known:
            yield host, "what it runs is unknown: Prometheus does not reach it"
        elif found.release != want.release:
            yield host, f"runs release {found.release}, not {want.release}"
        elif found.configuration != want.configuration:
            yield (
                host,
                f"runs configuration {found.configuration or 'of another origin'}, not {want.configuration}",
            )
