"""A small web site: files, uploads, a guest book in SQLite. ``python -m lab.sample_site PORT FOLDER``."""

import html
import os
import random
import signal
import sqlite3
import sys
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

WELCOME = "Willkommen beim Rennteam"


def make_site(folder: Path, seed: int = 2026) -> None:
    """Write the site's files, including a few odd ones, the same on every run."""
    generator = random.Random(seed)
    pages = folder / "www"
    for number in range(40):
        path = pages / "articles" / f"{number:03}.html"
        path.parent.mkdir(parents=True, exist_ok=True)
        words = " ".join(generator.choices(("Motor", "Rad", "Strecke", "Runde", "Fahrer", "Team"), k=400))
        path.write_text(f"<h1>Artikel {number}</h1><p>{words}</p>\n")
    for number in range(6):
        path = pages / "uploads" / f"bild-{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(generator.randbytes(300_000))
    (pages / "index.html").write_text(f"<!doctype html><title>Rennteam</title><h1>{WELCOME}</h1>\n")
    (pages / "überholt & alt.txt").write_text("ein Name mit Umlaut und Zeichen\n")
    (pages / "leer").touch()
    (pages / "config.php").write_text("<?php // only the owner may read this\n")
    (pages / "config.php").chmod(0o600)
    link = pages / "start"
    if not link.is_symlink():
        link.symlink_to("index.html")
    _fill_database(folder / "guestbook.sqlite", generator)


def _fill_database(path: Path, generator: random.Random) -> None:
    path.unlink(missing_ok=True)
    connection = sqlite3.connect(path)
    with connection:
        connection.execute(
            "CREATE TABLE entry (id INTEGER PRIMARY KEY, name TEXT NOT NULL, text TEXT NOT NULL)"
        )
        rows = ((f"Gast {number}", f"Gruß {generator.random():.6f}") for number in range(2000))
        connection.executemany("INSERT INTO entry (name, text) VALUES (?, ?)", rows)
    connection.close()


class Handler(SimpleHTTPRequestHandler):
    """Serves www/ and the guest book."""

    def do_GET(self) -> None:
        """A file, or the last entries of the guest book."""
        if self.path == "/guestbook":
            self._answer_guestbook()
        else:
            super().do_GET()

    def _answer_guestbook(self) -> None:
        connection = sqlite3.connect(
            f"file:{Path(self.directory).parent / 'guestbook.sqlite'}?mode=ro", uri=True
        )
        rows = connection.execute("SELECT name, text FROM entry ORDER BY id DESC LIMIT 10").fetchall()
        connection.close()
        body = "".join(f"<p>{html.escape(name)}: {html.escape(text)}</p>" for name, text in rows).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing: a probe every few seconds is not worth it."""


def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    port, folder = int(sys.argv[1]), Path(sys.argv[2])
    server = ThreadingHTTPServer(("127.0.0.1", port), partial(Handler, directory=str(folder / "www")))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: os._exit(0))
    server.serve_forever()


if __name__ == "__main__":
    main()
