"""How a run, a verify, listings and the restore of one small file grow with the number of files and bytes.

Each case has one more small file, the last by name: the one restored.
"""

import json
import os
import shutil
import socket
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from bench.backup_lab import Figures, Site, measure, running_swift

WORKER = str(Path(__file__).with_name("backup_worker.py"))
BLOCK = 1 << 20
SMALL_BYTES, WANTED_BYTES = 2_000, 6_000
FOLDER_FILES = 1_000
LIMIT_MB = 200


@dataclass(frozen=True)
class Case:
    """A tree: the function that makes it in a folder, and its name in the table."""

    name: str
    files: int
    size: int
    make: Callable[[Path], None]


def small_files(count: int) -> Case:
    return Case(f"{count:,} files of {SMALL_BYTES:,} bytes", count, count * SMALL_BYTES,
                lambda tree: make_small(tree, count))  # fmt: skip


def one_file(size: int) -> Case:
    return Case(f"1 file of {size / 1e6:,.0f} MB", 1, size, lambda tree: make_large(tree, size))


def sparse_file(size: int) -> Case:
    name = f"1 file of {size / 1e9:.0f} GB, all but 0.1 % holes"
    return Case(name, 1, size, lambda tree: make_sparse(tree, size))


CASES = [
    *(small_files(10**power) for power in range(3, 7)),
    *(one_file(10**power) for power in range(8, 11)),
    sparse_file(12 * 10**9),
]


def make_small(tree: Path, count: int) -> None:
    """Half text, half noise; each file has a different part of both."""
    text = b"".join(b"<?php return 'text of some kind, line %d'; \n" % line for line in range(3_000))
    noise = os.urandom(len(text))
    for first in range(0, count, FOLDER_FILES):
        folder = tree / f"folder-{first // FOLDER_FILES:04}"
        folder.mkdir()
        for number in range(first, min(count, first + FOLDER_FILES)):
            at = number * 7 % (len(text) - SMALL_BYTES)
            content = text[at : at + SMALL_BYTES // 2] + noise[at : at + SMALL_BYTES // 2]
            (folder / f"file-{number:07}.php").write_bytes(content)


def make_large(tree: Path, size: int) -> None:
    block = (b"<?php return 'text of some kind'; \n" * 15_000)[: BLOCK // 2] + os.urandom(BLOCK // 2)
    with (tree / "large").open("wb") as file:
        for start in range(0, size, BLOCK):
            file.write(block[: size - start])


def make_sparse(tree: Path, size: int) -> None:
    with (tree / "sparse").open("wb") as file:
        file.truncate(size)
        for start in range(0, size, 64 * BLOCK):
            file.seek(start)
            file.write(os.urandom(BLOCK // 16))


def growth(folder: Path, only: str) -> None:
    """Print a table row for each case, to a folder store."""
    print("| tree | task | CPU s | wall s | RSS MiB | PSS MiB | bytes read |\n|---|---|---|---|---|---|---|")
    for case in CASES:
        if only in case.name:
            with made(case, folder) as (site, tree):
                for task, figures, read in tasks(site, tree):
                    print_row(case.name, task, figures, read)


@contextmanager
def made(case: Case, folder: Path) -> Iterator[tuple[Site, Path]]:
    """The case's tree and a job for it; both are removed at the end."""
    out = Path(tempfile.mkdtemp(dir=folder))
    try:
        tree = out / "tree"
        tree.mkdir()
        case.make(tree)
        (tree / "wanted.txt").write_bytes(os.urandom(WANTED_BYTES))
        os.sync()
        yield Site(out, tree), tree
    finally:
        shutil.rmtree(out)


def tasks(site: Site, tree: Path) -> Iterator[tuple[str, Figures, str]]:
    yield "run", measure(site.argv("run", "tree")), ""
    yield "verify", measure(site.argv("verify", "tree")), ""
    yield "find of one", measure(site.argv("find", "tree", "wanted.txt")), ""
    yield "ls of all", measure(unread(site.argv("ls", "tree"))), ""
    snapshot = next(site.folder.glob("disk/*/*/*")).name
    yield "diff with itself", measure(site.argv("diff", "tree", snapshot, snapshot)), ""
    figures = measure([sys.executable, WORKER, "counted", *restore_arguments(site, tree)])
    yield "restore of one", figures, describe_read(json.loads(figures.output), site)
    wanted = next((site.folder / "restored").rglob("wanted.txt"))
    if wanted.read_bytes() != (tree / "wanted.txt").read_bytes():
        raise SystemExit("the restored file differs")


def unread(argv: list[str]) -> list[str]:
    """The same program with its output discarded: kept here, it would count as the next one's memory."""
    return ["sh", "-c", 'exec "$@" > /dev/null', "sh", *argv]


def restore_arguments(site: Site, tree: Path) -> list[str]:
    # argv without the interpreter: the worker runs the command line in its own process and counts.
    target = str(site.folder / "restored")
    return site.argv("restore", "tree", f"files{tree}/wanted.txt", "--target", target)[3:]


def describe_read(counted: dict[str, int], site: Site) -> str:
    manifest = sum(path.stat().st_size for path in site.folder.glob("disk/*/*/*/manifest.zip"))
    return f"{counted['read']:,} (manifest {manifest:,}, file {WANTED_BYTES:,})"


def print_row(name: str, task: str, figures: Figures, read: str) -> None:
    cells = f"{figures.cpu:.1f} | {figures.wall:.1f} | {figures.rss:.0f} | {figures.pss:.0f} | {read}"
    too_much = "" if figures.rss * 1.048576 <= LIMIT_MB else f" (more than {LIMIT_MB} MB)"
    print(f"| {name} | {task} | {cells}{too_much} |", flush=True)


def wire(folder: Path) -> None:
    """Bytes that Swift sends while one small file is restored out of 1 GB, including headers."""
    case = one_file(10**9)
    data = Path(tempfile.mkdtemp(dir=folder))
    try:
        with made(case, folder) as (_, tree), running_swift(data) as swift, Counting(swift.endpoint) as proxy:
            site = Site(tree.parent, tree, replace(swift, endpoint=proxy.url))
            measure(site.argv("run", "tree"))
            manifest = json.loads(measure(site.argv("list", "tree", "--json")).output)[0]
            proxy.received = 0
            target = str(site.folder / "restored")
            measure(site.argv("restore", "tree", f"files{tree}/wanted.txt", "--target", target))
            print(f"{case.name} in {manifest['stored_bytes']:,} bytes: Swift sent {proxy.received:,} bytes")
    finally:
        shutil.rmtree(data)


class Counting:
    """Passes connections on to a server and counts the bytes that come back."""

    def __init__(self, endpoint: str) -> None:
        host, _, port = endpoint.removeprefix("http://").partition(":")
        self.server, self.received = (host, int(port)), 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"

    def __enter__(self) -> "Counting":
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            server = socket.create_connection(self.server)
            for source, target, counted in ((client, server, False), (server, client, True)):
                threading.Thread(target=self._pass, args=(source, target, counted), daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket, counted: bool) -> None:
        try:
            while data := source.recv(BLOCK):
                self.received += len(data) if counted else 0
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            return
