"""Whatever text stands in leitstand.yml: it is refused, or all that is made of it is read by its program."""

import json
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from fleet_config.alertmanager import alertmanager_files
from fleet_config.expected import Expected
from fleet_config.grafana import grafana_files
from fleet_config.output import write_files
from fleet_config.prometheus import Addresses, prometheus_files
from lab.patience import patient
from leitstand.settings.config import ConfigError, check, load_document, read
from leitstand.settings.fleet import Fleet

ROOM = Path(__file__).parents[2] / "prometheus"
# What means something in YAML, JSON, Go templates, PromQL, regular expressions, units, shells and terminals.
TEXTS = [
    *(
        "{{",
        "{{ len `x` }}",
        "}}",
        "{{/*",
        "{%",
        "$1",
        "${HOME}",
        "$HOME",
        "%h",
        "%%",
        "'",
        '"',
        "`",
        "\\",
        "\\n",
    ),
    *(
        "\n",
        "\r",
        "\t",
        "a\nb: c",
        "\0",
        "\x1b[2J",
        "\x7f",
        "\x85",
        "\u2028",
        "\u202e",
        "\ufeff",
        "\ud800",
        "\U0001f4a9",
    ),
    *(
        "# x",
        ": x",
        "- x",
        "&a",
        "*a",
        "!x",
        "|",
        ">",
        "@",
        "[",
        "]",
        "{",
        "}",
        ",",
        ";",
        " ",
        "\u00a0",
        "é",
        "(",
        "+",
    ),
]
Place = tuple[tuple[str | int, ...], Callable[[str], str]]


def url(text: str) -> str:
    return f"https://r.example/{text}/x"


# Every setting that is a text, and a value for it that holds one.
PLACES: list[Place] = [
    *((("site", "name", language), lambda text: f"a{text}b") for language in ("de", "en")),
    (("site", "url"), url),
    *((("hosts", "web1", "exporter", name), lambda text: f"/etc/hostname{text}") for name in ("ca_file",)),
    (("hosts", "web1", "exporter", "server_name"), lambda text: f"a{text}b"),
    (("hosts", "web1", "exporter", "username"), lambda text: f"a{text}b"),
    (("hosts", "web1", "exporter", "password_file"), lambda text: f"/etc/hostname{text}"),
    (("hosts", "web1", "ssh", "identity_file"), lambda text: f"/etc/{text}"),
    (("services", "website", "name"), lambda text: f"a{text}b"),
    (("services", "website", "url"), url),
    (("services", "website", "expect"), lambda text: f"a{text}b"),
    (("services", "website", "group"), lambda text: f"a{text}b"),
    (("maintenance", "disks", "text"), lambda text: f"a{text}b"),
    (("alerts", "mail", "to", 0), lambda text: f"a{text}b@example.org"),
    (("alerts", "mail", "sender"), lambda text: f"a{text}b@example.org"),
    (("alerts", "mail", "smarthost"), lambda text: f"a{text}b:25"),
    (("alerts", "mail", "username"), lambda text: f"a{text}b"),
    (("alerts", "mail", "password_file"), lambda text: f"/etc/hostname{text}"),
    (("alerts", "webhook_url"), url),
    (("alerts", "watchdog_url"), url),
    (("alerts", "runbook_url"), lambda text: url(text) + "{alert}"),
    (("probing", "canaries", 0), url),
    (("status_page", "listen"), lambda text: f"a{text}b:80"),
    (("status_page", "prometheus"), url),
    (("paths", "state"), lambda text: f"/var/{text}"),
    (("paths", "metrics"), lambda text: f"/var/{text}"),
]


def harmless() -> dict[str, Any]:
    exporter = {"tls": True, "username": "a", "password_file": "/etc/hostname"}
    mail = {
        "to": ["a@example.org"],
        "sender": "b@example.org",
        "username": "a",
        "password_file": "/etc/hostname",
    }
    work = {
        "services": ["website"],
        "start": "2026-12-01T20:00:00Z",
        "end": "2026-12-01T22:00:00Z",
        "text": "x",
    }
    return {
        "site": {"name": {"de": "x", "en": "x"}},
        "hosts": {"web1": {"address": "192.0.2.11", "exporter": exporter, "ssh": {"user": "root"}}},
        "services": {"website": {"name": "x", "url": "https://www.example.org/"}},
        "maintenance": {"disks": work},
        "alerts": {"mail": mail},
        "probing": {"canaries": ["https://www.debian.org/"]},
        "status_page": {"workers": 1},
        "paths": {"state": "/var/lib/leitstand"},
    }


def put(content: dict[str, Any], path: tuple[str | int, ...], value: str) -> dict[str, Any]:
    changed = json.loads(json.dumps(content))
    holder: Any = changed
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = value
    return changed


def accepted(folder: Path, content: dict[str, Any]) -> bool:
    (folder / "leitstand.yml").write_text(json.dumps(content))
    try:
        return not check(load_document(folder / "leitstand.yml"))
    except ConfigError:
        return False


def told(*argv: object) -> str:
    words = [str(word) for word in argv]
    done = subprocess.run(
        words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=patient(60), check=False
    )
    return done.stdout if done.returncode else ""


def complaints(out: Path) -> Iterator[str]:
    yield told("promtool", "check", "config", out / "prometheus.yml")
    yield told("promtool", "check", "rules", "--lint=none", *sorted((out / "rules").glob("*.yml")))
    yield told("prometheus-blackbox-exporter", f"--config.file={out}/blackbox.yml", "--config.check")
    yield told("amtool", "check-config", out / "am" / "alertmanager.yml")
    for path in [*(out / "targets").glob("*.json"), *(out / "grafana").rglob("*.json")]:
        json.loads(path.read_text())
    for path in (out / "grafana").rglob("*.yml"):
        yaml.safe_load(path.read_text())


@pytest.mark.parametrize("text", TEXTS, ids=[ascii(text) for text in TEXTS])
def test_a_text_in_any_setting_is_refused_or_read_by_every_program(text: str, tmp_path: Path) -> None:
    content = harmless()
    assert accepted(tmp_path, content)
    for path, form in PLACES:
        changed = put(content, path, form(text))
        content = changed if accepted(tmp_path, changed) else content
    (tmp_path / "leitstand.yml").write_text(json.dumps(content))
    document = load_document(tmp_path / "leitstand.yml")
    fleet, expected = read(document, Fleet), read(document, Expected)
    out = tmp_path / "out"
    write_files(out, prometheus_files(fleet, expected, Addresses(), ROOM))
    write_files(out / "am", alertmanager_files(fleet, ROOM / "alertmanager"))
    write_files(
        out / "grafana", grafana_files(fleet, "127.0.0.1:9090", out / "grafana", ROOM.parent / "grafana")
    )
    assert [each for each in complaints(out) if each] == []
    # What was taken has not become something else on the way.
    configuration = yaml.safe_load((out / "prometheus.yml").read_text())
    site = content["site"]["name"]["en"].replace("$", "")
    assert configuration["global"]["external_labels"] == {"site": site}
    rules = yaml.safe_load((out / "rules" / "alerts.rules.yml").read_text())["groups"]
    assert "{{" not in str(
        [rule["annotations"].get("runbook_url") for group in rules for rule in group["rules"]]
    )


def test_enough_is_accepted_for_the_test_to_mean_something(tmp_path: Path) -> None:
    for text in ("$1", "%h", "'", "é"):
        taken = [path for path, form in PLACES if accepted(tmp_path, put(harmless(), path, form(text)))]
        assert len(taken) > 12, text


def test_every_setting_that_is_a_text_is_tried() -> None:
    names = {str(path[-1]) for path, _ in PLACES}
    texts = {
        name
        for file in ("fleet.py", "hosts.py")
        for name in re.findall(
            r"^    (\w+): (?:list\[)?(?:str|Line|Text|AbsolutePath|ProbeUrl|Pattern|Mail\w+)\b",
            (ROOM.parent / "leitstand" / "settings" / file).read_text(),
            re.MULTILINE,
        )
    }
    # Of one kind with those that are tried; url_file is not known to every Alertmanager.
    alike = {
        "webhook_url_file",
        "watchdog_url_file",
        "known_hosts_file",
        "cert_file",
        "key_file",
        "user",
        "to",
        "canaries",
    }
    assert texts - names - alike == {"de", "en"} - names
