"""What every store must do: the same tests on a folder, on Swift over http and on Swift over https."""

import errno
import hashlib
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from pydantic import TypeAdapter

from lab.fault_proxy import Fault, FaultProxy
from leitstand.errors import UsageError
from orchestrator.config.stores import StoreSettings
from orchestrator.stores import ObjectMissingError, Store, StoreError, open_store
from orchestrator.stores.retry import Retry
from orchestrator.stores.s3 import S3Store, read_credentials

Swift = Any


def opened(name: str, settings: dict[str, Any]) -> Store:
    return open_store(name, TypeAdapter(StoreSettings).validate_python(settings))


def put(store: Store, key: str, data: bytes | memoryview) -> None:
    store.put(key, data, sha256=hashlib.sha256(data).hexdigest())


@pytest.fixture(scope="module")
def connections() -> Iterator[dict[str, S3Store]]:
    """Stores that are opened once: a client of boto3 takes half a second to make."""
    opened_stores: dict[str, S3Store] = {}
    yield opened_stores
    for store in opened_stores.values():
        store.close()


@pytest.fixture(params=["folder", "swift", "swift_https"])
def store(request: pytest.FixtureRequest, tmp_path: Path, connections: dict[str, S3Store]) -> Store:
    if request.param == "folder":
        return opened("folder", {"type": "folder", "path": str(tmp_path)})
    if request.param not in connections:
        store = opened(request.param, request.getfixturevalue(request.param).settings(tries=2))
        assert isinstance(store, S3Store)
        store.prepare()
        connections[request.param] = store
    connections[request.param].root = f"contract/{tmp_path.name}/"
    return connections[request.param]


def test_stored_objects_are_returned_unchanged(store: Store) -> None:
    put(store, "a/b/COMMIT", b"hello")
    assert store.get("a/b/COMMIT") == b"hello"
    info = store.stat("a/b/COMMIT")
    assert info is not None
    assert (info.key, info.size) == ("a/b/COMMIT", 5)
    assert info.md5 in ("", hashlib.md5(b"hello").hexdigest())


def test_parts_can_be_read_and_end_where_the_object_ends(store: Store) -> None:
    put(store, "object", bytes(range(200)))
    assert store.get("object", 10, 5) == bytes(range(10, 15))
    assert store.get("object", 195) == bytes(range(195, 200))
    assert store.get("object", 190, 100) == bytes(range(190, 200))
    assert store.get("object", 200, 10) == b""
    assert store.get("object", 5, 0) == b""


def test_an_empty_object_is_an_object(store: Store) -> None:
    put(store, "empty", b"")
    assert store.get("empty") == b""
    info = store.stat("empty")
    assert info is not None and info.size == 0


def test_a_volume_is_sent_from_memory_without_a_copy(store: Store) -> None:
    data = bytearray(b"0123456789" * 100_000)
    put(store, "vol.zip.001", memoryview(data)[10:-10])
    assert store.get("vol.zip.001") == bytes(data[10:-10])


def test_a_missing_object_is_reported_as_missing(store: Store) -> None:
    assert store.stat("nothing/here") is None
    with pytest.raises(ObjectMissingError) as caught:
        store.get("nothing/here")
    assert caught.value.permanent
    store.delete("nothing/here")


def test_nothing_is_overwritten(store: Store) -> None:
    put(store, "once", b"first")
    put(store, "once", b"first")  # the answer to the first put may have been lost
    with pytest.raises(StoreError) as caught:
        put(store, "once", b"other")
    assert caught.value.permanent
    assert store.get("once") == b"first"


def test_a_disk_without_hard_links_is_a_store_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As exFAT has none; nothing here can make such a file system."""

    def refuse(path: Path, _target: Path) -> None:
        raise FileExistsError if path.exists() else PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    store = opened("disk", {"type": "folder", "path": str(tmp_path)})
    put(store, "a/once", b"first")
    put(store, "a/once", b"first")
    with pytest.raises(StoreError, match="other content"):
        put(store, "a/once", b"other")
    assert [info.key for info in store.list()] == ["a/once"]
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["once"]


def test_bytes_that_do_not_have_their_sha256_are_refused(store: Store) -> None:
    with pytest.raises(StoreError):
        store.put("damaged", b"these bytes", sha256=hashlib.sha256(b"other bytes").hexdigest())
    assert store.stat("damaged") is None


def test_a_known_md5_is_used_and_swift_refuses_a_wrong_one(store: Store) -> None:
    data = b"these bytes"
    digests = {"sha256": hashlib.sha256(data).hexdigest(), "md5": hashlib.md5(data).hexdigest()}
    store.put("known", memoryview(data), **digests)
    assert store.get("known") == data
    if isinstance(store, S3Store):
        with pytest.raises(StoreError, match="BadDigest"):
            store.put("wrong", data, sha256=digests["sha256"], md5=hashlib.md5(b"other").hexdigest())
        assert store.stat("wrong") is None


def test_listing_gives_keys_below_a_prefix_in_order(store: Store) -> None:
    keys = ["h/j/2/COMMIT", "h/j/1/vol.zip.002", "h/j/1/vol.zip.001", "h/j2/1/COMMIT", "h/j/1/COMMIT"]
    for key in keys:
        put(store, key, key.encode())
    assert [info.key for info in store.list("h/j/")] == sorted(key for key in keys if key.startswith("h/j/"))
    assert [info.key for info in store.list()] == sorted(keys)
    assert list(store.list("nowhere/")) == []
    assert {info.size for info in store.list("h/j2/")} == {len("h/j2/1/COMMIT")}


def test_a_deleted_object_is_gone(store: Store) -> None:
    put(store, "h/j/1/COMMIT", b"x")
    store.delete("h/j/1/COMMIT")
    assert store.stat("h/j/1/COMMIT") is None
    assert list(store.list()) == []


def test_times_are_those_of_the_store(store: Store) -> None:
    put(store, "now", b"x")
    info = store.stat("now")
    assert info is not None
    assert abs(info.modified - datetime.now(UTC)) < timedelta(minutes=1)


def test_several_threads_may_put_at_once(store: Store) -> None:
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda number: put(store, f"part-{number}", bytes([number]) * 50_000), range(12)))
    assert all(store.get(f"part-{number}") == bytes([number]) * 50_000 for number in range(12))


def test_one_may_remove_the_last_object_of_a_folder_while_others_put_there(tmp_path: Path) -> None:
    store = opened("folder", {"type": "folder", "path": str(tmp_path)})

    def come_and_go(number: int) -> None:
        for turn in range(60):
            put(store, f"host/job/lease/{number}.{turn}", b"x")
            store.delete(f"host/job/lease/{number}.{turn}")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(come_and_go, range(4)))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("key", ["", "/etc/passwd", "a/../b", "a//b", ".hidden", "a/.partial-x", "a\nb", "ä"])
def test_keys_that_are_not_ours_are_refused(store: Store, key: str) -> None:
    with pytest.raises(ValueError, match="not a key"):
        put(store, key, b"x")


def test_listing_goes_on_over_pages(swift: Swift, tmp_path: Path) -> None:
    store = opened("swift", swift.settings(prefix=f"pages/{tmp_path.name}"))
    assert isinstance(store, S3Store)
    store.prepare()
    store.page_keys = 2
    for number in range(5):
        put(store, f"object-{number}", b"x")
    assert [info.key for info in store.list()] == [f"object-{number}" for number in range(5)]
    store.close()


def test_a_folder_that_is_not_mounted_is_reported_as_missing(tmp_path: Path) -> None:
    store = opened("disk", {"type": "folder", "path": str(tmp_path / "missing")})
    with pytest.raises(StoreError, match="no folder") as caught:
        store.prepare()
    assert caught.value.permanent
    with pytest.raises(StoreError, match="no folder"):
        list(store.list("host/job/"))  # not: there are no snapshots yet
    assert not (tmp_path / "missing").exists()


def test_a_folder_that_may_not_be_read_is_not_an_empty_one() -> None:
    with TemporaryDirectory() as place:  # that of pytest is for its user alone
        root = Path(place)
        store = opened("folder", {"type": "folder", "path": place})
        put(store, "here/job/object", b"x")
        root.chmod(0o755)
        (root / "here" / "job").chmod(0)
        user = os.geteuid()
        os.seteuid(user or 65534)
        try:
            with pytest.raises(StoreError, match="here/job: Permission denied"):
                list(store.list("here/job/"))
        finally:
            os.seteuid(user)
            (root / "here" / "job").chmod(0o700)


def test_an_address_without_s3_is_reported_as_such(swift: Swift) -> None:
    host, port = swift.endpoint.removeprefix("http://").split(":")
    with FaultProxy(host, int(port), [Fault("status", status=404)]) as proxy:
        store = opened("swift", {**swift.settings(tries=1), "endpoint": proxy.url})
        with pytest.raises(StoreError, match="and does not create it") as caught:
            store.prepare()
        assert "S3 API" in caught.value.hint
        store.close()
    store = opened("swift", {**swift.settings(tries=1), "endpoint": f"{swift.endpoint}/v1/AUTH_test"})
    with pytest.raises(StoreError, match="400") as caught:
        store.prepare()
    assert "S3 API" in caught.value.hint
    store.close()


def test_a_wrong_secret_is_reported_without_the_secret(swift: Swift, tmp_path: Path) -> None:
    credentials = tmp_path / "wrong.ini"
    credentials.touch(mode=0o600)
    credentials.write_text("[swift]\naccess_key = backup:admin\nsecret_key = not-the-secret-4711\n")
    store = opened("swift", {**swift.settings(), "credentials_file": str(credentials)})
    with pytest.raises(StoreError) as caught:
        put(store, "x", b"x")
    assert caught.value.permanent
    assert caught.value.denied
    assert "credentials" in caught.value.hint
    assert "4711" not in str(caught.value) + caught.value.hint + repr(vars(store))
    store.close()


def test_a_server_signed_by_a_stranger_is_refused(swift_https: Swift) -> None:
    store = opened("swift", {**swift_https.settings(tries=1), "ca_file": None})
    with pytest.raises(StoreError, match="TLS") as caught:
        store.get("x")
    assert caught.value.permanent
    assert "ca_file" in caught.value.hint
    store.close()


def test_a_server_that_is_not_there_is_worth_another_try(swift: Swift) -> None:
    store = opened("swift", {**swift.settings(tries=1), "endpoint": "http://127.0.0.1:1"})
    with pytest.raises(StoreError, match=r"127\.0\.0\.1:1 cannot be reached") as caught:
        store.get("x")
    assert not caught.value.permanent
    store.close()


FAULTS = {
    "answering 503 twice": Fault("status", times=2, status=503),
    "answering 429": Fault("status", times=1, status=429),
    "answering 500": Fault("status", times=1, status=500),
    "closing the connection": Fault("reset", times=2),
    "losing the request half-way": Fault("cut request", times=1),
    "losing the answer half-way": Fault("cut answer", "GET", times=2),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_that_passes_is_survived(swift: Swift, tmp_path: Path, name: str) -> None:
    host, port = swift.endpoint.removeprefix("http://").split(":")
    with FaultProxy(host, int(port)) as proxy:
        settings = {**swift.settings(prefix=f"faults/{tmp_path.name}", timeout="5s"), "endpoint": proxy.url}
        store = opened("swift", settings)
        assert isinstance(store, S3Store)
        store.retry = Retry(tries=4, first_pause=0.01)
        store.prepare()
        proxy.faults.append(replace(FAULTS[name]))
        put(store, "object", b"0123456789" * 1000)
        assert store.get("object") == b"0123456789" * 1000
        assert proxy.faults[0].times <= 0, "the fault struck"
        store.close()


@pytest.mark.parametrize("action", ["truncate", "corrupt"])
def test_an_answer_damaged_on_the_way_is_asked_for_again(swift: Swift, tmp_path: Path, action: Any) -> None:
    host, port = swift.endpoint.removeprefix("http://").split(":")
    with FaultProxy(host, int(port), [Fault(action, "GET", times=1)]) as proxy:
        settings = {**swift.settings(prefix=f"faults/{tmp_path.name}"), "endpoint": proxy.url}
        store = opened("swift", settings)
        put(store, "object", b"0123456789")
        assert store.get("object") == b"0123456789"
        assert [request[0] for request in proxy.seen].count("GET") == 2
        store.close()


def test_the_last_error_is_raised_when_no_try_succeeds() -> None:
    tries = []

    def fail() -> None:
        tries.append(1)
        raise StoreError(f"failure {len(tries)}")

    with pytest.raises(StoreError, match="failure 3"):
        Retry(tries=3, first_pause=0.001).call("store", fail)


def test_a_store_that_asks_for_time_is_given_it(swift: Swift, tmp_path: Path) -> None:
    waited = []

    class Watched(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            waited.append(timeout)
            return False

    host, port = swift.endpoint.removeprefix("http://").split(":")
    fault = Fault("status", "PUT", "object", times=2, status=429, headers=(("Retry-After", "7"),))
    with FaultProxy(host, int(port), [fault]) as proxy:
        settings = {**swift.settings(prefix=f"faults/{tmp_path.name}"), "endpoint": proxy.url}
        store = opened("swift", settings)
        assert isinstance(store, S3Store)
        store.retry = Retry(first_pause=0.01, longest_pause=5, stop=Watched())
        put(store, "object", b"0123456789")
        store.close()
    assert waited == [5, 5], "as long as it asked for, but no longer than our own limit"


def test_permanent_errors_are_not_retried() -> None:
    tries = []

    def fail() -> None:
        tries.append(1)
        raise StoreError("no", permanent=True)

    with pytest.raises(StoreError):
        Retry(tries=3, first_pause=0.001).call("store", fail)
    assert len(tries) == 1


@pytest.mark.parametrize(
    ("text", "mode", "said"),
    [
        ("[x]\naccess_key = a\nsecret_key = hidden-secret\n", 0o644, "all users can read"),
        ("access_key = a\nsecret_key = hidden-secret\n", 0o600, "access_key or secret_key is missing"),
        ("[x]\naccess_key = a\n", 0o600, "access_key or secret_key is missing"),
        (None, 0o600, "No such file"),
    ],
)
def test_bad_credential_files_are_refused_without_showing_them(
    tmp_path: Path, text: str | None, mode: int, said: str
) -> None:
    path = tmp_path / "store.ini"
    if text is not None:
        path.write_text(text)
        path.chmod(mode)
    with pytest.raises(UsageError, match=said) as caught:
        read_credentials(path)
    assert "hidden" not in "\n".join(caught.value.lines())
