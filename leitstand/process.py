"""The one door to other programs. No shell, a time limit always, the environment kept small."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from leitstand.errors import LeitstandError

# What a child may inherit: enough to find programs and speak the user's language, and no secret of ours.
INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "USER", "LOGNAME", "SSH_AUTH_SOCK", "TMPDIR", "XDG_RUNTIME_DIR")


class ProcessError(LeitstandError):
    """Another program is missing, failed or took too long."""


@dataclass(frozen=True)
class Finished:
    """A program that ended: exit status and both outputs."""

    status: int
    stdout: bytes
    stderr: str


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment a child gets: the inherited names and ``extra``."""
    kept = {name: os.environ[name] for name in INHERITED if name in os.environ}
    return {**kept, **(extra or {})}


def run(
    argv: Sequence[str], *, timeout: float, stdin: bytes = b"", env: Mapping[str, str] | None = None
) -> Finished:
    """Run a program to its end, whatever its exit status.

    Raises ProcessError when it is not there or takes longer than ``timeout`` seconds (it is killed then).
    Never put a secret into ``argv``: every user of the machine can read it.
    """
    try:
        done = subprocess.run(
            list(argv), input=stdin, capture_output=True, timeout=timeout, env=environment(env), check=False
        )
    except FileNotFoundError as error:
        raise ProcessError(f"{argv[0]}: no such program", f"install the package that has {argv[0]}") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        reason = f"took longer than {timeout:g} s" if isinstance(error, subprocess.TimeoutExpired) else str(error)
        raise ProcessError(f"{argv[0]}: {reason}") from error
    return Finished(done.returncode, done.stdout, done.stderr.decode(errors="replace"))
