"""``upload_limit``: so many bytes a second, counted with a clock of our own, and tried on the real stores."""

import hashlib
import struct
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.config.stores import FolderSettings, S3Settings
from orchestrator.stores import open_store
from orchestrator.stores.limit import TokenBucket


class Clock:
    """A clock that moves when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now += seconds


def bucket_and_clock(rate: float) -> tuple[TokenBucket, Clock]:
    clock = Clock()
    return TokenBucket(rate, clock, clock.sleep), clock


@given(
    rate=st.integers(1024, 10**9),
    events=st.lists(st.tuples(st.integers(0, 10**8), st.floats(0, 100)), min_size=1, max_size=50),
)
@settings(max_examples=100, derandomize=True, deadline=None)
def test_never_more_goes_out_than_the_limit_and_a_second_s_burst(
    rate: int, events: list[tuple[int, float]]
) -> None:
    bucket, clock = bucket_and_clock(rate)
    start, sent = clock.now, 0
    for size, idle in events:
        bucket.take(size)
        sent += size
        assert sent <= rate * (clock.now - start + 1) * 1.000001
        clock.now += idle


@given(sizes=st.lists(st.integers(1, 10**6), min_size=1, max_size=100))
@settings(max_examples=50, derandomize=True, deadline=None)
def test_a_writer_that_never_idles_gets_all_of_the_limit(sizes: list[int]) -> None:
    bucket, clock = bucket_and_clock(100_000)
    start = clock.now
    for size in sizes:
        bucket.take(size)
    assert clock.now - start == pytest.approx(sum(sizes) / 100_000)


@given(sizes=st.lists(st.integers(1, 10**6), min_size=1, max_size=30))
@settings(max_examples=20, derandomize=True, deadline=None)
def test_runs_that_name_the_same_file_share_one_limit(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int]
) -> None:
    clock, file = Clock(), tmp_path_factory.mktemp("limit") / "swift"
    start = clock.now
    for size in sizes:
        TokenBucket(100_000, clock, clock.sleep, shared=file).take(size)  # as each from a run of its own
    assert clock.now - start == pytest.approx(sum(sizes) / 100_000)


def test_a_reboot_or_a_damaged_file_delays_no_run(tmp_path: Path) -> None:
    clock, file = Clock(), tmp_path / "swift"
    for content in (b"", b"short", bytes(16), struct.pack("dd", -500.0, 9e9)):
        file.write_bytes(content)
        before = clock.now
        TokenBucket(1000, clock, clock.sleep, shared=file).take(500)
        assert clock.now - before <= 1


def test_a_clock_that_goes_backwards_gives_nothing_away_and_takes_nothing() -> None:
    bucket, clock = bucket_and_clock(1000)
    bucket.take(1000)
    clock.now -= 3600
    before = clock.now
    bucket.take(1000)
    assert clock.now - before == pytest.approx(2, abs=1.01)


def test_several_threads_share_one_limit() -> None:
    clock, slept = Clock(), []
    bucket = TokenBucket(1000, clock, slept.append)
    threads = [threading.Thread(target=bucket.take, args=(500,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(slept) == [0.5, 1.0, 1.5, 2.0]


@pytest.mark.parametrize("kind", ["folder", "swift"])
@pytest.mark.parametrize("form", [bytes, bytearray, memoryview])
def test_a_limited_store_takes_its_time_and_stores_the_same(
    kind: str, form: Any, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if kind == "folder":
        (tmp_path / "disk").mkdir()
        found: Any = FolderSettings(type="folder", path=tmp_path / "disk", upload_limit=1_000_000)
    else:
        more = {"prefix": f"limit/{tmp_path.name}", "upload_limit": "1MB"}
        found = S3Settings.model_validate(request.getfixturevalue("swift").settings(**more))
    store = open_store(kind, found)
    store.prepare()
    data = bytes(range(256)) * 2000
    start = time.monotonic()
    store.put("here/site/object", form(data), sha256=hashlib.sha256(data).hexdigest())
    assert time.monotonic() - start >= 0.5
    assert store.get("here/site/object") == data
    store.close()


def test_a_run_with_limits_gives_a_good_snapshot(on_swift: Any) -> None:
    for store in on_swift.document["stores"].values():
        store["upload_limit"] = "2MB"
    on_swift.good("run", "site")
    on_swift.good("verify", "site")
    assert {file.name for file in (on_swift.folder / "state" / "limits").iterdir()} == {"swift", "disk"}
    for store in ("swift", "disk"):
        (stored,) = on_swift.metric("stored_bytes", store=store)
        (uploaded,) = on_swift.metric("uploaded_bytes", store=store)
        assert 0 < uploaded - stored < 5000, "beside what is stored: meta.json, COMMIT, leases"
