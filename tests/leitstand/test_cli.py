"""The command line as a user meets it: help, exit codes, one line per error, no traceback."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lab.patience import patient
from leitstand.cli import COMMANDS

ROOT = Path(__file__).parents[2]
PROGRAMS = {
    "exporter",
    "orchestrator",
    "rollout",
    "status_page",
    "boto3",
    "flask",
    "psutil",
    "prometheus_client",
    "rich",
}
# A command of a role that was never written, to see what becomes of what it raises, returns and logs.
ROLE = """
import logging
import click
from leitstand.errors import LeitstandError, UsageError

@click.command()
def command():
    log = logging.getLogger("role")
    {body}
"""
START = "from leitstand import cli; cli.COMMANDS['role'] = ('role:command', 'Test.'); cli.main()"


@pytest.fixture
def role(tmp_path: Path) -> Callable[..., Any]:
    """``role(body, *options)`` runs ``leitstand role`` with this body."""

    def run(body: str, *options: str) -> subprocess.CompletedProcess[str]:
        (tmp_path / "role.py").write_text(ROLE.format(body=body))
        environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
        command = [sys.executable, "-c", START, *options, "role"]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=patient(120))

    return run


def test_next_to_nothing_is_loaded_before_ctrl_c_ends_in_one_line():
    script = "import sys; sys.path.insert(0, sys.argv[1]); import leitstand.start; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-IS", "-c", script, ROOT], capture_output=True, text=True)
    assert "leitstand.start" in done.stdout
    assert not {"re", "pathlib", "click", "typing", "importlib.util"} & set(done.stdout.split())


def test_help_imports_no_program():
    script = (
        "import sys; from leitstand.cli import run; run(['--help'])\n"
        "print('loaded', *{name.split('.')[0] for name in sys.modules})"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=patient(120)
    )
    listing, _, loaded = done.stdout.partition("loaded ")
    assert all(f"  {command} " in listing for command in COMMANDS)
    assert not PROGRAMS & set(loaded.split())


@pytest.mark.parametrize("command", ["status", "list"])
def test_a_command_that_only_lists_loads_no_cipher_and_no_client_of_a_store(command):
    script = f"import sys; from leitstand.cli import run; run(['backup', {command!r}, '--help'])\n"
    script += "print('loaded', *{name.split('.')[0] for name in sys.modules})"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=patient(120)
    )
    loaded = done.stdout.partition("loaded ")[2].split()
    assert "orchestrator" in loaded
    assert not {"Cryptodome", "pyzipper", "isal", "cffi", "boto3", "rich"} & set(loaded)


def test_completion_offers_the_commands_without_loading_one():
    script = "import sys; sys.modules['orchestrator.cli'] = None; from leitstand.cli import main; main()"
    words = {"_LEITSTAND_COMPLETE": "bash_complete", "COMP_WORDS": "leitstand ", "COMP_CWORD": "1"}
    command = [sys.executable, "-c", script]
    done = subprocess.run(
        command, env={**os.environ, **words}, capture_output=True, text=True, timeout=patient(120)
    )
    assert [line.partition(",")[2] for line in done.stdout.splitlines()] == list(COMMANDS)


def test_missing_requirements_of_a_role_are_reported_in_one_line():
    script = "import sys; sys.modules['boto3'] = None; sys.modules['orchestrator.cli'] = None\n"
    command = [sys.executable, "-c", script + "from leitstand.cli import main; main(['backup'])"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=patient(120))
    assert done.returncode == 3
    what, hint = done.stderr.splitlines()
    missing = "the Python package orchestrator.cli.group, which is not installed"
    assert what == f"'leitstand backup' needs {missing}"
    install = f"{sys.executable} -m pip install --require-hashes --no-deps -r requirements/orchestrator.txt"
    assert hint == f"  hint: {install}"


@pytest.mark.parametrize(
    ("body", "status", "stderr"),
    [
        ("return None", 0, ""),
        ("return 1", 1, ""),
        ("raise UsageError('wrong setting', 'set it right')", 2, "wrong setting\n  hint: set it right\n"),
        ("raise LeitstandError('the store is away')", 3, "the store is away\n"),
        ("raise OSError(28, 'No space left on device', '/srv/x')", 3, "/srv/x: No space left on device\n"),
        ("raise BrokenPipeError(32, 'Broken pipe')", 3, "input or output: Broken pipe\n"),
        ("raise KeyboardInterrupt", 130, "\ninterrupted\n"),
        ("raise click.BadParameter('no such day')", 2, "leitstand role: Invalid value: no such day\n"),
        ("raise click.Abort", 130, "interrupted\n"),
    ],
)
def test_the_end_of_a_command_becomes_an_exit_code_and_a_line(role, body, status, stderr):
    done = role(body)
    assert done.returncode == status
    assert done.stderr.startswith(stderr)
    assert bool(done.stderr) == bool(stderr)
    assert "Traceback" not in done.stderr


def test_a_configuration_that_is_named_without_its_option_gets_the_option_as_hint(leitstand):
    done = leitstand("check", "/etc/leitstand/web.yml")
    assert done.returncode == 2
    assert done.stderr.endswith("\n  hint: leitstand check --config /etc/leitstand/web.yml\n")


def test_an_unexpected_error_is_two_lines_without_a_traceback(role):
    done = role("raise RuntimeError('first\\nsecond')")
    assert done.returncode == 3
    assert done.stderr.splitlines()[0] == "internal error: RuntimeError: first"
    assert len(done.stderr.splitlines()) == 2


def test_with_debug_the_traceback_of_an_internal_error_is_logged(role):
    assert "Traceback" in role("raise RuntimeError", "--log-level", "debug").stderr


@pytest.mark.parametrize(
    ("arguments", "stderr"),
    [
        (["chekc"], "leitstand: No such command 'chekc'. Did you mean 'check'?\n  hint: leitstand --help\n"),
        (["xyzzy"], "leitstand: No such command 'xyzzy'.\n  hint: leitstand --help\n"),
        (
            ["check", "--xyzzy"],
            "leitstand check: No such option '--xyzzy'.\n  hint: leitstand check --help\n",
        ),
    ],
)
def test_wrong_usage_is_exit_code_2_and_one_line_with_a_hint(leitstand, arguments, stderr):
    done = leitstand(*arguments)
    assert (done.returncode, done.stderr) == (2, stderr)


def test_without_a_command_the_help_is_shown(leitstand):
    done = leitstand()
    assert done.returncode == 2
    assert done.stderr.startswith("Usage: leitstand")


def test_output_without_a_reader_ends_silently():
    command = [sys.executable, "-m", "leitstand", "schema"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(120) == 3


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&-", "<&- >&- 2>&-"])
def test_a_program_whose_streams_are_closed_does_its_work(tmp_path, closed):
    (tmp_path / "leitstand.yml").write_text("hosts: {}\n")
    words = ["sh", "-c", f'exec "$@" {closed}', "sh", sys.executable, "-m", "leitstand"]
    done = subprocess.run([*words, "check"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    (tmp_path / "leitstand.yml").write_text("host: {}\n")
    done = subprocess.run([*words, "check"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2


def test_output_that_does_not_fit_on_the_disk_is_one_line(leitstand):
    with Path("/dev/full").open("w") as full:
        done = leitstand("schema", capture_output=False, stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 3
    assert done.stderr == "input or output: No space left on device\n"


def test_logs_are_lines_of_json_when_asked_for(role):
    done = role("log.warning('slow %s\\nline', 'ä')", "--log-format", "json")
    entry = json.loads(done.stderr)
    assert entry["message"] == "slow ä\nline"
    assert (entry["level"], entry["logger"]) == ("warning", "role")
    assert entry["time"].endswith("+00:00")


def test_a_log_entry_is_always_one_line(role):
    done = role("log.warning('name: %s', 'a\\n2026 ERROR forged\\x1b[31m')")
    assert len(done.stderr.splitlines()) == 1
    assert "\x1b" not in done.stderr


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_no_log_steers_a_terminal(role, log_format):
    hostile = "'a\\x1b[2J\\x9b31m\\u202e\\u2028\\x85'"
    body = f"log.warning({hostile}), log.error('x', exc_info=ValueError({hostile}))"
    told = role(body, "--log-format", log_format).stderr
    assert "ValueError: a" in told
    assert not {"\x1b", "\x9b", "\u202e", "\u2028", "\x85"} & set(told)


def test_messages_below_the_level_are_not_logged(role):
    body = "log.debug('quiet'), log.info('told')"
    assert "quiet" not in role(body).stderr
    assert "quiet" in role(body, "--log-level", "debug").stderr


def test_check_counts_what_is_configured(leitstand, tmp_path):
    (tmp_path / "leitstand.yml").write_text("hosts:\n  web1: {address: 192.0.2.11}\n")
    done = leitstand("check")
    assert (done.returncode, done.stdout) == (0, "leitstand.yml: valid (hosts 1)\n")


def test_check_prints_every_problem_and_ends_with_2(leitstand, corpus):
    done = leitstand("check", "--config", corpus / "broken" / "everything-at-once.yml")
    assert done.returncode == 2
    assert done.stdout == ""
    expected = (corpus / "broken" / "everything-at-once.expected").read_text()
    assert done.stderr.replace(f"{corpus}/broken/", "") == expected


def test_check_for_scripts_prints_json(leitstand, corpus):
    done = leitstand("check", "--json", "--config", corpus / "broken" / "misspelt-key.yml")
    assert done.returncode == 2
    (problem,) = json.loads(done.stdout)
    assert (problem["line"], problem["path"], problem["what"]) == (2, "hosts.web1.adress", "unknown key")
    assert problem["file"].endswith("misspelt-key.yml")
    good = leitstand("check", "--json", "--config", corpus / "good" / "smallest.yml")
    assert (good.returncode, json.loads(good.stdout)) == (0, [])


def test_the_configuration_is_found_by_variable_then_here_then_installed(leitstand, corpus, tmp_path):
    named = {**os.environ, "LEITSTAND_CONFIG": str(corpus / "good" / "smallest.yml")}
    assert "smallest.yml: valid" in leitstand("check", env=named).stdout
    assert leitstand("check").stderr.startswith("/etc/leitstand/leitstand.yml: ")
    (tmp_path / "leitstand.yml").write_text("hosts: {}\n")
    assert leitstand("check").stdout.startswith("leitstand.yml: valid")


def test_a_missing_file_is_one_line_with_what_to_do(leitstand):
    done = leitstand("check", "--config", "nowhere.yml")
    assert done.returncode == 2
    assert done.stderr == "nowhere.yml: no such file; pass it with --config, or write one: leitstand init\n"


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_configuration_that_may_not_be_read_is_one_line(
    leitstand, tmp_path, bound_by_permissions, give_away, kind
):
    file = tmp_path / "private" / "leitstand.yml"
    file.parent.mkdir()
    file.write_text("hosts: {}\n")
    give_away(file if kind == "file" else file.parent, 0o600 if kind == "file" else 0o700)
    done = leitstand(
        "check", "--config", file if kind == "file" else file.parent, before=bound_by_permissions
    )
    assert done.returncode == 2
    assert "Permission denied" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_an_endless_file_is_refused(leitstand):
    done = leitstand("check", "--config", "/dev/zero")
    assert done.returncode == 2
    assert done.stderr.startswith("/dev/zero: larger than 8 MiB")


RUNBOOKS = Path(__file__).parents[2] / "docs" / "runbooks"


def test_every_runbook_can_be_printed_where_the_mail_is_read(leitstand):
    names = leitstand("runbook").stdout.split()
    pages = {path.stem for path in RUNBOOKS.glob("*.md")} - {"README"}
    assert set(names) == pages
    assert leitstand("runbook", "HostDown").stdout == (RUNBOOKS / "HostDown.md").read_text()
    assert leitstand("runbook", "hostdown").stdout.startswith("# HostDown\n")
    wrong = leitstand("runbook", "HostDwon")
    assert (wrong.returncode, wrong.stderr) == (
        2,
        "there is no runbook 'HostDwon'\n  hint: did you mean 'HostDown'?\n",
    )
