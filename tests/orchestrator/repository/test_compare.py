"""What differs between two snapshots."""

from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.archive import FileRecord, Metadata, Method
from orchestrator.repository.compare import Change, compare
from orchestrator.repository.manifest import Row

# Path -> (content, mode), in any order.
snapshots = st.lists(
    st.tuples(st.sampled_from("abcdefgh"), st.integers(0, 1), st.integers(0, 1)),
    unique_by=lambda each: each[0],
)


def rows(snapshot: list[tuple[str, int, int]]) -> list[Row]:
    return [
        Row(
            FileRecord(Metadata(path=path.encode(), mode=mode), content, bytes(32), 0, 0, 0, Method.STORE),
            "layer",
        )
        for path, content, mode in snapshot
    ]


@settings(max_examples=150, deadline=None, derandomize=True)
@given(snapshots, snapshots)
def test_each_difference_is_named_once_in_any_order_of_paths(
    before: list[tuple[str, int, int]], after: list[tuple[str, int, int]]
) -> None:
    old, new = ({path: (content, mode) for path, content, mode in each} for each in (before, after))
    expected = {Change("+", path.encode()) for path in new.keys() - old.keys()}
    expected |= {Change("-", path.encode()) for path in old.keys() - new.keys()}
    for path in old.keys() & new.keys():
        if old[path] != new[path]:
            expected.add(Change("m" if old[path][0] == new[path][0] else "M", path.encode()))
    found = list(compare(rows(before), rows(after)))
    assert set(found) == expected
    assert len(found) == len(expected)
