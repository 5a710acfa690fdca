"""The shipped rules: valid, tested in four ways each, documented, and their tests able to fail."""

import re
import shutil
from pathlib import Path

import pytest
import yaml

ROOM = Path(__file__).parent.parent.parent / "prometheus"
RUNBOOKS = ROOM.parent / "docs" / "runbooks"
KINDS = ("fires", "quiet", "boundary", "no data")


def rules():
    for path in sorted((ROOM / "rules").glob("*.yml")):
        for group in yaml.load(path.read_text(), Loader=yaml.CSafeLoader)["groups"]:
            for index, rule in enumerate(group["rules"]):
                yield path.name, group["name"], index, rule


ALERTS = [place for place in rules() if "alert" in place[3]]
NAMES = sorted({rule["alert"] for *_, rule in ALERTS})
TESTS = sorted(path.name for path in (ROOM / "tests").glob("*.yml"))


def changes():
    """Ways to break an alert that its tests must notice."""
    for file, group, index, rule in ALERTS:
        name = f"{rule['alert']}-{rule['labels']['severity']}"
        for key, value in (("for", rule.get("for", "0s")), ("keep_firing_for", rule.get("keep_firing_for"))):
            if value is not None:
                yield pytest.param(file, group, index, {key: "7d"}, id=f"{name}-{key}-longer")
            if value not in (None, "0s"):
                yield pytest.param(file, group, index, {key: "0s"}, id=f"{name}-{key}-none")
        yield pytest.param(file, group, index, {"expr": "vector(0) == 1"}, id=f"{name}-never")
        yield pytest.param(file, group, index, {"labels": {"severity": "other"}}, id=f"{name}-severity")


def test_rules_are_valid_and_none_is_there_twice(run, room):
    done = run("promtool", "check", "rules", "--lint=all", "--lint-fatal", *(room / "rules").glob("*.yml"))
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("file", TESTS)
def test_every_rule_test_passes(file, run, room):
    done = run("promtool", "test", "rules", room / "tests" / file)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", NAMES)
def test_every_alert_is_tested_firing_quiet_at_its_boundary_and_without_data(name, room):
    tests = yaml.safe_load((room / "tests" / f"{name}_test.yml").read_text())["tests"]
    kinds = {test["name"].removeprefix(f"{name} ").split(":")[0] for test in tests}
    assert kinds == set(KINDS)
    # A boundary is one only if the alert was looked at before and after it, or begins at once.
    times = [
        step["eval_time"] for test in tests if "boundary" in test["name"] for step in test["alert_rule_test"]
    ]
    assert len(times) >= 2 or times == ["0s"]


@pytest.mark.parametrize(("file", "group", "index", "change"), list(changes()))
def test_the_tests_of_an_alert_notice_when_it_is_changed(file, group, index, change, run, room, tmp_path):
    assert not pass_when_changed(file, group, index, change, run, room, tmp_path)


@pytest.mark.parametrize("name", ["HostDown", "BackupLost"])
def test_the_tests_of_an_alert_pass_when_it_is_not_changed(name, run, room, tmp_path):
    file, group, index, _ = next(place for place in ALERTS if place[3]["alert"] == name)
    assert pass_when_changed(file, group, index, {}, run, room, tmp_path)


def pass_when_changed(file, group, index, change, run, room, folder):
    content = yaml.load((room / "rules" / file).read_text(), Loader=yaml.CSafeLoader)
    rule = next(found for found in content["groups"] if found["name"] == group)["rules"][index]
    rule |= change
    # Other alerts would only be evaluated, thousands of times.
    for found in content["groups"]:
        found["rules"] = [each for each in found["rules"] if each.get("alert") in (None, rule["alert"])]
    shutil.copytree(room / "rules", folder / "rules")
    (folder / "rules" / file).write_text(yaml.safe_dump(content))
    kind = "boundary" if "0s" in change.values() else "fires"
    for tests in parts(room / "tests" / f"{rule['alert']}_test.yml", kind, folder / "tests"):
        done = run("promtool", "test", "rules", tests)
        assert done.returncode == ("FAILED" in done.stdout)
        if done.returncode:
            return False
    return True


def parts(path, kind, folder):
    """A file of rule tests with those of one kind, then with the others: the first mostly notice already."""
    content = yaml.load(path.read_text(), Loader=yaml.CSafeLoader)
    folder.mkdir()
    tests = content["tests"]
    first = [test for test in tests if f" {kind}" in test["name"]]
    for number, chosen in enumerate([first, [test for test in tests if test not in first]]):
        (folder / f"{number}.yml").write_text(yaml.safe_dump({**content, "tests": chosen}))
        yield folder / f"{number}.yml"


@pytest.mark.parametrize(
    "rule", [pytest.param(rule, id=f"{rule['alert']}-{rule['labels']['severity']}") for *_, rule in ALERTS]
)
def test_every_alert_has_its_meaning_and_a_runbook(rule):
    annotations = rule["annotations"]
    assert annotations["summary"]
    assert annotations["description"]
    assert annotations["runbook"] == f"docs/runbooks/{rule['alert']}.md"
    assert rule["labels"]["severity"] in ("critical", "warning", "info", "none")


def test_every_alert_has_a_runbook_and_every_runbook_an_alert():
    assert sorted(path.stem for path in RUNBOOKS.glob("*.md") if path.stem != "README") == NAMES


def test_the_index_of_runbooks_has_the_delay_of_each_alert():
    rows = {(rule["alert"], rule["labels"]["severity"], delay(rule)) for *_, rule in ALERTS}
    index = (RUNBOOKS / "README.md").read_text()
    found = re.findall(r"^\| \[(\w+)\]\(\1\.md\) \| (\w+) \| (\w+) \|$", index, re.MULTILINE)
    assert found == sorted(rows)


def delay(rule):
    """How long it must be so: `for`, or the age that the expression asks for."""
    if rule["alert"] == "Watchdog":
        return "always"
    ages = re.findall(r":since.*>= (?:(\d) \* )?86400", rule["expr"])
    return f"{ages[0] or 1}d" if ages else rule["for"]


@pytest.mark.parametrize("name", NAMES)
def test_a_runbook_explains_meaning_checks_and_remedy(name):
    page = (RUNBOOKS / f"{name}.md").read_text()
    assert page.startswith(f"# {name}\n")
    assert re.findall(r"^## (.+)$", page, re.MULTILINE)[:3] == ["What it means", "Look first", "Do"]
    for command in re.findall(r"promtool query instant \S+ '([^']+)'", page):
        assert set(re.findall(r"leitstand_\w+|instance\w*:[\w:]+|service:\w+", command)) <= known_names(), (
            command
        )


def known_names():
    recorded = {rule["record"] for *_, rule in rules() if "record" in rule}
    used = {name for *_, rule in rules() for name in re.findall(r"leitstand_\w+", rule["expr"])}
    return recorded | used
