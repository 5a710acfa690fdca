"""``leitstand backup serve|install-timers``: two ways to run jobs on schedule."""

import json
import signal
from contextlib import suppress
from pathlib import Path

import click

from leitstand.errors import UsageError
from leitstand.options import config_option, json_option
from leitstand.settings.watch import Watched
from orchestrator.cli.options import limits_options, with_path
from orchestrator.scheduler.children import Children
from orchestrator.scheduler.serve import TEXTFILE, Service
from orchestrator.scheduler.slots import Parallelism
from orchestrator.scheduler.units import units, write_units
from orchestrator.state.context import Context

PROGRAM = "/opt/leitstand/bin/leitstand"


@click.command(epilog="Example: leitstand backup serve --parallel 2")
@click.option(
    "--stop-within", type=click.IntRange(min=1), default=120, show_default=True,
    help="Seconds for running tasks to clean up before they are killed.",
)  # fmt: skip
@limits_options
@config_option
@click.pass_context
def serve(click_context: click.Context, config_path: Path, stop_within: int, limits: Parallelism) -> int:
    """Run every job on its schedule, and its verify, drill and prune on theirs, until SIGTERM.

    Tasks missed while this was not running are run once. Failed tasks are retried. A changed configuration is
    reloaded automatically. At SIGTERM running tasks are interrupted cleanly; they are due again.
    """
    shown = click_context.find_root().params
    log_options = ("--log-level", shown["log_level"], "--log-format", shown["log_format"])
    children = Children(config_path, show_errors=True, log_options=log_options)
    service = Service(Watched(config_path, Context.load), children, limits)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: service.stop.set())
    service.run()
    service.close(stop_within)
    return 0


@click.command("install-timers", epilog="Example: leitstand backup install-timers --out /etc/systemd/system")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder for the units.")
@click.option("--program", default=PROGRAM, show_default=True, help="Absolute path of the leitstand command.")
@json_option
@with_path
def install_timers(context: Context, config_path: Path, out: Path, program: str, as_json: bool) -> None:
    """Write a systemd service and timer for each job that has a schedule; an alternative to 'serve'.

    Units of removed jobs are deleted. Each service may write only where its job needs to.
    """
    if not program.startswith("/"):
        raise UsageError(f"--program {program}: not an absolute path", f"write it as {PROGRAM}")
    if not out.is_dir():
        raise UsageError(f"--out {out}: there is no such folder", "usually /etc/systemd/system")
    texts = units(context, config_path.absolute(), program)
    changed, removed = write_units(out, texts)
    context.facts().publish()  # so that a timer that never starts is noticed
    with suppress(OSError):  # 'serve' is no longer expected
        (context.fleet.paths.metrics / TEXTFILE).unlink()
    if as_json:
        names = {"written": sorted(texts), "changed": changed, "removed": removed}
        click.echo(json.dumps({"folder": str(out), **names}))
        return
    for name in removed:
        click.echo(f"removed {name}")
    timers = [name for name in sorted(texts) if name.endswith(".timer")]
    for name in timers:
        click.echo(f"wrote {name} and its service")
    if not timers:
        click.echo("no job has a schedule", err=True)
        return
    click.echo("now: systemctl daemon-reload", err=True)
    click.echo(f"     systemctl enable --now {' '.join(timers)}", err=True)
