"""Which phased updates are this host's, held against apt itself over the same files."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from exporter.inventory import apt, phasing
from exporter.inventory.source import Context, Findings, Item

Items = Callable[[Findings, str], list[Item]]
Build = Callable[[dict[str, str | bytes]], Context]
MACHINE = "0123456789abcdef0123456789abcdef"
NOT_YET = "Phased-Update-Percentage: 0\n"
# suite -> package -> (version, further fields)
Archives = dict[str, dict[str, tuple[str, str]]]


def files_of(installed: dict[str, str], archives: Archives, configuration: str) -> dict[str, str | bytes]:
    status = "".join(
        f"Package: {name}\nStatus: install ok installed\nArchitecture: amd64\nVersion: {version}\n"
        "Maintainer: x\nDescription: x\n\n"
        for name, version in installed.items()
    )
    files: dict[str, str | bytes] = {
        "/var/lib/dpkg/status": status,
        "/etc/apt/apt.conf": configuration,
        "/etc/apt/sources.list": "",
        "/etc/apt/preferences.d/x.pref": "",
        "/etc/apt/apt.conf.d/x": "",
        "/var/lib/apt/lists/partial/x": "",
        "/var/cache/apt/archives/partial/x": "",
    }
    for suite, packages in archives.items():
        files["/etc/apt/sources.list"] = (
            f"{files['/etc/apt/sources.list']!s}deb http://u.test/ubuntu {suite} main\n"
        )
        stem = f"/var/lib/apt/lists/u.test_ubuntu_dists_{suite}_"
        head = f"Origin: Ubuntu\nLabel: Ubuntu\nSuite: {suite}\nCodename: jammy\nArchitectures: amd64\n"
        files[f"{stem}Release"] = f"{head}Components: main\n"
        files[f"{stem}main_binary-amd64_Packages"] = "".join(
            f"Package: {name}\nVersion: {version}\nArchitecture: amd64\nMaintainer: x\nDescription: x\n"
            f"Filename: {name}.deb\nSize: 1\nSHA256: {'0' * 64}\n{more}\n"
            for name, (version, more) in packages.items()
        )
    return files


def upgraded_by_apt(root: Path) -> set[str]:
    options = {
        "Dir": root,
        "Dir::State::status": root / "var/lib/dpkg/status",
        "Dir::Bin::methods": "/usr/lib/apt/methods",
        "Dir::Bin::ischroot": "/bin/false",
        "APT::Architecture": "amd64",
        "APT::Architectures": "amd64",
    }
    words = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
    environment = {"LC_ALL": "C", "PATH": os.environ["PATH"], "APT_CONFIG": str(root / "etc/apt/apt.conf")}
    command = ["apt-get", *words, "--simulate", "--allow-unauthenticated", "upgrade"]
    shown = subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout
    return {line.split()[1] for line in shown.splitlines() if line.startswith("Inst ")}


def pending(context: Context) -> set[str]:
    return {str(item["name"]) for _, item in apt.read(context).items}


@pytest.mark.parametrize("machine", [MACHINE, "f00d", "9c1185a5c5e9fc54612808977ee8f548"])
def test_the_phased_updates_that_are_pending_are_those_that_apt_would_install(
    host: Build, machine: str
) -> None:
    packages = {
        f"p{at}": (
            f"1:2~x+b{at}",
            f"Source: s{at} (7.{at})\n" * (at % 2) + f"Phased-Update-Percentage: {at}\n",
        )
        for at in range(101)
    }
    installed = dict.fromkeys(packages, "1")
    context = host(files_of(installed, {"jammy-updates": packages}, f'APT::Machine-ID "{machine}";\n'))
    expected = upgraded_by_apt(context.roots.root)
    assert pending(context) == expected
    assert 20 < len(expected) < 80
    assert "p100" in expected


LOWER: Archives = {"jammy-updates": {"a": ("3", NOT_YET)}}


@pytest.mark.parametrize(
    ("archives", "options", "expected"),
    [
        (LOWER, "", set()),
        ({**LOWER, "jammy-security": {"a": ("2", "")}}, "", {"a"}),
        ({**LOWER, "jammy-security": {"a": ("2", NOT_YET)}}, "", {"a"}),
        ({**LOWER, "jammy-security": {"a": ("1", "")}}, "", set()),
        ({**LOWER, "jammy-security": {"a": ("3", "")}}, "", set()),
        ({**LOWER, "jammy": {"a": ("2", "")}}, "", set()),
        ({"jammy-updates": {"a": ("3", "")}}, 'APT::Get::Never-Include-Phased-Updates "1";', {"a"}),
        (LOWER, 'APT::Get::Always-Include-Phased-Updates "true";', {"a"}),
        (LOWER, "APT { Get { Always-Include-Phased-Updates true; }; };", {"a"}),
        (LOWER, 'Update-Manager::Always-Include-Phased-Updates "yes";', {"a"}),
        (LOWER, 'APT::Get::Always-Include-Phased-Updates "false";', set()),
        (LOWER, '// APT::Get::Always-Include-Phased-Updates "true";', set()),
        (
            {"jammy-updates": {"a": ("3", "Phased-Update-Percentage: 99\n")}},
            'APT::Get::Never-Include-Phased-Updates "1";',
            set(),
        ),
        ({"jammy-updates": {"a": ("3", "Phased-Update-Percentage: x\n")}}, "", {"a"}),
    ],
)
def test_security_and_the_admins_options_decide_as_in_apt(
    host: Build, archives: Archives, options: str, expected: set[str]
) -> None:
    configuration = f'APT::Machine-ID "{MACHINE}";\n{options}\n'
    context = host(files_of({"a": "1"}, archives, configuration))
    assert upgraded_by_apt(context.roots.root) == expected
    assert pending(context) == expected


def test_a_host_takes_part_by_its_machine_id_and_without_one_takes_every_update(host: Build) -> None:
    files = files_of({"a": "1"}, LOWER, "")
    assert pending(host(files)) == {"a"}
    context = host({**files, "/etc/machine-id": f"{MACHINE}\n"})
    assert pending(context) == set()
    assert phasing.read_phasing(context.tree).machine == MACHINE


@pytest.mark.parametrize("text", ["", "ä", "x" * 5000])
def test_every_draw_is_a_percentage(text: str) -> None:
    assert 0 <= phasing.draw(text) <= 100
