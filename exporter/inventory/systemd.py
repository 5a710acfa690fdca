"""Failed units and the last result of every timer, asked from systemd through its own program."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from exporter.collectors.collector import NoData
from exporter.inventory.source import Context, Findings
from leitstand.exposition import Family
from leitstand.process import run

TIME_LIMIT = 8.0
MAXIMUM_TIMERS = 500
# As every version writes moments where this is the zone; --timestamp=unix is known to 251 and later only.
ZONE = {"TZ": "UTC", "LC_ALL": "C"}
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
    for name in parse_units(systemctl("list-units", "--state=failed")):
        findings.add("failed_unit", name=name)
    names = parse_units(systemctl("list-units", "--all", "--type=timer"))
    findings.skip(len(names[MAXIMUM_TIMERS:]))
    timers = [parse_timer(fields) for fields in show(names[:MAXIMUM_TIMERS], "Id,Unit,LastTriggerUSec")]
    results = {
        fields.get("Id", ""): fields.get("Result", "")
        for fields in show([timer.unit for timer in timers], "Id,Result")
    }
    for timer in timers:
        findings.add("timer", name=timer.name, unit=timer.unit, result=results.get(timer.unit, ""))
    findings.families += figures(
        len([kind for kind, _ in findings.items if kind == "failed_unit"]), timers, results
    )
    return findings


def systemctl(*arguments: str) -> str:
    """What systemctl prints for programs. Raises OSError when it fails."""
    command = ["systemctl", "--plain", "--no-legend", "--no-pager", *arguments]
    answer = run(command, timeout=TIME_LIMIT, env=ZONE)
    if answer.status:
        raise OSError(f"systemctl: {answer.stderr.strip()[:200]}")
    return answer.stdout.decode("utf-8", "replace")


def parse_units(text: str) -> list[str]:
    """Names in the first column of ``list-units``. A unit that is not found has failed nothing."""
    rows = [line.split() for line in text.splitlines()]
    return sorted(row[0] for row in rows if len(row) > 1 and row[1] != "not-found")


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
    """A timer by its properties."""
    last = parse_moment(fields.get("LastTriggerUSec", ""))
    return Timer(fields.get("Id", ""), fields.get("Unit", ""), last)


def parse_moment(text: str) -> float:
    """``Tue 2023-11-14 22:13:20 UTC`` as Unix time; 0 for none."""
    match = MOMENT.search(text)
    try:
        return datetime.fromisoformat(match[1]).replace(tzinfo=UTC).timestamp() if match else 0.0
    except ValueError:
        return 0.0


def figures(failed: int, timers: list[Timer], results: dict[str, str]) -> list[Family]:
    """The count of failed units; each timer's last result and moment."""
    units = Family("leitstand_failed_units", "gauge", "Units of systemd in state failed.")
    units.add(failed)
    success = Family(
        "leitstand_timer_success",
        "gauge",
        "Whether the last run of the timer's unit succeeded.",
        ("timer", "unit"),
    )
    last = Family(
        "leitstand_timer_last_trigger_timestamp_seconds",
        "gauge",
        "When the timer last started its unit.",
        ("timer",),
    )
    for timer in timers:
        if timer.unit in results:
            success.add(int(results[timer.unit] == "success"), timer.name, timer.unit)
        if timer.last:
            last.add(timer.last, timer.name)
    return [units, success, last]
