"""The demo's promises, checked on the running stack. A check returns its result or raises LabError."""

import filecmp
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from grafana.source.queries import PanelQuery, queries
from lab.processes import LabError, ServerEndedError, fetch
from lab.sevenzip import open_with_7zip
from lab.stack import REPOSITORY, Stack

Check = Callable[[Stack], str]


@dataclass(frozen=True)
class Outcome:
    """A promise, whether it held, and what was seen."""

    what: str
    where: str
    held: bool
    seen: str


def configuration(stack: Stack) -> str:
    """``leitstand check`` finds nothing wrong."""
    return stack.leitstand("check", check=True).stdout.strip().rsplit(": ", 1)[-1]


def host_is_measured(stack: Stack) -> str:
    """Prometheus has the host's metrics."""
    stack.wait(lambda: stack.query('up{job="host",instance="web1"} == 1'), "web1 to be scraped")
    stack.wait(lambda: stack.query("node_uname_info"), "metrics of web1 in Prometheus")
    samples = stack.query('count({instance="web1",job="host"})')
    count = samples[0]["value"][1] if samples else "0"  # type: ignore[index]
    return f"web1 up, {count} series"


def monitoring_watches_itself(stack: Stack) -> str:
    """Every target is up, including the monitoring itself, and every rule can be evaluated."""
    jobs = ("alertmanager", "blackbox", "canary", "host", "probe", "prometheus", "status-page")
    stack.wait(
        lambda: sorted(found_jobs(stack)) == list(jobs), f"a target that is up in each of {', '.join(jobs)}"
    )
    stack.wait(lambda: stack.query("up == 0") == [], "every target to be up")
    stack.wait(lambda: all(state == "ok" for state in rule_states(stack)), "every rule to be evaluated")
    return f"{len(stack.query('up'))} targets are up, {len(rule_states(stack))} rules are evaluated"


def found_jobs(stack: Stack) -> set[str]:
    """The scrape jobs with a target that is up."""
    return {str(sample["metric"]["job"]) for sample in stack.query("up == 1")}  # type: ignore[index]


def rule_states(stack: Stack) -> list[str]:
    """For each rule ``ok``, ``unknown`` (not evaluated yet) or ``err``."""
    status, body = fetch(stack.url("prometheus", "/api/v1/rules"))
    groups = json.loads(body)["data"]["groups"] if status == 200 else [{"rules": [{"health": "unknown"}]}]
    return [rule["health"] for group in groups for rule in group["rules"]]


def alerts_are_delivered(stack: Stack) -> str:
    """Alertmanager has the alert that always fires, so the path from rule to receiver works."""

    def watchdog() -> bool:
        status, body = fetch(stack.url("alertmanager", "/api/v2/alerts"))
        return status == 200 and any(alert["labels"]["alertname"] == "Watchdog" for alert in json.loads(body))

    stack.wait(watchdog, "the Watchdog alert in Alertmanager")
    return "Watchdog arrived"


def page_shows(stack: Stack, service: str, state: str, seconds: float = 100) -> float:
    """Wait until the page's JSON gives ``state`` for ``service``; the seconds it took."""
    return stack.wait(
        lambda: page_state(stack, service) == state, f"'{service}' to be {state} on the page", seconds, 0.2
    )


def page_state(stack: Stack, service: str) -> str:
    """The state of a service in the public JSON, or the reason why there is none."""
    status, body = fetch(stack.url("page", "/api/v1/status.json"))
    if status != 200:
        return f"no answer ({status})"
    states = {entry["id"]: entry["state"] for entry in json.loads(body)["services"]}
    return str(states.get(service, "not shown"))


def public_page(stack: Stack) -> str:
    """The page shows the web site as up, in both languages."""
    page_shows(stack, "website", "up")
    for language, word in (("de", "Verfügbar"), ("en", "Available")):
        what = f"the page in '{language}' to say {word}"  # it is written a moment after the JSON
        stack.wait(lambda: word in fetch(stack.url("page", f"/{language}/"))[1], what, 60)  # noqa: B023
    return "Verfügbar / Available"


def backup_runs(stack: Stack) -> str:
    """A backup is written to Swift and to a folder."""
    stack.leitstand("backup", "run", "website", check=True)
    snapshots = json.loads(stack.leitstand("backup", "list", "website", "--json", check=True).stdout)
    stores = sorted({snapshot["store"] for snapshot in snapshots})
    if stores != ["disk", "swift"]:
        raise LabError(f"snapshots are in {stores}, not in both stores")
    return f"{len(snapshots)} snapshots, in {' and '.join(stores)}"


def backup_verifies(stack: Stack) -> str:
    """Every byte of the newest snapshot is read back and checked."""
    return stack.leitstand("backup", "verify", "website", check=True).stdout.strip().splitlines()[-1]


def backup_restores(stack: Stack) -> str:
    """A restore into an empty folder gives the same tree."""
    target = stack.folder / "restored"
    number = 1
    while target.exists():
        number += 1
        target = stack.folder / f"restored-{number}"
    stack.leitstand("backup", "restore", "website", "--target", str(target), check=True)
    found = [path for path in target.rglob("www") if path.is_dir()]
    if len(found) != 1:
        raise LabError(f"{target} contains {len(found)} folders named www")
    differences = different(stack.folder / "site" / "www", found[0])
    if differences:
        raise LabError(f"the restored tree differs: {differences[:5]}")
    return f"{sum(1 for _ in target.rglob('*'))} entries, equal to the source"


def different(left: Path, right: Path) -> list[str]:
    """Paths in which two trees differ: names, contents, links, modes, times."""
    names = {path.relative_to(tree) for tree in (left, right) for path in tree.rglob("*")}
    return sorted(str(name) for name in names if not _same(left / name, right / name))


def _same(left: Path, right: Path) -> bool:
    try:
        one, two = left.lstat(), right.lstat()
    except FileNotFoundError:
        return False
    if one.st_mode != two.st_mode or (not left.is_dir() and one.st_mtime_ns != two.st_mtime_ns):
        return False
    if left.is_symlink():
        return left.readlink() == right.readlink()
    return left.is_dir() or filecmp.cmp(left, right, shallow=False)


def backup_opens_with_7zip(stack: Stack) -> str:
    """7-Zip alone can open the archive with the password that ``keys show`` prints."""
    return open_with_7zip(stack)


def backup_is_measured(stack: Stack) -> str:
    """Prometheus has the success of the backup, through the exporter."""
    expression = 'leitstand_backup_last_run_success{backup="website"} == 1'
    stack.wait(lambda: len(stack.query(expression)) == 2, "the backup's metrics in Prometheus")
    return "last run succeeded, both stores"


def dashboards_have_data(stack: Stack) -> str:
    """Every query of every dashboard returns data from this Prometheus, or could."""
    found = list(dashboard_queries())
    empty = [query for query in found if not _has_data(stack, asked(query.expression))]
    if empty:
        named = "; ".join(f"{query.panel}: {query.expression}" for query in empty[:3])
        raise LabError(f"{len(empty)} of {len(found)} queries return nothing: {named}")
    return f"{len(found)} queries return data"


def asked(expression: str) -> str:
    """The query, answered in any case if it is about alerts of a host, or what not every machine has."""
    if re.search("ALERTS|leitstand_(php|timer|certificate)_", expression):
        return f"({expression}) or vector(1)"
    return expression


def dashboard_queries() -> Iterator[PanelQuery]:
    """The queries of the dashboards that ship, as Grafana would send them for all hosts."""
    variables = {"job": "host", "instance": "web1", "datasource": "prometheus", "__rate_interval": "15s"}
    for path in sorted((REPOSITORY / "grafana" / "dashboards").rglob("*.json")):
        yield from queries(json.loads(path.read_text()), variables)


def _has_data(stack: Stack, query: str) -> bool:
    try:
        stack.wait(lambda: stack.query(query), query, seconds=60)
    except ServerEndedError:
        raise
    except LabError:
        return False
    return True


PROMISES: tuple[tuple[str, str, Check], ...] = (
    ("configuration is valid", "leitstand check", configuration),
    ("host is monitored", "exporter", host_is_measured),
    ("monitoring watches itself", "prometheus", monitoring_watches_itself),
    ("alerts are delivered", "alertmanager", alerts_are_delivered),
    ("status page shows the state", "page", public_page),
    ("service is backed up", "swift", backup_runs),
    ("backup is verified", "leitstand backup verify website", backup_verifies),
    ("backup is restored", "leitstand backup restore website", backup_restores),
    ("archive opens without Leitstand", "7z", backup_opens_with_7zip),
    ("backup is monitored", "prometheus", backup_is_measured),
    ("dashboards have data", "grafana/dashboards", dashboards_have_data),
)


def keep(stack: Stack, say: Callable[[str], None]) -> list[Outcome]:
    """Check every promise, in order, even if one fails.

    Raises ServerEndedError once a server of the stack has ended: no further promise can hold then.
    """
    outcomes = []
    for what, where, check in PROMISES:
        say(f"checking: {what}")
        place = stack.url(where) if where in stack.servers else where
        try:
            outcomes.append(Outcome(what, place, True, check(stack)))
        except (LabError, OSError, ValueError, KeyError) as error:
            stack.require_running()
            outcomes.append(Outcome(what, place, False, str(error)))
    return outcomes
