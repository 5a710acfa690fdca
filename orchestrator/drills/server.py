"""A database server that lives for one drill: its own folder, reachable by a socket there only, no
privileges.

A restored dump is a program that somebody else wrote. So the server that runs it is never root and has no
network.
"""

import os
import pwd
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from leitstand import process
from orchestrator.drills.sqlite import DumpError

READY_SECONDS = 90.0
LOAD_SECONDS = 6 * 3600.0
_PAUSE_SECONDS = 0.1


def unprivileged(user: str) -> list[str]:
    """The words that run a program as ``user`` when we are root, else none."""
    if os.geteuid():
        return []
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        raise DumpError(
            f"there is no user '{user}' to run the scratch database", "install the server"
        ) from None
    return ["setpriv", f"--reuid={entry.pw_uid}", f"--regid={entry.pw_gid}", "--clear-groups", "--"]


@contextmanager
def server_folder(folder: Path, name: str, user: str) -> Iterator[Path]:
    """A folder below ``folder`` that belongs to the server's user; gone at the end."""
    place = folder / name
    if os.geteuid() == 0:
        folder.chmod(0o711)  # the user must be able to pass through; what was restored beside stays closed
        _require_way(folder, user)
    place.mkdir(mode=0o700)
    try:
        if os.geteuid() == 0:
            entry = pwd.getpwnam(user)
            os.chown(place, entry.pw_uid, entry.pw_gid)
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _require_way(folder: Path, user: str) -> None:
    closed = [parent for parent in folder.parents if not parent.stat().st_mode & 0o001]
    if closed:
        raise DumpError(
            f"user '{user}', who runs the scratch database, cannot pass {closed[-1]}",
            "name another folder as drill.scratch",
        )


def succeed(argv: Sequence[str], env: Mapping[str, str] | None = None) -> str:
    """What a program prints. Raises DumpError with its last words when it fails."""
    done = process.run(argv, timeout=READY_SECONDS, env=env)
    if done.status:
        raise DumpError(f"{_name(argv)}: {_last_words(done.stderr)}")
    return done.stdout.decode(errors="replace")


def feed(argv: Sequence[str], *pieces: Path) -> None:
    """Run a client that reads the dump, its pieces in this order. Raises DumpError at its first error."""
    with (
        process.open_stream(["cat", "--", *map(str, pieces)]) as dump,
        process.open_stream(argv, stdin=dump.stdout) as stream,
    ):
        while stream.stdout.read(1 << 16):
            pass
        done = stream.finish(LOAD_SECONDS)
        read = dump.finish(LOAD_SECONDS)
    for words, ended in ((argv, done), (("cat",), read)):
        if ended.status:
            raise DumpError(f"{_name(words)}: {_last_words(ended.stderr)}")


@contextmanager
def running(argv: Sequence[str], probe: Sequence[str]) -> Iterator[None]:
    """A server while the block runs, once ``probe`` succeeds. Raises DumpError when it never does."""
    with process.open_stream(argv):
        deadline = time.monotonic() + READY_SECONDS
        while (done := process.run(probe, timeout=READY_SECONDS)).status:
            if time.monotonic() > deadline:
                raise DumpError(f"the scratch database does not start: {_last_words(done.stderr)}")
            time.sleep(_PAUSE_SECONDS)
        yield


def _name(argv: Sequence[str]) -> str:
    words = argv[argv.index("--") + 1 :] if "--" in argv else argv
    return Path(words[0]).name


def _last_words(text: str) -> str:
    lines = [line for line in text.strip().splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing"
