"""The repository that an admin copies, and the workflows: valid, no findings, no places of a machine."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from lab.patience import patient

ROOT = Path(__file__).parents[2]
TEMPLATE = ROOT / "deploy/fleet-template"
WORKFLOWS = [*sorted(TEMPLATE.glob(".github/workflows/*.yml")), *sorted(ROOT.glob(".github/workflows/*.yml"))]


def test_the_template_passes_the_check_of_its_own_workflow() -> None:
    words = [sys.executable, "-m", "leitstand", "check", "--config", str(TEMPLATE / "leitstand.yml")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=patient(120), cwd=ROOT)
    assert done.returncode == 0, done.stderr


def test_the_template_names_no_place_of_a_machine() -> None:
    for path in TEMPLATE.rglob("*"):
        if path.is_file():
            assert not re.search(r"/(?:home|work|tmp|Users)/", path.read_text()), path


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_gives_a_job_no_more_than_it_needs(path: Path) -> None:
    workflow = yaml.safe_load(path.read_text())
    assert workflow["permissions"] == {}
    assert workflow["concurrency"]["cancel-in-progress"] is False
    assert "pull_request_target" not in path.read_text()
    for job in workflow["jobs"].values():
        assert job["timeout-minutes"]
        checkout, command, *after = job["steps"]
        assert re.fullmatch(r"actions/checkout@[0-9a-f]{40}", checkout["uses"])
        assert checkout["with"]["persist-credentials"] is False
        assert "${{" not in command["run"]
        if path.stem == "release":
            assert job["permissions"] == dict.fromkeys(("contents", "id-token", "attestations"), "write")
            attest, publish = after
            assert re.fullmatch(r"actions/attest-build-provenance@[0-9a-f]{40}", attest["uses"])
            assert "${{" not in publish["run"]
        else:
            assert set(job["permissions"].values()) == {"read"}
            assert not after


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_runs_a_program_of_the_repository_that_a_laptop_runs_as_well(path: Path) -> None:
    root = next(parent.parent for parent in path.parents if parent.name == ".github")
    for job in yaml.safe_load(path.read_text())["jobs"].values():
        programs = re.findall(r"(?:^|&& )(\./\w+|deploy/\S+)", job["steps"][1]["run"])
        assert programs
        for program in programs:
            assert os.access(root / program, os.X_OK), program


# What others than the repository's own people can write: https://docs.github.com/en/actions/security-guides
FOREIGN = r"github\.(head_ref|event\.(?!pull_request\.base\.sha))|commits|title|body|label|ref_name|actor"


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_secret_reaches_no_branch_commit_title_or_fork(path: Path) -> None:
    text = path.read_text()
    workflow = yaml.safe_load(text)
    triggers = workflow[True]  # YAML reads the key `on` so
    expressions = re.findall(r"\$\{\{(.*?)\}\}", text)
    assert not [each for each in expressions if re.search(FOREIGN, each)]
    uses_secrets = [job for job in workflow["jobs"].values() if "secrets." in str(job)]
    if uses_secrets:
        assert not set(triggers) - {"push", "schedule", "workflow_dispatch"}, "forks start pull requests"
        push = triggers.get("push", {})
        assert push in ({}, {"branches": ["main"]}, {"tags": ["v*"]})
        assert all(job["environment"] for job in uses_secrets), "which only people and main may use"
    for job in workflow["jobs"].values():
        for step in job["steps"]:
            assert "secrets." not in str(step.get("run")), "an argument is visible to every process"


def test_the_workflows_have_no_finding_of_zizmor() -> None:
    zizmor = Path(sys.executable).parent / "zizmor"
    words = [str(zizmor), "--offline", "--no-progress", *map(str, WORKFLOWS)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=patient(60))
    assert done.returncode == 0, done.stdout
