"""Exporters that answer wrongly, by halves or without end: a clear line each, and nothing known is lost."""

import gzip
import json
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from fleet_inventory import pull
from fleet_inventory.cli import inventory
from fleet_inventory.database import open_database

Serve = Callable[[bytes], int]
ITEM = {"manager": "dpkg", "name": "a", "version": "1", "arch": "all", "path": ""}


def document(items: dict[str, Any]) -> bytes:
    return json.dumps({"schema_version": 1, "sha256": "x", "incomplete": [], "items": items}).encode()


def answer(body: bytes, *headers: str, length: int | None = None) -> bytes:
    lines = ["HTTP/1.1 200 OK", 'ETag: "e"', f"Content-Length: {len(body) if length is None else length}"]
    return "\r\n".join([*lines, *headers, "", ""]).encode() + body


GOOD = document({"package": [ITEM]})
ANSWERS = {
    "half": (answer(GOOD[:40], length=len(GOOD)), "the answer breaks off"),
    "half of what is compressed": (
        answer(gzip.compress(GOOD)[:40], "Content-Encoding: gzip"),
        "the answer breaks off",
    ),
    "a broken chunk": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        "the answer breaks off",
    ),
    "garbage": (b"\0\1\2\x1b[2Jgarbage\r\n\r\n", "does not answer in HTTP"),
    "nothing": (b"", "closed the connection without an answer"),
    "a page": (answer(b"<html>"), "the answer is no inventory"),
    "an escape": (b"HTTP/1.1 500 \x1b[2J\r\n\r\n", "answered 500 �[2J"),
    "no number": (answer(GOOD.replace(b'"1"', b"NaN")), "the answer is no inventory"),
    "too much": (
        b"HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n" + bytes(80 << 20),
        "the answer has more than 4 MiB",
    ),
}


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts a server that gives the same bytes to whoever asks, and returns its port."""
    listeners: list[socket.socket] = []

    def start(reply: bytes) -> int:
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)
        threading.Thread(target=reply_to_all, args=(listener, reply), daemon=True).start()
        return int(listener.getsockname()[1])

    yield start
    for listener in listeners:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def reply_to_all(listener: socket.socket, reply: bytes) -> None:
    while True:
        try:
            link, _ = listener.accept()
        except (ssl.SSLError, ConnectionError):  # it does not trust us
            continue
        except OSError:
            return
        try:
            with link:
                link.recv(65536)
                link.sendall(reply)
        except OSError:  # it has heard enough
            continue


def run(folder: Path, command: str, *words: str) -> Result:
    where = ["--database", str(folder / "inventory.sqlite")]
    if command == "pull":
        where += ["--config", str(folder / "leitstand.yml")]
    return CliRunner().invoke(inventory, [command, *where, *words], standalone_mode=False)


def write_fleet(folder: Path, **ports: int) -> None:
    hosts = {name: {"address": "127.0.0.1", "exporter_port": port} for name, port in ports.items()}
    (folder / "leitstand.yml").write_text(json.dumps({"hosts": hosts}))


@pytest.mark.parametrize(("reply", "message"), ANSWERS.values(), ids=list(ANSWERS))
def test_a_wrong_answer_is_one_clear_line_and_loses_nothing(
    serve: Serve, tmp_path: Path, reply: bytes, message: str
) -> None:
    good = serve(answer(GOOD))
    write_fleet(tmp_path, web1=good)
    run(tmp_path, "pull")
    write_fleet(tmp_path, web1=serve(reply), web2=good)
    pulled = run(tmp_path, "pull")
    assert pulled.exception is None
    assert pulled.stderr.startswith(f"web1: {message}")
    assert pulled.stderr.count("\n") == 1 and pulled.stderr.strip().isprintable()
    assert pulled.stdout == "web2: 1 changes\n"
    assert [line.split("\t")[0] for line in run(tmp_path, "search", "a").output.splitlines()] == [
        "web1",
        "web2",
    ]


@pytest.mark.parametrize("etag", ['"a"\r\n b: c', '"\x1b[2J"', '"é"', f'"{"x" * 30_000}"', "none", '"'])
def test_an_etag_that_no_server_takes_back_is_not_sent_at_each_pull_from_then_on(
    serve: Serve, tmp_path: Path, etag: str
) -> None:
    port = serve(answer(GOOD).replace(b'"e"', etag.encode("latin-1")))
    write_fleet(tmp_path, web1=port)
    assert run(tmp_path, "pull").stdout == "web1: 1 changes\n"
    with open_database(tmp_path / "inventory.sqlite") as store:
        assert store.states()["web1"].etag == ""


def test_scripts_get_the_outcome_of_a_pull_as_json(serve: Serve, tmp_path: Path) -> None:
    write_fleet(tmp_path, web1=serve(answer(GOOD)), web2=serve(b""))
    pulled = run(tmp_path, "pull", "--json")
    assert pulled.return_value == 1
    good, bad = json.loads(pulled.stdout)
    assert (good["host"], good["changes"], good["error"]) == ("web1", 1, "")
    assert (bad["host"], bad["changes"]) == ("web2", None) and "without an answer" in bad["error"]


def test_an_answer_that_trickles_in_is_given_up(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pull, "ANSWER_SECONDS", -1.0)  # every answer takes longer
    write_fleet(tmp_path, web1=serve(answer(GOOD)))
    assert "takes longer than" in run(tmp_path, "pull").stderr


def test_text_that_no_terminal_should_see_is_replaced(serve: Serve, tmp_path: Path) -> None:
    evil = b'{"manager":"dpkg","name":"a\\u001b[2J\\ud800","version":"1\\n2","path":["\\u0007"],"arch":"x"}'
    port = serve(answer(GOOD.replace(json.dumps(ITEM).encode(), evil)))
    write_fleet(tmp_path, web1=port)
    assert run(tmp_path, "pull").output == "web1: 1 changes\n"
    shown = run(tmp_path, "show", "web1")
    assert "a�[2J�\t1�2" in shown.output
    assert shown.output.replace("\t", "").strip().isprintable()
    assert json.loads(run(tmp_path, "show", "--json", "web1").output)[0]["fields"]["path"] == ["�"]


def test_an_untrusted_certificate_is_refused_with_a_hint(tmp_path: Path) -> None:
    certificate, key = tmp_path / "server.crt", tmp_path / "server.key"
    request = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
    ]
    names = ["-subj", "/CN=web1", "-addext", "subjectAltName=IP:127.0.0.1"]
    made = [*request, *names, "-out", str(certificate), "-keyout", str(key)]
    subprocess.run(made, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with (
        socket.create_server(("127.0.0.1", 0)) as plain,
        context.wrap_socket(plain, server_side=True) as listener,
    ):
        threading.Thread(target=reply_to_all, args=(listener, answer(GOOD)), daemon=True).start()
        write_fleet(tmp_path, web1=listener.getsockname()[1])
        refused = run(tmp_path, "pull", "--tls")
        taken = run(tmp_path, "pull", "--ca-file", str(certificate))
        listener.shutdown(socket.SHUT_RDWR)
    assert refused.stderr.startswith("web1: its certificate is not trusted: self")
    assert "--ca-file" in refused.stderr
    assert taken.output == "web1: 1 changes\n"


def host_document(machine: str) -> bytes:
    return document({"package": [ITEM], "host": [{"hostname": "h", "kernel": "6", "machine_id": machine}]})


def test_a_host_with_a_new_name_keeps_its_history(serve: Serve, tmp_path: Path) -> None:
    port = serve(answer(host_document("1234")))
    write_fleet(tmp_path, old=port, other=serve(answer(host_document("5678"))))
    run(tmp_path, "pull")
    with open_database(tmp_path / "inventory.sqlite") as database:
        begin = database.first_pull("old")
    write_fleet(tmp_path, new=port, other=serve(answer(host_document("5678"))))
    assert run(tmp_path, "pull").output.splitlines()[0] == "new: 0 changes, was old before"
    with open_database(tmp_path / "inventory.sqlite") as database:
        assert database.first_pull("new") == begin
        assert sorted(database.states()) == ["new", "other"]


def test_a_copy_of_a_host_that_is_still_there_begins_its_own_history(serve: Serve, tmp_path: Path) -> None:
    port = serve(answer(host_document("1234")))
    write_fleet(tmp_path, old=port)
    run(tmp_path, "pull")
    write_fleet(tmp_path, old=port, copy=port)
    assert run(tmp_path, "pull").output == "copy: 2 changes\nold: 0 changes\n"
