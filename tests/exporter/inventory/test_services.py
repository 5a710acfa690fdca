import json
import os
import re
import shutil
import socket
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from exporter.inventory import (
    containers,
    databases,
    systemd,
)
from exporter.inventory.source import Context, Findings, Item
from exporter.roots import NoData

Items = Callable[[Findings, str], list[Item]]
Build = Callable[[dict[str, str | bytes]], Context]


@contextmanager
def engine(path: Path, answers: dict[str, object]) -> Iterator[None]:
    """A container engine on a Unix socket; answers one request per connection."""
    server = socket.socket(socket.AF_UNIX)
    here = Path.cwd()
    os.chdir(path.parent)
    server.bind(path.name)
    os.chdir(here)
    server.listen()
    server.settimeout(60)

    def serve() -> None:
        for _ in answers:
            with server.accept()[0] as peer:
                target = peer.recv(65536).split()[1].decode()
                body = json.dumps(answers[target]).encode()
                peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.close()


def test_images_and_containers_are_asked_from_the_engine(
    tmp_path_factory: pytest.TempPathFactory, real_host: Context, items: Items
) -> None:
    from exporter.tree import Tree

    root = Path(tempfile.mkdtemp(dir="/tmp"))  # short: a socket's path has 107 characters at most
    (root / "run").mkdir()
    answers: dict[str, object] = {
        "/images/json": [
            {
                "Id": "sha256:0123456789abcdef",
                "RepoTags": ["registry:5000/app:1.2", "app:latest"],
                "Created": 17,
            },
            {"Id": "sha256:fedcba9876543210", "RepoTags": None},
            "nonsense",
        ],
        "/containers/json": [{"Id": "abc" * 10, "Names": ["/app"], "Image": "app:latest"}, {"Names": []}],
        "/volumes": {"Volumes": [{"Name": "data", "Mountpoint": "/v/data"}], "Warnings": None},
    }
    try:
        with engine(root / "run/docker.sock", answers):
            findings = containers.read(Context(real_host.roots, Tree(root), 0.0))
        with pytest.raises(NoData):  # it has stopped and left its socket behind
            containers.read(Context(real_host.roots, Tree(root), 0.0))
    finally:
        shutil.rmtree(root)
    images = [(item["name"], item["version"], item["id"]) for item in items(findings, "container_image")]
    assert images == [
        ("registry:5000/app", "1.2", "0123456789ab"),
        ("app", "latest", "0123456789ab"),
        ("<none>", "<none>", "fedcba987654"),
    ]
    assert [item["name"] for item in items(findings, "container")] == ["app"]
    assert [item["name"] for item in items(findings, "container_volume")] == ["data"]
    assert findings.skipped == 2


def test_a_host_without_an_engine_or_systemd_has_nothing_of_them(host: Build) -> None:
    for source in (containers, systemd):
        with pytest.raises(NoData):
            source.read(host({}))


def test_databases_are_found_with_their_versions(real_host: Context, items: Items) -> None:
    found = {item["name"]: str(item["version"]) for item in items(databases.read(real_host), "database")}
    for name, package in {
        "MariaDB": "mariadb-server",
        "PostgreSQL": "postgresql-15",
        "Redis": "redis-server",
    }.items():
        query = ["dpkg-query", "-W", "-f", "${Version}", package]
        done = subprocess.run(query, capture_output=True, text=True, check=False)
        if done.returncode == 0 and done.stdout:
            upstream = re.sub(r"^\d+:|-.*$", "", done.stdout)
            assert found[name].startswith(upstream)
    assert found, "none of the Debian packages mariadb-server, postgresql, redis-server is installed"


def test_units_and_timers_are_read_from_what_systemctl_prints() -> None:
    listed = (
        "nginx.service     loaded    failed failed A high performance web server\n"
        "gone.service      not-found failed failed gone.service\n"
    )
    assert systemd.parse_units(listed) == ["nginx.service"]
    shown = "Id=a.timer\nUnit=a.service\nLastTriggerUSec=Tue 2023-11-14 22:13:20 UTC\n\n"
    shown += "Id=b.timer\nUnit=b.service\nLastTriggerUSec=n/a\n"
    assert [systemd.parse_timer(fields) for fields in systemd.parse_properties(shown)] == [
        systemd.Timer("a.timer", "a.service", 1_700_000_000.0),
        systemd.Timer("b.timer", "b.service", 0.0),
    ]


def test_failed_units_and_timers_become_items_and_figures(
    host: Build, items: Items, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """systemd does not run where tests do: a program of its name answers as systemd 245 to 252 do."""
    program = tmp_path / "bin/systemctl"
    program.parent.mkdir()
    program.write_text(
        "#!/bin/sh\n"
        'case "$*" in\n'
        "*--timestamp*) exit 1;;\n"
        '*--state=failed*) echo "nginx.service loaded failed failed web";;\n'
        '*--type=timer*) echo "a.timer loaded active waiting A"; echo "b.timer loaded active waiting B"; '
        'echo "c.timer loaded active waiting C"; echo "d.timer loaded active waiting D";;\n'
        '*LastTriggerUSec*) printf "Id=a.timer\\nUnit=a.service\\nLastTriggerUSec=%s\\n\\n'
        "Id=b.timer\\nUnit=b.service\\nLastTriggerUSec=\\n\\nId=c.timer\\nUnit=c.target\\nLastTriggerUSec=\\n\\n"
        'Id=d.timer\\nUnit=d.service\\nLastTriggerUSec=\\n" "$(date -d @1700000000 "+%a %F %T %Z")";;\n'
        '*) printf "Id=a.service\\nResult=success\\n\\nId=b.service\\nResult=exit-code\\n\\n'
        'Id=c.target\\n\\nId=d.service\\nResult=exec-condition\\n";;\n'
        "esac\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    findings = systemd.read(host({"/run/systemd/system/x": ""}))
    assert [item["name"] for item in items(findings, "failed_unit")] == ["nginx.service"]
    assert [(item["name"], item["result"]) for item in items(findings, "timer")] == [
        ("a.timer", "success"),
        ("b.timer", "exit-code"),
        ("c.timer", ""),
        ("d.timer", "exec-condition"),
    ]
    figures = {(family.name, *labels): value for family in findings.metrics for labels, value in family.rows}
    assert figures == {
        ("leitstand_failed_units",): 1,
        ("leitstand_timer_success", "a.timer", "a.service"): 1,
        ("leitstand_timer_success", "b.timer", "b.service"): 0,
        ("leitstand_timer_success", "d.timer", "d.service"): 1,
        ("leitstand_timer_last_trigger_timestamp_seconds", "a.timer"): 1_700_000_000,
    }


@pytest.mark.parametrize(
    ("processes", "running"),
    [({}, None), ({"1": "init"}, False), ({"1": "init", "77": "redis-server"}, True)],
)
def test_a_server_is_not_called_stopped_where_the_processes_of_others_are_hidden(
    host: Build, items: Items, processes: dict[str, str], running: bool | None
) -> None:
    context = host({"/usr/bin/redis-server": ""})
    numbers = " ".join(["0"] * 40)
    for pid, name in {**processes, "9": "leitstand"}.items():
        folder = context.roots.proc / pid
        folder.mkdir()
        (folder / "stat").write_text(f"{pid} ({name}) S {numbers}\n")
        (folder / "cmdline").write_text("")
    (context.roots.proc / "stat").write_text("btime 1700000000\n")
    (found,) = items(databases.read(context), "database")
    assert found["running"] is running
