"""Tables on terminals of every width: no word is broken, nothing is lost."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leitstand.tables import flow, table_lines

COLUMNS = ("JOB", "SNAPSHOT", "STATE", "READ", "PROBLEM")
ROWS = [
    ("website", "20261130T021314Z-dwvzeiim", "complete", "1.9 MB", "-"),
    ("mail", "20261130T031314Z-aaaaaaaa", "partial", "12 GB", "the sources of 3 folders could not be read"),
]
WORDS = {word for row in ROWS for cell in row for word in cell.split()}
text = st.text(st.characters(codec="utf-8"), max_size=30)


@pytest.mark.parametrize("width", [None, 20, 40, 60, 80, 100, 120])
def test_every_word_and_name_is_whole_at_any_width(width):
    lines = table_lines(COLUMNS, ROWS, ("READ",), width)
    assert {word for line in lines for word in line.split()} >= WORDS
    longest = max(len(word) for word in WORDS) + len("  SNAPSHOT ")
    assert all(len(line) <= max(width or 1000, longest) for line in lines)


def test_columns_that_fit_are_columns():
    assert table_lines(COLUMNS, ROWS, ("READ",), 120) == [
        "JOB      SNAPSHOT                   STATE       READ  PROBLEM",
        "website  20261130T021314Z-dwvzeiim  complete  1.9 MB  -",
        "mail     20261130T031314Z-aaaaaaaa  partial    12 GB  the sources of 3 folders could not be read",
    ]


def test_prose_in_the_last_column_is_wrapped_by_words():
    assert table_lines(COLUMNS, ROWS, ("READ",), 80)[2:] == [
        "mail     20261130T031314Z-aaaaaaaa  partial    12 GB  the sources of 3 folders",
        "                                                      could not be read",
    ]


def test_a_narrow_terminal_gets_a_block_for_each_row():
    assert table_lines(COLUMNS, ROWS, ("READ",), 60) == [
        "website",
        "  SNAPSHOT 20261130T021314Z-dwvzeiim  STATE complete",
        "    READ 1.9 MB  PROBLEM -",
        "mail",
        "  SNAPSHOT 20261130T031314Z-aaaaaaaa  STATE partial",
        "    READ 12 GB",
        "    PROBLEM the sources of 3 folders could not be read",
    ]


def test_elsewhere_than_on_a_terminal_a_row_is_a_line_however_long():
    long = [("a", "b" * 500, "c", "d", "e f " * 200)]
    assert len(table_lines(COLUMNS, long, (), None)) == 2


@given(st.lists(st.tuples(text, text, text), max_size=4), st.one_of(st.none(), st.integers(1, 100)))
def test_a_row_shows_all_its_words_and_steers_nothing(rows, width):
    lines = table_lines(("A", "B", "C"), rows, ("B",), width)
    assert all(line.isprintable() for line in lines)
    shown = {word for line in lines for word in line.split(" ")}
    for row in rows:
        for cell in row:
            words = "".join(letter if letter.isprintable() else "\ufffd" for letter in cell).split(" ")
            assert set(words) - {""} <= shown


@given(
    st.lists(st.text(st.characters(codec="ascii", categories=["L", "Zs"])), max_size=6), st.integers(1, 90)
)
def test_fields_flow_without_losing_a_word(parts, width):
    lines = flow(parts, width)
    assert " ".join(lines).split() == " ".join(parts).split()
    longest = max((len(word) for part in parts for word in part.split()), default=0)
    assert all(len(line) <= max(width, longest + 4) for line in lines)
