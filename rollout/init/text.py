"""Answers as a commented leitstand.yml."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import yaml

from leitstand.settings.config import ConfigError, Problem, check
from leitstand.settings.document import document_of
from leitstand.settings.models import NAME_PATTERN
from rollout.init.questions import SAMPLES, Answers

KEYS_FILE = "/etc/leitstand/keys"
_PLAIN = re.compile(r"[A-Za-z/][A-Za-z0-9 ._/@+-]*[A-Za-z0-9/]|https?://[A-Za-z0-9._/-]+")


def problem_of(answers: Answers) -> Problem | None:
    """What `leitstand check` finds wrong with the answers to the first questions."""
    file = Path("leitstand.yml")
    try:
        problems = check(document_of(file, leitstand_yml({**SAMPLES, **answers})))
    except ConfigError as error:
        problems = error.problems
    return next(iter(problems), None)


def leitstand_yml(answers: Answers) -> str:
    """The file; it is valid if `problem_of` says nothing."""
    blocks = (_site, _hosts, _services, _alerts, _stores, _backups, _deploy)
    return _HEADER + "".join("\n" + "\n".join(block(answers)) + "\n" for block in blocks)


_HEADER = """\
# Written by 'leitstand init'. Change it as you like; then: leitstand check, leitstand apply
# Every key is described in docs/reference/configuration.md.
"""


def _scalar(text: str) -> str:
    """A text as YAML, in quotes where that is needed."""
    if _PLAIN.fullmatch(text) and yaml.safe_load(text) == text:
        return text
    return json.dumps(text, ensure_ascii=False)


def _list(text: str) -> str:
    """A list of words that were typed with commas or blanks between them."""
    return f"[{', '.join(map(_scalar, _words(text) or ['']))}]"


def _words(text: str) -> list[str]:
    return list(dict.fromkeys(filter(None, re.split(r"[,\s]+", text))))


def _first(text: str) -> str:
    return next(iter(_words(text)), "")


def _site(answers: Answers) -> Iterator[str]:
    yield "site:"
    yield f"  name: {_scalar(answers['site_name'])}  # for the public; per language: {{de: …, en: …}}"
    yield f"  languages: {_list(answers['languages'])}  # of the status page, the main one first"
    yield f"  time_zone: {_scalar(answers['time_zone'])}"
    if answers["page_url"]:
        yield f"  url: {_scalar(answers['page_url'])}  # of the status page"


def _hosts(answers: Answers) -> Iterator[str]:
    yield "hosts:"
    yield f"  {_scalar(answers['host'])}:  # this machine: Prometheus, alerts, backups, status page"
    yield f"    address: {_scalar(answers['address'])}"
    yield "    roles: [leitstand]"
    yield "  # One more machine is one more line, and 'leitstand apply' again:"
    yield "  # web1: {address: 192.0.2.11, roles: [watched]}"


def _services(answers: Answers) -> Iterator[str]:
    try:
        host = urlsplit(answers["service_url"]).hostname or ""
    except ValueError:
        host = ""
    name = re.sub(r"[^a-z0-9.-]+", "-", host)[:64].strip(".-")
    yield "services:"
    yield f"  {_scalar(name if NAME_PATTERN.fullmatch(name) else 'website')}:"
    yield f"    name: {_scalar(host or 'Website')}  # on the status page"
    yield f"    url: {_scalar(answers['service_url'])}"
    if answers["service_text"]:
        expression = re.sub(r"([\\.*+?()\[\]{}^$|])", r"\\\1", answers["service_text"])
        yield f"    expect: {_scalar(expression)}  # a regular expression that the page must match"


def _alerts(answers: Answers) -> Iterator[str]:
    yield "alerts:"
    yield "  mail:"
    yield f"    to: {_list(answers['mail'])}"
    sender = f"leitstand@{_first(answers['mail']).rpartition('@')[2]}"
    yield f"    sender: {_scalar(sender)}"
    yield f"    smarthost: {_scalar(answers['smarthost'])}"
    if answers["mail_user"]:
        yield f"    username: {_scalar(answers['mail_user'])}"
        yield f"    password_file: {_scalar(answers['mail_password_file'])}"


def _stores(answers: Answers) -> Iterator[str]:
    yield "stores:"
    yield "  main:"
    yield f"    type: {_scalar(answers['store'])}"
    if answers["store"] == "s3":
        yield f"    endpoint: {_scalar(answers['s3_endpoint'])}"
        yield f"    bucket: {_scalar(answers['s3_bucket'])}"
        yield f"    credentials_file: {_scalar(answers['s3_credentials_file'])}  # access_key and secret_key"
    else:
        yield f"    path: {_scalar(answers['folder'])}  # lost with this machine: add a store elsewhere"


def _backups(answers: Answers) -> Iterator[str]:
    yield "backups:"
    yield "  etc:"
    yield f"    host: {_scalar(answers['host'])}"
    yield "    sources:"
    yield f"      - {{files: /etc, exclude: [{KEYS_FILE}]}}  # no snapshot should contain its own keys"
    yield "    stores: [main]"
    yield f"    keys_file: {KEYS_FILE}"
    yield "    schedule: daily 03:00"
    yield "    keep: {daily: 7, weekly: 4, monthly: 6}"
    yield "    # By default it is verified daily, pruned weekly and drilled (restored as a test) monthly."
    yield "    # 'verify: {schedule: daily 05:00}' sets another time; 'drill: never' turns it off."


def _deploy(answers: Answers) -> Iterator[str]:
    yield "deploy:  # what 'leitstand apply' sets up"
    if answers["page_url"].lower().startswith("https:"):
        yield "  certificate: acme  # requested from a public CA, and renewed"
        yield f"  acme_mail: {_scalar(_first(answers['mail']))}"
    else:
        yield "  certificate: none  # the page is on port 80; with a name: site.url, and 'acme' here"
    yield f"  grafana: {'true' if answers['grafana'] == 'yes' else 'false'}"
