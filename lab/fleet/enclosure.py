"""Namespaces of one's own: all that is mounted or runs in them ends with the process that made them."""

import os
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import psutil

from lab.processes import DIE_WITH_PARENT, LabError

UNSHARE = ("unshare", "--fork", "--kill-child", "--propagation", "slave", "--mount", "--pid")
# Only the owner has the other end of its input, a pipe. When the owner ends, however it does, `cat` ends. It
# is the first process of a PID namespace: the kernel then kills all others. SIGCHLD is ignored: orphans are
# reaped. /proc stays the machine's, as most of what runs here has the machine's PIDs.
KEEP = """\
set -e
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/netns /run/lock
ip link set lo up
printf ready
trap '' CHLD
exec cat >/dev/null
"""
OWN_PROC = 'mount -t proc proc /proc && exec "$@"'


def command(
    pid: int,
    argv: Sequence[str | os.PathLike[str]],
    *,
    namespace: str | None = None,
    inside: bool = False,
) -> list[str]:
    """``argv`` with the mounts and network of an `Enclosure`, or in a named network namespace of it.

    It is a child like any other. With ``inside`` it is in the enclosure's PID namespace, too: it cannot
    outlive the enclosure, but signals to the child do not reach it.
    """
    enter = ["nsenter", f"--target={pid}", "--mount", f"--wdns={Path.cwd()}"]
    enter.append(f"--net=/proc/{pid}/root/run/netns/{namespace}" if namespace else "--net")
    words = [os.fspath(word) for word in argv]
    if inside:
        own_proc = ["unshare", "--mount", "--propagation", "slave", "sh", "-c", OWN_PROC, "inside"]
        return [*enter, "--pid", "--", *own_proc, *words]
    return [*DIE_WITH_PARENT, *enter, "--", *words]


@dataclass
class Enclosure:
    """Own mounts, PIDs and network, and an empty /run; everything else is the machine's."""

    keeper: "subprocess.Popen[bytes]" = field(init=False)
    pid: int = field(init=False)  # of the first process inside, as the machine sees it

    def __enter__(self) -> Self:
        self.keeper = subprocess.Popen(
            [*UNSHARE, "--net", "sh", "-c", KEEP],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        assert self.keeper.stdout is not None and self.keeper.stderr is not None
        try:
            if self.keeper.stdout.read(5) != b"ready":
                raise LabError(f"cannot make namespaces: {self.keeper.stderr.read().decode().strip()}")
            self.pid = psutil.Process(self.keeper.pid).children()[0].pid
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End all that runs inside. Afterwards the kernel has removed the mounts and interfaces as well."""
        for pipe in (self.keeper.stdin, self.keeper.stdout, self.keeper.stderr):
            if pipe is not None:
                with suppress(BrokenPipeError):
                    pipe.close()
        self.keeper.wait()

    def command(
        self, argv: Sequence[str | os.PathLike[str]], *, namespace: str | None = None, inside: bool = False
    ) -> list[str]:
        """See `command`."""
        return command(self.pid, argv, namespace=namespace, inside=inside)

    def run(
        self,
        argv: Sequence[str | os.PathLike[str]],
        *,
        namespace: str | None = None,
        input: str | None = None,
    ) -> str:
        """The standard output of ``argv`` run inside. Raises LabError with its messages if it fails."""
        done = subprocess.run(
            self.command(argv, namespace=namespace), capture_output=True, text=True, input=input, check=False
        )
        if done.returncode:
            raise LabError(
                f"{argv[0]} exited {done.returncode}: {done.stderr.strip() or done.stdout.strip()}"
            )
        return done.stdout

    def path(self, path: Path) -> Path:
        """Where the machine sees a path of ours, our mounts included."""
        return Path(f"/proc/{self.pid}/root{path.absolute()}")
