"""The workflow "deploy" is executed on a runner without Leitstand, by a restricted key, against an sshd."""

import hashlib
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from lab.packages import package
from lab.patience import patient
from lab.sshd import Sshd

ROOT = Path(__file__).parents[2]
TEMPLATE = ROOT / "deploy/fleet-template"
ACT = Path(sys.executable).parent / "act"
RECEIVER = "/usr/bin/leitstand deploy receive"
# In place of the roll-out itself, which would change this machine: it prints what it was given.
STAND_IN = """\
import os, sys
from pathlib import Path
from rollout.incoming.receive import receive
def roll_out(words):
    print("rolled out", *words[1:], flush=True)
    print((Path(words[0].removeprefix("--config=")) / "leitstand.yml").read_text())
    print("asked for", os.environ.get("SSH_ORIGINAL_COMMAND"), file=sys.stderr)
    return int(Path(sys.argv[1]).with_name("status").read_text())
sys.exit(receive(sys.stdin.buffer, Path(sys.argv[1]), roll_out))
"""
pytestmark = [pytest.mark.slow, pytest.mark.skipif(not ACT.exists(), reason="act is not installed")]
Done = subprocess.CompletedProcess[str]


@dataclass
class Pipeline:
    """A fleet's repository, made from the template, and what runs its workflows."""

    repository: Path
    home: Path
    sshd: Sshd
    key: str

    def git(self, *words: str) -> None:
        who = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org", "-c", "init.defaultBranch=main"]
        subprocess.run(["git", "-C", self.repository, *who, *words], check=True, capture_output=True)

    def run(self, workflow: str, event: str) -> Done:
        argv = [str(ACT), event, "--workflows", f".github/workflows/{workflow}.yml"]
        argv += ["--platform", "ubuntu-24.04=-self-hosted", "--secret", "DEPLOY_KEY"]
        argv += ["--var", f"LEITSTAND_HOST={self.sshd.user}@127.0.0.1:{self.sshd.port}"]
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.home), "DEPLOY_KEY": self.key}
        return subprocess.run(
            argv,
            cwd=self.repository,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=patient(300),
        )


@pytest.fixture
def pipeline(tmp_path: Path, packages: Path) -> Iterator[Pipeline]:
    with Sshd(tmp_path / "sshd") as sshd:
        authorize(sshd, tmp_path)
        repository = tmp_path / "fleet"
        shutil.copytree(TEMPLATE, repository)
        (repository / "known_hosts").write_text(sshd.known_hosts.read_text())
        file = package("leitstand", packages)
        pinned = f"{hashlib.sha256(file.read_bytes()).hexdigest()} file://{file}\n"
        (repository / "leitstand.release").write_text(pinned)
        home = tmp_path / "home"
        (home / ".config/act").mkdir(parents=True)
        (home / ".config/act/actrc").touch()  # else it asks which image to use
        made = Pipeline(repository, home, sshd, sshd.identity.read_text())
        made.git("init")
        made.git("add", "--all")
        made.git("commit", "--message", "Watch web1 $(touch canary) ${{ secrets.DEPLOY_KEY }}")
        yield made


def authorize(sshd: Sshd, folder: Path) -> None:
    """Let the key do what `leitstand deploy authorize` prints for it."""
    (folder / "stand_in.py").write_text(STAND_IN)
    (folder / "status").write_text("0")
    argv = [sys.executable, "-m", "leitstand", "deploy", "authorize", f"{sshd.identity}.pub"]
    line = subprocess.run(argv, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    words = ["env", f"PYTHONPATH={ROOT}", sys.executable, folder / "stand_in.py", folder / "incoming"]
    assert f'restrict,command="{RECEIVER}"' in line
    sshd.allow(line.replace(RECEIVER, shlex.join(map(str, words))))


def test_the_workflow_deploys_by_a_key_that_can_do_nothing_else(pipeline: Pipeline, tmp_path: Path) -> None:
    done = pipeline.run("deploy", "push")
    output = done.stdout + done.stderr
    assert done.returncode == 0, output
    assert "rolled out" in output
    assert "site:" in output, "what was sent arrived"
    kept = tmp_path / "incoming/000001/leitstand.yml"
    assert kept.read_bytes() == (TEMPLATE / "leitstand.yml").read_bytes()
    for line in pipeline.key.splitlines()[1:-1]:
        assert line not in output
    assert not list(tmp_path.rglob("canary"))


def test_a_roll_out_that_fails_makes_the_workflow_fail(pipeline: Pipeline, tmp_path: Path) -> None:
    (tmp_path / "status").write_text("3")
    assert pipeline.run("deploy", "push").returncode != 0


def test_drift_only_looks(pipeline: Pipeline) -> None:
    done = pipeline.run("drift", "schedule")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "rolled out --dry-run" in done.stdout


def test_another_package_than_the_pinned_one_is_not_run(pipeline: Pipeline, tmp_path: Path) -> None:
    release = pipeline.repository / "leitstand.release"
    release.write_text(f"{'0' * 64} {release.read_text().split()[1]}\n")
    done = pipeline.run("deploy", "push")
    assert done.returncode != 0
    assert "has another sum than leitstand.release says" in done.stdout + done.stderr
    assert not (tmp_path / "incoming").exists()
