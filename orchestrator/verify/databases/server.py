"""A database server that lives for one drill: its own folder, reachable by a socket there only, no
privileges.

A restored dump is a program from another author. So the server that runs it, and the client that feeds
it, are never root, nor the user of a real database server, to whom all of its data would be open.
"""

import os
import pwd
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from leitstand import process
from leitstand.process import Finished
from orchestrator.sources.time_limit import TimeLimit
from orchestrator.verify.databases.loaded import LOAD_SECONDS, CannotLoadError

READY_SECONDS = 90.0
_PAUSE_SECONDS = 0.1
_USERS = ("leitstand-drill", "nobody")  # the first one that there is
_NOT_HANDED_ON = ("USER", "LOGNAME", "XDG_RUNTIME_DIR", "SSH_AUTH_SOCK")
_APART = (
    *("unshare", "--user", "--map-current-user", "--net", "--ipc"),
    *("--pid", "--fork", "--kill-child", "--"),
)


@dataclass(frozen=True)
class Fed:
    """How a client, and what it was fed by, ended."""

    client_name: str
    client: Finished
    source_name: str
    source: Finished

    @property
    def error(self) -> str:
        """Why it failed, in one line; empty when it did not. The client comes first: it is what stops."""
        for name, ended in ((self.client_name, self.client), (self.source_name, self.source)):
            if ended.status:
                return f"{name}: {ended.last_words}"
        return ""


def confined(place: Path) -> list[str]:
    """The words that run a program with as few rights as can be had; ``place`` takes its temporary files.

    As another user when we are root. Where the kernel lets everybody make namespaces, also without network,
    and nothing that it starts outlives it.
    """
    account = _account()
    change = [f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups"] if account else []
    few = [word for name in _NOT_HANDED_ON for word in ("-u", name)]
    words = ["env", *few, "HOME=/nonexistent", f"TMPDIR={place}", "setpriv", *change, "--no-new-privs", "--"]
    apart = [*words, *_APART]
    return words if process.run([*apart, "true"], timeout=READY_SECONDS).status else apart


def _account() -> pwd.struct_passwd | None:
    """The user to run a scratch server as; None when we are not root and cannot choose."""
    if os.geteuid():
        return None
    for name in _USERS:
        with suppress(KeyError):
            return pwd.getpwnam(name)
    raise CannotLoadError("there is no user to run the scratch database", f"useradd --system {_USERS[0]}")


@contextmanager
def server_folder(folder: Path, name: str) -> Iterator[Path]:
    """A folder below ``folder`` that belongs to the server's user; gone at the end."""
    place, account = folder / name, _account()
    if account:
        folder.chmod(0o711)  # for the user to pass through; the restored files next to it stay closed
        _require_way(folder, account.pw_name)
    place.mkdir(mode=0o700)
    try:
        if account:
            os.chown(place, account.pw_uid, account.pw_gid)
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _require_way(folder: Path, user: str) -> None:
    closed = [parent for parent in folder.parents if not parent.stat().st_mode & 0o001]
    if closed:
        raise CannotLoadError(
            f"user '{user}', who runs the scratch database, cannot pass {closed[-1]}",
            "name another folder as drill.scratch",
        )


def succeed(argv: Sequence[str], timeout: float = READY_SECONDS, stdin: bytes = b"") -> str:
    """The output of a program. Raises CannotLoadError when it fails: it does nothing that a dump chose."""
    done = process.run(argv, timeout=timeout, stdin=stdin)
    if done.status:
        raise CannotLoadError(f"{_name(argv)}: {done.last_words}")
    return done.stdout.decode(errors="replace")


def feed(argv: Sequence[str], source: Sequence[str], stdin: bytes | IO[bytes] = b"") -> Fed:
    """Run a client that reads what ``source`` writes, which may itself read ``stdin``.

    Raises CannotLoadError when they take too long.
    """
    with (
        process.open_stream(source, stdin=stdin, env={"LC_ALL": "C"}) as dump,
        process.open_stream(argv, stdin=dump.stdout) as stream,
    ):
        # A dump may make its server sleep, or count endlessly.
        with TimeLimit(LOAD_SECONDS, stream.kill) as limit:
            while stream.stdout.read(1 << 16):
                pass
        client = stream.finish(READY_SECONDS)
        read = dump.finish(READY_SECONDS)
    if limit.struck:
        raise CannotLoadError(f"{_name(argv)}: took longer than {LOAD_SECONDS:.0f} s")
    return Fed(_name(argv), client, _name(source), read)


@contextmanager
def running(argv: Sequence[str], probe: Sequence[str]) -> Iterator[None]:
    """A server while the block runs, once ``probe`` succeeds. Raises DumpError when it never does."""
    with process.open_stream(argv):
        deadline = time.monotonic() + READY_SECONDS
        while (done := process.run(probe, timeout=READY_SECONDS)).status:
            if time.monotonic() > deadline:
                raise CannotLoadError(f"the scratch database does not start: {done.last_words}")
            time.sleep(_PAUSE_SECONDS)
        yield


def _name(argv: Sequence[str]) -> str:
    # What confines a program ends with these two dashes.
    return Path(argv[-argv[::-1].index("--")] if "--" in argv else argv[0]).name
