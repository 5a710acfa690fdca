"""The text format: what we write, others read as it was meant."""

import math
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from exporter.exposition import Family, Renderer, text_page
from lab.patience import patient

names = st.from_regex(r"[a-z_][a-z0-9_]{0,12}", fullmatch=True).map(lambda name: f"leitstand_{name}")
label_names = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True)
numbers = st.floats() | st.integers(-(2**60), 2**60)


def render(metrics):
    """The page of these metrics, as text."""
    return text_page(Renderer().pieces(metrics)).decode()


@st.composite
def families(draw: st.DrawFn) -> list[Family]:
    found = []
    for name in draw(st.lists(names, unique=True, max_size=4)):
        labels = tuple(draw(st.lists(label_names, unique=True, max_size=3)))
        values = st.tuples(*[st.text(max_size=8) for _ in labels])
        samples = draw(st.dictionaries(values, numbers, max_size=4))
        help_text = draw(st.text(max_size=10)).strip()
        found.append(Family(name, "gauge", f"Help {help_text}.", labels, list(samples.items())))
    return found


def same(left: float, right: float) -> bool:
    return left == right or (math.isnan(left) and math.isnan(right))


@settings(max_examples=200, derandomize=True, deadline=None)
@given(families=families())
def test_the_reference_parser_reads_back_every_sample(families):
    read = {family.name: family for family in text_string_to_metric_families(render(families))}
    assert set(read) == {family.name for family in families if family.rows}
    for family in families:
        samples = read[family.name].samples if family.rows else []
        assert len(samples) == len(family.rows)
        for sample, (labels, value) in zip(samples, family.rows, strict=True):
            assert sample.labels == dict(zip(family.label_names, labels, strict=True))
            assert same(sample.value, value)
        if samples:
            assert read[family.name].documentation == family.documentation


@settings(max_examples=50, derandomize=True, deadline=None)
@given(first=families(), second=families())
def test_a_renderer_that_remembers_gives_the_same_page(first, second):
    renderer = Renderer()
    for page in (first, second, first):
        assert text_page(renderer.pieces(page)).decode() == render(page)


def test_invalid_unicode_becomes_a_replacement_character_in_valid_utf_8():
    page = render([Family("leitstand_file_info", "gauge", "File.", ("path",), [(("/srv/\udcff",), 1)])])
    assert "�" in page
    page.encode("utf-8")


def test_special_characters_are_escaped_as_in_the_format():
    page = render([Family("x", "gauge", "a\\b\nc", ("l",), [(('quote " back \\ line \n',), 1)])])
    assert page == '# HELP x a\\\\b\\nc\n# TYPE x gauge\nx{l="quote \\" back \\\\ line \\n"} 1\n'


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *((1, "1"), (True, "1"), (0.1, "0.1"), (1e300, "1e+300"), (-0.0, "-0.0"), (2**60, str(2**60))),
        *((math.inf, "+Inf"), (-math.inf, "-Inf"), (math.nan, "NaN")),
    ],
)
def test_a_number_is_written_as_go_parses_it(value, text):
    assert render([Family("x", "gauge", "X.", (), [((), value)])]).splitlines()[-1] == f"x {text}"


def test_a_family_without_samples_is_left_out():
    assert render([Family("x", "gauge", "X.")]) == ""


def test_a_label_too_many_or_too_few_is_refused():
    with pytest.raises(ValueError, match="argument"):
        render([Family("x", "gauge", "X.", ("a",), [(("1", "2"), 1)])])
    with pytest.raises(ValueError, match="argument"):
        render([Family("x", "gauge", "X.", ("a",), [((), 1)])])


def test_promtool_has_nothing_to_say_about_a_page_of_ours():
    page = render(
        [
            Family("leitstand_jobs", "gauge", "Jobs.", ("name",), [(('ä "x" \\ \n',), 1), (("",), math.nan)]),
            Family("leitstand_runs_total", "counter", "Runs.", (), [((), 2**53)]),
            Family("leitstand_age_seconds", "gauge", "Age.", (), [((), 0.25)]),
        ]
    )
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=page, capture_output=True, text=True, timeout=patient(120)
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
