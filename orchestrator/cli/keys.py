"""``leitstand backup keys …``: make keys, print the recovery kit, print one archive's password."""

import json
import os
import stat
from datetime import UTC, datetime
from pathlib import Path

import click

from leitstand.errors import UsageError
from leitstand.exported_keys import note_export
from leitstand.options import config_option, json_option
from orchestrator.repository.commit import META_BYTES, decode_meta
from orchestrator.repository.keys import append_generation, retire_generation
from orchestrator.repository.keys import generate as generate_file
from orchestrator.repository.layout import META, SnapshotName, is_snapshot_id
from orchestrator.repository.recovery_kit import recovery_kit
from orchestrator.state.context import Context, keys_of
from orchestrator.stores import ObjectMissingError, get_small


@click.group(epilog="Example: leitstand backup keys generate")
def keys() -> None:
    """Create the master keys, print the recovery kit, show one archive's password."""


@keys.command(epilog="Example: leitstand backup keys generate website")
@click.argument("job", required=False)
@click.option("--add", is_flag=True, help="Add a generation for new snapshots; older ones stay readable.")
@json_option
@config_option
def generate(config_path: Path, job: str | None, add: bool, as_json: bool) -> None:
    """Create the keys file of JOB (or of all jobs, if they share one). Never overwrites keys."""
    path = _keys_file(Context.load(config_path), job)
    ring = append_generation(path) if add else generate_file(path)
    found = {"keys_file": str(path), "generation": ring.current}
    click.echo(json.dumps(found) if as_json else f"{path}: generation {ring.current}, 256 bits")
    click.echo(
        "Without these keys nothing can be restored: print them with 'leitstand backup keys export'", err=True
    )
    click.echo("and keep the printout off this machine.", err=True)


@keys.command(epilog="Example: leitstand backup keys retire 1")
@click.argument("generation", type=int)
@click.argument("job", required=False)
@json_option
@config_option
def retire(config_path: Path, generation: int, job: str | None, as_json: bool) -> None:
    """Retire a GENERATION of the keys that others may have: it signs nothing from now on.

    Its snapshots stay readable, but anything that it signs later is refused, also if stored under an older
    name. Every machine that has a copy of the keys file needs the new one.
    """
    path = _keys_file(Context.load(config_path), job)
    ring = retire_generation(path, generation, datetime.now(UTC))
    found = {"keys_file": str(path), "retired": generation, "generation": ring.current}
    text = f"{path}: generation {generation} is retired, new snapshots use generation {ring.current}"
    click.echo(json.dumps(found) if as_json else text)
    click.echo(
        "After a leak: take a new bucket as well. See docs/backups.md, 'Keys that may be known'.", err=True
    )


@keys.command(epilog="Example: leitstand backup keys export website | lp")
@click.argument("job", required=False)
@click.option("--raw", is_flag=True, help="Only the keys file, without the explanations.")
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), help="Write it to this new file, of mode 0600."
)
@config_option
def export(config_path: Path, job: str | None, raw: bool, out: Path | None) -> None:
    """Print the recovery kit: the keys, where the snapshots are, how to open them without Leitstand.

    It is not written to a file that others may read: use --out kit.txt, not '> kit.txt'.
    """
    if out is None:
        _refuse_a_readable_file()
    context = Context.load(config_path)
    names = context.job_names(job)
    rings = {name: keys_of(context.job(name)).export() for name in names}
    if len(set(rings.values())) > 1:
        raise UsageError("the jobs have different keys", f"name one: {', '.join(names)}")
    if not rings:
        raise UsageError("no backup job is configured", "see docs/backups.md")
    text = next(iter(rings.values()))
    kit = text if raw else recovery_kit(text, context.settings, names)
    if out is None:
        click.echo(kit, nl=False)
    else:
        _write_new(out, kit)
    for path in {context.job(name).keys_file for name in names}:
        if path:
            note_export(path)


def _refuse_a_readable_file() -> None:
    """Raises UsageError when standard output is a file that others may read."""
    status = os.fstat(1)
    if stat.S_ISREG(status.st_mode) and status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise UsageError(
            "standard output is a file that others may read; nothing was written to it",
            "--out FILE makes one of mode 0600, or pipe it to a printer: | lp",
        )


def _write_new(path: Path, text: str) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    except FileExistsError:
        raise UsageError(f"{path} exists already", "name a new file") from None
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    click.echo(f"{path}: the recovery kit, readable by you alone; keep it off this machine", err=True)


@keys.command(epilog="Example: leitstand backup keys show 20261121T030000Z-abcdefgh")
@click.argument("snapshot")
@click.option("--job", help="Job of the snapshot; default: search all jobs.")
@click.option("--generation", type=int, help="Generation of the keys; with it no store is read.")
@json_option
@config_option
def show(config_path: Path, snapshot: str, job: str | None, generation: int | None, as_json: bool) -> None:
    """Print the password that opens this one SNAPSHOT's vol.zip and manifest.zip in 7-Zip."""
    _refuse_a_readable_file()
    context = Context.load(config_path)
    snapshot_id = snapshot.rstrip("/").rpartition("/")[2]
    if not is_snapshot_id(snapshot_id):
        raise UsageError(f"'{snapshot}' is not the name of a snapshot", "see: leitstand backup list")
    for name in context.job_names(job):
        found = generation or _generation(context, name, snapshot_id)
        if found is not None:
            password = keys_of(context.job(name)).archive_password(snapshot_id, found)
            facts = {"job": name, "snapshot": snapshot_id, "generation": found, "password": password}
            click.echo(json.dumps(facts) if as_json else password)
            return
    raise UsageError(f"no store has a snapshot {snapshot_id}", "see: leitstand backup list")


def _generation(context: Context, job_name: str, snapshot_id: str) -> int | None:
    job = context.job(job_name)
    with context.stores(job) as stores:
        for store in stores:
            name = SnapshotName(job.host, job_name, snapshot_id)
            try:
                return decode_meta(get_small(store, name.key(META), META_BYTES)).generation
            except ObjectMissingError:
                continue
    return None


def _keys_file(context: Context, job: str | None) -> Path:
    files = {context.job(name).keys_file for name in context.job_names(job)}
    if len(files) > 1:
        raise UsageError("the jobs use different keys", "name one job")
    path = next(iter(files), None)
    if path is None:
        raise UsageError("no job names a keys_file", "add 'keys_file: /etc/leitstand/keys' to the job")
    return path
