"""An S3 that refuses what Swift takes: done without it, or said. A stand-in server does the refusing."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from lab.patience import patient
from lab.refusing_s3 import RefusingS3
from orchestrator.config.stores import StoreSettings
from orchestrator.stores import StoreError, open_store
from orchestrator.stores.retry import Retry
from orchestrator.stores.s3 import S3Store

Site = Any
CONDITION, CHECKSUM, MD5 = "If-None-Match", "x-amz-checksum-sha256", "Content-MD5"


@pytest.fixture
def s3() -> Iterator[RefusingS3]:
    with RefusingS3() as server:
        yield server


@pytest.fixture
def credentials(tmp_path: Path) -> Path:
    file = tmp_path / "s3.ini"
    file.touch(mode=0o600)
    file.write_text("[default]\naccess_key = key\nsecret_key = secret\n")
    return file


def settings(s3: RefusingS3, credentials: Path, **more: Any) -> dict[str, Any]:
    own = {"type": "s3", "endpoint": s3.url, "bucket": "backups", "credentials_file": str(credentials)}
    return {**own, "tries": 2, **more}


@pytest.fixture
def store(s3: RefusingS3, credentials: Path) -> Iterator[S3Store]:
    found = open_store("s3", TypeAdapter(StoreSettings).validate_python(settings(s3, credentials)))
    assert isinstance(found, S3Store)
    found.retry = Retry(tries=2, first_pause=0.01)
    yield found
    found.close()


def put(store: S3Store, key: str, data: bytes) -> None:
    store.put(key, data, sha256=hashlib.sha256(data).hexdigest())


NO, BAD = (501, "NotImplemented"), (400, "InvalidArgument")
REFUSALS = {
    "501 to If-None-Match": {CONDITION: NO},
    "400 to If-None-Match": {CONDITION: BAD},
    "501 to the checksum": {CHECKSUM: NO},
    "400 to the checksum": {CHECKSUM: (400, "InvalidRequest")},
    "400 to Content-MD5": {MD5: BAD},
    "both": {CONDITION: BAD, CHECKSUM: NO},
    "all three": {CONDITION: NO, CHECKSUM: BAD, MD5: (400, "XNotImplemented")},
}


@pytest.mark.parametrize("refuses", REFUSALS.values(), ids=REFUSALS)
def test_a_rejected_header_is_omitted_from_then_on(
    s3: RefusingS3, store: S3Store, refuses: dict[str, tuple[int, str]]
) -> None:
    s3.refuses = refuses
    put(store, "a/COMMIT", b"hello")
    first = len(s3.seen)
    put(store, "a/meta.json", b"again")
    assert (s3.objects["backups/a/COMMIT"], s3.objects["backups/a/meta.json"]) == (b"hello", b"again")
    assert len(s3.seen) == first + 1, "what it refuses is remembered"
    assert not any(name.lower() in s3.seen[-1] for name in refuses)
    others = {CONDITION, CHECKSUM, MD5} - set(refuses)
    assert all(name.lower() in s3.seen[-1] for name in others), "what it takes is still sent"
    assert len(store.dialect.lacks) == len(refuses)


def of_a_profile(folder: Path) -> dict[str, str]:
    return {"AWS_PROFILE": "work"}


def of_a_home(folder: Path) -> dict[str, str]:
    (folder / ".aws" / "models" / "s3" / "2006-03-01").mkdir(parents=True)
    (folder / ".aws" / "config").write_text("[default\n")
    (folder / ".aws" / "models" / "s3" / "2006-03-01" / "service-2.json").write_text("{}")
    return {"HOME": str(folder)}


def of_a_folder(folder: Path) -> dict[str, str]:
    return {"AWS_DATA_PATH": f"{of_a_home(folder)['HOME']}/.aws/models"}


@pytest.mark.parametrize("told", [of_a_profile, of_a_home, of_a_folder])
def test_s3_settings_of_other_programs_change_nothing(
    site: Site, s3: RefusingS3, credentials: Path, tmp_path: Path, told: Callable[[Path], dict[str, str]]
) -> None:
    site.document["stores"]["s3"] = settings(s3, credentials)
    site.job["stores"] = ["s3"]
    site.write()
    argv = [sys.executable, "-m", "leitstand", "backup", "list", "site", "--config", str(site.config)]
    environment = {**os.environ, **told(tmp_path / "home")}
    done = subprocess.run(
        argv, env=environment, capture_output=True, text=True, timeout=patient(60), check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_refusal_that_is_about_the_data_is_no_reason_to_send_less(s3: RefusingS3, store: S3Store) -> None:
    s3.refuses = {"Authorization": (400, "EntityTooLarge")}
    with pytest.raises(StoreError, match="EntityTooLarge"):
        put(store, "a/COMMIT", b"hello")
    assert len(s3.seen) == 1


def test_the_first_refusal_is_reported_when_no_retry_helps(s3: RefusingS3, store: S3Store) -> None:
    s3.refuses = {"Authorization": NO}
    with pytest.raises(StoreError, match="NotImplemented") as caught:
        put(store, "a/COMMIT", b"hello")
    assert caught.value.permanent
    assert "does not support this call" in caught.value.hint
    assert store.dialect.lacks == []


@pytest.mark.parametrize("etags", ["encrypted", "odd"])
def test_an_etag_that_is_no_md5_is_not_taken_for_damage(s3: RefusingS3, store: S3Store, etags: Any) -> None:
    s3.etags = etags
    put(store, "a/COMMIT", b"hello")
    put(store, "a/COMMIT", b"hello")  # the answer may have been lost: compared by what it holds
    with pytest.raises(StoreError, match="exists already"):
        put(store, "a/COMMIT", b"other")
    assert store.get("a/COMMIT") == b"hello"
    info = store.stat("a/COMMIT")
    assert info is not None and info.md5 == ""
    assert [each.md5 for each in store.list("a/")] == [""]
    assert "ETags that are the MD5" in store.dialect.lacks[0]


def test_an_encrypted_object_is_read_by_a_store_that_never_wrote_one(s3: RefusingS3, store: S3Store) -> None:
    s3.etags = "encrypted"
    s3.objects["backups/a/COMMIT"] = b"hello"
    assert store.get("a/COMMIT") == b"hello"
    info = store.stat("a/COMMIT")
    assert info is not None and info.md5 == ""


def test_another_etag_without_encryption_is_reported_as_damage(s3: RefusingS3, store: S3Store) -> None:
    s3.etags = "unannounced"
    with pytest.raises(StoreError, match="other bytes") as caught:
        put(store, "a/COMMIT", b"hello")
    assert "does not report the bucket as encrypted" in caught.value.hint


@pytest.mark.parametrize("listing", [0, 1])
def test_a_store_that_lists_in_the_first_version_only_is_listed(
    s3: RefusingS3, store: S3Store, listing: int
) -> None:
    s3.listing = listing
    names = [f"a/object-{number}" for number in range(7)]
    s3.objects = {f"backups/{name}": b"x" for name in names}
    store.page_keys = 3
    assert [info.key for info in store.list("a/")] == names
    assert [info.key for info in store.list("a/")] == names


def ways(store: S3Store) -> dict[str, Callable[[], object]]:
    return {
        "list": lambda: list(store.list("here/")),
        "stat": lambda: store.stat("here/object"),
        "get": lambda: store.get("here/object"),
        "put": lambda: put(store, "here/object", b"data"),
    }


LISTED = "<Key>{}</Key><LastModified>2026-11-30T00:00:00Z</LastModified><Size>1</Size><ETag>x</ETag>"
PAGES = {
    "a login page": "<html><head><title>Log in</title></head><body><p>Welcome</p></body></html>",
    "nothing": "",
    "a listing without an end": "<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>",
    "an entry of nothing": "<ListBucketResult><IsTruncated>false</IsTruncated><Contents/></ListBucketResult>",
    "a time of no calendar": (
        "<ListBucketResult><IsTruncated>false</IsTruncated>"
        f"<Contents>{LISTED.format('here/a').replace('2026', 'soon')}</Contents></ListBucketResult>"
    ),
}


@pytest.mark.parametrize("page", PAGES.values(), ids=PAGES)
@pytest.mark.parametrize("way", ["list", "stat", "get", "put"])
def test_a_page_of_something_in_between_is_neither_an_object_nor_an_empty_store(
    s3: RefusingS3, store: S3Store, page: str, way: str
) -> None:
    s3.instead = (200, page)
    with pytest.raises(StoreError, match="not an answer of an S3 API") as caught:
        ways(store)[way]()
    assert "a login page or a proxy" in caught.value.hint


def test_a_listing_that_goes_round_in_a_circle_ends(s3: RefusingS3, store: S3Store) -> None:
    token = "<NextContinuationToken>again</NextContinuationToken>"
    for more in (token, ""):
        entry = f"<Contents>{LISTED.format('here/a')}</Contents>"
        s3.instead = (200, f"<L><IsTruncated>true</IsTruncated>{more}{entry}</L>")
        with pytest.raises(StoreError, match="repeats the same page"):
            list(store.list("here/"))


def test_keys_that_were_not_asked_for_are_no_part_of_a_listing(s3: RefusingS3, store: S3Store) -> None:
    keys = ("here/a", "elsewhere", "../here/a", "here")
    entries = "".join(f"<Contents>{LISTED.format(key)}</Contents>" for key in keys)
    s3.instead = (200, f"<L><IsTruncated>false</IsTruncated>{entries}</L>")
    assert [info.key for info in store.list("here/")] == ["here/a"]


@pytest.mark.parametrize(
    ("code", "left_to_others"),
    [("AccessDenied", True), ("RequestTimeTooSkewed", False), ("QuotaExceeded", False), ("", False)],
)
def test_only_a_refusal_of_the_credentials_leaves_a_task_to_another_machine(
    site: Site, s3: RefusingS3, credentials: Path, code: str, left_to_others: bool
) -> None:
    site.document["stores"] = {"s3": settings(s3, credentials)}
    site.job["stores"] = ["s3"]
    site.job["sources"] = site.job["sources"][1:]
    site.good("run", "site")
    s3.instead = (403, f"<Error><Code>{code}</Code><Message>No.</Message></Error>")
    assert site.leitstand("verify", "site", "--if-allowed").status == (0 if left_to_others else 3)
    (row,) = site.leitstand("status", "--json").json()
    assert bool(row["problem"]) is not left_to_others
    assert "is gone" not in row["problem"]


def test_the_region_that_a_store_wants_is_named(s3: RefusingS3, store: S3Store) -> None:
    s3.region = "eu-central-9"
    with pytest.raises(StoreError) as caught:
        put(store, "a/COMMIT", b"hello")
    assert caught.value.hint == "the store is in another region: set 'region: eu-central-9'"


def test_nothing_is_sent_that_belongs_to_an_sdk_alone_or_in_chunks(s3: RefusingS3, store: S3Store) -> None:
    put(store, "a/COMMIT", b"hello")
    sent = s3.seen[-1]
    assert not [name for name in sent if name.startswith("amz-sdk") or "trailer" in name]
    assert "aws-chunked" not in sent.get("content-encoding", "")
    assert (sent["content-length"], sent.get("transfer-encoding")) == ("5", None)


def test_a_bucket_may_be_in_the_name_of_the_host(s3: RefusingS3, credentials: Path) -> None:
    own = settings(s3, credentials, endpoint="https://s3.example.org", path_style=False)
    found = open_store("s3", TypeAdapter(StoreSettings).validate_python(own))
    assert isinstance(found, S3Store)
    url = found.client.generate_presigned_url("get_object", {"Bucket": "backups", "Key": "a/COMMIT"})
    assert url.startswith("https://backups.s3.example.org/a/COMMIT?")
    found.close()


def test_doctor_names_each_thing_that_the_store_lacks_and_the_job_runs(
    site: Site, s3: RefusingS3, credentials: Path
) -> None:
    s3.refuses, s3.etags, s3.listing = {CONDITION: BAD, CHECKSUM: NO}, "encrypted", 1
    site.document["stores"]["s3"] = settings(s3, credentials)
    site.job["stores"] = ["s3"]
    rows = {row["check"]: row for row in site.good("doctor", "site", "--json").json()}
    told = rows["store s3"]["told"]
    for lacking in ("If-None-Match", "x-amz-checksum-sha256", "ETags", "second version of listings"):
        assert lacking in told
    site.good("run", "site")
    site.good("verify", "site")
    site.good("verify", "site", "--share", "1/2")
    site.good("restore", "site", "--target", site.folder / "again")


def test_doctor_reports_a_store_that_overwrites_silently(
    site: Site, s3: RefusingS3, credentials: Path
) -> None:
    s3.overwrites = True
    site.document["stores"]["s3"] = settings(s3, credentials)
    site.job["stores"] = ["s3"]
    rows = {row["check"]: row for row in site.good("doctor", "site", "--json").json()}
    assert "If-None-Match" in rows["store s3"]["told"]
