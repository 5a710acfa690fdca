"""The memory that a run and a verification need does not grow with what they save."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lab.patience import patient

MOST_BYTES = 200_000_000
# Asked from within: what the kernel reports to a parent counts the parent's own memory before exec, too.
COMMAND = """
import sys
from leitstand.cli import run
status = run(sys.argv[1:])
lines = open("/proc/self/status").read().splitlines()
print(*(line.split()[1] for line in lines if line.startswith("VmHWM:")))
sys.exit(status)
"""


def peak_bytes(site: Any, *arguments: str) -> int:
    """The largest memory of one command of ``leitstand backup``, in a process of its own."""
    argv = [sys.executable, "-c", COMMAND, "backup", *arguments, "--config", str(site.config)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=patient(300))
    assert done.returncode == 0, done.stderr
    return int(done.stdout.split()[-1]) * 1024


def fill(www: Path) -> None:
    """Zeros, noise that makes several full volumes, and many files."""
    noise = os.urandom(1 << 20)
    with (www / "noise").open("wb") as file:
        for _ in range(300):
            file.write(noise)
    with (www / "zeros").open("wb") as file:
        file.truncate(600_000_000)
    for number in range(200):
        folder = www / f"folder-{number:03}"
        folder.mkdir()
        for each in range(100):
            (folder / f"file-{each}").write_bytes(b"text %d %d" % (number, each))


@pytest.mark.slow
def test_run_and_verify_stay_below_200_mb_for_any_data(site: Any) -> None:
    fill(site.www)
    del site.job["volume_size"]
    site.job["uploads"] = 2
    site.job["stores"] = ["disk", "second"]
    (site.folder / "second disk").mkdir()
    site.document["stores"]["second"] = {"type": "folder", "path": str(site.folder / "second disk")}
    site.write()
    assert peak_bytes(site, "run", "site") < MOST_BYTES
    assert len(list(site.disk.rglob("vol.zip.*"))) >= 4
    assert peak_bytes(site, "verify", "site", "--store", "disk") < MOST_BYTES
