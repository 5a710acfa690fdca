"""OpenMetrics and text: read back by the reference parsers, both say the same."""

import math
import subprocess
from collections.abc import Iterable
from pathlib import Path

from hypothesis import assume, given, settings
from hypothesis import strategies as st
from prometheus_client.core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics

from exporter.collectors.options import Options
from exporter.collectors.textfile import Textfiles
from exporter.exposition import Family, Renderer, openmetrics_page, text_page

NAME = st.from_regex(r"[a-z][a-z_]{0,6}(_total|_info|_seconds|_created)?", fullmatch=True)
WORDS = st.text(
    st.characters(codec="utf-8", exclude_characters="\r\x1c\x1d\x1e\x85\u2028\u2029\x0b\x0c"), max_size=12
)
NUMBER = st.floats() | st.integers(-(10**12), 10**12)


@st.composite
def families(draw: st.DrawFn) -> list[Family]:
    """Families of all kinds that our renderer knows, each name once."""
    found = []
    for name in draw(st.lists(NAME, unique=True, max_size=6)):
        kind = draw(st.sampled_from(["counter", "gauge", "untyped"]))
        labels = draw(st.lists(st.sampled_from(["a", "b", "device"]), unique=True, max_size=2))
        family = Family(name, kind, draw(WORDS).strip(), labels)
        rows = draw(st.lists(st.tuples(*[WORDS] * len(labels)), unique=True, min_size=1, max_size=3))
        for row in rows if labels else rows[:1]:
            family.add(draw(NUMBER), *row)
        found.append(family)
    names = {family.full_name for family in found}
    # What a counter was created at is part of it for the reader used here, not for Prometheus.
    assume(not any(f"{name.removesuffix('_total')}_created" in names for name in names))
    return found


def samples(parsed: Iterable[Metric]) -> list[tuple[object, ...]]:
    """Name, labels and value of every sample; NaN made equal to itself."""
    return [
        (
            sample.name,
            tuple(sorted(sample.labels.items())),
            "NaN" if math.isnan(sample.value) else sample.value,
        )
        for family in parsed
        for sample in family.samples
    ]


@settings(derandomize=True, max_examples=300, deadline=None)
@given(families())
def test_the_samples_are_the_same_in_both_formats(page: list[Family]) -> None:
    openmetrics = openmetrics_page(Renderer().pieces(page)).decode()
    expected = samples(page)
    assert samples(list(parse_openmetrics(openmetrics))) == expected
    assert openmetrics.endswith("# EOF\n")


PAGE = """\
# a remark
early 3
# HELP requests_total Requests "served".
# TYPE requests_total counter

requests_total{code="200"} 5
# TYPE odd counter
odd 1
# HELP broken_total Went down.
# TYPE broken_total counter
broken_total -1
# TYPE twin gauge
twin 1
# TYPE twin_total counter
twin_total 2
# HELP nothing No samples.
# TYPE nothing gauge
# TYPE late untyped
# HELP late Type before help.
late 1
# HELP plain Without a type.
plain 2
# HELP wait_seconds A histogram.
# TYPE wait_seconds histogram
wait_seconds_bucket{le="1"} 1
wait_seconds_bucket{path="/",le="+Inf"} 2
wait_seconds_sum 1.5
wait_seconds_count 2
# TYPE size_bytes summary
size_bytes{quantile="0.5"} 7
size_bytes_sum 9
size_bytes_count 2
"""


def test_each_difference_of_the_formats(tmp_path: Path) -> None:
    (tmp_path / "page.prom").write_text(PAGE)
    families = [*Textfiles(Options(textfile_directory=(str(tmp_path),))).collect()][:-2]
    assert openmetrics_page(Renderer().pieces(families)).decode().splitlines() == [
        "# HELP early From a textfile.",
        "# TYPE early unknown",
        "early 3",
        r"# HELP requests Requests \"served\".",
        "# TYPE requests counter",
        'requests_total{code="200"} 5',
        "# HELP odd From a textfile.",
        "# TYPE odd unknown",
        "odd 1",
        "# HELP broken_total Went down.",
        "# TYPE broken_total unknown",
        "broken_total -1",
        "# HELP twin From a textfile.",
        "# TYPE twin gauge",
        "twin 1",
        "# HELP twin_total From a textfile.",
        "# TYPE twin_total unknown",
        "twin_total 2",
        "# HELP late Type before help.",
        "# TYPE late unknown",
        "late 1",
        "# HELP plain Without a type.",
        "# TYPE plain unknown",
        "plain 2",
        "# HELP wait_seconds A histogram.",
        "# TYPE wait_seconds histogram",
        'wait_seconds_bucket{le="1.0"} 1',
        'wait_seconds_bucket{le="+Inf",path="/"} 2',
        "wait_seconds_sum 1.5",
        "wait_seconds_count 2",
        "# HELP size_bytes From a textfile.",
        "# TYPE size_bytes summary",
        'size_bytes{quantile="0.5"} 7',
        "size_bytes_sum 9",
        "size_bytes_count 2",
        "# EOF",
    ]


def test_an_empty_page_is_valid() -> None:
    assert [*parse_openmetrics(openmetrics_page([]).decode())] == []


def test_promtool_finds_nothing_in_the_text_it_is_made_from() -> None:
    # promtool reads the text format alone; the reference parser above reads the other one.
    from exporter.web.access import RulesState
    from exporter.web.app import server_families
    from exporter.web.server import REFUSALS, ServerStatus

    families = server_families(ServerStatus(1, dict.fromkeys(REFUSALS, 0), RulesState(True, 1.5)))
    page = text_page(Renderer().pieces(families))
    done = subprocess.run(["promtool", "check", "metrics"], input=page, capture_output=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, b"")
