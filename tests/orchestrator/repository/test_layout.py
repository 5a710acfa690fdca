"""Names of snapshots: nobody else has them, and they sort by the time at which the run began."""

from datetime import UTC, datetime

from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.repository.layout import is_snapshot_id, new_snapshot

MOMENTS = st.datetimes(datetime(2026, 1, 1), datetime(2026, 1, 1, 0, 0, 2), timezones=st.just(UTC))  # noqa: DTZ001


@settings(derandomize=True, deadline=None, max_examples=200)
@given(
    st.lists(
        MOMENTS, min_size=2, max_size=10, unique_by=lambda moment: (moment.second, moment.microsecond // 1000)
    )
)
def test_names_sort_by_time_also_within_a_second(moments: list[datetime]) -> None:
    names = [new_snapshot("web1", "site", moment) for moment in sorted(moments)]
    assert sorted(names) == names
    assert all(is_snapshot_id(name.id) for name in names)


def test_names_of_one_moment_are_different() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    # Of a thousand, two might be the same: they have 30 random bits.
    assert len({new_snapshot("web1", "site", now).id for _ in range(30)}) == 30
