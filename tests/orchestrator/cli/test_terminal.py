"""On a terminal: text from elsewhere steers nothing, and tables fit."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lab.sshd import Sshd
from lab.terminal import Shown, on_a_terminal

Site = Any
LEITSTAND = Path(sys.executable).with_name("leitstand")
HOSTILE = "x\u2028\x1b]0;title\x07\x1b[2J\x1b[8mhidden\x9b31m\u202eright\x7f"
STEERING = ("\x1b]0", "\x1b[2J", "\x1b[8m", "\x07", "\x9b", "\u202e", "\u2028", "\x7f", "\udc9b")
SAYS_IT = ["sh", "-c", "printf '%s\\n' \"$0\" >&2; exit 5", HOSTILE]


def shown(site: Site, *arguments: object, columns: int = 80) -> Shown:
    """A command of ``leitstand backup`` on a terminal."""
    site.write()
    return on_a_terminal([LEITSTAND, "backup", *map(str, arguments), "--config", str(site.config)], columns)


def by_a_program(site: Site, sshd: Sshd) -> tuple[str, ...]:
    site.job["sources"] = [{"command": SAYS_IT, "name": "dump"}]
    return ("run", "site")


def by_a_hook(site: Site, sshd: Sshd) -> tuple[str, ...]:
    site.job["hooks"] = {"before": [SAYS_IT]}
    return ("run", "site")


def by_a_hook_at_the_end(site: Site, sshd: Sshd) -> tuple[str, ...]:
    site.job["hooks"] = {"after": [SAYS_IT]}
    return ("run", "site")


def by_a_child(site: Site, sshd: Sshd) -> tuple[str, ...]:
    return (*by_a_program(site, sshd)[:1], "--all")


def by_a_host(site: Site, sshd: Sshd) -> tuple[str, ...]:
    """Its sshd runs what it likes, whatever was asked for."""
    (script := sshd.folder / "says-it").write_text(f"#!/bin/sh\nprintf '%s\\n' '{HOSTILE}' >&2; exit 5\n")
    script.chmod(0o755)
    sshd.allow(f'command="{script}" {sshd.identity.with_suffix(".pub").read_text().strip()}')
    ssh = {"user": sshd.user, "port": sshd.port, "identity_file": str(sshd.identity)}
    ssh["known_hosts_file"] = str(sshd.known_hosts)
    site.document["hosts"]["far"] = {"address": "127.0.0.1", "ssh": ssh}
    site.job["host"] = "far"
    site.job["sources"] = [{"files": "/srv/www"}]
    return ("run", "site")


def by_a_file_name(site: Site, sshd: Sshd) -> tuple[str, ...]:
    (site.www / HOSTILE.replace("/", "")).touch()
    Path(os.fsdecode(os.fsencode(site.www) + b"/\x9b31m")).touch()  # no UTF-8: C1 as a byte
    assert shown(site, "run", "site").status == 0
    return ("ls", "site")


def by_content(site: Site, sshd: Sshd) -> tuple[str, ...]:
    (site.www / "log").write_text(HOSTILE, encoding="utf-8", errors="surrogateescape")
    assert shown(site, "run", "site").status == 0
    return ("cat", "site", f"{site.www}/log")


def by_an_argument(site: Site, sshd: Sshd) -> tuple[str, ...]:
    return ("run", HOSTILE)


def by_an_option(site: Site, sshd: Sshd) -> tuple[str, ...]:
    return ("run", f"--{HOSTILE}")


@pytest.mark.parametrize(
    "said",
    [
        *(by_a_program, by_a_hook, by_a_hook_at_the_end, by_a_child, by_a_host, by_a_file_name, by_content),
        *(by_an_argument, by_an_option),
    ],
)
def test_text_from_elsewhere_steers_no_terminal(
    site: Site, sshd: Sshd, said: Callable[[Site, Sshd], tuple[str, ...]]
) -> None:
    told = shown(site, *said(site, sshd))
    assert "hidden" in told.text, "it is told, as letters"
    assert [letters for letters in STEERING if letters in told.text] == []


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_no_name_is_broken_on_a_terminal_of_any_usual_width(site: Site, columns: int) -> None:
    site.good("run", "site")
    (snapshot,) = site.snapshots()
    for command in (["status"], ["list"], ["find", "site", "*/index.html"], ["ls", "site"]):
        told = shown(site, *command, columns=columns)
        assert told.status == 0
        if command[0] in ("list", "find"):
            assert snapshot in told.text
        long = [line.strip() for line in told.lines if len(line) > columns]
        assert [line for line in long if " " in line and not line.startswith("files/")] == []
