"""What is not cared for, as a textfile for alerts."""

from pathlib import Path

from prometheus_client import CollectorRegistry, Gauge, generate_latest

from leitstand.errors import LeitstandError
from leitstand.files import make_public_folder, write_atomically
from rollout.suggest.suggestion import Suggestion, kinds_of

MAXIMUM_SERIES = 200  # of single things; the counts are complete
# In a folder of its own: the user who pulls has no say in the metrics of others.
TEXTFILE = Path("coverage/coverage.prom")


def write_metrics(folder: Path, suggestion: Suggestion, hosts: list[str], now: float) -> None:
    """Replace the textfile below ``folder``. Raises LeitstandError."""
    path = folder / TEXTFILE
    try:
        make_public_folder(path.parent)
        write_atomically(path, generate_latest(registry(suggestion, hosts, now)))
    except OSError as error:
        raise LeitstandError(
            f"{path}: cannot be written: {error.strerror}", "run this as the user who pulls, or as root"
        ) from error


def registry(suggestion: Suggestion, hosts: list[str], now: float) -> CollectorRegistry:
    """Counts for each host of which all is known; whether it is; the first things of the fleet; ``now``."""
    made = CollectorRegistry()

    def gauge(name: str, documentation: str, *labels: str) -> Gauge:
        return Gauge(f"leitstand_{name}", documentation, labels, registry=made)

    known = gauge("coverage_known", "1 if the host's inventory is complete and recent, 0 if not.", "host")
    counts = gauge(
        "uncovered_items", "Things on the host that are neither watched nor backed up.", "host", "kind"
    )
    for host in hosts:
        known.labels(host).set(host not in suggestion.unknown)
        for kind, count in kinds_of(suggestion, host):
            counts.labels(host, kind).set(count)
    things = gauge("uncovered", "A thing that is neither watched nor backed up.", "host", "kind", "item")
    for thing in suggestion.uncovered[:MAXIMUM_SERIES]:
        things.labels(thing.host, thing.kind, thing.name).set(1)
    gauge(
        "coverage_last_look_timestamp_seconds", "When inventories and leitstand.yml were last compared."
    ).set(now)
    return made
