"""Try everything that a run needs before the first night: keys, stores, sources, space.

Nothing is left behind, except a small object where credentials may write but not delete.
"""

import hashlib
import os
import secrets
import shlex
import shutil
import tempfile
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, TypeVar

from leitstand.errors import LeitstandError, UsageError
from leitstand.settings.hosts import Host
from orchestrator.archive import Entry, Problem
from orchestrator.config.private_files import faulty_files
from orchestrator.config.settings import Job, source_label
from orchestrator.config.sizes import size
from orchestrator.config.tasks import schedule_of
from orchestrator.repository.layout import CANARY, job_prefix
from orchestrator.sources import Hindered, Source, open_sources
from orchestrator.state.context import Context, keys_of
from orchestrator.state.facts import read_facts
from orchestrator.stores import Store, StoreError
from orchestrator.verify.databases import CannotLoadError, require_server

TASTE_BYTES = 1 << 20  # of each dump: enough for a refused password or a missing database to show
CLOCK_SECONDS = 60.0  # S3 refuses requests that are 15 minutes off; stores report whole seconds

Got = TypeVar("Got")
Verdict = Literal["good", "warning", "bad"]


@dataclass(frozen=True)
class Found:
    """How a check went; ``hint`` says what to do about it."""

    result: Verdict
    told: str
    hint: str = ""


@dataclass(frozen=True)
class Check:
    """One check and its result."""

    job: str
    what: str
    found: Found


def examine(context: Context, job_name: str) -> Iterator[Check]:
    for what, check in _checks(context, job_name, context.job(job_name)):
        try:
            found = check()
        except LeitstandError as error:
            # The name of a source is in the line already.
            found = Found("bad", error.message.removeprefix(f"{what}: "), error.hint)
        except OSError as error:
            found = Found("bad", f"{error.filename}: {error.strerror}")
        yield Check(job_name, what, found)


def _checks(context: Context, job_name: str, job: Job) -> Iterator[tuple[str, Callable[[], Found]]]:
    yield "keys", partial(_keys, job)
    for name in job.stores:
        yield f"store {name}", partial(_store, context, job_name, job, name)
    yield f"host {job.host}", partial(_host, context, job)
    if _is_in_reach(context, job):
        yield "files", partial(_files, job, context.fleet.hosts[job.host])
        for source in open_sources(job, context.fleet.hosts[job.host], context.folders(job)):
            yield source.label, partial(_source, source)
    known = read_facts(context.state, context.settings.backups)[job_name].values()
    yield "scratch", partial(_room, job.scratch, 2 * job.volume_size * job.uploads)
    if schedule_of(job_name, job, "drill") is not None:
        restored = max((each.source_bytes for each in known), default=0)
        yield "scratch of drills", partial(_room, job.drill.scratch or job.scratch, restored)
        yield "servers for drills", partial(_servers, job)
    yield "state", partial(_writable, context.state)
    yield "metrics", partial(_writable, context.fleet.paths.metrics)


def _keys(job: Job) -> Found:
    return Found("good", f"generation {keys_of(job).current} is used for new snapshots")


def _store(context: Context, job_name: str, job: Job, name: str) -> Found:
    """Write an object, read it, list it, remove it; missing permissions are not errors."""
    prefix, data = f"{job_prefix(job.host, job_name)}{CANARY}/", secrets.token_bytes(64)
    key = f"{prefix}{secrets.token_hex(8)}"
    with context.stores(job, name) as (store,):
        store.prepare()
        before = time.time()
        store.put(key, data, sha256=hashlib.sha256(data).hexdigest())
        try:
            overwritten = _overwrites(store, key)
            info = _unless_denied(lambda: store.stat(key))
            content = _unless_denied(lambda: store.get(key))
            listed = _unless_denied(lambda: list(store.list(prefix)))
        finally:
            deleted = _unless_denied(lambda: _delete(store, key))
        lacks = [*store.lacks, *(["refusal of what If-None-Match forbids"] if overwritten else [])]
    if content not in (None, data) and not overwritten:
        return Found("bad", "returned other bytes than were sent")
    ahead = info.modified.timestamp() - before if info else 0.0
    if abs(ahead) > CLOCK_SECONDS:
        return Found(
            "warning", f"its clock is {ahead:+.0f} s from this machine's", "set the clock that is wrong"
        )
    tried = (("read", content), ("list", listed), ("delete", deleted))
    if refused := [verb for verb, result in tried if result is None]:
        hint = "if this is intended, run verify, drill and prune elsewhere, with credentials that allow it"
        return Found("warning", f"wrote an object; these credentials may not {', '.join(refused)}", hint)
    without = "".join(f"; it lacks {each}" for each in lacks)
    return Found("good", f"wrote, read, listed and deleted an object{without}")


def _overwrites(store: Store, key: str) -> bool:
    """Whether the store overwrites an existing key. Nothing relies on it: keys are unique."""
    other = secrets.token_bytes(64)
    try:
        store.put(key, other, sha256=hashlib.sha256(other).hexdigest())
    except StoreError:
        return False
    return True


def _delete(store: Store, key: str) -> bool:
    store.delete(key)
    return True


def _unless_denied(action: Callable[[], Got]) -> Got | None:
    try:
        return action()
    except StoreError as error:
        if not error.denied:
            raise
        return None


def _host(context: Context, job: Job) -> Found:
    context.require_reach(job)
    host = context.fleet.hosts[job.host]
    key = host.ssh and host.ssh.identity_file
    if key and not key.is_file():
        make = f"ssh-keygen -t ed25519 -N '' -f {shlex.quote(str(key))}"
        return Found(
            "bad",
            f"there is no key {key} to log in with",
            f"{make}; then: leitstand backup authorize {job.host}",
        )
    way = f"over SSH as {host.ssh.user}@{host.address}" if host.ssh else "on this machine"
    return Found("good", f"its sources are read {way}")


def _files(job: Job, host: Host) -> Found:
    for fault in faulty_files(job, host):
        return Found("warning", f"{fault.place} {fault.what}", fault.cure)
    return Found("good", "no other user can change them, or read the secret ones")


def _is_in_reach(context: Context, job: Job) -> bool:
    try:
        context.require_reach(job)
    except UsageError:
        return False
    return True


def _source(source: Source) -> Found:
    """Read its first path, or the beginning of each dump, which shows that its program could log in."""
    if isinstance(source, Hindered) and (why := source.hindrance()):
        # A try would leave files in its folder, and succeed where the unit does not.
        hint = "start that program again, or merge them into the database: PRAGMA wal_checkpoint(TRUNCATE)"
        return Found("warning", f"under the unit this will fail: {why}", hint)
    problems: list[Problem] = []
    with closing(source):
        count = 0
        for entry in source.entries(problems.append):
            count += 1
            if entry.size is not None:
                break
            _taste(entry)
    if problems:
        path = f"{os.fsdecode(problems[0].path)}: " if problems[0].path else ""
        return Found("warning", f"{path}{problems[0].what}", "the snapshot would be partial")
    if not count:
        return Found("warning", "it is empty", "check the path or the name")
    return Found("good", "can be read")


def _taste(entry: Entry) -> None:
    blocks, read = iter(entry.blocks()), 0
    try:
        while read < TASTE_BYTES and (block := next(blocks, None)) is not None:
            read += len(block)
    finally:
        if isinstance(blocks, Generator):
            blocks.close()


def _room(folder: Path, needed: int) -> Found:
    if not folder.is_dir():
        return Found("bad", f"there is no folder {folder}", "create it, or name another one")
    with tempfile.TemporaryFile(dir=folder):
        free = shutil.disk_usage(folder).free
    told = f"{folder}: {size(free)} free"
    if free < needed:
        return Found("warning", f"{told}, {size(needed)} may be needed", "name another folder")
    return Found("good", told)


def _servers(job: Job) -> Found:
    """Whether this machine can load the dumps."""
    for source in job.sources:
        try:
            require_server(source_label(source))
        except CannotLoadError as error:
            hint = f"{error.hint}; or drill on a machine that has it, and set drill.schedule: never here"
            return Found("warning", error.message, hint)
    return Found("good", "everything that its dumps need is installed")


def _writable(folder: Path) -> Found:
    """The folder, or the nearest one above it, in which the first run makes it."""
    place = next(each for each in (folder, *folder.parents) if each.exists())
    if not place.is_dir() or not os.access(place, os.W_OK):
        return Found(
            "bad", f"{place}: this user may not write there", "run this as the user that runs the backups"
        )
    return Found("good", f"{folder}: writable")
