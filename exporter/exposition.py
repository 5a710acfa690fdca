"""Metrics as prometheus_client models them, and the pages they are written to.

Sources: https://prometheus.io/docs/instrumenting/exposition_formats/ (text format 0.0.4) and the OpenMetrics
1.0.0 specification. Our families have their own writer because the library's takes four times the CPU;
tests compare its pages with the library's. Metrics of third-party collectors are written by the library.
"""

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Literal, NamedTuple

from prometheus_client.metrics_core import METRIC_TYPES, Metric
from prometheus_client.openmetrics.exposition import escape_label_name, escape_metric_name
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

Row = tuple[tuple[str, ...], float]  # label values and the number
Kind = Literal["counter", "gauge", "untyped", "histogram", "summary"]
Form = Literal["text", "openmetrics", "both"]  # of a page
# Suffixes of samples whose name differs from the family's.
PARTS: dict[str, tuple[str, ...]] = {
    "histogram": ("_bucket", "_sum", "_count"),
    "summary": ("_sum", "_count"),
}
_SPARE = 64  # unused series that may be cached before the family's cache is dropped
_MOST_FAMILIES = 10_000  # a textfile may have new names at each scrape
_LAST_SECOND = 2**63 / 1000  # Prometheus counts milliseconds in 64 bits
_EXACT = 2**64  # integers below this are written in full
_NOT_FINITE = {"nan": "NaN", "inf": "+Inf", "-inf": "-Inf"}
_LABEL_ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})
_HELP_ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n"})
_BOUND = re.compile(r'([{,](?:le|quantile)=")([^"]*)(?=")')
_END = b"# EOF\n"


class Family(Metric):
    """A prometheus_client metric that keeps rows; its ``samples`` are built on demand.

    ``Family("node_load1", "gauge", "1m load average.", (), [((), 0.5)])``. ``full_name`` and ``kind`` are
    those of the text format, ``name`` and ``type`` those of OpenMetrics. ``ready`` are further samples as
    lines of text, each with its newline; the only form for histograms and summaries.
    """

    unit = ""

    def __init__(
        self,
        name: str,
        kind: Kind,
        documentation: str,
        label_names: Sequence[str] = (),
        rows: list[Row] | None = None,
        ready: str = "",
    ) -> None:
        # Without Metric.__init__: it would match every name against a pattern at each scrape.
        self.full_name = name
        self.kind = kind
        self.documentation = documentation
        self.label_names = label_names
        self.rows: list[Row] = [] if rows is None else rows
        self.ready = ready

    def add(self, value: float, *labels: str) -> None:
        """Add one row; ``labels`` in the order of ``label_names``."""
        self.rows.append((labels, value))

    @property
    def name(self) -> str:  # type: ignore[override]  # these are attributes of Metric
        """The name without a counter's ``_total``."""
        return self.full_name.removesuffix("_total") if self.kind == "counter" else self.full_name

    @property
    def type(self) -> str:  # type: ignore[override]
        """The type; ``unknown`` for a counter without ``_total``, which a textfile may contain."""
        certain = self.kind != "untyped" and (self.kind != "counter" or self.name != self.full_name)
        return self.kind if certain else "unknown"

    @property
    def samples(self) -> list[Sample]:  # type: ignore[override]
        """The samples as prometheus_client has them."""
        from prometheus_client.parser import text_string_to_metric_families

        read = [sample for family in text_string_to_metric_families(self.ready) for sample in family.samples]
        return [
            *(
                Sample(self.full_name, dict(zip(self.label_names, labels, strict=True)), value)
                for labels, value in self.rows
            ),
            *read,
        ]


class Piece(NamedTuple):
    """One metric as it appears on a page of the text format.

    ``names`` may be used by no other piece. ``openmetrics`` is the same in that format; without it, the
    lines after HELP and TYPE are identical.
    """

    metric: Metric
    names: tuple[str, ...]
    text: str
    openmetrics: str = ""


def text_page(pieces: Iterable[Piece]) -> bytes:
    """A page in the text format 0.0.4. A name must not appear twice: Prometheus rejects it."""
    return "".join([piece.text for piece in pieces]).encode("utf-8", "replace")


def openmetrics_page(pieces: Sequence[Piece]) -> bytes:
    """The same page as OpenMetrics."""
    names = {name for piece in pieces for name in piece.names}
    parts = [part for piece in pieces for part in _openmetrics(piece, names)]
    return "".join(parts).encode("utf-8", "replace") + _END


def _openmetrics(piece: Piece, names: set[str]) -> tuple[str, str]:
    family = piece.metric
    if piece.openmetrics or not isinstance(family, Family):
        return piece.openmetrics, ""
    name, kind, lines = family.name, family.type, piece.text.split("\n", 2)[2]
    # In OpenMetrics a counter must not be negative or NaN (a textfile's may be), nor share another's name.
    if kind == "counter" and (name in names or " -" in lines or " NaN" in lines):
        name, kind = family.full_name, "unknown"
    if family.kind in PARTS:
        lines = _BOUND.sub(_as_float, lines)
    return _openmetrics_header(name, kind, family.documentation), lines


@lru_cache(maxsize=16384)
def _openmetrics_header(name: str, kind: str, documentation: str) -> str:
    return f"# HELP {name} {documentation.translate(_LABEL_ESCAPES)}\n# TYPE {name} {kind}\n"


def _as_float(bound: re.Match[str]) -> str:
    try:
        value = float(bound[2])
    except ValueError:
        return bound[0]
    return bound[1] + ("+Inf" if value == math.inf else repr(value))


def escape_label(value: str) -> str:
    """A label value as written between the quotes; invalid UTF-8 becomes U+FFFD."""
    if value.isascii() and value.isprintable() and '"' not in value and "\\" not in value:
        return value
    return value.encode("utf-8", "surrogatepass").decode("utf-8", "replace").translate(_LABEL_ESCAPES)


def format_value(value: float) -> str:
    """A number as Go parses it: NaN, +Inf, -Inf, integers without exponent.

    Raises OverflowError for an integer too large for a float: Go rejects the whole page for it.
    """
    if isinstance(value, int):
        return str(int(value)) if -_EXACT < value < _EXACT else repr(float(value))
    text = repr(value)
    return _NOT_FINITE.get(text, text)


# Kind, help and label names of a family, the names it uses, its header, and the text before each value.
_Known = tuple[tuple[str, str, Sequence[str]], tuple[str, ...], str, dict[tuple[str, ...], str]]


class Renderer:
    """Writes metrics, and caches the text before each value: it is the same at the next scrape.

    Drops cached series that have not been rendered recently, so the cache stays bounded.
    """

    def __init__(self) -> None:
        self._known: dict[str, _Known] = {}

    def pieces(self, metrics: Iterable[Metric], form: Form = "both") -> list[Piece]:
        """Every metric that has samples, in order. ``form`` as in `write_metric`."""
        pieces = []
        for metric in metrics:
            if not isinstance(metric, Family):
                pieces += [write_metric(metric, form)] if metric.samples else []
            elif metric.rows or metric.ready:
                pieces.append(self._family(metric))
        return pieces

    def _family(self, family: Family) -> Piece:
        about = (family.kind, family.documentation, family.label_names)
        known = self._known.get(family.full_name)
        if known is None or known[0] != about or len(known[3]) > 2 * len(family.rows) + _SPARE:
            known = self._remember(family, about)
        _, names, text, heads = known
        for labels, value in family.rows:
            head = heads.get(labels)
            if head is None:
                head = heads[labels] = _head(family, labels)
            is_plain = type(value) is int and 0 <= value < _EXACT
            text += f"{head}{value if is_plain else format_value(value)}\n"
        # As Piece(…), which takes twice the time.
        return tuple.__new__(Piece, (family, names, text + family.ready, ""))

    def _remember(self, family: Family, about: tuple[str, str, Sequence[str]]) -> _Known:
        if len(self._known) > _MOST_FAMILIES:
            self._known.clear()
        name, help_text = family.full_name, family.documentation.translate(_HELP_ESCAPES)
        names = (name, *[name + part for part in PARTS.get(family.kind, ())])
        header = f"# HELP {name} {help_text}\n# TYPE {name} {family.kind}\n"
        known = self._known[name] = (about, names, header, {})
        return known


def _head(family: Family, labels: tuple[str, ...]) -> str:
    if not labels and not family.label_names:
        return f"{family.full_name} "
    pairs = zip(family.label_names, labels, strict=True)
    written = ",".join([f'{key}="{escape_label(label)}"' for key, label in pairs])
    return f"{family.full_name}{{{written}}} "


class _Only(Collector):
    """One metric, as the library's writers want it."""

    def __init__(self, metric: Metric) -> None:
        self._metric = metric

    def collect(self) -> Iterator[Metric]:
        yield self._metric


def _refuse_what_spoils_a_page(metric: Metric) -> None:
    """Raise ValueError if Prometheus would reject the whole page for what the library writes."""
    if metric.type not in METRIC_TYPES or (metric.unit and not metric.name.endswith(f"_{metric.unit}")):
        raise ValueError(f"{metric.name}: type {metric.type!r}, unit {metric.unit!r}")
    for labels in {tuple(sample.labels) for sample in metric.samples}:
        names = {escape_label_name(label) for label in labels}
        if len(names) < len(labels) or not names.isdisjoint(("", "__name__")):
            raise ValueError(f"{metric.name} cannot have these labels together: {labels}")
    times = (float(sample.timestamp) for sample in metric.samples if sample.timestamp is not None)
    if not all(abs(time) < _LAST_SECOND for time in times):
        raise ValueError(f"{metric.name} has a timestamp that is not in seconds")


def write_metric(metric: Metric, form: Form) -> Piece:
    """Any collector's metric by the library, for pages of this form. Raises the library's error."""
    from prometheus_client.exposition import generate_latest  # loads an HTTP server and TLS: see lean_import

    _refuse_what_spoils_a_page(metric)
    series = [(sample.name, *sorted(sample.labels.items())) for sample in metric.samples]
    if len(set(series)) < len(series):
        raise ValueError(f"{metric.name} has a series twice")
    text = generate_latest(_Only(metric)) if form != "openmetrics" else b""
    openmetrics: bytes = generate_openmetrics(_Only(metric)) if form != "text" else b""  # type: ignore[no-untyped-call]
    names = {metric.name, *(sample.name for sample in metric.samples)}
    written = tuple({escape_metric_name(name) for name in names})
    return Piece(metric, written, text.decode(), openmetrics.removesuffix(_END).decode())
