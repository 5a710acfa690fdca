"""Ask a program of the host for its version: only where nobody but root could have replaced it."""

import stat
from collections.abc import Mapping, Sequence

from exporter.inventory.source import Context
from leitstand.errors import LeitstandError
from leitstand.process import run

TIME_LIMIT = 5.0


def may_run(context: Context, path: str) -> bool:
    """True if the file is a program of this host and root's alone. A mounted system's are not ours to run."""
    status = context.tree.stat(path)
    if status is None or str(context.tree.root) != "/" or not stat.S_ISREG(status.st_mode):
        return False
    return (
        status.st_uid == 0
        and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
        and bool(status.st_mode & 0o111)
    )


def ask(context: Context, path: str, arguments: Sequence[str], env: Mapping[str, str] | None = None) -> str:
    """Standard output of a program of the host; empty if it may not run, failed or took too long."""
    if not may_run(context, path):
        return ""
    try:
        answer = run([path, *arguments], timeout=TIME_LIMIT, env=env)
    except LeitstandError:
        return ""
    return answer.stdout.decode("utf-8", "replace") if answer.status == 0 else ""
