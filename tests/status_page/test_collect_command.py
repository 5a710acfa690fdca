"""``leitstand status-page collect`` as its user meets it."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from leitstand.cli import run

CONFIGURATION = """
services: {{website: {{name: Website, url: "https://www.example.org/"}}}}
status_page: {{prometheus: "http://127.0.0.1:9"}}
paths: {{state: {folder}/state, metrics: {folder}}}
"""


@pytest.fixture
def collect_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """One round, of which Prometheus is not there; exit code and both outputs."""
    config = tmp_path / "leitstand.yml"
    config.write_text(CONFIGURATION.format(folder=tmp_path))

    def collect():
        status = run(["status-page", "collect", "--once", "--config", str(config)])
        return status, *capsys.readouterr()

    return collect


def test_a_round_reports_what_it_wrote(collect_once, tmp_path):
    folder = tmp_path / "state" / "status-page"
    assert collect_once()[:2] == (1, f"1 service written to {folder}\n")
    assert (folder / "current").exists()


def test_pages_that_could_not_be_written_are_not_reported_as_written(collect_once, tmp_path):
    (tmp_path / "state").write_text("no folder")
    status, output, errors = collect_once()
    assert (status, output) == (1, "")
    assert "cannot write the ready-made pages" in errors


@pytest.mark.skipif(os.geteuid() != 0, reason="nobody but root could leave files that others cannot replace")
def test_root_leaves_nothing_in_the_folder_of_the_service_s_user(collect_once, tmp_path):
    folder = tmp_path / "state" / "status-page"
    folder.mkdir(parents=True)
    os.chown(folder, 65534, 65534)
    status, output, errors = collect_once()
    assert (status, output) == (2, "")
    assert errors.startswith(f"{folder} belongs to nobody")
    assert "hint: runuser -u nobody -- leitstand status-page collect --once" in errors
    assert list(folder.iterdir()) == []
