import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

Items = dict[str, list[dict[str, Any]]]


@dataclass
class Exporter:
    """An exporter whose inventory the test sets; keeps the headers it was asked with."""

    port: int = 0
    items: Items = field(default_factory=dict)
    incomplete: list[str] = field(default_factory=list)
    etag: str = '"1"'
    raw: bytes | None = None
    encoding: str = ""
    status: int = 200
    asked: list[dict[str, str]] = field(default_factory=list)

    def body(self) -> bytes:
        if self.raw is not None:
            return self.raw
        document = {
            "schema_version": 1,
            "sha256": self.etag,
            "incomplete": self.incomplete,
            "items": self.items,
        }
        return json.dumps(document).encode()


@pytest.fixture
def exporter() -> Iterator[Callable[[], Exporter]]:
    servers: list[ThreadingHTTPServer] = []

    def start() -> Exporter:
        state = Exporter()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                state.asked.append({name.lower(): value for name, value in self.headers.items()})
                unchanged = state.raw is None and self.headers.get("If-None-Match") == state.etag
                body = b"" if unchanged else state.body()
                self.send_response(304 if unchanged else state.status)
                self.send_header("ETag", state.etag)
                if state.encoding:
                    self.send_header("Content-Encoding", state.encoding)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *arguments: object) -> None:
                """Tests need no log."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        state.port = server.server_address[1]
        return state

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()
