import gzip
import json
import subprocess
import sys
import time
import urllib.request
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.inventory.inventory import InventoryService
from exporter.inventory.kinds import KINDS
from exporter.roots import Roots
from fleet_inventory.access import Access
from fleet_inventory.cli import inventory
from fleet_inventory.database import open_database
from fleet_inventory.document import APART, NAMES, SCHEMA_VERSION, VERSIONS, DocumentError, parse
from fleet_inventory.document import KINDS as KNOWN
from fleet_inventory.pull import MAXIMUM_BYTES, PullError, unpacked
from fleet_inventory.query import is_so, parse_query
from lab.patience import patient
from lab.processes import free_port
from leitstand.errors import LeitstandError, UsageError

Start = Callable[[], Any]
DAY = 86_400


def package(name: str, version: str, manager: str = "dpkg", arch: str = "amd64") -> dict[str, Any]:
    return {"manager": manager, "name": name, "version": version, "arch": arch, "path": ""}


def run(*words: str, folder: Path) -> Result:
    """A command with its output; a LeitstandError stays in the result's exception."""
    path = ["--database", str(folder / "inventory.sqlite")]
    arguments = [words[0], *path, *words[1:]]
    if words[0] == "pull":
        arguments += ["--config", str(folder / "leitstand.yml")]
    return CliRunner().invoke(inventory, arguments, standalone_mode=False)


def write_fleet(folder: Path, **ports: int) -> None:
    hosts = {name: {"address": "127.0.0.1", "exporter_port": port} for name, port in ports.items()}
    (folder / "leitstand.yml").write_text(json.dumps({"hosts": hosts}))


def test_only_what_changed_is_fetched_again(exporter: Start, tmp_path: Path) -> None:
    web = exporter()
    web.items = {"package": [package("openssl", "3.0.19-1")]}
    write_fleet(tmp_path, web1=web.port)
    assert run("pull", folder=tmp_path).output == "web1: 1 changes\n"
    assert run("pull", folder=tmp_path).output == "web1: unchanged\n"
    assert "if-none-match" not in web.asked[0]
    assert web.asked[1]["if-none-match"] == '"1"'
    web.etag, web.items = '"2"', {"package": [package("openssl", "3.0.20-1")]}
    assert run("pull", folder=tmp_path).output == "web1: 2 changes\n"


def test_search_finds_hosts_in_the_order_of_the_distribution(exporter: Start, tmp_path: Path) -> None:
    versions = {"old": "3.0.9-1", "mid": "3.0.19-1~deb12u2", "new": "3.0.20-1~deb12u1"}
    ports = {}
    for name, version in versions.items():
        host = exporter()
        host.items = {"package": [package("openssl", version), package("other", "1.0")]}
        ports[name] = host.port
    write_fleet(tmp_path, **ports)
    run("pull", folder=tmp_path)
    found = run("search", "openssl < 3.0.20", folder=tmp_path)
    assert [line.split("\t")[0] for line in found.output.splitlines()] == ["mid", "old"]
    assert found.return_value == 0
    rows = json.loads(run("search", "--json", "OPEN*", ">=", "3.0.20", folder=tmp_path).output)
    assert [(row["host"], row["version"]) for row in rows] == [("new", "3.0.20-1~deb12u1")]
    nothing = run("search", "openssl > 4", folder=tmp_path)
    assert (nothing.output, nothing.return_value) == ("", 1)


def test_diff_shows_what_came_went_and_changed_between_two_days(exporter: Start, tmp_path: Path) -> None:
    with open_database(tmp_path / "inventory.sqlite", create=True) as store:
        for number, names in enumerate([{"a": "1", "b": "1", "c": "1"}, {"a": "2", "c": "1", "d": "1"}]):
            items = {"package": [package(name, version) for name, version in names.items()]}
            raw = {"schema_version": 1, "sha256": "", "incomplete": [], "items": items}
            store.take("web1", "", parse(json.dumps(raw).encode()), number * 3 * DAY + 1000)
    shown = run("diff", "web1", "1970-01-01", "1970-01-04", folder=tmp_path).output
    assert shown == "~ package\ta\t1 → 2\n- package\tb\t1\n+ package\td\t1\n"
    assert run("diff", "web1", "1970-01-02", "1970-01-03", folder=tmp_path).output == ""
    assert run("diff", "web1", "1970-01-01", folder=tmp_path).output == shown
    as_it_was = run("show", "web1", "--at", "1970-01-02", folder=tmp_path).output
    assert [line.split("\t")[1] for line in as_it_was.splitlines()] == ["a", "b", "c"]


def test_a_diff_from_before_the_first_pull_is_explained(exporter: Start, tmp_path: Path) -> None:
    web = exporter()
    web.items = {"package": [package("a", "1")]}
    write_fleet(tmp_path, web1=web.port)
    run("pull", folder=tmp_path)
    assert "begins" in run("diff", "web1", "2000-01-01", folder=tmp_path).stderr


def test_a_host_that_was_not_reached_since_shows_no_changes_without_a_word(tmp_path: Path) -> None:
    raw = {"schema_version": 1, "sha256": "", "incomplete": [], "items": {"package": [package("a", "1")]}}
    with open_database(tmp_path / "inventory.sqlite", create=True) as store:
        store.take("web1", "", parse(json.dumps(raw).encode()), DAY * 1.5)
        store.note("web1", DAY * 9.0, "no answer within 15 s")
    word = "web1: as of 1970-01-02 12:00 UTC: no answer within 15 s\n"
    for days in (["1970-01-02"], ["1970-01-02", "1970-01-05"]):
        assert run("diff", "web1", *days, folder=tmp_path).stderr == word
    assert run("show", "web1", folder=tmp_path).stderr == word
    assert run("show", "web1", "--at", "1970-01-01", folder=tmp_path).stderr == ""


def test_the_first_time_of_an_item_stays_while_it_exists(exporter: Start, tmp_path: Path) -> None:
    raw = {"schema_version": 1, "sha256": "", "incomplete": [], "items": {"package": [package("a", "1")]}}
    document = parse(json.dumps(raw).encode())
    with open_database(tmp_path / "x", create=True) as store:
        assert [store.take("web1", "", document, moment) for moment in (1.0, 2.0)] == [1, 0]
        (row,) = store.at("web1")
        assert (row.first_seen, row.last_seen) == (1.0, None)


def test_nothing_of_an_incomplete_kind_counts_as_gone(exporter: Start, tmp_path: Path) -> None:
    web = exporter()
    web.items = {"package": [package("a", "1")], "user": [{"name": "anna"}]}
    write_fleet(tmp_path, web1=web.port)
    run("pull", folder=tmp_path)
    web.etag, web.items, web.incomplete = '"2"', {"package": [], "user": []}, ["package"]
    run("pull", folder=tmp_path)
    rows = json.loads(run("show", "--json", "web1", folder=tmp_path).output)
    assert [row["name"] for row in rows] == ["a"]


def test_a_source_that_cannot_be_read_keeps_no_old_versions_of_others(
    exporter: Start, tmp_path: Path
) -> None:
    web = exporter()
    web.items = {"package": [package("openssl", "3.0.19-1"), package("a", "1"), package("x", "1", "npm")]}
    write_fleet(tmp_path, web1=web.port)
    run("pull", folder=tmp_path)
    web.etag, web.items = '"2"', {"package": [package("openssl", "3.0.20-1")]}
    web.incomplete = ["package"]  # npm's source failed
    run("pull", folder=tmp_path)
    rows = json.loads(run("show", "--json", "web1", folder=tmp_path).output)
    assert [(row["name"], row["version"]) for row in rows] == [("openssl", "3.0.20-1"), ("x", "1")]


def test_a_host_that_does_not_answer_affects_no_other_and_keeps_its_data(
    exporter: Start, tmp_path: Path
) -> None:
    web, mail = exporter(), exporter()
    for host in (web, mail):
        host.items = {"package": [package("a", "1")]}
    write_fleet(tmp_path, web1=web.port, mail1=mail.port)
    run("pull", folder=tmp_path)
    mail.raw = b"<html>"
    pulled = run("pull", folder=tmp_path)
    assert pulled.return_value == 1
    assert pulled.stderr == ("mail1: the answer is no inventory (does a leitstand exporter listen there?)\n")
    assert pulled.stdout == "web1: unchanged\n"
    found = run("search", "a", folder=tmp_path).output.splitlines()
    assert len(found) == 2
    assert "as of" in found[0] and "no inventory" in found[0]
    assert "as of" not in found[1]


def test_hosts_that_are_gone_from_the_fleet_are_marked_and_can_be_forgotten(
    exporter: Start, tmp_path: Path
) -> None:
    web, mail = exporter(), exporter()
    write_fleet(tmp_path, web1=web.port, mail1=mail.port)
    run("pull", folder=tmp_path)
    write_fleet(tmp_path, web1=web.port)
    run("pull", folder=tmp_path)
    assert "mail1" in run("show", folder=tmp_path).output
    assert "no longer in leitstand.yml" in run("show", folder=tmp_path).output
    run("forget", "mail1", folder=tmp_path)
    assert "mail1" not in run("show", folder=tmp_path).output


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (401, "answered 401 Unauthorized (name under the host's exporter: in leitstand.yml username"),
        (400, "answered 400 Bad Request (does it want TLS?"),
        (503, "answered 503 Service Unavailable\n"),
    ],
)
def test_a_refusal_is_reported_with_its_code(
    exporter: Start, tmp_path: Path, status: int, message: str
) -> None:
    web = exporter()
    web.status = status
    write_fleet(tmp_path, web1=web.port)
    pulled = run("pull", folder=tmp_path)
    assert pulled.return_value == 3
    assert message in pulled.stderr


def test_the_password_goes_into_the_request_and_nowhere_else(exporter: Start, tmp_path: Path) -> None:
    web = exporter()
    write_fleet(tmp_path, web1=web.port)
    (tmp_path / "password").write_text("geheim\n")
    shown = run("pull", "--user", "anna", "--password-file", str(tmp_path / "password"), folder=tmp_path)
    assert web.asked[0]["authorization"] == "Basic YW5uYTpnZWhlaW0="
    assert "geheim" not in shown.output + repr(Access(None, "", "anna", "geheim"))


def test_compressed_answers_are_unpacked_up_to_a_limit(exporter: Start, tmp_path: Path) -> None:
    web = exporter()
    web.items = {"package": [package("a", "1")]}
    web.raw, web.encoding = gzip.compress(web.body()), "gzip"
    write_fleet(tmp_path, web1=web.port)
    assert run("pull", folder=tmp_path).output == "web1: 1 changes\n"
    packer = zlib.compressobj(9, wbits=31)
    bomb = (
        b"".join(packer.compress(bytes(1 << 20)) for _ in range((MAXIMUM_BYTES >> 20) + 2)) + packer.flush()
    )
    assert len(bomb) < 1 << 20
    with pytest.raises(PullError, match="more than 16 MiB"):
        unpacked(bomb, "gzip")
    with pytest.raises(PullError, match="damaged"):
        unpacked(b"no gzip", "gzip")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{}",
        b"[" * 100_000,
        b'{"schema_version": 1, "sha256": "", "incomplete": [], "items": [1]}',
        b"\xff",
    ],
)
def test_an_answer_that_is_not_an_inventory_is_refused(data: bytes) -> None:
    with pytest.raises(DocumentError, match="no inventory"):
        parse(data)


def test_an_inventory_of_another_release_is_refused_with_its_number() -> None:
    with pytest.raises(DocumentError, match="schema version 2"):
        parse(b'{"schema_version": 2, "sha256": "", "incomplete": [], "items": {}}')


@settings(max_examples=150, derandomize=True)
@given(
    st.recursive(
        st.none() | st.integers() | st.text(), lambda inner: st.dictionaries(st.text(), inner, max_size=3)
    )
)
def test_any_json_is_an_inventory_or_refused(raw: object) -> None:
    whole = {"schema_version": 1, "sha256": "", "incomplete": [], "items": {"package": [raw], "x": [raw]}}
    for value in (raw, whole):
        try:
            parse(json.dumps(value).encode())
        except DocumentError:
            continue


@pytest.mark.parametrize(
    ("manager", "installed", "sign", "wanted", "expected"),
    [
        ("dpkg", "3.0.19-1~deb12u2", "=", "3.0.19", True),
        ("dpkg", "3.0.19-1~deb12u2", "<", "3.0.19-1", True),
        ("dpkg", "1:10.11.19-0+deb12u1", "<", "10.11.20", True),
        ("dpkg", "1:10.11.19-0+deb12u1", "<", "1:10.11.19", False),
        ("dpkg", "1:0.5-1", ">", "0:9-1", True),
        ("dpkg", "3.0.100-1", "<", "3.0.20", False),
        ("rpm", "1:3.0.7-27.el9", "<=", "3.0.7", True),
        ("apk", "3.1.4-r5", "=", "3.1.4", True),
        ("apk", "3.1.4-r5", ">", "3.1.4-r4", True),
        ("npm", "10.8.2", "<", "10.10.0", True),
        ("", "6.8.3", "<", "6.9", True),
        ("", "", "<", "6.9", False),
        ("", "6.8.3", "!=", "6.8.3", False),
    ],
)
def test_versions_compare_as_the_query_means(
    manager: str, installed: str, sign: str, wanted: str, expected: bool
) -> None:
    assert is_so(installed, sign, wanted, manager) is expected


@pytest.mark.parametrize(
    "text",
    ["", " ", "< 3", "a <", "a < ", "a < 3 4", "a ~ 3 <", "a ~ 3", "a ~> 3", "a =<3", "a <>3", "a = 3.*"],
)
def test_a_query_that_means_nothing_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse_query(text)
    assert "openssl < 3.0.20" in refused.value.hint


def test_a_query_may_name_a_kind_and_php_goes_by_its_name(exporter: Start, tmp_path: Path) -> None:
    web = exporter()
    web.items = {
        "php": [{"sapi": "fpm", "version": "8.1.2", "path": "/usr/sbin/php-fpm8.1"}],
        "php_extension": [{"branch": "8.1", "sapi": "fpm", "name": "redis", "version": "5.3.7"}],
        "package": [package("php8.1-fpm", "8.1.2-1")],
    }
    write_fleet(tmp_path, web1=web.port)
    run("pull", folder=tmp_path)
    assert "php-fpm8.1" in run("search", "php < 8.2", folder=tmp_path).output
    assert "redis" in run("search", "php_extension:*redis < 6", folder=tmp_path).output
    assert "redis" in run("search", "php_extension:redis", folder=tmp_path).output
    assert run("search", "php_extension:edis", folder=tmp_path).return_value == 1
    assert run("search", "failed_unit:*", folder=tmp_path).return_value == 1
    assert run("search", "redis", folder=tmp_path).return_value == 1


def test_the_kinds_and_their_names_are_those_that_the_exporter_sends() -> None:
    assert sorted(KNOWN) == sorted(KINDS)
    for kind, parts in NAMES.items():
        assert set(parts) <= set(KINDS[kind].fields), kind
    for kind, version in VERSIONS.items():
        assert version in KINDS[kind].fields
    for kind, entry in KINDS.items():
        assert kind in NAMES or "name" in entry.fields, kind
    assert set(APART) <= {name for entry in KINDS.values() for name in entry.fields}


def test_the_exporters_own_document_is_taken_over_whole(tmp_path: Path) -> None:
    service = InventoryService(Roots(), sources=["host", "dpkg", "users", "listeners"])
    service.refresh()
    document = parse(service.snapshot().document)
    raw = json.loads(service.snapshot().document)
    assert raw["schema_version"] == SCHEMA_VERSION
    assert len(document.items) == sum(map(len, raw["items"].values())) > 100
    with open_database(tmp_path / "x", create=True) as store:
        store.take("here", "", document, time.time())
        assert len(store.at("here")) == len(document.items)


def test_a_real_exporter_is_pulled_once_and_then_left_alone(tmp_path: Path) -> None:
    port = free_port()
    command = [sys.executable, "-m", "leitstand", "exporter", "--web.listen-address", f"127.0.0.1:{port}"]
    write_fleet(tmp_path, here=port)
    exporter = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        until_complete(port)
        first, second = run("pull", folder=tmp_path), run("pull", folder=tmp_path)
    finally:
        exporter.terminate()
        exporter.wait()
    assert int(first.output.split()[1]) > 100
    assert second.output == "here: unchanged\n"
    assert run("search", "dpkg", folder=tmp_path).output.startswith("here\tdpkg\t")


def until_complete(port: int) -> None:
    deadline = time.monotonic() + patient(120)
    while True:
        assert time.monotonic() < deadline, "the exporter's inventory was not complete in time"
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=patient(60)) as answer:
                if b"leitstand_inventory_info{" in answer.read():
                    return
        except OSError:
            pass
        time.sleep(0.1)


def test_commands_before_the_first_pull_say_what_to_do(tmp_path: Path) -> None:
    error = run("search", "a", folder=tmp_path).exception
    assert isinstance(error, LeitstandError)
    assert error.hint == "leitstand inventory pull"


@pytest.mark.parametrize(
    "words",
    [
        ("diff", "none", "2026-01-01"),
        ("diff", "web1", "lastweek"),
        ("show", "web1", "--at", "9999-12-31"),
        ("show", "none"),
        ("show", "web1", "--kind", "packages"),
        ("search", "packages:a"),
    ],
)
def test_an_unknown_host_day_or_kind_is_named(
    exporter: Start, tmp_path: Path, words: tuple[str, ...]
) -> None:
    web = exporter()
    web.items = {"package": [package("a", "1")]}
    write_fleet(tmp_path, web1=web.port)
    run("pull", folder=tmp_path)
    error = run(*words, folder=tmp_path).exception
    assert isinstance(error, UsageError)
    assert words[-1].removesuffix(":a") in error.message or "none" in error.message
