"""systemd's units, asked over D-Bus: a real bus for the protocol, a manager played by the test for the
answers.
"""

import os
import select
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from exporter.collectors.dbus import BusError, Call, Connection, property_of, read_string, read_variant
from exporter.collectors.options import Options
from exporter.collectors.systemd import SystemdUnits
from exporter.roots import NoData
from lab.patience import patient
from lab.processes import wait_until

BUS = "org.freedesktop.DBus"
CONFIGURATION = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><listen>unix:path={path}</listen><auth>EXTERNAL</auth>
<policy context="default"><allow send_destination="*"/><allow own="*"/><allow receive_sender="*"/></policy>
</busconfig>"""


@pytest.fixture
def bus(tmp_path: Path) -> Iterator[str]:
    """The path of a real bus."""
    path = tmp_path / "bus"
    (tmp_path / "bus.conf").write_text(CONFIGURATION.format(path=path))
    process = subprocess.Popen(
        ["dbus-daemon", f"--config-file={tmp_path}/bus.conf", "--nofork"], stderr=subprocess.DEVNULL
    )
    try:
        wait_until(lambda: answers(path), "the bus", pause=0.01)
        yield str(path)
    finally:
        process.terminate()
        process.wait(60)


def answers(path):
    """Whether somebody listens there, which is a moment later than that the file is there."""
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(path)) == 0


def test_a_real_bus_takes_our_calls_and_we_its_answers(bus):
    with Connection(bus) as connection:
        owner = Call(BUS, "/org/freedesktop/DBus", BUS, "GetNameOwner", (BUS,))
        missing = Call(BUS, "/org/freedesktop/DBus", BUS, "GetNameOwner", ("org.example.Nobody",))
        identity = Call(BUS, "/org/freedesktop/DBus", BUS, "GetId")
        answers = connection.ask([owner, missing, identity] * 50)
        assert read_string(answers[0], 0)[0] == BUS
        assert isinstance(answers[1], BusError)
        assert "NameHasNoOwner" in str(answers[1])
        assert len(read_string(answers[2], 0)[0]) == 32
        assert answers[147:] != [] and answers[147] == answers[0]


def answer_when_nothing_more_is_asked(service, stop):
    """Play a service on a bus: the one called :1.0, for the client called :1.1."""
    asked = []
    while not stop.is_set():
        if service._buffer or select.select([service._socket], [], [], 0.01)[0]:
            _, kind, _, _, length, serial, fields = struct.unpack("<BBBBIII", service._read(16))
            service._read((fields + 7) // 8 * 8 + length)
            asked += [serial] if kind == 1 else []
            continue
        for serial in asked:
            fields = packed_string(":1.1", struct.pack("<BB2sIBB2s", 5, 1, b"u\0", serial, 6, 1, b"s\0"))
            service._socket.sendall(struct.pack("<BBBBIII", ord("l"), 2, 1, 1, 0, 9, len(fields)))
            service._socket.sendall(fields + b"\0" * (-len(fields) % 8))
        asked.clear()


def test_more_is_asked_of_a_slow_service_than_the_bus_allows_at_once(bus):
    """dbus-daemon lets 128 calls of a client wait, and a host has more services than that."""
    stop = threading.Event()
    with Connection(bus) as service, Connection(bus, timeout=patient(60)) as client:
        thread = threading.Thread(target=answer_when_nothing_more_is_asked, args=(service, stop))
        thread.start()
        answers = client.ask([property_of(":1.0", f"/unit/{number}", "x.y", "Type") for number in range(300)])
        stop.set()
        thread.join(60)
    assert answers == [b""] * 300


def test_a_service_that_is_not_there_is_an_error_and_no_hang(bus):
    with Connection(bus) as connection:
        (answer,) = connection.ask([property_of("org.freedesktop.systemd1", "/x", "y", "z")])
    assert isinstance(answer, BusError)


@pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user needs root")
def test_a_user_unknown_to_the_bus_is_explained(bus):
    """As a service with DynamicUser= has one, where libnss-systemd is not installed."""
    # From within its folder, as another user may not walk to it.
    Path(bus).chmod(0o666)
    Path(bus).parent.chmod(0o755)
    program = """
import os
from exporter.collectors.dbus import BusError, Connection
os.setresuid(61706, 61706, 61706)
try:
    Connection("bus")
except BusError as error:
    print(error)
"""
    argv = [sys.executable, "-c", program]
    finished = subprocess.run(argv, cwd=Path(bus).parent, capture_output=True, text=True)
    assert "user 61706 must be known to the system" in finished.stdout, finished.stderr


def packed_string(text, body=b""):
    body += b"\0" * (-len(body) % 4)
    return body + struct.pack("<I", len(text.encode())) + text.encode() + b"\0"


def packed_units(units):
    body = b"\0" * 8
    for name, state, path in units:
        body += b"\0" * (-len(body) % 8)
        for text in (name, "Some words", "loaded", state, "sub", "", path):
            body = packed_string(text, body)
        body += b"\0" * (-len(body) % 4) + struct.pack("<I", 0)
        for text in ("", "/"):
            body = packed_string(text, body)
    return struct.pack("<I", len(body) - 8) + body[4:]


def packed_variant(value):
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return packed_string(value, b"\x01s\0")
    if value < 2**32:
        return b"\x01u\0\0" + struct.pack("<I", value)
    return b"\x01t\0\0\0\0\0\0" + struct.pack("<Q", value)


class Manager(threading.Thread):
    """Answers as a bus with systemd on it. ``properties`` by name; what it has not is an error."""

    def __init__(self, path, units, properties):
        super().__init__(daemon=True)
        self.units, self.properties, self.asked = units, properties, []
        self.mute = False
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen()
        self.start()

    def run(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client):
        with client, client.makefile("rb") as lines:
            assert lines.readline() == b"\0AUTH EXTERNAL %s\r\n" % str(os.geteuid()).encode().hex().encode()
            client.sendall(b"OK 0123456789abcdef0123456789abcdef\r\n")
            assert lines.readline() == b"BEGIN\r\n"
            while start := lines.read(16):
                _, _, _, _, length, serial, fields = struct.unpack("<BBBBIII", start)
                head = lines.read((fields + 7) // 8 * 8)
                body = lines.read(length)
                if not self.mute:
                    client.sendall(self.answer(head, body, serial))

    def answer(self, head, body, serial):
        if b"Hello" in head:
            return self.message(2, serial, packed_string(":1.1"))
        if b"ListUnits" in head:
            return self.message(2, serial, packed_units(self.units))
        _, offset = read_string(body, 0)
        name, _ = read_string(body, offset)
        self.asked.append(name)
        if name not in self.properties:
            return self.message(3, serial, b"")
        return self.message(2, serial, packed_variant(self.properties[name]))

    def message(self, kind, serial, body):
        fields = struct.pack("<BB2sI", 5, 1, b"u\0", serial)
        if kind == 3:
            fields += packed_string("org.example.Error", struct.pack("<BB2s", 4, 1, b"s\0"))
        padding = b"\0" * (-len(fields) % 8)
        return (
            struct.pack("<BBBBIII", ord("l"), kind, 1, 1, len(body), 9, len(fields)) + fields + padding + body
        )


UNITS = [
    ("nginx.service", "failed", "/unit/nginx"),
    ("apt-daily.timer", "active", "/unit/apt"),
    ("sshd.socket", "active", "/unit/sshd"),
    ("srv.mount", "active", "/unit/srv"),
]
PROPERTIES = {
    "Version": "252.38-1~deb12u1",
    "SystemState": "degraded",
    "Virtualization": "kvm",
    "Type": "forking",
    "LastTriggerUSec": 1_700_000_000_000_000,
    "NAccepted": 7,
    "NConnections": 2,
    "NRestarts": 3,
    "TasksCurrent": 5,
    "TasksMax": 2**64 - 1,
    "ActiveEnterTimestamp": 1_700_000_000_500_000,
}


@pytest.fixture
def place(host: Any) -> Path:
    folder = host.folder / "root/run/dbus"
    folder.mkdir(parents=True)
    return folder / "system_bus_socket"


@pytest.fixture
def manager(place: Path) -> Iterator[Manager]:
    found = Manager(place, UNITS, PROPERTIES)
    yield found
    found.listener.close()


def test_units_timers_and_sockets_are_served(host, manager, figures):
    found = figures(SystemdUnits(host.roots, Options()))
    states = {labels: value for labels, value in found["node_systemd_unit_state"].items() if value}
    assert states == {
        ("nginx.service", "failed", "forking"): 1,
        ("apt-daily.timer", "active", ""): 1,
        ("sshd.socket", "active", ""): 1,
    }
    assert len(found["node_systemd_unit_state"]) == 3 * 5
    assert found["node_systemd_units"] == {
        ("activating",): 0,
        ("active",): 3,
        ("deactivating",): 0,
        ("failed",): 1,
        ("inactive",): 0,
    }
    assert found["node_systemd_version"] == {("252.38-1~deb12u1",): 252.38}
    assert found["node_systemd_system_running"] == {(): 0}
    assert found["node_systemd_timer_last_trigger_seconds"] == {("apt-daily.timer",): 1_700_000_000}
    assert found["node_systemd_socket_accepted_connections_total"] == {("sshd.socket",): 7}
    assert found["node_systemd_socket_refused_connections_total"] == {}
    assert found["node_systemd_virtualization_info"] == {("kvm",): 1}
    assert not {name for name in found if "restart" in name or "tasks" in name or "start_time" in name}


def test_restarts_tasks_and_start_times_are_served_when_enabled(host, manager, figures):
    options = replace(
        Options(),
        systemd_enable_restarts_metrics=True,
        systemd_enable_task_metrics=True,
        systemd_enable_start_time_metrics=True,
    )
    found = figures(SystemdUnits(host.roots, options))
    assert found["node_systemd_service_restart_total"] == {("nginx.service",): 3}
    assert found["node_systemd_unit_tasks_current"] == {("nginx.service",): 5}
    # No limit, no figure.
    assert found["node_systemd_unit_tasks_max"] == {}
    assert found["node_systemd_unit_start_time_seconds"] == {
        ("nginx.service",): 0,
        ("apt-daily.timer",): 1_700_000_000.5,
        ("sshd.socket",): 1_700_000_000.5,
    }


def test_the_type_of_a_service_is_asked_for_once(host, manager, figures):
    collector = SystemdUnits(host.roots, Options())
    for _ in range(5):
        figures(collector)
    assert manager.asked.count("Type") == 1
    manager.units = [*UNITS, ("cron.service", "active", "/unit/cron")]
    figures(collector)
    assert manager.asked.count("Type") == 2


@pytest.mark.parametrize("name", PROPERTIES)
def test_a_property_of_the_wrong_type_affects_no_other(host, manager, figures, name):
    options = replace(
        Options(),
        systemd_enable_restarts_metrics=True,
        systemd_enable_task_metrics=True,
        systemd_enable_start_time_metrics=True,
    )
    whole = figures(SystemdUnits(host.roots, options))
    manager.properties = {key: value for key, value in PROPERTIES.items() if key != name}
    without = figures(SystemdUnits(host.roots, options))
    manager.properties = {**PROPERTIES, name: b"\x01a\0garbage"}
    collector = SystemdUnits(host.roots, options)
    damaged = figures(collector)
    assert collector.skipped.count > 0
    kept = [family for family in whole if without.get(family) == whole[family]]
    assert len(kept) >= len(whole) - 2
    assert {family: damaged.get(family) for family in kept} == {family: whole[family] for family in kept}


def test_a_missing_type_is_queried_again(host, manager, figures):
    manager.properties = {name: value for name, value in PROPERTIES.items() if name != "Type"}
    collector = SystemdUnits(host.roots, Options())
    assert ("nginx.service", "failed", "") in figures(collector)["node_systemd_unit_state"]
    manager.properties = PROPERTIES
    assert ("nginx.service", "failed", "forking") in figures(collector)["node_systemd_unit_state"]


def test_a_bus_that_was_restarted_is_found_again_at_once(host, place, manager, figures):
    collector = SystemdUnits(host.roots, Options())
    figures(collector)
    collector._connection._socket.shutdown(socket.SHUT_RDWR)  # as the end of the bus does
    assert figures(collector)["node_systemd_units"][("active",)] == 3


def test_a_host_without_a_bus_has_nothing_and_no_failure(host, place):
    with pytest.raises(NoData):
        SystemdUnits(host.roots, Options()).collect()


def test_a_bus_without_systemd_has_nothing_and_no_failure(host, place, bus):
    """Alpine, and whatever else another program starts: the bus runs, and nobody answers for systemd."""
    place.symlink_to(bus)
    with pytest.raises(NoData):
        SystemdUnits(host.roots, Options()).collect()
    (host.folder / "root/run/systemd/system").mkdir(parents=True)
    with pytest.raises(BusError, match="NameHasNoOwner"):
        SystemdUnits(host.roots, Options()).collect()


def test_a_silent_bus_fails_after_its_time_limit(place, manager):
    manager.mute = True
    with pytest.raises(OSError, match="timed out"):
        Connection(str(place), timeout=0.1)


def test_a_bus_that_gave_no_answer_gets_little_time_until_it_gives_one(host, manager, figures, monkeypatch):
    allowed = []

    class Told(Connection):
        def __init__(self, path, timeout):
            super().__init__(path, 60)  # told, not taken: this machine may be slow
            allowed.append(timeout)

        def allow(self, timeout):
            super().allow(60)
            allowed.append(timeout)

        def ask(self, calls):
            if manager.mute:
                super().allow(0.05)  # the test need not wait
            return super().ask(calls)

    monkeypatch.setattr("exporter.collectors.systemd.Connection", Told)
    collector = SystemdUnits(host.roots, Options())
    figures(collector)
    manager.mute = True
    with pytest.raises(TimeoutError, match="the system bus does not reply"):
        collector.collect()
    manager.mute = False
    for _ in range(2):
        figures(collector)
    # The first, the one that had no answer and no second try, the next one, and when all was well again.
    assert allowed == [5.0, 5.0, 0.3, 5.0]


@pytest.mark.parametrize("body", [b"", b"\x01s\0", b"\x01t\0\0", b"\x01a\0", b"\x01s\0\0\xff\xff\xff\xff"])
def test_a_property_that_is_cut_short_or_of_another_type_is_refused(body):
    with pytest.raises(ValueError):
        read_variant(body)
