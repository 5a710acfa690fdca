"""Tools of bench/backup_run.py: a Swift of its own, a configured job, and one measured process."""

import compileall
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
LEITSTAND = [sys.executable, "-m", "leitstand", "backup"]
TICKS = os.sysconf("SC_CLK_TCK")
SAMPLE_SECONDS = 0.1


def compile_ours() -> None:
    """Compile the bytecode files that an installation has: a checkout may lack them."""
    for name in ("leitstand", "orchestrator"):
        compileall.compile_dir(REPOSITORY / name, quiet=1)


@dataclass(frozen=True)
class Figures:
    """One process: CPU (its own and its children's) and wall seconds, peak memory in MiB, output."""

    cpu: float
    wall: float
    rss: float
    pss: float
    output: str = ""


def measure(argv: list[str], environment: Mapping[str, str] | None = None) -> Figures:
    """Run one program to its end. Raises SystemExit when it fails."""
    start = time.monotonic()
    with tempfile.TemporaryFile("w+") as output:
        child = subprocess.Popen(
            argv, env={**os.environ, **(environment or {})}, stdout=output, cwd=REPOSITORY
        )
        peak = Peak(child.pid)
        peak.start()
        _, status, usage = os.wait4(child.pid, 0)
        wall = time.monotonic() - start
        peak.ended.set()
        peak.join()
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            raise SystemExit(f"{' '.join(argv)} failed with status {child.returncode}")
        output.seek(0)
        # The child begins as a copy of this process, its first peak of memory: so this one stays small.
        return Figures(usage.ru_utime + usage.ru_stime, wall, usage.ru_maxrss / 1024, peak.mib, output.read())


class Peak(threading.Thread):
    """Reads a process's proportional set size every tenth of a second."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.path, self.mib, self.ended = Path(f"/proc/{pid}/smaps_rollup"), 0.0, threading.Event()

    def run(self) -> None:
        while not self.ended.wait(SAMPLE_SECONDS):
            try:
                text = self.path.read_text()
            except OSError:
                continue
            kib = next((int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:")), 0)
            self.mib = max(self.mib, kib / 1024)


@dataclass(frozen=True)
class Swift:
    """A running Swift, its address and keys."""

    endpoint: str
    access_key: str
    secret_key: str
    pid: int

    @property
    def cpu(self) -> float:
        """Seconds of CPU that the server has used so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    @property
    def environment(self) -> dict[str, str]:
        """The keys as the AWS programs and restic expect them."""
        return {"AWS_ACCESS_KEY_ID": self.access_key, "AWS_SECRET_ACCESS_KEY": self.secret_key}


@contextmanager
def running_swift(folder: Path) -> Iterator[Swift]:
    """A new Swift with its data in ``folder``."""
    argv = [str(REPOSITORY / ".venv-swift/bin/python"), str(REPOSITORY / "lab/swift_server.py"), str(folder)]
    argv = ["setpriv", "--pdeathsig", "TERM", "--", *argv]
    with (
        (folder / "log").open("w") as log,
        subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=log, text=True) as process,
    ):
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline() or "{}")
        if not ready:
            raise SystemExit(f"Swift does not start: {(folder / 'log').read_text()}")
        try:
            yield Swift(ready["endpoint"], ready["access_key"], ready["secret_key"], ready["pid"])
        finally:
            process.terminate()


@dataclass
class Site:
    """A configuration with one job ``tree``, in a folder of its own."""

    folder: Path
    tree: Path
    swift: Swift | None = None
    uploads: int = 1
    config: Path = field(init=False)

    def __post_init__(self) -> None:
        for name in ("state", "scratch", "disk"):
            (self.folder / name).mkdir(exist_ok=True)
        self.config = self.folder / "leitstand.yml"
        self.config.write_text(json.dumps(self._document()))  # YAML is a superset of JSON
        if not (self.folder / "keys").exists():
            subprocess.run(self.argv("keys", "generate"), check=True, capture_output=True, cwd=REPOSITORY)

    def argv(self, *arguments: str) -> list[str]:
        """A command of ``leitstand backup`` for this site."""
        return [*LEITSTAND, *arguments, "-c", str(self.config)]

    def _document(self) -> dict[str, Any]:
        job = {
            "host": "here",
            "sources": [{"files": str(self.tree)}],
            "stores": ["store"],
            "keys_file": str(self.folder / "keys"),
            "scratch": str(self.folder / "scratch"),
            "uploads": self.uploads,
        }
        return {
            "hosts": {"here": {"address": "127.0.0.1"}},
            "stores": {"store": self._store()},
            "backups": {"tree": job},
            "paths": {"state": str(self.folder / "state"), "metrics": str(self.folder / "metrics")},
        }

    def _store(self) -> dict[str, Any]:
        if self.swift is None:
            return {"type": "folder", "path": str(self.folder / "disk")}
        keys = self.folder / "swift.ini"
        keys.touch(mode=0o600)
        keys.write_text(
            f"[default]\naccess_key = {self.swift.access_key}\nsecret_key = {self.swift.secret_key}\n"
        )
        return {
            "type": "s3",
            "endpoint": self.swift.endpoint,
            "bucket": "backups",
            "credentials_file": str(keys),
        }
