"""The real Swift behind a proxy that does wrong: what passes is survived, what stays is one clear line."""

import urllib.request
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lab.fault_proxy import Fault

pytestmark = pytest.mark.slow
Behind = Any
Swift = Any
ClearLine = Callable[..., str]
VOLUME, MANIFEST, COMMIT = r"vol\.zip\.002", r"manifest\.zip", "COMMIT"


def denied(code: str) -> bytes:
    return f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>No.</Message></Error>".encode()


UPLOAD_FAULTS = {
    "500": Fault("status", "PUT", status=500),
    "503": Fault("status", "PUT", status=503),
    "503 SlowDown": Fault("status", "PUT", status=503, body=denied("SlowDown")),
    "429": Fault("status", "PUT", status=429),
    "429 with Retry-After": Fault("status", "PUT", status=429, headers=(("Retry-After", "1"),)),
    "hang": Fault("hang", "PUT"),
    "reset": Fault("reset", "PUT"),
    "cut in the middle": Fault("cut request", "PUT"),
    "answer lost": Fault("cut answer", "PUT"),
    "wrong ETag": Fault("wrong etag", "PUT"),
}
DOWNLOAD_FAULTS = {
    "500": Fault("status", "GET", status=500),
    "503": Fault("status", "GET", status=503),
    "429": Fault("status", "GET", status=429),
    "hang": Fault("hang", "GET"),
    "reset": Fault("reset", "GET"),
    "cut in the middle": Fault("cut answer", "GET"),
    "shorter, but said to be whole": Fault("truncate", "GET"),
    "a damaged byte": Fault("corrupt", "GET"),
}


def cases(faults: dict[str, Fault]) -> Any:
    return pytest.mark.parametrize("fault", faults.values(), ids=faults.keys())


@cases(UPLOAD_FAULTS)
def test_an_upload_that_fails_once_is_survived(behind: Behind, fault: Fault) -> None:
    hasten(behind, fault, tries=4)
    faults = [replace(fault, path=where, times=1) for where in (VOLUME, MANIFEST, COMMIT)]
    behind.strike(*faults)
    behind.site.good("run", "site")
    assert all(fault.times <= 0 for fault in faults), "each struck"
    (name,) = behind.new()
    behind.site.good("verify", "site", "--snapshot", name)


LASTING = {
    "500": (Fault("status", "PUT", status=500), "500"),
    "429": (Fault("status", "PUT", status=429), "429"),
    "hang": (Fault("hang", "PUT"), "imeout"),
    "reset": (Fault("reset", "PUT"), "onnection"),
    "cut in the middle": (Fault("cut request", "PUT"), "onnection"),
    "wrong ETag": (Fault("wrong etag"), "other bytes"),
    "quota used up": (Fault("status", "PUT", status=413, body=denied("EntityTooLarge")), "EntityTooLarge"),
    "disk of the store full": (Fault("status", "PUT", status=507), "507"),
    "credentials expired": (Fault("status", status=403, body=denied("ExpiredToken")), "403"),
    "credentials wrong": (Fault("status", status=403, body=denied("SignatureDoesNotMatch")), "Signature"),
}


@pytest.mark.parametrize(("fault", "word"), LASTING.values(), ids=LASTING.keys())
def test_an_upload_that_goes_on_failing_is_one_clear_line_and_leaves_nothing_listed(
    behind: Behind, clear_line: ClearLine, fault: Fault, word: str
) -> None:
    hasten(behind, fault, tries=2)
    for where in (VOLUME, COMMIT):
        behind.strike(replace(fault, path=where))
        clear_line(behind.site.leitstand("run", "site"), "swift", word)
        assert behind.new() == []
    behind.assert_sound()


@cases(DOWNLOAD_FAULTS)
def test_a_download_that_fails_once_is_survived(behind: Behind, fault: Fault, tmp_path: Path) -> None:
    """COMMIT, manifest and a volume each fail once while verify reads them, and while restore does."""
    hasten(behind, fault, tries=4)
    for command in (["verify", "site"], ["restore", "site", "--target", tmp_path / "out"]):
        faults = [replace(fault, path=where, times=1) for where in (COMMIT, MANIFEST, VOLUME)]
        behind.strike(*faults)
        behind.site.good(*command)
        assert all(fault.times <= 0 for fault in faults), "each struck"
        behind.heal()
    assert behind.tree(behind.site.restored(tmp_path / "out")) == behind.tree(behind.site.www)


@cases(DOWNLOAD_FAULTS)
def test_a_download_that_goes_on_failing_gives_no_unproven_bytes(
    behind: Behind, clear_line: ClearLine, fault: Fault, tmp_path: Path
) -> None:
    hasten(behind, fault, tries=1)
    out = tmp_path / "out"
    contents = {path.read_bytes() for path in behind.site.www.iterdir()}
    for where in (COMMIT, MANIFEST, VOLUME):
        behind.strike(replace(fault, path=where))
        assert behind.site.leitstand("verify", "site").status == 3
        clear_line(behind.site.leitstand("restore", "site", "--target", out))
        found = [path for path in out.rglob("*") if path.is_file()] if out.exists() else []
        assert {path.read_bytes() for path in found} <= contents
        assert "photo.jpg" not in [path.name for path in found], "what could not be proven is not there"
        behind.heal()
    behind.unhurried()
    behind.site.good("restore", "site", "--target", out)
    assert behind.tree(behind.site.restored(out)) == behind.tree(behind.site.www)


def hasten(behind: Behind, fault: Fault, tries: int) -> None:
    """No longer than needed for a server that hangs; a busy one may seem to hang once, too."""
    timeout = "1s" if fault.action == "hang" else "30s"
    behind.site.document["stores"]["swift"].update(tries=tries, timeout=timeout)


@pytest.mark.parametrize("status", [403, 500])
def test_a_listing_that_fails_is_one_clear_line(behind: Behind, clear_line: ClearLine, status: int) -> None:
    behind.site.document["stores"]["swift"]["tries"] = 1
    behind.strike(Fault("status", "GET", "list-type", status=status))
    clear_line(behind.site.leitstand("list", "site"), "swift", str(status))
    clear_line(behind.site.leitstand("restore", "site", "--target", behind.site.folder / "out"), "swift")


def test_credentials_that_expire_in_the_middle_leave_nothing_listed(
    behind: Behind, clear_line: ClearLine, apart: Callable[..., Any]
) -> None:
    """From some request on nothing is allowed any more, not even the clean-up."""
    for passed in (4, 7, 9):
        behind.strike(Fault("status", status=403, body=denied("AccessDenied"), after=passed))
        clear_line(apart(behind.site, "run", "site"), "swift", "AccessDenied (403)")
        assert behind.new() == [], f"after {passed} requests"
    behind.assert_sound()


def test_an_exhausted_quota_is_reported_as_such(behind: Behind, swift: Swift, clear_line: ClearLine) -> None:
    """The real quota of a real container, set through Swift's own API."""
    set_quota(swift, "tight", 100_000_000)  # makes it: of a store that is known no bucket is made
    behind.site.document["stores"]["swift"]["bucket"] = "tight"
    behind.site.good("run", "site")
    behind.before = behind.site.snapshots("swift")
    set_quota(swift, "tight", 200_000)
    ran = behind.site.leitstand("run", "site")
    clear_line(ran, "swift", "exceeds quota")
    assert "quota" in ran.stderr
    assert behind.new() == []
    set_quota(swift, "tight", 100_000_000)
    behind.assert_sound()


def set_quota(swift: Swift, container: str, size: int) -> None:
    def call(method: str, url: str, headers: dict[str, str]) -> Any:
        with urllib.request.urlopen(urllib.request.Request(url, method=method, headers=headers)) as answer:
            return answer.headers

    login = {"X-Auth-User": swift.access_key, "X-Auth-Key": swift.secret_key}
    auth = call("GET", f"{swift.endpoint}/auth/v1.0", login)
    quota = {"X-Auth-Token": auth["X-Auth-Token"], "X-Container-Meta-Quota-Bytes": str(size)}
    call("PUT", f"{auth['X-Storage-Url']}/{container}", quota)


def test_a_slow_store_is_waited_for(behind: Behind) -> None:
    behind.strike(Fault("delay", seconds=0.1))
    behind.site.good("run", "site")
    assert len(behind.new()) == 1


@pytest.mark.parametrize(
    "fault",
    [
        Fault("status", "PUT", VOLUME, status=507),
        Fault("reset", "PUT", COMMIT),
        Fault("hang", "PUT", MANIFEST),
    ],
    ids=["full", "reset at COMMIT", "hangs at the manifest"],
)
def test_one_of_two_stores_failing_keeps_the_other(behind: Behind, fault: Fault, tmp_path: Path) -> None:
    behind.site.document["stores"]["swift"].update(tries=1, timeout="1s")
    behind.site.job["stores"] = ["swift", "disk"]
    behind.strike(fault)
    ran = behind.site.leitstand("run", "site")
    assert ran.status == 3, "a store has no snapshot of this run"
    assert len(ran.errors) == 1
    assert ran.errors[0].startswith("swift: ")
    assert "in disk, NOT in swift:" in ran.stdout
    behind.unhurried()
    assert behind.new() == []
    assert len(behind.site.snapshots("disk")) == 1
    behind.site.good("restore", "site", "--store", "disk", "--target", tmp_path / "out")
    assert behind.tree(behind.site.restored(tmp_path / "out")) == behind.tree(behind.site.www)
    behind.assert_sound()
