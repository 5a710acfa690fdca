"""``leitstand backup verify|drill|catalog``: verify snapshots and test restores."""

import functools
import json
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from leitstand.errors import EXIT_FAILED, EXIT_OK, EXIT_WARNINGS, LeitstandError, UsageError
from leitstand.options import json_option
from orchestrator.cli import output
from orchestrator.cli.options import (
    if_allowed_option,
    is_left_to_others,
    snapshot_option,
    store_option,
    warn,
    warn_of,
    when_due,
    with_context,
)
from orchestrator.config.sizes import size
from orchestrator.restore.restore import Restored
from orchestrator.state.context import Context, keys_of
from orchestrator.state.facts import read_facts
from orchestrator.stores import Store
from orchestrator.verify.drill import Drilled, Verdict
from orchestrator.verify.full import Verified
from orchestrator.verify.proofs import drill_job, rebuild_catalog, share_in, spot_in, spot_is_due, verify_in
from orchestrator.verify.rotation import Shared, parse_share
from orchestrator.verify.spot import Spotted

_DRILL_EXIT = {
    Verdict.PROVEN: 0,
    Verdict.CANNOT_LOAD: EXIT_WARNINGS,
    Verdict.DIFFERS: EXIT_FAILED,
    Verdict.DAMAGED: EXIT_FAILED,
}
_DRILL_WORDS = {
    Verdict.PROVEN: "proven restorable",
    Verdict.CANNOT_LOAD: "NOT PROVEN, this machine cannot load it",
    Verdict.DIFFERS: "NOT USABLE, it loads but differs",
    Verdict.DAMAGED: "NOT USABLE, damaged",
}


@click.command(epilog="Example: leitstand backup verify website")
@click.argument("job")
@snapshot_option
@store_option
@click.option(
    "--share", metavar="1/N", help="Verify 1/N of all stored volumes instead; a different part each day."
)
@click.option(
    "--spot",
    type=click.IntRange(1, 10_000),
    metavar="N",
    help="Compare N files with the live source instead.",
)
@click.option(
    "--weekly-spot",
    type=click.IntRange(1, 10_000),
    metavar="N",
    help="Also compare N files with the live source, at most once a week.",
)
@if_allowed_option
@json_option
@with_context
@when_due("verify")
def verify(
    context: Context,
    job: str,
    snapshot_id: str | None,
    only: str | None,
    share: str | None,
    spot: int | None,
    weekly_spot: int | None,
    if_allowed: bool,
    as_json: bool,
) -> int:
    """Read a snapshot of JOB back from each store and verify every byte of it.

    It checks every volume's SHA-256, the archive's MAC and every file's SHA-256, and that every snapshot this
    host knows of still exists, unless 'keep' would not retain it. With --share 1/30, run daily, every volume
    and manifest of every snapshot is read within 30 days, and each run checks that all of them exist. --spot
    100 compares 100 files that have not changed at the source since the run, and the number of paths; a host
    read over SSH sends all its files for this, as in a run. Exit codes: 0 all good, 3 a problem
    was found. Only tests of the newest snapshot, or of a share, count for 'status' and alerts.
    """
    if share is not None and spot is not None:
        raise UsageError("--share and --spot cannot be combined", "run them separately")
    prove = functools.partial(_verify_one, context, job, snapshot_id)
    if share is not None:
        prove = functools.partial(_verify_share, context, job, _parts(share, snapshot_id))
    elif spot is not None:
        prove = functools.partial(_verify_spot, context, job, snapshot_id, spot)
    checks, errors = _in_each_store(context, job, only, prove)
    if weekly_spot is not None:
        more, failed = _weekly_spot(context, job, only, weekly_spot)
        checks, errors = checks + more, errors + failed
    if if_allowed:
        errors = [error for error in errors if not is_left_to_others(context, job, "verify", error)]
    _print_checks(checks, as_json)
    for earlier in errors[:-1]:
        warn_of(earlier)
    if errors:
        raise errors[-1]
    return EXIT_FAILED if any(check["findings"] or check["beside"] for check in checks) else 0


def _weekly_spot(
    context: Context, job: str, only: str | None, count: int
) -> tuple[list[dict[str, Any]], list[LeitstandError]]:
    """In one store only: the other copies are proven to be identical."""
    store = only or context.job(job).stores[0]
    if not spot_is_due(context, job, store):
        return [], []
    return _in_each_store(context, job, store, functools.partial(_verify_spot, context, job, None, count))


def _parts(share: str, snapshot_id: str | None) -> int:
    if snapshot_id is not None:
        raise UsageError("--share cannot be combined with --snapshot", "leave one of them out")
    try:
        return parse_share(share)
    except ValueError as error:
        raise UsageError(str(error)) from None


def _in_each_store(
    context: Context, job: str, only: str | None, prove: Callable[[Store], dict[str, Any]]
) -> tuple[list[dict[str, Any]], list[LeitstandError]]:
    checks: list[dict[str, Any]] = []
    errors: list[LeitstandError] = []
    with context.stores(context.job(job), only) as stores:
        for store in stores:
            try:
                checks.append({"job": job, "store": store.name, **prove(store)})
                context.facts().allowed(job, store.name, "verify")
            except LeitstandError as error:
                errors.append(error)
    return checks, errors


def _verify_one(context: Context, job: str, snapshot_id: str | None, store: Store) -> dict[str, Any]:
    live = Verified()
    newest = context.facts().of(job, store.name).stored_bytes if snapshot_id is None else None
    with output.progress(f"{job} in {store.name}", lambda: live.archive_bytes, newest or None):
        name = verify_in(context, job, store, snapshot_id, live)
    return {"snapshot": name, **asdict(live)}


def _verify_share(context: Context, job: str, parts: int, store: Store) -> dict[str, Any]:
    live = Shared()
    today = datetime.now(context.fleet.site.zone).date()
    with output.progress(f"{job} in {store.name}", lambda: live.archive_bytes, None):
        share_in(context, job, store, parts, today, live)
    return asdict(live)


def _verify_spot(
    context: Context, job: str, snapshot_id: str | None, count: int, store: Store
) -> dict[str, Any]:
    live = Spotted()
    with output.progress(f"{job} in {store.name}", lambda: live.content_bytes, None):
        name = spot_in(context, job, store, snapshot_id, count, live)
    return {"snapshot": name, **asdict(live)}


def _print_checks(checks: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(checks, indent=1))
        return
    for check in checks:
        for finding in (*check["findings"], *check["beside"]):
            warn(f"{check['store']}: {finding['where']}: {finding['what']}")
        verdict = f"DAMAGED, {len(check['findings'])} findings" if check["findings"] else "good"
        if check["beside"]:
            verdict += f", but {len(check['beside'])} LOST OR NOT PROVEN"
        click.echo(f"{check['job']}: {_what_was_read(check, verdict)}")


def _what_was_read(check: dict[str, Any], verdict: str) -> str:
    """One line of a check of any level: what was checked, the verdict, and how much was read."""
    store = check["store"]
    if "changed" in check:
        files = f"{check['files']} files compared with the source, {size(check['content_bytes'])}"
        counts = (
            f"{check['changed']} others have changed; {check['paths_stored']} paths, {check['paths_live']}"
        )
        return f"{check['snapshot']} in {store}: {verdict}: {files}; {counts} at the source"
    read = f"{size(check['archive_bytes'])} read back"
    if "snapshot" in check:
        return f"{check['snapshot']} in {store}: {verdict}: {check['files']} entries, {read}"
    objects = f"{check['volumes']} of {check['all_volumes']} volumes and manifests"
    return f"share in {store}: {verdict}: {objects}, {read}"


@click.command(epilog="Example: leitstand backup drill website")
@click.argument("job")
@snapshot_option
@store_option
@click.option(
    "--scratch",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Folder with room for the whole job.",
)
@if_allowed_option
@json_option
@with_context
@when_due("drill")
def drill(
    context: Context,
    job: str,
    snapshot_id: str | None,
    only: str | None,
    scratch: Path | None,
    if_allowed: bool,
    as_json: bool,
) -> int:
    """Restore a snapshot of JOB (by default the newest) to a scratch folder and prove that it is usable.

    The tree is compared with the manifest, dumps are loaded into temporary databases and their rows
    are counted, and the job's check command is run. Everything is removed at the end. Exit codes: 0 proven,
    1 this machine cannot load it (a server, version or extension is missing), 3 it loads but differs, or is
    damaged.
    """
    live = Restored()
    known = read_facts(context.state, context.settings.backups).get(job, {}).values()
    newest = max((each.source_bytes for each in known), default=0) if snapshot_id is None else 0
    with output.progress(f"drill of {job}", lambda: live.content_bytes, newest or None):
        try:
            name, store, result = drill_job(context, job, snapshot_id, only, scratch, live, warn)
        except LeitstandError as error:
            if if_allowed and is_left_to_others(context, job, "drill", error):
                return EXIT_OK
            raise
    context.facts().allowed(job, store, "drill")
    if as_json:
        report = {"job": job, "snapshot": name, "store": store, "verdict": result.verdict, **asdict(result)}
        click.echo(json.dumps(report, indent=1))
    else:
        _print_drill(job, name, store, result)
    return _DRILL_EXIT[result.verdict]


def _print_drill(job: str, name: str, store: str, result: Drilled) -> None:
    for finding in result.findings:
        warn(str(finding))
    for note in result.notes:
        warn(note)
    verdict = _DRILL_WORDS[result.verdict]
    if result.findings:
        verdict += f", {len(result.findings)} findings"
    dumps = f", {result.dumps} dumps with {result.rows} rows loaded" if result.dumps else ""
    check = ", own check run" if result.checked else ""
    click.echo(
        f"{job}: {name} in {store}: {verdict}: {result.entries} entries compared{dumps}{check},"
        f" restored in {result.restore_seconds:.1f} s"
    )


@click.group(epilog="Example: leitstand backup catalog rebuild")
def catalog() -> None:
    """This host's records of its jobs. A cache: it can be rebuilt from the stores."""


@catalog.command(epilog="Example: leitstand backup catalog rebuild")
@click.argument("job", required=False)
@json_option
@with_context
def rebuild(context: Context, job: str | None, as_json: bool) -> int:
    """Rebuild this host's records for JOB, or for all jobs, from the stores: for status and metrics.

    Snapshots reported as lost until now are listed, and no longer reported.
    """
    failed, rows = False, []
    for name in context.job_names(job):
        with context.stores(context.job(name)) as stores:
            for store in stores:
                try:
                    found = rebuild_catalog(context, name, store, keys_of(context.job(name)), warn)
                except LeitstandError as error:
                    failed = True
                    warn_of(error)
                    continue
                rows.append({"job": name, "store": store.name, "snapshots": found})
                if not as_json:
                    click.echo(f"{name}: {store.name}: {found} snapshots")
    if as_json:
        click.echo(json.dumps(rows, indent=1))
    return EXIT_FAILED if failed else 0
