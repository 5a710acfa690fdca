"""What the documentation says about backups is so."""

import re
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from orchestrator.cli.group import backup
from orchestrator.config.settings import BackupSettings
from orchestrator.state.metrics import BackupCollector

DOCS = Path(__file__).resolve().parents[3] / "docs" / "backups.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", DOCS.read_text(), re.DOTALL)


def test_the_example_is_a_good_configuration() -> None:
    example, drill = map(yaml.safe_load, blocks("yaml"))
    example["backups"]["website"] |= drill
    settings = BackupSettings.model_validate(example)
    job = settings.backups["website"]
    assert job.drill.timing is not None
    assert job.timing is not None


def commands() -> list[str]:
    lines = "\n".join(blocks("sh")).splitlines()
    return [line.split("#")[0].strip() for line in lines if line.startswith("leitstand backup")]


@pytest.mark.parametrize("line", commands())
def test_every_command_that_is_named_exists(line: str) -> None:
    command: Any = backup
    for word in line.split()[2:]:
        if not isinstance(command, click.Group):
            break
        context = click.Context(command)
        assert word in command.list_commands(context), line
        command = command.get_command(context, word)
    options = {name for parameter in command.params for name in parameter.opts}
    assert set(re.findall(r"--[a-z-]+", line)) <= options


def test_every_metric_is_described() -> None:
    text = DOCS.read_text()
    for family in BackupCollector({}, {}).collect():
        assert family.name.removeprefix("leitstand_backup_") in text
