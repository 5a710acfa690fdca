"""The collector's own health as a textfile, for alerts about it."""

from pathlib import Path

from prometheus_client import CollectorRegistry, Gauge, generate_latest

from leitstand.errors import LeitstandError
from leitstand.files import write_atomically
from leitstand.version import REVISION, VERSION
from status_page.snapshot import PublicSnapshot

PARTS = ("prometheus", "days", "history", "pages")


class MetricsError(LeitstandError):
    """The textfile cannot be written."""


def write_metrics(folder: Path, page: PublicSnapshot, problems: dict[str, str], dropped: int) -> None:
    """Replace ``FOLDER/status-page.prom``, if the folder exists. Raises MetricsError."""
    try:
        if not folder.is_dir():
            return
        write_atomically(folder / "status-page.prom", generate_latest(registry(page, problems, dropped)))
    except OSError as error:
        raise MetricsError(f"{folder}: cannot write the metrics: {error.strerror}") from error


def registry(page: PublicSnapshot, problems: dict[str, str], dropped: int) -> CollectorRegistry:
    """Metrics for alerts: when pages were written, the age of their data, which parts fail."""
    made = CollectorRegistry()

    def gauge(name: str, documentation: str, *labels: str) -> Gauge:
        return Gauge(f"leitstand_status_page_{name}", documentation, labels, registry=made)

    build = gauge(
        "build_info", "Version and commit of the status collector, as labels.", "version", "revision"
    )
    build.labels(VERSION, REVISION).set(1)
    if "pages" not in problems:
        gauge("written_timestamp_seconds", "When the pages were last written.").set(page.written_at)
    if page.measured_at is not None:
        gauge("measured_timestamp_seconds", "When the data of the pages was measured.").set(page.measured_at)
    failing = gauge("part_failing", "1 while this part of the round fails.", "part")
    for part in PARTS:
        failing.labels(part).set(part in problems)
    gauge("dropped_series", "Series of the last answer that were dropped, as they are not public.").set(
        dropped
    )
    return made
