"""An entry of a list that is not understood costs itself, is counted each time and logged once."""

import pytest

from exporter.skipped import Skipped


def test_unreadable_entries_are_left_out_counted_each_time_and_logged_once(caplog):
    skipped = Skipped()
    for _ in range(3):
        assert skipped.each("numbers", ["1", "two", "3"], int) == [1, 3]
    assert skipped.count == 3
    assert [record.message.split(":")[0] for record in caplog.records] == ["numbers"]


def test_a_list_without_an_intelligible_entry_is_a_failure_and_an_empty_one_is_not():
    skipped = Skipped()
    with pytest.raises(ValueError, match="'two'"):
        skipped.each("numbers", ["two", "three"], int)
    assert skipped.each("numbers", [], int) == []


def test_of_two_entries_of_one_name_the_first_counts():
    skipped = Skipped()
    assert skipped.unique("disks", [("sda", 1), ("sdb", 2), ("sda", 1)]) == {"sda": 1, "sdb": 2}
    assert skipped.count == 1
