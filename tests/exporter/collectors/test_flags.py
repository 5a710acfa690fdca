"""Every option of node_exporter is taken: a unit file made for it starts this exporter."""

import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from exporter.cli import exporter
from exporter.collectors import COLLECTORS
from exporter.collectors.options import Options, seconds, selection
from exporter.flags import (
    addresses_of,
    collectors_of,
    limits_of,
    options_of,
    roots_of,
    telemetry_path_of,
    web_config_of,
)
from exporter.node_exporter_flags import FORMER, log_notices
from lab.patience import patient
from leitstand.errors import UsageError

FOLDER = Path(__file__).with_name("node_exporter_flags")
VERSIONS = {file.stem: file.read_text().splitlines() for file in FOLDER.glob("*.txt")}
FLAGS = sorted({tuple(line.split()[:2]) for lines in VERSIONS.values() for line in lines})
# What is no pattern.
VALUES = {
    "collector.filesystem.mount-timeout": "1m30s",
    "collector.filesystem.stat-workers": "4",
    "collector.ipvs.backend-labels": "local_address,local_port",
    "collector.textfile.directory": "",
    "log.format": "logfmt",
    "log.level": "info",
    "runtime.gomaxprocs": "1",
    "web.config.file": "",
    "web.listen-address": "127.0.0.1:0",
    "web.max-requests": "0",
    "web.telemetry-path": "/figures",
}


def given_by(*arguments):
    """What the command line makes of the arguments; nothing is started."""
    return exporter.make_context("exporter", list(arguments)).params


def built(*arguments):
    """Everything that the options have a say in."""
    given = given_by(*arguments)
    log_notices(given)
    roots, options = roots_of(given), options_of(given)
    addresses_of(given), telemetry_path_of(given), web_config_of(given), limits_of(given)
    return {name: COLLECTORS[name].build(roots, options) for name in collectors_of(given)}


def written(name, kind):
    """The option as unit files have it."""
    if kind == "switch":
        return f"--{name}"
    path = str(Path("/")) if name.startswith("path.") else "^x$"
    return f"--{name}={VALUES.get(name, path)}"


@pytest.mark.parametrize(("name", "kind"), FLAGS, ids=lambda part: part)
def test_every_option_of_node_exporter_is_taken(name, kind):
    if name == "web.systemd-socket":
        assert addresses_of(given_by(f"--{name}"))
        return
    assert built(written(name, kind), "--collector.cpu")
    if kind == "switch":
        assert built(f"--no-{name}", "--collector.uname")


def test_the_lists_are_those_of_the_releases_and_of_the_program_that_is_installed():
    shown = subprocess.run(["prometheus-node-exporter", "--help"], capture_output=True, text=True)
    theirs = set(re.findall(r"^ +--(?:\[no-\])?([a-z][\w.-]+)", shown.stdout + shown.stderr, re.MULTILINE))
    known = {name for name, _ in FLAGS}
    assert len(theirs) > 100
    assert theirs - known - {"version", "help-long", "help-man"} == set()
    assert {version: len(lines) > 140 for version, lines in VERSIONS.items()} == {
        "1.5.0": True,
        "1.12.1": True,
    }


@pytest.mark.parametrize(("name", "field"), FORMER.items())
def test_a_former_name_does_what_the_present_one_does(name, field, caplog):
    given = given_by(f"{name}=^odd$")
    log_notices(given)
    assert getattr(options_of(given), field) == "^odd$"
    assert f"{name} is a former name; write --collector." in caplog.text


def test_the_former_name_of_the_web_configuration_is_taken(caplog):
    given = given_by("--web.config=/etc/web.yml")
    log_notices(given)
    assert web_config_of(given) == Path("/etc/web.yml")
    assert "--web.config is a former name; write --web.config.file" in caplog.text
    assert web_config_of(given_by("--web.config=")) is None
    with pytest.raises(UsageError, match=r"--web\.config is a former name of --web\.config\.file"):
        web_config_of(given_by("--web.config=/a", "--web.config.file=/b"))


def test_an_address_beside_the_sockets_of_systemd_is_no_error_and_has_no_effect(caplog):
    """As in node_exporter, whose own unit has the one and its file of options may have the other."""
    both = given_by("--web.systemd-socket", "--web.listen-address=:9100")
    assert addresses_of(both) == addresses_of(given_by("--web.systemd-socket"))
    assert caplog.text.count("--web.listen-address has no effect") == 1


def test_a_former_and_the_present_name_together_are_refused():
    given = given_by("--collector.netdev.device-blacklist=a", "--collector.netdev.device-exclude=b")
    with pytest.raises(UsageError, match=r"a former name of --collector\.netdev\.device-exclude"):
        options_of(given)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--collector.wifi"], "--collector.wifi has no effect: not served: rare hardware"),
        (["--runtime.gomaxprocs=4"], "--runtime.gomaxprocs has no effect: this program is not written in Go"),
        (["--collector.ntp.server=x"], "--collector.ntp.server has no effect: ntp is not served"),
        (["--no-collector.wifi"], ""),
        ([], ""),
    ],
)
def test_an_option_without_effect_is_one_line_in_the_log(arguments, words, caplog):
    log_notices(given_by(*arguments))
    assert [record.message[: len(words)] for record in caplog.records] == ([words] if words else [])


def test_an_unknown_option_is_refused_with_those_that_are_like_it():
    with pytest.raises(click.NoSuchOption, match="No such option") as caught:
        given_by("--collector.netdev.device-exclud=x")
    assert "--collector.netdev.device-exclude" in caught.value.format_message()


@pytest.mark.parametrize(
    ("text", "expected"), [("5s", 5), ("500ms", 0.5), ("1m30s", 90), ("2.5s", 2.5), ("2", 2), ("1h", None)]
)
def test_times_are_written_as_in_go(text, expected):
    options = Options(filesystem_mount_timeout=text)
    if expected is None:
        with pytest.raises(UsageError):
            seconds(options, "filesystem_mount_timeout")
    else:
        assert seconds(options, "filesystem_mount_timeout") == expected


@pytest.mark.parametrize(
    ("text", "taken", "left"),
    [
        ("^veth[[:alnum:]]+$", "veth1a", "veth:1"),
        ("^[[:alpha:]_]+[[:digit:]]\\z", "eth_0", "eth0\n"),
        (r"^br\[:alpha:\]$", "br[:alpha:]", "bra"),
    ],
)
def test_patterns_are_read_as_go_reads_them(text, taken, left):
    wanted = selection(Options(netdev_device_include=text), "netdev_device")
    assert wanted.takes(taken) and not wanted.takes(left)


def test_an_unknown_class_is_refused():
    with pytest.raises(UsageError, match=r"--collector\.netdev\.device-include: .* unknown class \[:odd:\]"):
        selection(Options(netdev_device_include="[[:odd:]]"), "netdev_device")


# As unit files and roles for node_exporter have them.
COMMAND_LINE = """
--collector.systemd --collector.textfile --collector.textfile.directory={folder}
--collector.filesystem.ignored-mount-points=^/(dev|proc|sys)($|/)
--collector.netclass.ignored-devices=^(veth.*)$ --collector.netclass.ignore-invalid-speed
--collector.netclass.netlink --no-collector.arp.netlink --collector.processes --collector.interrupts
--collector.cpu.info --no-collector.cpu.guest --collector.stat.softirq --collector.netdev.label-ifalias
--collector.powersupply.ignored-supplies=^BAT --path.udev.data={folder} --no-collector.zfs
--web.disable-exporter-metrics --web.max-requests=0 --runtime.gomaxprocs=2 --web.telemetry-path=/metrics
--log.level=info --log.format=logfmt
"""


def test_a_whole_command_line_of_node_exporter_starts_ours(ours, page_of, tmp_path):
    (tmp_path / "b1:0").write_text("E:ID_MODEL=Odd\n")
    arguments = COMMAND_LINE.format(folder=tmp_path).split()
    with ours(*arguments) as running:
        page = page_of(running.get())
    names = {name for name, _ in page}
    assert {"node_load1", "node_cpu_info", "node_softirqs_total", "leitstand_exporter_build_info"} <= names
    assert {"node_cpu_guest_seconds_total", "process_cpu_seconds_total"} & names == set()
    assert [
        labels for (name, labels), value in page.items() if name.endswith("_success") and value != 1
    ] == []


def test_the_help_does_not_show_what_has_no_effect():
    command = [sys.executable, "-m", "leitstand", "exporter", "--help"]
    text = subprocess.run(command, capture_output=True, text=True, timeout=patient(120)).stdout
    assert "--collector.cpu.info" in text and "gomaxprocs" not in text and "blacklist" not in text
