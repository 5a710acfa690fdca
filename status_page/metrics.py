"""The collector's own health as a textfile, so that somebody is told when it is not well."""

from pathlib import Path

from leitstand.errors import LeitstandError
from leitstand.exposition import Family
from leitstand.textfile import write_textfile
from status_page.snapshot import PublicSnapshot

PARTS = ("prometheus", "days", "history", "pages")


class MetricsError(LeitstandError):
    """The textfile cannot be written."""


def write_metrics(folder: Path, told: PublicSnapshot, problems: dict[str, str], dropped: int) -> None:
    """Replace ``FOLDER/status-page.prom``; nothing where the folder is not there. Raises MetricsError."""
    if not folder.is_dir():
        return
    try:
        write_textfile(folder / "status-page.prom", families(told, problems, dropped))
    except OSError as error:
        raise MetricsError(f"{folder}: cannot write the metrics: {error.strerror}") from error


def families(told: PublicSnapshot, problems: dict[str, str], dropped: int) -> list[Family]:
    """What is worth an alert: when pages were written, what they are based on, which part failed."""
    prefix = "leitstand_status_page_"
    written = Family(f"{prefix}written_timestamp_seconds", "gauge", "When the pages were last written.")
    if "pages" not in problems:
        written.add(told.written_at)
    measured = Family(f"{prefix}measured_timestamp_seconds", "gauge", "When what they tell was measured.")
    if told.measured_at is not None:
        measured.add(told.measured_at)
    failing = Family(f"{prefix}part_failing", "gauge", "1 while this part of the round fails.", ("part",))
    for part in PARTS:
        failing.add(int(part in problems), part)
    left_out = Family(f"{prefix}dropped_series", "gauge", "Series of the last answer that are not public.")
    left_out.add(dropped)
    return [written, measured, failing, left_out]
