"""What people read is plain English: the phrases below were house dialect, and do not come back."""

import json
import re
import tokenize
from pathlib import Path

import click
import pytest
import yaml

from leitstand.cli import leitstand
from leitstand.settings.config import owners
from leitstand.settings.schema import json_schema

ROOT = Path(__file__).parents[1]
# Each with words that say it better.
REFUSED = {
    r"\bso (many|much|long|few)\b": "this many, how long, up to N",
    r"\b(who|what|when|where)ever\b": "anyone who, anything that",
    r"\b(is|are|was|were|be|been|being) told\b": "is reported, is notified",
    r"\b(no|some)body\b": "no one, or name who it is",
    r"\bstands? still\b": "has not been updated",
    r"\bfor ever\b": "permanently",
    r"\bas a rule\b": "usually",
    r"\bheld against\b": "compared with",
    r"\bnot surely\b": "not reliably",
    r"\bwithout end\b": "hung, endless",
    r"\bat hand\b": "available",
    r"\bfor want of\b": "for lack of",
    r"\b(is|are) no news\b": "needs no alert",
    r"\bunless told otherwise\b": "by default",
}
# In the names of tests, which are read one by one in reports.
REFUSED_IN_NAMES = {
    r"(no|some|any)body|(who|what|when|where)ever": "name who or what it is",
    r"told|tells?|is_said|said|says": "reported, shown, names",
    r"stands?|stood|lies": "is, is in",
    r"for_ever|without_end|as_ever|for_want": "endless, permanently, for lack of",
    r"spoilt|anew|alike|whom|at_hand|no_news": "damaged, again, in the same way",
    r"costs_itself|is_none|of_which|all_the_same": "affects no other, does not count, that, still",
}
ROOMS = (
    "exporter",
    "fleet_config",
    "fleet_inventory",
    "rollout",
    "leitstand",
    "orchestrator",
    "rollout",
    "status_page",
    "lab",
    "bench",
    "grafana",
)  # whose docstrings, comments and messages the language pass has reached
NOT_YET = set[str]()  # surfaces and pages that the language pass has not reached


def texts(value):
    """Every string in a document."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from texts(each)
    elif isinstance(value, list):
        for each in value:
            yield from texts(each)


def helps(command, path=()):
    """The help of a command, of its options and of the commands below it."""
    yield " ".join(path), " ".join(filter(None, [command.help, command.epilog, command.short_help]))
    for parameter in command.params:
        if isinstance(parameter, click.Option) and parameter.help:
            yield " ".join((*path, parameter.opts[0])), parameter.help
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            yield from helps(command.get_command(context, name), (*path, name))


def descriptions(value):
    """Every ``description`` in a JSON Schema or a dashboard, and the titles of panels."""
    if isinstance(value, dict):
        for key, each in value.items():
            if key in ("description", "title") and isinstance(each, str):
                yield each, each
            else:
                yield from descriptions(each)
    elif isinstance(value, list):
        for each in value:
            yield from descriptions(each)


def alerts():
    for path in sorted((ROOT / "prometheus" / "rules").glob("*.yml")):
        for group in yaml.safe_load(path.read_text())["groups"]:
            for rule in group["rules"]:
                yield from ((rule.get("alert", ""), text) for text in texts(rule.get("annotations", {})))


def pages():
    found = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "grafana" / "README.md"]
    for path in sorted(found):
        name = str(path.relative_to(ROOT))
        # node_exporter's texts are its own; the glossary names words that we do not use.
        if name not in ("docs/reference/node-exporter.md", "docs/glossary.md") and name not in NOT_YET:
            yield name, re.sub(r"`[^`]*`", "", path.read_text())


def code():
    """Docstrings, messages and comments of the rooms."""
    for path in sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py")):
        with path.open("rb") as file:
            for token in tokenize.tokenize(file.readline):
                if token.type in (tokenize.COMMENT, tokenize.STRING) and " " in token.string:
                    yield f"{path.relative_to(ROOT)}:{token.start[0]}", token.string


SURFACES = {
    "alerts": alerts,
    "code": code,
    "dashboards": lambda: descriptions(
        [json.loads(path.read_text()) for path in sorted((ROOT / "grafana" / "dashboards").rglob("*.json"))]
    ),
    "help": lambda: helps(leitstand),
    "pages": pages,
    "settings": lambda: descriptions(json_schema(owners())),
}


@pytest.mark.parametrize("surface", sorted(SURFACES.keys() - NOT_YET))
def test_no_text_contains_a_refused_phrase(surface):
    found = []
    for place, text in SURFACES[surface]():
        for phrase, better in REFUSED.items():
            found += [f"{place}: '{match}': {better}" for match in matches(phrase, text)]
    assert not found, "\n".join(found)


def test_names_of_tests_are_plain_sentences():
    found = []
    for path in sorted((ROOT / "tests").rglob("*.py")):
        for name in re.findall(r"^ *(?:async )?def test_(\w+)", path.read_text(), re.M):
            for phrase, better in REFUSED_IN_NAMES.items():
                if re.search(rf"(^|_)({phrase})(_|$)", name):
                    found.append(f"{path.name}: test_{name}: {better}")
            if name.startswith("what_"):
                found.append(f"{path.name}: test_{name}: begin with a noun that says what")
    assert not found, "\n".join(found)


def matches(phrase, text):
    """Where a phrase is, each with the words around it."""
    line = " ".join(text.split())
    return [line[max(0, match.start() - 30) : match.end() + 20] for match in re.finditer(phrase, line, re.I)]


@pytest.mark.parametrize("surface", SURFACES)
def test_every_text_is_looked_at(surface):
    assert len(list(SURFACES[surface]())) > 20


def test_a_refused_phrase_is_found_across_the_end_of_a_line():
    assert matches(r"\bis told\b", "what is\n  told here")
