"""Metrics that other programs leave as files."""

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from exporter.collectors.options import Options
from exporter.collectors.textfile import LIMIT, Textfiles
from exporter.collectors.textfile_format import BadTextfile, parse_textfile
from exporter.exposition import Family, Renderer, text_page

GOOD = '# HELP backup_age_seconds Age.\n# TYPE backup_age_seconds gauge\nbackup_age_seconds{job="web"} 12\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "textfile"
    place.mkdir()
    return place


def render(metrics):
    """The page of these metrics, as text."""
    return text_page(Renderer().pieces(metrics)).decode()


def page(*folders):
    return render(Textfiles(Options(textfile_directory=tuple(map(str, folders)))).collect())


def test_a_good_file_is_served_with_the_time_it_was_written(folder, page_of):
    (folder / "backup.prom").write_text(GOOD)
    os.utime(folder / "backup.prom", (1_700_000_000, 1_700_000_000.5))
    found = page_of(page(folder))
    assert found["backup_age_seconds", (("job", "web"),)] == 12
    assert found["node_textfile_mtime_seconds", (("file", f"{folder}/backup.prom"),)] == 1_700_000_000
    assert found["node_textfile_scrape_error", ()] == 0


@pytest.mark.parametrize(
    "content",
    [
        "# HELP a Two\\nlines and a back\\\\slash.\n# TYPE a counter\na 1\n",
        '# HELP b B.\n# TYPE b histogram\nb_bucket{le="1"} 1\nb_bucket{le="+Inf"} 2\nb_sum 3\nb_count 2\n',
        "# HELP c_sum No part of a c.\n# TYPE c_sum gauge\nc_sum 1\n",
    ],
)
def test_the_metadata_in_a_textfile_is_served_unchanged(folder, content):
    (folder / "own.prom").write_text(content)
    assert content in page(folder)


@pytest.mark.parametrize(
    "content",
    [
        "backup_age_seconds 12 1700000000000\n",  # a time stamp
        "backup_age_seconds twelve\n",
        "backup_age_seconds 1_000\n",
        "backup_age_seconds 1e400\n",
        "backup_age_seconds 0x10\n",
        "backup-age 1\n",
        'a{job="x} 1\n',
        'a{job="x",job="y"} 1\n',
        'a{job="\\x"} 1\n',
        "a 1\na 2\n",
        'a{x="1",y="2"} 1\na{y="2",x="1"} 2\n',
        "# TYPE a rate\na 1\n",
        "a 1\n# TYPE a gauge\n",
        b"a\xff 1\n",
        b"\x00\x01\x02",
        "a\n",
        "load15\n",
        "node_textfile_scrape_error 0\n",
        'node_textfile_mtime_seconds{file="/x.prom"} 1\n',
        "a 1700",  # cut short: who wrote it would have ended the line
        "a 1\n# HELP b",
    ],
)
def test_a_bad_file_is_rejected_as_a_whole_reported_and_not_shown_as_fresh(folder, page_of, content):
    (folder / "bad.prom").write_bytes(content.encode() if isinstance(content, str) else content)
    (folder / "good.prom").write_text(GOOD)
    found = page_of(page(folder))
    assert found["node_textfile_scrape_error", ()] == 1
    assert {name for name, _ in found} == {
        "backup_age_seconds",
        "node_textfile_mtime_seconds",
        "node_textfile_scrape_error",
    }
    assert [labels for name, labels in found if name == "node_textfile_mtime_seconds"] == [
        (("file", f"{folder}/good.prom"),)
    ]


@pytest.mark.parametrize("end", ["{", "{x", '{b="', " 1x", ' {b="c"', " 1 {"])
@pytest.mark.parametrize("long", ["a", "a ", "a 1", 'a{b="c",', 'a{b="\\\\'])
def test_a_line_of_a_megabyte_is_refused_in_no_time(long, end):
    """What takes the square of its length would hold the whole exporter for hours."""
    with pytest.raises(BadTextfile, match="line 1: not a"):
        parse_textfile((long + long[-1] * 1_000_000 + end + "\n").encode())


def test_the_cached_text_of_a_metric_is_short(folder):
    """One of another megabyte at each scrape would take the exporter's memory by and by."""
    (folder / "own.prom").write_text(f"# HELP a {'x' * 5000}\na 1\n")
    assert f"# HELP a {'x' * 1000}\n" in page(folder)
    for line in (f"{'a' * 256} 1\n", f"# HELP {'a' * 256} b\n"):
        with pytest.raises(BadTextfile, match="255"):
            parse_textfile(line.encode())


def test_the_log_names_file_and_line_once(folder, caplog):
    (folder / "bad.prom").write_text("a 1\n\nsecret words\n")
    collector = Textfiles(Options(textfile_directory=(str(folder),)))
    for _ in range(3):
        list(collector.collect())
    (record,) = caplog.records
    assert "bad.prom" in record.message
    assert "line 3" in record.message
    assert "secret" not in record.message


def test_one_family_in_two_files_is_one_family_on_the_page(folder, page_of):
    (folder / "a.prom").write_text('# TYPE age gauge\nage{job="a"} 1\n')
    (folder / "b.prom").write_text('# TYPE age gauge\nage{job="b"} 2\n')
    text = page(folder)
    assert text.count("# TYPE age gauge") == 1
    assert page_of(text)["age", (("job", "b"),)] == 2


@pytest.mark.parametrize(
    "second", ['# TYPE age counter\nage{job="b"} 2\n', '# TYPE age gauge\nage{job="a"} 2\n']
)
def test_a_file_that_contradicts_an_earlier_one_is_left_out(folder, page_of, second):
    (folder / "a.prom").write_text('# TYPE age gauge\nage{job="a"} 1\n')
    (folder / "b.prom").write_text(second)
    found = page_of(page(folder))
    assert found["age", (("job", "a"),)] == 1
    assert len([name for name, _ in found if name == "age"]) == 1
    assert found["node_textfile_scrape_error", ()] == 1


@pytest.mark.parametrize(("first", "second"), [("a", "b"), ("b", "a"), ("a", "a")])
def test_a_gauge_with_the_name_of_a_histograms_count_is_refused(folder, page_of, first, second):
    histogram = '# TYPE d histogram\nd_bucket{le="+Inf"} 2\nd_sum 3\nd_count 2\n'
    for name, content in ((first, "# TYPE d_count gauge\nd_count 7\n"), (second, histogram)):
        with (folder / f"{name}.prom").open("a") as file:
            file.write(content)
    (folder / "c.prom").write_text(GOOD)
    found = page(folder)
    assert found.count("\nd_count ") == (0 if first == second else 1)
    assert page_of(found)["backup_age_seconds", (("job", "web"),)] == 12
    assert page_of(found)["node_textfile_scrape_error", ()] == 1


def test_histograms_and_summaries_pass_through(folder, page_of):
    (folder / "h.prom").write_text(
        '# TYPE d histogram\nd_bucket{le="1"} 1\nd_bucket{le="+Inf"} 2\nd_sum 3\nd_count 2\n'
        '# TYPE s summary\ns{quantile="0.5"} 1\ns_sum 3\ns_count 2\n'
    )
    found = page_of(page(folder))
    assert found["d_bucket", (("le", "+Inf"),)] == 2
    assert found["s_sum", ()] == 3
    assert found["node_textfile_scrape_error", ()] == 0


def test_only_files_ending_in_prom_are_read(folder, page_of):
    (folder / "x.prom.tmp").write_text("half")
    (folder / "x.txt").write_text("half")
    assert page_of(page(folder)) == {("node_textfile_scrape_error", ()): 0}


def test_no_link_leads_out_of_the_folder(folder, tmp_path, page_of):
    secret = tmp_path / "secret.prom"
    secret.write_text("secret 1\n")
    (folder / "link.prom").symlink_to(secret)
    (folder / "real").write_text("inside 1\n")
    (folder / "inside.prom").symlink_to("real")
    found = page_of(page(folder))
    assert ("secret", ()) not in found
    assert found["inside", ()] == 1
    assert found["node_textfile_scrape_error", ()] == 1


def test_a_file_that_changes_and_one_that_goes_are_noticed(folder, page_of):
    collector = Textfiles(Options(textfile_directory=(str(folder),)))
    (folder / "a.prom").write_text("a 1\n")
    (folder / "b.prom").write_text("b 1\n")
    assert page_of(render(collector.collect()))["a", ()] == 1
    (folder / "new").write_text("a 2\n")
    (folder / "new").rename(folder / "a.prom")
    (folder / "b.prom").unlink()
    found = page_of(render(collector.collect()))
    assert found["a", ()] == 2
    assert ("b", ()) not in found


def test_a_missing_named_folder_is_an_error_and_a_missing_default_one_is_not(folder, page_of):
    assert page_of(page(folder / "missing"))["node_textfile_scrape_error", ()] == 1
    found = page_of(render(Textfiles(Options()).collect()))
    assert found["node_textfile_scrape_error", ()] == 0


def test_a_pattern_names_several_folders(tmp_path, page_of):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.prom").write_text(f"{name} 1\n")
    found = page_of(page(f"{tmp_path}/*"))
    assert found["one", ()] == found["two", ()] == 1


def test_files_too_large_together_are_left_out_and_the_others_served(folder, page_of):
    collector = Textfiles(Options(textfile_directory=(str(folder),)))
    (folder / "a.prom").write_text(GOOD)
    (folder / "b.prom").write_text("b 1\n")
    with (folder / "b.prom").open("ab") as file:
        file.write(b"#\n" * (LIMIT // 2))
    (folder / "c.prom").write_text("c 1\n")
    found = page_of(render(collector.collect()))
    assert found["node_textfile_scrape_error", ()] == 1
    assert ("b", ()) not in found
    assert found["c", ()] == 1
    (folder / "b.prom").write_text("b 1\n")
    found = page_of(render(collector.collect()))
    assert (found["node_textfile_scrape_error", ()], found["b", ()]) == (0, 1)


def test_a_fifo_does_not_hold_the_scrape(folder, page_of):
    os.mkfifo(folder / "x.prom")
    assert ("x", ()) not in page_of(page(folder))


values = st.floats() | st.integers(-(2**60), 2**60)
families = st.lists(
    st.builds(
        lambda name, samples: Family(f"f_{name}", "gauge", "Help.", ("a", "b"), list(samples.items())),
        st.from_regex(r"[a-z]{1,5}", fullmatch=True),
        st.dictionaries(st.tuples(st.text(max_size=6), st.text(max_size=6)), values, min_size=1, max_size=4),
    ),
    unique_by=lambda family: family.name,
    max_size=3,
)


@settings(max_examples=150, derandomize=True, deadline=None)
@given(families=families)
def test_pages_of_our_renderer_are_read_back_sample_by_sample(families):
    blocks = parse_textfile(render(families).encode())
    again = render(
        [Family(block.name, block.kind, block.documentation, ready=block.lines) for block in blocks]
    )
    read = [sample for family in text_string_to_metric_families(again) for sample in family.samples]
    written = [
        sample for family in text_string_to_metric_families(render(families)) for sample in family.samples
    ]
    assert [(one.name, one.labels, repr(one.value)) for one in read] == [
        (one.name, one.labels, repr(one.value)) for one in written
    ]


@settings(max_examples=300, derandomize=True, deadline=None)
@given(
    content=st.binary(max_size=200)
    | st.text(alphabet='ab{}="\\ \n#TYPEHELP01.+', max_size=80).map(str.encode)
)
def test_any_content_of_the_file_is_refused_or_served_in_a_valid_form(content):
    try:
        blocks = parse_textfile(content)
    except BadTextfile:
        return
    page = render(
        [Family(block.name, block.kind, block.documentation, ready=block.lines) for block in blocks]
    )
    count = sum(len(family.samples) for family in text_string_to_metric_families(page))
    assert count == sum(len(block.series) for block in blocks)


def test_metrics_of_backups_in_the_status_page_s_folder_are_ignored(tmp_path, page_of):
    own, shared = tmp_path / "metrics" / "status-page", tmp_path / "metrics"
    own.mkdir(parents=True)
    (own / "status-page.prom").write_text("leitstand_status_page_written_timestamp_seconds 12\n")
    (own / "forged.prom").write_text("leitstand_status_page_a 1\nleitstand_backup_last_run_success 1\n")
    (shared / "leitstand_backup.prom").write_text("leitstand_backup_last_run_success 0\n")
    found = page_of(page(shared, own))
    assert found["leitstand_status_page_written_timestamp_seconds", ()] == 12
    assert found["leitstand_backup_last_run_success", ()] == 0
    assert ("leitstand_status_page_a", ()) not in found
    assert found["node_textfile_scrape_error", ()] == 1


def test_from_the_folder_of_coverage_only_coverage_is_taken(tmp_path, page_of):
    own = tmp_path / "metrics" / "coverage"
    own.mkdir(parents=True)
    (own / "coverage.prom").write_text("leitstand_uncovered_items 2\nleitstand_coverage_known 1\n")
    (own / "forged.prom").write_text("leitstand_backup_last_run_success 1\n")
    found = page_of(page(own))
    assert (found["leitstand_uncovered_items", ()], found["leitstand_coverage_known", ()]) == (2, 1)
    assert ("leitstand_backup_last_run_success", ()) not in found
    assert found["node_textfile_scrape_error", ()] == 1
