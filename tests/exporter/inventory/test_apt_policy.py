"""The choice among versions, held against apt itself over the same files."""

import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from exporter.inventory import apt
from exporter.inventory.apt_policy import matches, parse_default_release, parse_pins
from exporter.inventory.source import Context, Findings, Item
from exporter.roots import Roots
from exporter.tree import Tree

Items = Callable[[Findings, str], list[Item]]
SITES = ("one.test", "two.test")
SUITES = ("stable", "testing", "stable-backports")
MORE = {
    "stable-backports": "NotAutomatic: yes\nButAutomaticUpgrades: yes\n",
    "experimental": "NotAutomatic: yes\n",
}
VERSIONS = ("1.0", "1.1-1", "2.0~rc1", "2.0-1")
PACKAGES = st.sampled_from(["*", "alpha", "al*", "/^al/", "src:alpha-source", "beta", "beta alpha"])
PINS = st.one_of(
    st.sampled_from(SUITES).map("release a={}".format),
    st.sampled_from(["release n=nick-testing", "release testing", "release 12*", "release o=Test, l=No*"]),
    st.sampled_from(
        ["release c=main", "release v=12.1,a=/stab/", "release x=y,a=stable", "origin two.test", 'origin ""']
    ),
    st.sampled_from(
        [
            "Release A=STABLE",
            "release n=NICK-*,b=amd64",
            "release b=i386",
            "release /^sta/",
            "release Nick-te*",
        ]
    ),
    st.sampled_from(VERSIONS).map("version {}".format),
    st.sampled_from(["version 2*", "version /^1/"]),
)
PRIORITIES = st.sampled_from([-1, 1, 99, 100, 101, 500, 501, 990, 1000, 1001])
NEVER = st.tuples(st.just("*"), PINS, st.just("never"))  # apt refuses it for some packages only
RECORDS = st.lists(st.tuples(PACKAGES, PINS, PRIORITIES) | NEVER, max_size=3)
OFFERS = st.dictionaries(
    st.tuples(st.sampled_from(SITES), st.sampled_from(SUITES)), st.sampled_from(VERSIONS), max_size=4
)


def write_root(root: Path, installed: str, offers: dict[tuple[str, str], str], preferences: str) -> None:
    """A system with one package, the archives that offer it, and preferences."""
    status = f"Package: alpha\nStatus: install ok installed\nArchitecture: amd64\nVersion: {installed}\n"
    write(root / "var/lib/dpkg/status", f"{status}Source: alpha-source\nMaintainer: x\nDescription: x\n")
    write(root / "etc/apt/preferences.d/own", preferences)
    sources = []
    for (site, suite), version in offers.items():
        sources.append(f"deb [trusted=yes] http://{site}/debian {suite} main\n")
        stem = f"var/lib/apt/lists/{site}_debian_dists_{suite}_"
        head = f"Origin: Test\nLabel: None\nSuite: {suite}\nVersion: 12.1\nCodename: nick-{suite}\n"
        write(root / f"{stem}Release", f"{head}{MORE.get(suite, '')}Components: main\nArchitectures: amd64\n")
        write(
            root / f"{stem}main_binary-amd64_Packages",
            f"Package: alpha\nSource: alpha-source\nVersion: {version}\nArchitecture: amd64\nMaintainer: x\n"
            f"Filename: a_{version}_{suite}.deb\nSize: 1\nSHA256: {'0' * 64}\nDescription: x\n\n",
        )
    write(root / "etc/apt/sources.list", "".join(sources))
    (root / "var/lib/apt/lists").mkdir(parents=True, exist_ok=True)


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def candidate_of_apt(root: Path) -> str:
    write(root / "etc/apt/apt.conf.d/any", "")
    (root / "etc/apt/apt.conf").touch()
    places = ["Dir", root, "Dir::State::status", root / "var/lib/dpkg/status", "APT::Architecture", "amd64"]
    places += ["APT::Architectures", "amd64", "Dir::Cache::pkgcache", "", "Dir::Cache::srcpkgcache", ""]
    settings_of_apt = [f"{places[at]}={places[at + 1]}" for at in range(0, len(places), 2)]
    options = [word for setting in settings_of_apt for word in ("-o", setting)]
    shown = subprocess.run(
        ["apt-cache", *options, "policy", "alpha"],
        check=True,
        capture_output=True,
        text=True,
        env={"LC_ALL": "C", "APT_CONFIG": str(root / "etc/apt/apt.conf")},
    ).stdout
    return shown.partition("Candidate: ")[2].partition("\n")[0]


@settings(max_examples=60, derandomize=True, deadline=None)
@given(st.sampled_from(VERSIONS), OFFERS, RECORDS)
@example(
    "1.1-1", {(SITES[0], "stable"): "1.0", (SITES[0], "testing"): "2.0-1"}, [("*", "release a=stable", 1001)]
)
@example("1.0", {(SITES[0], "stable"): "2.0-1"}, [("beta", "version 2.0-1", -1)])
@example("1.0", {(SITES[0], "stable"): "2.0-1"}, [("*", "release a=stable", 99)])
@example("1.0", {(SITES[0], "experimental"): "2.0-1"}, [])
@example("1.0", {(SITES[0], "stable"): "1.1-1"}, [("*", "release x=y,a=stable", -1)])
@example("1.0", {(SITES[0], "stable"): "1.1-1"}, [("*", "release a=stable", "never")])
@example(
    "1.0",
    {(SITES[0], "stable"): "1.1-1"},
    [("*", "release a=stable", "never"), ("alpha", "version 1.1-1", 1001)],
)
def test_the_update_is_the_one_that_apt_would_install(
    installed: str, offers: dict[tuple[str, str], str], records: list[tuple[str, str, int | str]]
) -> None:
    preferences = "\n".join(
        f"Explanation: why\nPackage: {names}\nPin: {pin}\nPin-Priority: {priority}\n"
        for names, pin, priority in records
    )
    root = Path(tempfile.mkdtemp())
    try:
        write_root(root, installed, offers, preferences)
        expected = candidate_of_apt(root)
        write(root / "var/lib/apt/lists/any_Packages", "")
        findings = apt.read(Context(Roots(root=root), Tree(root), 0.0))
    finally:
        shutil.rmtree(root)
    found = [item["candidate"] for kind, item in findings.items if kind == "update"]
    is_newer = expected not in (installed, "(none)") and dpkg_says_newer(expected, installed)
    assert found == ([expected] if is_newer else [])


def dpkg_says_newer(one: str, other: str) -> bool:
    return VERSIONS.index(one) > VERSIONS.index(other)


@pytest.mark.parametrize(
    "configuration",
    [
        'APT {\n  // Default-Release "testing";\n Default-Release "stable";\n};\n',
        # As Debian's release notes recommend it.
        'APT::Default-Release "/^nick-stable(|-security|-updates)$/";\n',
        "apt::default-release STAB*;\n",
        'Dir::Any "/x/*";\n/* once\nAPT::Default-Release "testing";\n*/\nAPT::Default-Release "stable";\n',
    ],
)
def test_the_default_release_goes_before_other_archives(
    tmp_path: Path, items: Items, configuration: str
) -> None:
    write_root(tmp_path, "1.0", {("one.test", "stable"): "1.1-1", ("one.test", "testing"): "2.0-1"}, "")
    write(tmp_path / "etc/apt/apt.conf", configuration)
    (found,) = items(apt.read(Context(Roots(root=tmp_path), Tree(tmp_path), 0.0)), "update")
    assert found["candidate"] == candidate_of_apt(tmp_path) == "1.1-1"


@pytest.mark.parametrize(
    "name",
    ["own", "own.pref", "my.repo.pref", "own.pref.bak", "own.disabled", ".own.pref", "own~", "a b.pref"],
)
def test_the_files_that_count_are_those_that_apt_reads(tmp_path: Path, items: Items, name: str) -> None:
    write_root(tmp_path, "1.0", {("one.test", "stable"): "2.0-1"}, "")
    pin = "Package: *\nPin: release a=stable\nPin-Priority: -1\n"
    write(tmp_path / f"etc/apt/preferences.d/{name}", pin)
    found = items(apt.read(Context(Roots(root=tmp_path), Tree(tmp_path), 0.0)), "update")
    assert [item["candidate"] for item in found] == [
        version for version in [candidate_of_apt(tmp_path)] if version == "2.0-1"
    ]


@settings(max_examples=150, derandomize=True)
@given(st.text(max_size=200), st.text(max_size=20))
def test_any_text_is_a_set_of_preferences_or_left_out(text: str, expression: str) -> None:
    parse_default_release(text)
    for pin in parse_pins(f"Package: a\nPin: {text}\nPin-Priority: 5\n\n{text}"):
        assert pin.kind in ("version", "origin", "release")
    matches(expression, text)
