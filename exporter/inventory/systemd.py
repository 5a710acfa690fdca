"""Failed units and the last result of every timer, asked from systemd through its own program."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from exporter.inventory.source import Context, Findings, Metric
from exporter.roots import NoData
from leitstand.process import run

TIME_LIMIT = 8.0
MAXIMUM_TIMERS = 500
# As every version writes moments where this is the zone; --timestamp=unix is known to 251 and later only.
ZONE = {"TZ": "UTC", "LC_ALL": "C"}
# The second is of a unit that its own ExecCondition= had skipped, systemd.service(5).
GOOD = ("success", "exec-condition")
UNIT = re.compile(r"[A-Za-z0-9:_.\\@-]+\.[a-z]+")  # systemd.unit(5)
MOMENT = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) UTC", re.ASCII)


@dataclass(frozen=True)
class Timer:
    """A timer, the unit it starts and when it did so last (Unix time, 0 for never)."""

    name: str
    unit: str
    last: float


def read(context: Context) -> Findings:
    """Failed units and timers. NoData where systemd does not run this host."""
    if not context.tree.is_folder("/run/systemd/system"):
        raise NoData("systemd does not run here")
    findings = Findings()
    for name in list_units(findings, "--state=failed"):
        findings.add("failed_unit", name=name)
    names = list_units(findings, "--all", "--type=timer")
    findings.skip(len(names[MAXIMUM_TIMERS:]), f"more than {MAXIMUM_TIMERS} timers")
    shown = list(map(parse_timer, show(names[:MAXIMUM_TIMERS], "Id,Unit,LastTriggerUSec")))
    whole = [timer for timer in shown if UNIT.fullmatch(timer.name) and UNIT.fullmatch(timer.unit)]
    timers = list({timer.name: timer for timer in whole}.values())
    findings.skip(len(shown) - len(timers), "systemctl show: a timer without its name or its unit's")
    results = {
        fields.get("Id", ""): fields.get("Result", "")
        for fields in show([timer.unit for timer in timers], "Id,Result")
    }
    for timer in timers:
        findings.add("timer", name=timer.name, unit=timer.unit, result=results.get(timer.unit, ""))
    findings.metrics += figures(
        len([kind for kind, _ in findings.items if kind == "failed_unit"]), timers, results
    )
    return findings


def systemctl(*arguments: str) -> str:
    """The output of systemctl for programs. Raises OSError when it fails."""
    command = ["systemctl", "--plain", "--no-legend", "--no-pager", *arguments]
    answer = run(command, timeout=TIME_LIMIT, env=ZONE)
    if answer.status:
        raise OSError(f"systemctl: {answer.stderr.strip()[:200]}")
    return answer.stdout.decode("utf-8", "replace")


def list_units(findings: Findings, *selection: str) -> list[str]:
    """Names of units that systemd lists. Raises ValueError if it prints something else than a list."""
    rows = findings.known("systemctl list-units", unit_rows(systemctl("list-units", *selection)))
    return found_units(rows)


def parse_units(text: str) -> list[str]:
    """Names in the first column of ``list-units``, sorted; lines of another form are left out."""
    return found_units(filter(None, unit_rows(text)))


def unit_rows(text: str) -> Iterator[list[str] | None]:
    """The words of each line; None for one of another form."""
    for row in [line.split() for line in text.splitlines() if line.strip()]:
        yield row if len(row) > 3 and UNIT.fullmatch(row[0]) else None


def found_units(rows: Iterable[list[str]]) -> list[str]:
    """Names in rows of ``list-units``. A unit that is not found has failed nothing."""
    return sorted({row[0] for row in rows if row[1] != "not-found"})


def show(units: list[str], properties: str) -> list[dict[str, str]]:
    """Properties of units; an empty list of units would mean the manager itself."""
    if not units:
        return []
    return parse_properties(systemctl("show", f"--property={properties}", "--", *units))


def parse_properties(text: str) -> list[dict[str, str]]:
    """Blocks of ``name=value`` lines, parted by empty lines."""
    blocks = []
    for block in text.split("\n\n"):
        pairs = [line.partition("=") for line in block.splitlines() if "=" in line]
        if pairs:
            blocks.append({name: value for name, _, value in pairs})
    return blocks


def parse_timer(fields: dict[str, str]) -> Timer:
    last = parse_moment(fields.get("LastTriggerUSec", ""))
    return Timer(fields.get("Id", ""), fields.get("Unit", ""), last)


def parse_moment(text: str) -> float:
    """``Tue 2023-11-14 22:13:20 UTC`` as Unix time; 0 for none."""
    match = MOMENT.search(text)
    try:
        return datetime.fromisoformat(match[1]).replace(tzinfo=UTC).timestamp() if match else 0.0
    except ValueError:
        return 0.0


def figures(failed: int, timers: list[Timer], results: dict[str, str]) -> list[Metric]:
    """The count of failed units; each timer's last result and moment."""
    units = Metric("leitstand_failed_units", "gauge", "Systemd units in the state failed.")
    units.add(failed)
    success = Metric(
        "leitstand_timer_success",
        "gauge",
        "Whether the last run of the timer's unit succeeded.",
        ("timer", "unit"),
    )
    last = Metric(
        "leitstand_timer_last_trigger_timestamp_seconds",
        "gauge",
        "When the timer last started its unit.",
        ("timer",),
    )
    for timer in timers:
        if result := results.get(timer.unit):  # targets have none
            success.add(int(result in GOOD), timer.name, timer.unit)
        if timer.last:
            last.add(timer.last, timer.name)
    return [units, success, last]
