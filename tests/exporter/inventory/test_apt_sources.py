"""Lists of a source that was taken out count no more; what is not understood takes nothing out."""

import os
import subprocess
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.inventory import apt, apt_sources
from exporter.inventory.source import Context

Build = Callable[[dict[str, str | bytes]], Context]


@pytest.mark.parametrize(
    "line",
    [
        "deb http://u.test/ubuntu jammy main universe # comment",
        "deb [arch=amd64 signed-by=/x.gpg] https://user:pw@p.test:8080/a_b/~c/ jammy-updates main",
        "deb file:/srv/repo ./",
        "deb http://flat.test/x/ /",
        "deb http://flat.test/y sub/dir/",
        "deb mirror+file:/etc/apt/mirrors/x.list bookworm/updates main",
        "deb http://[2001:db8::1]/d s main",
        "deb http://e.test s main",
        "deb http://e.test/ü s main",
        "deb http://flat.test/z /sub/",
        "deb http://e.test/home%3A/a s main",
        "deb copy:///srv/c s main",
    ],
)
def test_the_names_of_lists_are_those_that_apt_would_write(host: Build, line: str) -> None:
    files = dict.fromkeys(
        [
            "/var/lib/dpkg/status",
            "/var/lib/apt/lists/partial/x",
            "/etc/apt/apt.conf",
            "/etc/apt/apt.conf.d/x",
        ],
        "",
    )
    context = host({**files, "/etc/apt/preferences.d/x": "", "/etc/apt/sources.list": f"{line}\n"})
    root = context.roots.root
    (stem,) = apt_sources.list_stems(context.tree)
    options = ["-o", f"Dir={root}", "-o", f"Dir::State::status={root}/var/lib/dpkg/status"]
    options += ["-o", "Dir::Bin::methods=/usr/lib/apt/methods", "-o", "APT::Architecture=amd64"]
    environment = {"LC_ALL": "C", "PATH": os.environ["PATH"], "APT_CONFIG": f"{root}/etc/apt/apt.conf"}
    shown = subprocess.run(
        ["apt-get", *options, "--print-uris", "update"],
        check=True,
        capture_output=True,
        text=True,
        env=environment,
    ).stdout
    names = [row.split()[1] for row in shown.splitlines() if row.startswith("'")]
    assert len(names) > 1
    assert all(name.startswith(stem) for name in names), names


def updates(host: Build, **sources: str) -> set[str]:
    """What is pending where each of two archives has something newer of one package."""
    status = "".join(
        f"Package: {name}\nStatus: install ok installed\nArchitecture: all\nVersion: 1\n\n" for name in "ab"
    )
    files = {"/var/lib/dpkg/status": status}
    for name in "ab":
        stem = f"/var/lib/apt/lists/{name}.test_debian_dists_stable_main_binary-amd64_Packages"
        files[stem] = f"Package: {name}\nVersion: 2\nArchitecture: all\n\n"
    files |= {
        f"/etc/apt/{name.replace('__', '.d/').replace('_', '.')}": text for name, text in sources.items()
    }
    return {str(item["name"]) for _, item in apt.read(host(dict(files))).items}


BOTH = "deb http://a.test/debian stable main\ndeb http://b.test/debian stable main\n"
DEB822 = "Types: deb deb-src\nURIs: http://a.test/debian\n http://b.test/debian/\nSuites: stable\n other\n"


@pytest.mark.parametrize(
    ("sources", "expected"),
    [
        ({}, {"a", "b"}),
        ({"sources_list": BOTH}, {"a", "b"}),
        ({"sources_list": BOTH.replace("deb http://b", "# deb http://b")}, {"a"}),
        ({"sources_list": BOTH.replace("deb http://b", "deb-src http://b")}, {"a"}),
        ({"sources_list": "# moved\n", "sources_list__x.sources": DEB822}, {"a", "b"}),
        ({"sources_list__x.sources": DEB822.replace("\n http", "\n#http")}, {"a"}),
        ({"sources_list__x.sources": f"{DEB822}Enabled: no\n\n{DEB822.replace('b.test', 'c.test')}"}, {"a"}),
        ({"sources_list": "deb http://a.test/debian stable main\nwhatever\n"}, {"a", "b"}),
        (
            {"sources_list": "deb http://a.test/debian stable main\ndeb cdrom:[Debian_12]/ stable main\n"},
            {"a", "b"},
        ),
        ({"sources_list": "deb http://a.test/debian $(VERSION_CODENAME) main\n"}, {"a", "b"}),
        (
            {
                "sources_list": "deb http://a.test/debian stable main\n",
                "apt_conf": 'Dir::Etc::sourcelist "/srv/sources.list";\n',
            },
            {"a", "b"},
        ),
    ],
)
def test_only_lists_that_no_source_has_are_left_out(
    host: Build, sources: dict[str, str], expected: set[str]
) -> None:
    assert updates(host, **sources) == expected


@settings(max_examples=150, derandomize=True)
@given(st.text(max_size=80) | st.text(alphabet="deb -src[]=:/$(#\n\t TypesURI", max_size=120))
def test_any_text_is_a_list_of_sources_or_refused(text: str) -> None:
    for parse in (apt_sources.parse_lines, apt_sources.parse_paragraphs):
        try:
            found = list(parse(text))
        except apt_sources.UnknownSource:
            continue
        assert all(uri and suite for uri, suite in found)
