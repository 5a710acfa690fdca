"""Run a program of the host for its version: only if root alone could have replaced it."""

import os
import stat
from collections.abc import Mapping, Sequence

from exporter.inventory.source import Context
from exporter.tree import Tree
from leitstand.errors import LeitstandError
from leitstand.process import run

TIME_LIMIT = 5.0


def may_run(context: Context, path: str) -> bool:
    """True if the file is a program of this host and root's alone. A mounted system's are not ours to run."""
    status = context.tree.stat(path)
    if status is None or str(context.tree.root) != "/" or not stat.S_ISREG(status.st_mode):
        return False
    return bool(status.st_mode & 0o111) and is_roots_alone(context.tree, path)


def is_roots_alone(tree: Tree, path: str) -> bool:
    """Whether root alone can change or replace what is at a path."""
    try:
        real = tree.resolve(path)
    except OSError:
        return False
    places = [real, *(real[:at] or "/" for at, letter in enumerate(real) if letter == "/")]
    return all(status is None or is_roots(status) for status in map(tree.stat, places))


def is_roots(status: os.stat_result) -> bool:
    """Whether a file or folder is root's to write alone."""
    others = status.st_mode & stat.S_IWOTH or (status.st_mode & stat.S_IWGRP and status.st_gid)
    return status.st_uid == 0 and not others


def ask(context: Context, path: str, arguments: Sequence[str], env: Mapping[str, str] | None = None) -> str:
    """Standard output of a program of the host; empty if it may not run, failed or took too long."""
    if not may_run(context, path):
        return ""
    try:
        answer = run([path, *arguments], timeout=TIME_LIMIT, env=env)
    except LeitstandError:
        return ""
    return answer.stdout.decode("utf-8", "replace") if answer.status == 0 else ""
