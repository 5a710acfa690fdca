"""What a new user finds out before the first night."""

import shutil
import sqlite3
import urllib.request
from contextlib import closing
from pathlib import Path
from typing import Any

Site = Any
Swift = Any


def results(site: Site, status: int, *more: str) -> dict[str, tuple[str, str]]:
    ran = site.leitstand("doctor", "site", "--json", *more)
    assert ran.status == status, ran.stdout
    return {row["check"]: (row["result"], row["told"]) for row in ran.json()}


def test_a_job_that_will_run_is_good_and_nothing_is_left_behind(on_swift: Site) -> None:
    found = results(on_swift, 0)
    assert {result for result, _ in found.values()} == {"good"}
    assert {"keys", "store swift", "store disk", "host here", "scratch", "state", "metrics"} < set(found)
    assert list(on_swift.disk.rglob("*")) == []
    assert list((on_swift.folder / "scratch").iterdir()) == []
    lines = on_swift.good("doctor").stdout.splitlines()
    assert "good    site: store swift: wrote, read, listed and deleted an object" in lines
    on_swift.good("run", "site")


def test_causes_of_a_failing_run_are_named_with_a_hint(on_swift: Site, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.ini"
    wrong.touch(mode=0o600)
    wrong.write_text("[default]\naccess_key = backup:admin\nsecret_key = guessed\n")
    on_swift.document["stores"]["swift"]["credentials_file"] = str(wrong)
    on_swift.job["sources"] = [
        {"files": str(tmp_path / "nothing")},
        {"command": ["sh", "-c", "echo no such database >&2; exit 1"], "name": "dump"},
    ]
    on_swift.job["drill"] = {"schedule": "monthly", "scratch": str(tmp_path / "nowhere")}
    shutil.rmtree(on_swift.disk)
    (on_swift.folder / "keys").chmod(0o644)
    found = results(on_swift, 3)
    bad = {what: told for what, (result, told) in found.items() if result == "bad"}
    assert "may be read by others" in bad.pop("keys")
    assert bad.pop("store disk").endswith(f"there is no folder {on_swift.disk}")
    assert "403" in bad.pop("store swift")
    assert "No such file" in bad.pop(f"files{tmp_path}/nothing")
    assert "no such database" in bad.pop("command/dump")
    assert bad == {"scratch of drills": f"there is no folder {tmp_path}/nowhere"}
    assert f"hint: chmod 600 {on_swift.folder}/keys" in on_swift.leitstand("doctor").stdout


def test_another_machine_without_ssh_is_named_and_its_paths_are_not_read_here(site: Site) -> None:
    site.document["hosts"]["away"] = {"address": "192.0.2.7"}
    site.job["host"] = "away"
    found = results(site, 3)
    assert found["host away"][0] == "bad"
    assert not [what for what in found if what.startswith(("files/", "sqlite/"))]


def test_a_long_dump_is_only_tasted(site: Site) -> None:
    site.job["sources"] = [{"command": ["yes"], "name": "endless"}]
    assert results(site, 0)["command/endless"][0] == "good"


def grant_writing(swift: Swift, container: str, user: str) -> None:
    """Swift's own API: S3 has no call for it."""

    def call(method: str, url: str, headers: dict[str, str]) -> Any:
        with urllib.request.urlopen(urllib.request.Request(url, method=method, headers=headers)) as answer:
            return answer.headers

    login = {"X-Auth-User": swift.access_key, "X-Auth-Key": swift.secret_key}
    auth = call("GET", f"{swift.endpoint}/auth/v1.0", login)
    rights = {"X-Auth-Token": auth["X-Auth-Token"], "X-Container-Write": user}
    call("PUT", f"{auth['X-Storage-Url']}/{container}", rights)


def test_a_writer_that_may_only_write_is_reported_what_it_may_not(on_swift: Site, swift: Swift) -> None:
    grant_writing(swift, "inbox", "backup:upload")
    credentials = on_swift.folder / "upload.ini"
    credentials.touch(mode=0o600)
    secret = swift.users["backup:upload"]
    credentials.write_text(f"[default]\naccess_key = backup:upload\nsecret_key = {secret}\n")
    on_swift.document["stores"]["swift"] |= {"bucket": "inbox", "credentials_file": str(credentials)}
    result, told = results(on_swift, 1)["store swift"]
    assert (result, told) == ("warning", "wrote an object; these credentials may not read, list, delete")


def test_a_mistyped_bucket_of_a_known_store_is_not_made(on_swift: Site) -> None:
    on_swift.good("run", "site")
    on_swift.document["stores"]["swift"]["bucket"] = "bakcups"
    expected = "swift: there is no bucket 'bakcups', though this store was used before"
    assert results(on_swift, 3)["store swift"] == ("bad", expected)
    ran = on_swift.leitstand("run", "site")
    assert ran.status == 3
    assert expected in ran.errors
    assert "hint: is it mistyped?" in ran.stderr
    assert on_swift.leitstand("list", "site", "--store", "swift").status == 3, "it was not made"


def test_creating_a_bucket_is_reported(on_swift: Site) -> None:
    on_swift.document["stores"]["swift"]["bucket"] = "first-use"
    assert "swift: created bucket 'first-use'" in on_swift.good("run", "site").stderr


def test_changes_beside_a_database_that_the_unit_cannot_read_are_reported_and_kept(
    site: Site,
) -> None:
    database = site.folder / "guestbook.sqlite"
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA journal_mode = wal")
        connection.execute("CREATE TABLE more (id INTEGER)")
        log = database.with_name("guestbook.sqlite-wal").read_bytes()
    assert results(site, 0)[f"sqlite{database}"] == ("good", "can be read")
    assert list(site.folder.glob("guestbook.sqlite-*")) == [], "nothing is left beside it"
    database.with_name("guestbook.sqlite-wal").write_bytes(log)
    result, told = results(site, 1)[f"sqlite{database}"]
    assert (result, told[:34]) == ("warning", "under the unit this will fail: /tmp"[:34])
    assert not database.with_name("guestbook.sqlite-shm").exists()
