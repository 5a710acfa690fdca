import bz2
import gzip
import json
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.inventory import apk, apt, bundles, composer, dpkg, npm, python, rpm
from exporter.inventory.part import render_part
from exporter.inventory.source import Context, Findings, Item
from exporter.roots import NoData

Items = Callable[[Findings, str], list[Item]]
Build = Callable[[dict[str, str | bytes]], Context]
STATUS = """Package: alpha
Status: install ok installed
Architecture: amd64
Source: alpha-source (1.0)
Version: 1:1.0-1
Description: first
 Version: 9 is no field here

Package: beta
Status: deinstall ok config-files
Architecture: all
Version: 2.0

Package: gamma
Status: hold ok installed
Architecture: all
Version: 3.0

Package: broken
Status: install ok installed
"""


def test_debian_packages_are_those_that_dpkg_lists(real_host: Context, items: Items) -> None:
    layout = "${binary:Package}\t${Version}\t${Architecture}\t${db:Status-Status}\n"
    listed = subprocess.run(
        ["dpkg-query", "-W", "-f", layout], check=True, capture_output=True, text=True
    ).stdout
    rows = [line.split("\t") for line in listed.splitlines()]
    expected = {
        (name.partition(":")[0], version, arch) for name, version, arch, state in rows if state == "installed"
    }
    found = {(item["name"], item["version"], item["arch"]) for item in items(dpkg.read(real_host), "package")}
    assert found == expected


def test_requested_packages_are_distinguished_from_dependencies_as_in_apt(
    real_host: Context, items: Items
) -> None:
    shown = subprocess.run(["apt-mark", "showauto"], check=True, capture_output=True, text=True).stdout
    found = {item["name"] for item in items(dpkg.read(real_host), "package") if item["manual"] is False}
    assert found == {name.partition(":")[0] for name in shown.split()}


def test_removed_packages_are_left_out_and_broken_paragraphs_counted(host: Build, items: Items) -> None:
    findings = dpkg.read(host({"/var/lib/dpkg/status": STATUS, "/var/lib/dpkg/info/alpha.list": ""}))
    found = items(findings, "package")
    assert [(item["name"], item["version"], item["source"]) for item in found] == [
        ("alpha", "1:1.0-1", "alpha-source"),
        ("gamma", "3.0", ""),
    ]
    assert findings.skipped == 1
    assert isinstance(found[0]["installed"], int)
    assert found[1]["installed"] is None
    assert found[0]["manual"] is None


def test_a_status_file_cut_anywhere_gives_the_packages_before_the_cut(host: Build) -> None:
    for length in range(len(STATUS)):
        findings = dpkg.read(host({"/var/lib/dpkg/status": STATUS[:length]}))
        assert len(findings.items) <= 2


def test_a_binary_status_file_lists_nothing(host: Build) -> None:
    assert dpkg.read(host({"/var/lib/dpkg/status": bytes(range(256)) * 50})).items == []


def test_a_host_without_a_manager_has_nothing_of_it(host: Build) -> None:
    for source in (dpkg, apk, rpm, apt):
        with pytest.raises(NoData):
            source.read(host({}))


@settings(max_examples=150, derandomize=True)
@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=300))
def test_any_text_passes_every_package_parser(text: str) -> None:
    list(dpkg.stanzas(text))
    dpkg.parse_automatic(text)
    list(apk.parse_installed(text))
    list(rpm.parse_query(text))
    python.parse_metadata(text)
    list(apt.parse_packages(text.encode(), {b"a"}))
    apt.parse_release(text)


@settings(max_examples=150, derandomize=True)
@given(st.dictionaries(st.sampled_from(["name", "version", "x"]), st.from_type(int) | st.text() | st.none()))
def test_json_of_another_shape_is_refused_not_believed(raw: dict[str, object]) -> None:
    text = json.dumps(raw)
    name, version = npm.parse_manifest(text)
    assert not name or name == raw["name"]
    assert not version or version == raw["version"]
    for parse in (npm.parse_lock, composer.parse_installed):
        with pytest.raises(ValueError, match=r"no (list of )?packages"):
            parse(text)


@settings(max_examples=150, derandomize=True)
@given(st.lists(st.none() | st.dictionaries(st.sampled_from(["name", "version"]), st.text() | st.integers())))
def test_entries_of_another_shape_have_no_name(entries: list[object]) -> None:
    assert len(composer.parse_installed(json.dumps(entries))) == len(entries)
    npm.parse_lock(json.dumps({"packages": {f"node_modules/{at}": one for at, one in enumerate(entries)}}))


def test_npms_own_list_names_packages_below_other_packages(host: Build, items: Items) -> None:
    lock = {
        "": {"version": "9"},
        "node_modules/a": {"version": "1.0.0"},
        "node_modules/@x/b": {"version": "2.0.0"},
        "node_modules/@x/b/node_modules/a": {"version": "3.0.0"},
        "node_modules/own": {"resolved": "packages/own", "link": True},
        "node_modules/bad": {},
    }
    place = "/srv/shop/node_modules"
    files: dict[str, str | bytes] = {
        f"{place}/.package-lock.json": json.dumps({"lockfileVersion": 3, "packages": lock}),
        f"{place}/a/package.json": '{"name": "a", "version": "1.0.0"}',
    }
    findings = npm.read(host(files))
    assert [(item["name"], item["version"], item["path"]) for item in items(findings, "package")] == [
        ("a", "1.0.0", place),
        ("@x/b", "2.0.0", place),
        ("a", "3.0.0", f"{place}/@x/b/node_modules"),
    ]
    assert findings.skipped == 1


def test_endlessly_nested_json_is_refused() -> None:
    with pytest.raises(ValueError, match="nested too deep"):
        npm.parse_manifest("[" * 100_000)


def test_pending_updates_are_those_that_apt_itself_lists(real_host: Context, items: Items) -> None:
    listed = subprocess.run(
        ["apt", "list", "--upgradable"], check=True, capture_output=True, text=True
    ).stdout
    expected = {(line.partition("/")[0], line.split()[1]) for line in listed.splitlines() if "/" in line}
    try:
        findings = apt.read(real_host)
    except NoData:
        pytest.skip("this machine has no package lists; apt-get update makes them")
    assert {(item["name"], item["candidate"]) for item in items(findings, "update")} == expected


RELEASE = "Origin: Test\nSuite: {suite}\nCodename: {suite}\n{more}SHA256:\n abc 1 main\n"


def lists(**suites: tuple[str, str]) -> dict[str, str | bytes]:
    """Lists of apt: suite -> (further lines of Release, versions of the package alpha)."""
    files: dict[str, str | bytes] = {"/var/lib/dpkg/status": STATUS}
    for suite, (more, versions) in suites.items():
        stem = f"/var/lib/apt/lists/example.org_dists_{suite.replace('_', '-')}_"
        files[f"{stem}InRelease"] = RELEASE.format(suite=suite.replace("_", "-"), more=more)
        files[f"{stem}main_binary-amd64_Packages"] = "\n\n".join(
            f"Package: alpha\nArchitecture: amd64\nVersion: {version}" for version in versions.split()
        )
    return files


@pytest.mark.parametrize(
    ("suites", "expected"),
    [
        ({"stable": ("", "1:1.0-1")}, []),
        ({"stable": ("", "1:0.9-1")}, []),
        ({"stable": ("", "1:1.0-2 1:1.0-10")}, [("1:1.0-10", False)]),
        ({"stable": ("", "1:1.2-1"), "stable_security": ("", "1:1.1-1")}, [("1:1.2-1", True)]),
        ({"stable": ("", "1:1.2-1"), "stable_security": ("", "1:0.9-1")}, [("1:1.2-1", False)]),
        ({"experimental": ("NotAutomatic: yes\n", "1:9-1")}, []),
        (
            {
                "stable": ("", "1:1.0-1"),
                "backports": ("NotAutomatic: yes\nButAutomaticUpgrades: yes\n", "1:9-1"),
            },
            [],
        ),
        (
            {
                "stable": ("", "1:0.9-1"),
                "backports": ("NotAutomatic: yes\nButAutomaticUpgrades: yes\n", "1:9-1"),
            },
            [("1:9-1", False)],
        ),
    ],
)
def test_the_candidate_follows_apts_preferences(
    host: Build, items: Items, suites: dict[str, tuple[str, str]], expected: list[tuple[str, bool]]
) -> None:
    found = items(apt.read(host(lists(**suites))), "update")
    assert [(item["candidate"], item["security"]) for item in found] == expected


def test_an_update_held_back_is_listed_but_not_pending(host: Build, items: Items) -> None:
    files = lists(stable=("", "1:1.0-1"))
    files["/var/lib/apt/lists/example.org_dists_stable_main_binary-amd64_Packages"] = (
        "Package: gamma\nArchitecture: all\nVersion: 4.0\n"
    )
    findings = apt.read(host(files))
    assert [item["held"] for item in items(findings, "update")] == [True]
    figures = {family.name: family.rows for family in findings.metrics}
    assert figures["leitstand_held_updates"] == [(("dpkg",), 1)]
    assert figures["leitstand_pending_updates"] == [(("dpkg", "true"), 0), (("dpkg", "false"), 0)]


def test_a_list_that_cannot_be_unpacked_is_counted(host: Build) -> None:
    files = lists(stable=("", "1:2-1"))
    for suffix in ("gz", "xz", "bz2", "lz4"):
        files[f"/var/lib/apt/lists/other_{suffix}_Packages.{suffix}"] = b"no archive"
    # Sound to begin with, damaged further on.
    damaged = gzip.compress(b"Package: a\n" * 500)
    files["/var/lib/apt/lists/damaged_Packages.gz"] = damaged[:20] + b"\xff\xff" + damaged[22:]
    files["/var/lib/apt/lists/cut_Packages.bz2"] = bz2.compress(b"Package: a\n" * 500)[:-20]
    findings = apt.read(host(files))
    assert findings.skipped == 6
    assert len(findings.items) == 1


APK = (
    "P:musl\nV:1.2.4-r2\nA:x86_64\no:musl\n\n"
    "P:busybox-binsh\nV:1.36.1-r5\nA:x86_64\no:busybox\n\n"
    "P:nameless\n\n"
)


def test_alpine_packages_are_read_with_their_origin(host: Build, items: Items) -> None:
    findings = apk.read(
        host({"/lib/apk/db/installed": APK, "/etc/apk/world": "busybox-binsh>1 alpine-base\n"})
    )
    found = items(findings, "package")
    assert [(item["name"], item["version"], item["source"], item["manual"]) for item in found] == [
        ("musl", "1.2.4-r2", "", False),
        ("busybox-binsh", "1.36.1-r5", "busybox", True),
    ]
    assert findings.skipped == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make rpm install below another root")
def test_rpm_packages_are_asked_from_rpm(host: Build, items: Items, tmp_path: Path) -> None:
    rpmbuild = shutil.which("rpmbuild")
    assert rpmbuild, "the Debian package rpm is missing"
    specification = tmp_path / "sample.spec"
    specification.write_text(
        "Name: sample\nVersion: 1.5\nRelease: 2.el9\nEpoch: 3\nSummary: s\nLicense: none\nBuildArch: noarch\n"
        "%description\ns\n%files\n"
    )
    define = ["--define", f"_topdir {tmp_path}/build", "--define", f"_rpmdir {tmp_path}"]
    subprocess.run([rpmbuild, "-bb", *define, str(specification)], check=True, capture_output=True)
    context = host({})
    root = str(context.roots.root)
    package = str(tmp_path / "noarch/sample-1.5-2.el9.noarch.rpm")
    database = ["rpm", "--root", root, "--dbpath", "/var/lib/rpm"]
    subprocess.run([*database, "--initdb"], check=True, capture_output=True)
    install = [*database, "-i", "--justdb", "--nodeps", "--noscripts", "--ignorearch", package]
    subprocess.run(install, check=True, capture_output=True)
    (found,) = items(rpm.read(context), "package")
    assert (found["name"], found["version"], found["arch"]) == ("sample", "3:1.5-2.el9", "noarch")
    assert found["source"] == "sample-1.5-2.el9"


def test_dnf_knows_which_packages_were_asked_for(host: Build) -> None:
    context = host({"/var/lib/dnf/x": ""})
    path = context.roots.root / "var/lib/dnf/history.sqlite"
    with closing(sqlite3.connect(path)) as history:
        history.executescript(
            "PRAGMA journal_mode = WAL;"
            "CREATE TABLE rpm (item_id INTEGER, name TEXT, arch TEXT);"
            "CREATE TABLE trans_item (id INTEGER PRIMARY KEY, item_id INTEGER, reason INTEGER);"
            "INSERT INTO rpm VALUES (1, 'alpha', 'noarch'), (2, 'beta', 'noarch'), (3, 'beta', 'x86_64');"
            "INSERT INTO trans_item (item_id, reason) VALUES (1, 2), (2, 1), (3, 4), (2, 2);"
        )
        expected = {("alpha", "noarch"): 2, ("beta", "noarch"): 2, ("beta", "x86_64"): 4}
        assert rpm.read_reasons(context.tree) == expected
    assert rpm.read_reasons(context.tree) == expected
    path.write_bytes(b"no database" * 100)
    assert rpm.read_reasons(context.tree) == {}


def test_packages_of_languages_and_bundles_are_found_in_their_places(host: Build, items: Items) -> None:
    context = host(
        {
            "/usr/lib/python3/dist-packages/Sample-1.2.dist-info/METADATA": (
                "Metadata-Version: 2.1\nName: Sample\nVersion: 1.2\n\nVersion: 9\n"
            ),
            "/usr/lib/python3/dist-packages/old.egg-info": "Name: old\nVersion: 0.1\n",
            "/opt/app/venv/lib/python3.11/site-packages/x-3.dist-info/METADATA": "Name: x\nVersion: 3\n",
            "/opt/app/venv/lib/python3.11/site-packages/y-3.dist-info/RECORD": "",
            "/usr/lib/node_modules/npm/package.json": '{"name": "npm", "version": "10.8.2"}',
            "/usr/lib/node_modules/@scope/tool/package.json": '{"name": "@scope/tool", "version": "1.0.0"}',
            "/usr/lib/node_modules/bad/package.json": '{"name": "bad"}',
            "/var/www/shop/vendor/composer/installed.json": (
                '{"packages": [{"name": "a/b", "version": "v2.1"}, 3]}'
            ),
            "/snap/core22/current/meta/snap.yaml": "name: core22\nversion: '20240111'\n",
            "/var/lib/flatpak/app/org.example.App/current/active/files/share/metainfo/a.xml": (
                '<component><releases><release date="2026-01-01" version="4.2"/></releases></component>'
            ),
        }
    )
    rows = {
        (item["manager"], item["name"], item["version"])
        for source in (python, npm, composer, bundles)
        for item in items(source.read(context), "package")
    }
    assert rows == {
        ("python", "Sample", "1.2"),
        ("python", "old", "0.1"),
        ("python", "x", "3"),
        ("npm", "npm", "10.8.2"),
        ("npm", "@scope/tool", "1.0.0"),
        ("composer", "a/b", "v2.1"),
        ("snap", "core22", "20240111"),
        ("flatpak", "org.example.App", "4.2"),
    }
    assert [source.read(context).skipped for source in (python, npm, composer)] == [1, 1, 1]


def test_names_that_would_break_a_line_are_escaped(host: Build) -> None:
    evil = 'Package: a"b\\c\nStatus: install ok installed\nVersion: 1\x00\x1b[2J\x85"\nArchitecture: all\n'
    part = render_part(dpkg.read(host({"/var/lib/dpkg/status": evil})), ())
    line = part.kinds["package"].series
    assert line.count("\n") == 1
    assert r'name="a\"b\\c"' in line
    assert "\x1b" not in line
    json.loads(part.kinds["package"].document)
