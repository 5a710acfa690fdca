"""An exporter that means harm costs itself: its time, its share of memory and disk, and no other host."""

import gzip
import json
import os
import socket
import stat
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from fleet_inventory import database, document, pull
from fleet_inventory.cli import inventory
from fleet_inventory.database import open_database
from fleet_inventory.document import DocumentError, InventoryDocument, parse
from lab.patience import patient

Talk = Callable[[socket.socket], None]
MEMORY = 200 << 20
ENVELOPE = '{"schema_version": 1, "sha256": "x", "incomplete": [], "items": %s}'


def whole(body: bytes, *headers: str) -> bytes:
    lines = ["HTTP/1.1 200 OK", 'ETag: "e"', f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def packed(items: str) -> bytes:
    return whole(gzip.compress((ENVELOPE % items).encode(), 1), "Content-Encoding: gzip")


GOOD = whole((ENVELOPE % '{"package": [{"manager": "dpkg", "name": "a", "version": "1"}]}').encode())


def for_ever(piece: bytes, first: bytes = b"", pause: float = 0.0) -> Talk:
    def talk(link: socket.socket) -> None:
        link.sendall(first)
        while True:
            link.sendall(piece)
            time.sleep(pause)

    return talk


def once(reply: bytes) -> Talk:
    return lambda link: link.sendall(reply)


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
SLOW = {
    "a letter of a header now and then": for_ever(b"x", b"HTTP/1.1 200 OK\r\nX: ", 0.1),
    "a header now and then": for_ever(b"X: y\r\n", b"HTTP/1.1 200 OK\r\n", 0.1),
    "100 Continue without end": for_ever(b"HTTP/1.1 100 Continue\r\n\r\n"),
    "trailers without end": for_ever(b"x: y\r\n", CHUNKED + b"0\r\n"),
    "a body that trickles in": for_ever(b" ", b"HTTP/1.1 200 OK\r\n\r\n", 0.1),
    "chunks of one letter": for_ever(b"1\r\n \r\n", CHUNKED, 0.01),
    "nothing": lambda link: time.sleep(60),
}


@pytest.fixture
def serve() -> Iterator[Callable[[Talk], int]]:
    """Starts a server that talks in its own way to each who asks, and returns its port."""
    listeners: list[socket.socket] = []

    def start(talk: Talk) -> int:
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)
        threading.Thread(target=accept, args=(listener, talk), daemon=True).start()
        return int(listener.getsockname()[1])

    yield start
    for listener in listeners:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def accept(listener: socket.socket, talk: Talk) -> None:
    while True:
        try:
            link, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=answer, args=(link, talk), daemon=True).start()


def answer(link: socket.socket, talk: Talk) -> None:
    try:
        with link:
            link.recv(65536)
            talk(link)
    except OSError:  # it was cut
        return


def write_fleet(folder: Path, *ports: int, **settings: object) -> list[str]:
    hosts = {
        f"h{number}": {"address": "127.0.0.1", "exporter_port": port, **settings}
        for number, port in enumerate(ports)
    }
    (folder / "leitstand.yml").write_text(json.dumps({"hosts": hosts}))
    return ["pull", "--config", str(folder / "leitstand.yml"), "--database", str(folder / "i.sqlite")]


def test_all_kinds_of_endless_answers_at_once_end_in_time_and_the_good_host_is_kept(
    serve: Callable[[Talk], int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pull, "ANSWER_SECONDS", 2.0)
    ports = [serve(talk) for talk in SLOW.values()]
    words = write_fleet(tmp_path, *ports, serve(once(GOOD)))
    begin = time.monotonic()
    told = CliRunner().invoke(inventory, words, standalone_mode=False)
    assert time.monotonic() - begin < patient(30), "all that is slow is slow at the same time"
    assert told.stdout == f"h{len(SLOW)}: 1 changes\n"
    late = [
        line for line in told.stderr.splitlines() if "takes longer than 2 s" in line or "no answer" in line
    ]
    assert len(late) == len(SLOW), told.stderr


def reset(link: socket.socket) -> None:
    link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@pytest.mark.parametrize(
    ("talk", "message"),
    [
        (SLOW["nothing"], "no answer within 1 s"),
        (reset, "closed the connection without an answer"),
    ],
    ids=["silence", "a reset"],
)
def test_silence_and_a_reset_are_reported_as_such(
    serve: Callable[[Talk], int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    talk: Talk,
    message: str,
) -> None:
    monkeypatch.setattr(pull, "TIMEOUT_SECONDS", 1.0)
    told = CliRunner().invoke(inventory, write_fleet(tmp_path, serve(talk)), standalone_mode=False)
    assert told.stderr.startswith(f"h0: {message}")


def test_a_handshake_that_trickles_in_is_cut(
    serve: Callable[[Talk], int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pull, "ANSWER_SECONDS", 1.0)
    # A record of TLS that announces 16 kB and then brings a byte of them at a time.
    port = serve(for_ever(b"\2", b"\x16\x03\x03\x40\x00", 0.1))
    begin = time.monotonic()
    told = CliRunner().invoke(
        inventory, write_fleet(tmp_path, port, exporter={"tls": True}), standalone_mode=False
    )
    assert time.monotonic() - begin < patient(15)
    assert told.stderr == "h0: the answer takes longer than 1 s\n"


def test_answers_are_stored_before_slow_hosts_have_answered(
    serve: Callable[[Talk], int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pull, "ANSWER_SECONDS", 60.0)
    stop = threading.Event()

    def held(link: socket.socket) -> None:
        stop.wait(60)
        link.sendall(GOOD)

    words = write_fleet(tmp_path, serve(held), serve(once(GOOD)))
    runner = threading.Thread(target=CliRunner().invoke, args=(inventory, words), daemon=True)
    runner.start()
    try:
        end = time.monotonic() + patient(30)
        while "h1" not in known(tmp_path) and time.monotonic() < end:
            time.sleep(0.05)
        assert known(tmp_path) == ["h1"]
    finally:
        stop.set()
        runner.join(60)
    assert known(tmp_path) == ["h0", "h1"]


def known(folder: Path) -> list[str]:
    path = folder / "i.sqlite"
    if not path.exists():
        return []
    with open_database(path) as store:
        return [name for name, state in store.states().items() if state.pulled]


def bombs() -> dict[str, bytes]:
    """Made when they are used: that takes a second, and every worker reads this file."""
    return {
        "2.8 million empty items": packed('{"k": [' + "{}," * 2_799_999 + "{}]}"),
        "lists in lists": packed('{"k": [' + "[]," * 2_000_000 + "[]]}"),
        "a million texts": packed('{"k": [{"x": [' + '"ab",' * 1_500_000 + '"ab"]}]}'),
        "deep": packed("[" * 8_000_000),
        "zeros": whole(gzip.compress(bytes(400 << 20), 1), "Content-Encoding: gzip"),
        "one text, wide letters": packed('{"k": [{"name": "' + "\N{PILE OF POO}" * 3_900_000 + '"}]}'),
        "an item of a long name": packed('{"k": [{"name": "' + "n" * 900_000 + '"}]}'),
        "one kind of a long name": packed('{"' + "k" * 15_000_000 + '": [{"name": "a"}]}'),
        "as many items as are taken": packed(
            json.dumps(
                {"k": [{"name": f"a{number}", "x": "\N{PILE OF POO}" * 30} for number in range(59_000)]},
                ensure_ascii=False,
            )
        ),
    }


# Runs a command and prints what memory it took at most, in KiB, as its last line. Not ru_maxrss: a child
# starts with its parent's.
WITH_MEMORY = """
import atexit
from pathlib import Path
from leitstand.cli import main
atexit.register(lambda: print(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]))
main()
"""


def test_bombs_cost_their_hosts_the_answer_and_no_memory(
    serve: Callable[[Talk], int], tmp_path: Path
) -> None:
    replies = bombs()
    words = write_fleet(tmp_path, *(serve(once(reply)) for reply in replies.values()), serve(once(GOOD)))
    done = subprocess.run(
        [sys.executable, "-c", WITH_MEMORY, "inventory", *words],
        capture_output=True,
        text=True,
        timeout=patient(300),
        check=False,
    )
    *lines, memory = done.stdout.splitlines()
    assert f"h{len(replies)}: 1 changes" in lines
    assert int(memory) << 10 <= MEMORY, memory
    assert len(done.stderr.splitlines()) == len(replies) - 1, done.stderr
    assert f"h{len(replies) - 1}: 59000 changes" in lines
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("letters", ["{}", "[]", '"a"', "1"])
def test_entries_are_counted_before_they_are_built(letters: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(document.json, "loads", lambda _: pytest.fail("it was built"))
    with pytest.raises(DocumentError, match="the inventory has"):
        parse((ENVELOPE % ('{"k": [' + ",".join([letters] * 700_000) + "]}")).encode())


@pytest.mark.parametrize(
    "reply",
    [
        packed("{}").replace(b"200 OK", b"500 " + b"x" * 60_000),
        whole((ENVELOPE % "{}").replace(": 1,", f': "{"x" * 1_000_000}",').encode()),
    ],
    ids=["reason", "version"],
)
def test_a_host_s_own_words_about_a_failure_are_cut(
    reply: bytes, serve: Callable[[Talk], int], tmp_path: Path
) -> None:
    told = CliRunner().invoke(inventory, write_fleet(tmp_path, serve(once(reply))), standalone_mode=False)
    assert told.stderr.startswith(("h0: answered 500 xxx", "h0: the inventory has schema version xxx"))
    assert len(told.stderr) < 500


def of(*names: str) -> InventoryDocument:
    items = {"package": [{"manager": "dpkg", "name": name, "version": "1"} for name in names]}
    return parse((ENVELOPE % json.dumps(items)).encode())


def test_a_host_that_sends_other_items_each_time_has_its_share_of_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "HISTORY_BYTES", 200_000)
    with open_database(tmp_path / "i.sqlite", create=True) as store:
        store.take("calm", "", of("a"), 1.0)
        store.take("calm", "", of("b"), 2.0)
        for moment in range(40):
            store.take(
                "wild", "", of(*(f"{moment}-{number}-{'x' * 100}" for number in range(50))), float(moment)
            )
        rows = store._connection.execute("SELECT count(*) FROM item WHERE host = 'wild'").fetchone()[0]
        assert 300 < rows < 450, "what fits, and what is there now"
        assert len(store.at("wild")) == 50
        begin = store.first_pull("wild")
        assert begin is not None and begin > 30
        # What is known of the time after that is whole, and of other hosts everything is.
        assert len(store.at("wild", begin)) == 50
        assert [row.item.name for row in store.at("calm", 1.0)] == ["a"]


def test_a_history_ends_after_800_days_but_what_is_there_stays(tmp_path: Path) -> None:
    day = 86_400
    with open_database(tmp_path / "i.sqlite", create=True) as store:
        store.take("web1", "", of("old", "stays"), 1.0 * day)
        store.take("web1", "", of("newer", "stays"), 2.0 * day)
        store.take("web1", "", of("newest", "stays"), 850.0 * day)
        assert [row.item.name for row in store.at("web1")] == ["newest", "stays"]
        assert [row.item.name for row in store.at("web1", 2.0 * day)] == ["newer", "stays"]
        assert store.first_pull("web1") == 2.0 * day


@pytest.mark.parametrize(("version", "gone"), [(1, ("incomplete", "begins")), (2, ("incomplete",))])
def test_a_database_of_an_earlier_release_is_migrated(
    tmp_path: Path, version: int, gone: tuple[str, ...]
) -> None:
    path = tmp_path / "i.sqlite"
    with open_database(path, create=True) as store:
        store.take("web1", "e", of("a"), 1.0)
        for column in gone:
            store._connection.execute(f"ALTER TABLE host DROP COLUMN {column}")
        store._connection.execute(f"PRAGMA user_version = {version}")
    with open_database(path) as store:
        assert store.take("web1", "f", of("b"), 2.0) == 2
        assert store.states()["web1"].etag == "f"
        assert store.first_pull("web1") == 1.0


@pytest.mark.parametrize("mode", [None, 0o644, 0o666])
def test_the_database_and_the_files_beside_it_are_for_their_owner_alone(
    tmp_path: Path, mode: int | None
) -> None:
    path, before = tmp_path / "i.sqlite", os.umask(0o022)
    try:
        if mode is not None:
            with open_database(path, create=True):
                pass
            (left := tmp_path / "i.sqlite-wal").write_bytes(b"of a pull that was killed")
            for file in (path, left):
                file.chmod(mode)
        with open_database(path, create=True) as store:
            store.take("web1", "", of("a"), 1.0)
            files = sorted(tmp_path.iterdir())
            assert {file.name: stat.S_IMODE(file.stat().st_mode) for file in files} == {
                file.name: 0o600 for file in files
            }
            assert len(files) == 3
    finally:
        os.umask(before)
