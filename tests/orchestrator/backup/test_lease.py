"""Runs of one job on several machines, told apart by leases in the real Swift and in a folder."""

import hashlib
import json
import os
import secrets
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from lab.processes import wait_until
from orchestrator.backup.lease import Owner
from orchestrator.backup.lease import leased as leased_at
from orchestrator.backup.lock import JobBusyError
from orchestrator.config.stores import FolderSettings, S3Settings
from orchestrator.stores import ObjectInfo, Store, open_store

Site = Any
PREFIX = "here/site/lease/"


@pytest.fixture(params=["folder", "swift"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    if request.param == "folder":
        (tmp_path / "disk").mkdir()
        opened = open_store("disk", FolderSettings(type="folder", path=tmp_path / "disk"))
    else:
        settings = request.getfixturevalue("swift").settings(prefix=f"lease/{tmp_path.name}", tries=2)
        opened = open_store("swift", S3Settings.model_validate(settings))
        opened.prepare()
    yield opened
    opened.close()


def lease_keys(store: Store) -> list[str]:
    return [info.key for info in store.list(PREFIX)]


def put_lease(store: Store, owner: Owner, name: str = "a" * 16, beat: int = 3) -> str:
    data, key = (
        json.dumps({**asdict(owner), "beat": "2026-01-01T00:00:00+00:00"}).encode(),
        f"{PREFIX}{name}.{beat:06}",
    )
    store.put(key, data, sha256=hashlib.sha256(data).hexdigest())
    return key


def elsewhere() -> Owner:
    """A process of another machine."""
    return Owner("web2", 4711, "another place")


def leased(stores: list[Store], host: str, job: str, **more: Any) -> AbstractContextManager[None]:
    """A lease of another state folder each time, as of another machine."""
    return leased_at(stores, host, job, **{"place": secrets.token_hex(4), **more})


def test_a_second_run_gives_way_and_names_the_first(store: Store) -> None:
    with leased([store], "here", "site"):
        message = f"process {os.getpid()} on .* seen in {store.name}"
        with pytest.raises(JobBusyError, match=message), leased([store], "here", "site"):
            raise AssertionError("two runs at once")
        with leased([store], "here", "other"):
            assert len(lease_keys(store)) == 1
    assert lease_keys(store) == []


def test_a_lease_is_renewed_as_long_as_the_run_lives(store: Store) -> None:
    with leased([store], "here", "site", beat_seconds=0.05):
        (first,) = lease_keys(store)
        wait_until(lambda: lease_keys(store) not in ([], [first]), "a heartbeat")
        wait_until(lambda: all(key.endswith(("5", "6", "7", "8", "9")) for key in lease_keys(store)), "beats")
        assert 1 <= len(lease_keys(store)) <= 2, "old ones are removed"
        with pytest.raises(JobBusyError), leased([store], "here", "site"):
            pass
    assert lease_keys(store) == []


def test_leftovers_of_an_earlier_run_with_the_same_lock_block_no_run(store: Store) -> None:
    """As after a reboot, in a new container, or when the store was away as the run ended."""
    put_lease(store, replace(Owner.current("ours"), pid=os.getpid() + 1))
    with pytest.raises(JobBusyError), leased([store], "here", "site"):
        pass
    with leased([store], "here", "site", place="ours"):
        assert len(lease_keys(store)) == 1, "the dead lease is removed"


def test_a_copy_of_a_state_folder_on_another_machine_is_another_place(store: Store) -> None:
    put_lease(store, replace(Owner.current("ours"), host="web2"))
    with pytest.raises(JobBusyError), leased([store], "here", "site", place="ours"):
        pass


def test_a_machine_that_disappeared_blocks_others_only_briefly(store: Store) -> None:
    put_lease(store, elsewhere())
    with pytest.raises(JobBusyError, match="on web2"), leased([store], "here", "site"):
        pass
    time.sleep(2.1)  # the stores' times are whole seconds
    with leased([store], "here", "site", dead_after=timedelta(seconds=1)):
        assert len(lease_keys(store)) == 1


def test_a_wrong_clock_does_not_matter(store: Store) -> None:
    """The lease above says 2026-01-01: what counts is when the store took it."""
    put_lease(store, elsewhere())
    with pytest.raises(JobBusyError), leased([store], "here", "site", dead_after=timedelta(minutes=1)):
        pass


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"host": 1}', b"\xff" * 10_000])
def test_a_lease_that_cannot_be_understood_is_one_until_it_is_old(store: Store, content: bytes) -> None:
    key = f"{PREFIX}{'b' * 16}.000001"
    store.put(key, content, sha256=hashlib.sha256(content).hexdigest())
    with pytest.raises(JobBusyError, match="unknown owner"), leased([store], "here", "site"):
        pass


def test_of_many_runs_that_begin_at_once_one_goes_on(store: Store) -> None:
    began, ended, going, busy = threading.Barrier(5), threading.Barrier(5), [], []

    def run() -> None:
        began.wait()
        try:
            with leased([store], "here", "site"):
                going.append(1)
                ended.wait(120)
        except JobBusyError:
            busy.append(1)
            ended.wait(120)

    threads = [threading.Thread(target=run) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(going), len(busy)) == (1, 4)
    assert lease_keys(store) == []


class WriteOnly:
    """A store whose credentials may put and nothing else."""

    def __init__(self, inner: Store) -> None:
        self.inner, self.name, self.puts = inner, inner.name, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        from orchestrator.stores import StoreError

        raise StoreError("no", permanent=True, denied=True)

    def put(self, key: str, data: bytes, *, sha256: str) -> None:
        self.puts += 1


def test_a_writer_that_may_not_list_leaves_no_litter(store: Store) -> None:
    writer = WriteOnly(store)
    with leased([writer], "here", "site"):  # type: ignore[list-item]
        pass
    assert writer.puts == 0


@contextmanager
def waiting_run(site: Site) -> Iterator[subprocess.Popen[str]]:
    gate = site.folder / "gate"
    os.mkfifo(gate)
    before = dict(site.job)
    site.job["sources"] = [{"command": ["cat", str(gate)], "name": "waits"}]
    with site.start("run", "site") as run, gate.open("w") as opened:
        site.job.update(before)
        yield run
        opened.write("done")
        opened.close()
        run.wait(120)


def test_two_machines_do_not_run_one_job_at_once(on_swift: Site, tmp_path: Path) -> None:
    """Each has its own state folder, so no lock of this machine keeps them apart."""
    with waiting_run(on_swift) as run:
        on_swift.document["paths"]["state"] = str(tmp_path / "other-machine")
        second = on_swift.leitstand("run", "site")
        assert second.status == 3
        assert f"another run is under way (process {run.pid} on" in second.errors[0]
        assert on_swift.leitstand("status", "--json").json()[0]["problem"] == "never backed up", (
            "not a failure"
        )
    on_swift.good("run", "site")
    assert [path for path in on_swift.disk.rglob("*") if "lease" in path.parts] == []


def test_a_killed_run_does_not_keep_the_next_one_out(on_swift: Site) -> None:
    with waiting_run(on_swift) as run:
        assert list(on_swift.disk.rglob("lease/*"))
        run.kill()
        run.wait()
    on_swift.good("run", "site")
    assert list(on_swift.disk.rglob("lease/*")) == []
