"""Rule tests that lose samples: made from the tests of an alert, for the promises about lost scrapes."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

Test = dict[str, Any]
Values = list[str]

SCRAPE = 15
AFTER = 60  # from the moment at which the alert must fire to the fault
_PART = re.compile(
    r"(?P<value>_|stale|[-+.\deE]+?|[-+]?(?:Inf|NaN))(?:(?P<step>[-+][.\deE]+))?(?:x(?P<times>\d+))?"
)
_PER_SCRAPE = "scrape_series_added"  # a count of its own at each scrape, to be summed
_UNITS = {"d": 86400, "h": 3600, "m": 60, "s": 1}


def seconds(text: str) -> int:
    """``1h30m`` as seconds."""
    return sum(int(number) * _UNITS[unit] for number, unit in re.findall(r"(\d+)([dhms])", text))


def expanded(notation: str) -> Values:
    """The values of promtool's notation, one by one."""
    values: Values = []
    for part in notation.split():
        found = _PART.fullmatch(part)
        assert found, part
        times = int(found["times"] or 0)
        if found["value"] in ("_", "stale"):
            values += [found["value"]] * (times if found["times"] else 1)
        else:
            start, step = float(found["value"]), float(found["step"] or 0)
            values += [f"{start + number * step:.15g}" for number in range(times + 1)]
    return values


def resampled(notation: str, interval: int, pace: int, length: int) -> Values:
    """The same course with a sample each ``pace`` seconds; at the end it goes on as before."""
    values = expanded(notation)
    if len(values) > 1 and not {values[-1], values[-2]} & {"_", "stale"}:
        last, step = float(values[-1]), float(values[-1]) - float(values[-2])
        more = length // interval + 1 - len(values)
        values += [f"{last + number * step:.15g}" for number in range(1, more + 1)]
    seen = [values[min(number * pace // interval, len(values) - 1)] for number in range(length // pace + 1)]
    return [value if number * pace // interval < len(values) else "_" for number, value in enumerate(seen)]


def compact(values: Values) -> str:
    """The values in promtool's notation, with runs as one part."""
    parts: list[tuple[str, int]] = []
    for value in values:
        if parts and parts[-1][0] == value and value != "stale":
            parts[-1] = (value, parts[-1][1] + 1)
        else:
            parts.append((value, 1))
    return " ".join(_run(value, times) for value, times in parts)


def _run(value: str, times: int) -> str:
    if times == 1:
        return value
    return f"{value}x{times}" if value == "_" else f"{value}x{times - 1}"


def labels(series: str) -> dict[str, str]:
    """The labels of a series."""
    return dict(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', series))


def is_scraped(series: str) -> bool:
    """Whether it comes from a target, perhaps through a rule, and not from leitstand.yml."""
    return "instance" in labels(series) and not series.startswith(("ALERTS", "expected:"))


def lost_each(k: int) -> Callable[[int], bool]:
    """Each k-th scrape fails."""
    return lambda number: number % k == k - 1


class Course:
    """An alert that fires in one of its tests, sampled as it is in operation."""

    def __init__(self, test: Mapping[str, Any], alert: str, severity: str) -> None:
        self.test, self.alert, self.severity = test, alert, severity
        step = self._step()
        self.fires_at = seconds(step["eval_time"])
        self.number = sum(one["exp_labels"]["severity"] == severity for one in step["exp_alerts"])
        # Days at the pace of scrapes take minutes to test. Two minutes are far less than is bridged.
        self.pace = SCRAPE if self.fires_at <= 6 * 3600 else 8 * SCRAPE
        self.fault_at = -(-self.fires_at // self.pace) * self.pace + AFTER
        self.length = self.fault_at + 15 * 60
        self.interval = seconds(test["interval"])
        self.ends = any("_x" in one["values"].split()[-1] for one in test["input_series"])

    def _step(self) -> Mapping[str, Any]:
        steps = self.test["alert_rule_test"]
        return next(step for step in steps if step["alertname"] == self.alert and self._severities(step))

    def _severities(self, step: Mapping[str, Any]) -> bool:
        return any(one["exp_labels"]["severity"] == self.severity for one in step["exp_alerts"] or [])

    def with_lost_scrapes(self, k: int) -> Test:
        """Each k-th scrape of every target fails; it must fire as it does without."""
        lost = lost_each(k)
        series = [self._with(one, lambda name, n, v: _gone(name) if lost(n) else v) for one in self._all()]
        times = range(self.fault_at - AFTER + 2 * self.pace, self.fault_at + AFTER, self.pace)
        # The lost scrapes of others may be just what the alert is about.
        about_them = self.alert == "HostLosesScrapes"
        return self._made(f"each {k}th scrape is lost", series, times, at_least=about_them)

    def with_target_gone(self) -> Test:
        """All targets die while it fires; it must fire until HostDown has taken over."""
        end = self.fault_at // self.pace

        def after(series: str, number: int, value: str) -> str:
            if number <= end:
                return value
            return "0" if series.startswith("up{") else "stale" if number == end + 1 else "_"

        series = [self._with(one, after) for one in self._all()]
        return self._made("the target dies", series, self._until(4 * 60), at_least=True)

    def with_prometheus_away(self) -> Test:
        """No sample at all for five minutes."""
        begin, end = self.fault_at // self.pace, (self.fault_at + 300) // self.pace
        series = [self._with(one, lambda _, n, v: "_" if begin < n <= end else v) for one in self._all()]
        return self._made("Prometheus is away for 5 minutes", series, self._until(7 * 60))

    def _until(self, duration: int) -> range:
        return range(self.fault_at, self.fault_at + duration + 1, self.pace)

    def _all(self) -> Iterator[Mapping[str, str]]:
        given = self.test["input_series"]
        yield from given
        targets = {(found.get("job", "host"), found["instance"]) for found in map(labels, _scraped(given))}
        known = {one["series"] for one in given if one["series"].startswith("up{")}
        known_targets = {(found.get("job", "host"), found.get("instance")) for found in map(labels, known)}
        for job, instance in sorted(targets - known_targets):
            yield {"series": f'up{{job="{job}", instance="{instance}"}}', "values": "1x1"}

    def _with(self, one: Mapping[str, str], change: Callable[[str, int, str], str]) -> Test:
        values = resampled(one["values"], self.interval, self.pace, self.length)
        if one["series"].startswith(_PER_SCRAPE):
            values = [
                v if n * self.pace % self.interval == 0 or v == "_" else "0" for n, v in enumerate(values)
            ]
        if is_scraped(one["series"]):
            name = one["series"]
            values = [value if value == "_" else change(name, n, value) for n, value in enumerate(values)]
        return {"series": one["series"], "values": compact(values)}

    def _made(self, name: str, series: list[Test], times: range, *, at_least: bool = False) -> Test:
        firing = f'count(ALERTS{{alertname="{self.alert}", severity="{self.severity}", alertstate="firing"}})'
        firing += f" >= bool {self.number}" if at_least else ""
        expected = [{"labels": "{}", "value": 1 if at_least else self.number}]
        return {
            "name": f"{self.alert} {self.severity}: {name}",
            "interval": f"{self.pace}s",
            "input_series": series,
            "promql_expr_test": [
                {"expr": firing, "eval_time": f"{moment}s", "exp_samples": expected} for moment in times
            ],
        }


def _scraped(given: list[Mapping[str, str]]) -> Iterator[str]:
    return (one["series"] for one in given if is_scraped(one["series"]))


def _gone(series: str) -> str:
    return "0" if series.startswith("up{") else "stale"
