"""Reading from a store: few requests for many small reads, and few bytes for one file."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.config.stores import FolderSettings
from orchestrator.repository.layout import SnapshotName
from orchestrator.repository.snapshot import ReadAhead, open_snapshot
from orchestrator.state.context import Context, keys_of
from orchestrator.stores.folder import FolderStore

Site = Any
DATA = bytes(range(256)) * 4000


def reader(calls: list[tuple[int, int]]) -> Callable[[int, int], bytes]:
    def read_range(offset: int, length: int) -> bytes:
        calls.append((offset, length))
        return DATA[offset : offset + length]

    return read_range


@settings(derandomize=True, max_examples=200)
@given(st.lists(st.tuples(st.integers(0, len(DATA) + 10), st.integers(0, 300_000)), max_size=12))
def test_reading_ahead_changes_no_byte(reads: list[tuple[int, int]]) -> None:
    ahead = ReadAhead(reader([]), len(DATA))
    for offset, length in reads:
        assert ahead(offset, length) == DATA[offset : offset + length]


def test_many_small_reads_become_few_requests() -> None:
    calls: list[tuple[int, int]] = []
    ahead = ReadAhead(reader(calls), len(DATA))
    for offset in range(0, len(DATA), 1000):
        ahead(offset, 1000)
    assert len(calls) < 6
    assert sum(length for _, length in calls) == len(DATA), "nothing is read twice"


def test_several_threads_may_read_at_once() -> None:
    ahead = ReadAhead(reader([]), len(DATA))

    def read(number: int) -> bool:
        offset = number * 7919 % len(DATA)
        return ahead(offset, 5000) == DATA[offset : offset + 5000]

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(read, range(400)))


class CountingStore(FolderStore):
    """A folder that counts what is read from it."""

    read = 0

    def get(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        data = super().get(key, start, length)
        self.read += len(data)
        return data


def test_one_file_of_a_large_snapshot_needs_little_more_than_its_own_bytes(site: Site) -> None:
    for number in range(6):
        (site.www / f"large-{number}").write_bytes(os.urandom(5_000_000))
    (site.www / "large-3a").write_bytes(b"needle" * 3000)
    site.job["sources"] = [{"files": str(site.www)}]
    site.good("run", "site")
    (name,) = site.snapshots()
    store = CountingStore("disk", FolderSettings(type="folder", path=site.disk))
    keys = keys_of(Context.load(site.config).job("site"))
    found = bytearray()
    with open_snapshot(store, SnapshotName("here", "site", name), keys) as snapshot:
        row = next(row for row in snapshot.manifest.rows() if row.record.path.endswith(b"large-3a"))
        snapshot.copy(row.record, row.layer, found.extend)
        allowed = row.record.size + snapshot.meta.manifest_bytes + (1 << 20)
    assert bytes(found) == b"needle" * 3000
    assert store.read <= allowed


def test_a_dry_run_of_a_restore_writes_nothing(site: Site, tmp_path: Path) -> None:
    site.good("run", "site")
    ran = site.good("restore", "site", "--target", tmp_path / "out", "--dry-run", "*/uploads/*")
    assert "2 entries" in ran.stdout
    assert not (tmp_path / "out").exists()
    refused = site.leitstand("restore", "site", "--target", site.www, "--dry-run")
    assert refused.status == 2
    assert "is not empty" in refused.errors[0]
