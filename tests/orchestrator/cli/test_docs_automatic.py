"""What the pages about automatic backups and the recipes say is so."""

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from leitstand.settings.fleet import Fleet
from orchestrator.backup.hooks import STATES
from orchestrator.cli.group import COMMANDS, backup
from orchestrator.config.settings import BackupSettings
from orchestrator.config.tasks import plans
from orchestrator.scheduler.serve import scheduler_metrics

DOCS = Path(__file__).resolve().parents[3] / "docs"
AUTOMATIC, RECIPES = DOCS / "backups-automatic.md", DOCS / "backups-recipes.md"


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(), re.DOTALL)


EXAMPLES = [(page.name, text) for page in (AUTOMATIC, RECIPES) for text in blocks(page, "yaml")]


@pytest.mark.parametrize(("page", "text"), EXAMPLES)
def test_every_example_is_a_good_configuration(page: str, text: str) -> None:
    document: dict[str, Any] = yaml.safe_load(text)
    if "hosts" in document:
        assert Fleet.model_validate(document).hosts["web1"].ssh is not None
    else:
        settings = BackupSettings.model_validate(document)
        assert settings.backups


def test_the_scheduled_actions_are_all_there() -> None:
    (text,) = (text for text in blocks(AUTOMATIC, "yaml") if text.startswith("# schedules"))
    settings = BackupSettings.model_validate(yaml.safe_load(text))
    assert {task.action for task in plans(settings.backups)} == {"run", "verify", "drill", "prune"}


def test_every_option_that_is_named_exists() -> None:
    text = AUTOMATIC.read_text()
    commands = [backup.get_command(click.Context(backup), name) for name in COMMANDS]
    known = {name for command in commands for each in command.params for name in each.opts}
    foreign = {"--name", "--now", "--tag"}  # of systemd and logger
    assert set(re.findall(r"--[a-z][a-z-]+", text)) - foreign <= known


def test_every_metric_and_every_hook_s_state_is_described() -> None:
    text = AUTOMATIC.read_text()
    for family in scheduler_metrics(0, config_good=True).collect():
        assert f"`{family.name.removeprefix('leitstand_backup_')}" in text
    for states in STATES.values():
        assert all(f"`{state}`" in text for state in states)


def offered(*words: str) -> list[str]:
    """What bash offers for the last word, by the script that the page tells to install."""
    programs = Path(__file__).resolve().parents[3] / ".venv" / "bin"
    script = (
        'source <(_LEITSTAND_COMPLETE=bash_source leitstand); COMP_WORDS=(leitstand "$@"); COMP_CWORD=$#;'
        ' COMPREPLY=(); _leitstand_completion leitstand; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    environment = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"}
    argv = ["bash", "-c", script, "bash", *words]
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout.split()


def test_completion_knows_the_commands() -> None:
    assert offered("backup", "r") == ["restore", "run"]


def test_completion_knows_jobs_stores_and_snapshots(on_swift: Any) -> None:
    on_swift.document["backups"]["other"] = on_swift.job
    on_swift.good("run", "site")
    on_swift.wait_for_next_second()
    on_swift.good("run", "site")
    config = ("--config", str(on_swift.config))
    old, new = on_swift.snapshots("swift")
    assert offered("backup", "run", *config, "") == ["other", "site"]
    assert offered("backup", "verify", *config, "site", "--store", "d") == ["disk"]
    assert offered("backup", "cat", *config, "site", "--snapshot", "") == [new, old]
    assert offered("backup", "diff", *config, "site", old, "") == [new, old]
    on_swift.document["stores"]["swift"]["endpoint"] = "http://127.0.0.1:1"
    on_swift.write()
    assert offered("backup", "cat", *config, "site", "--snapshot", "") == [new, old], "without a store"
    assert offered("backup", "cat", *config, "nosuch", "--snapshot", "") == []
    assert offered("backup", "run", "--config", "/no/such/file", "") == []
