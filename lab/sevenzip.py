"""Open a snapshot with 7-Zip only, as a person without Leitstand would."""

import json
import shutil
import subprocess
from pathlib import Path

from lab.patience import patient
from lab.processes import LabError
from lab.stack import Stack


def open_with_7zip(stack: Stack) -> str:
    """Extract the newest snapshot of the folder store in two steps with ``7z``; returns a summary."""
    snapshots = json.loads(stack.leitstand("backup", "list", "website", "--json", check=True).stdout)
    newest = max((row for row in snapshots if row["store"] == "disk"), key=lambda row: row["snapshot"])[
        "snapshot"
    ]
    shown = stack.leitstand("backup", "keys", "show", newest, check=True).stdout.split()
    folder = stack.folder / "opened-with-7zip"
    shutil.rmtree(folder, ignore_errors=True)
    outer, inner = folder / "outer", folder / "inner"
    volume = _first_volume(stack.folder / "disk", newest)
    _extract(volume, outer, shown[-1])
    (archive,) = outer.iterdir()
    _extract(archive, inner, "")
    return f"{sum(1 for path in inner.rglob('*') if path.is_file())} files out of {volume.name}"


def _first_volume(store: Path, snapshot: str) -> Path:
    volumes = sorted(path for path in store.rglob("vol.zip*") if snapshot.rsplit("/", 1)[-1] in path.parts)
    if not volumes:
        raise LabError(f"no volume of {snapshot} in {store}")
    return volumes[0]


def _extract(archive: Path, target: Path, password: str) -> None:
    # The password goes to standard input: every user can read a command line.
    argv = ["7z", "x", "-y", f"-o{target}", str(archive)]
    done = subprocess.run(
        argv, input=password + "\n", capture_output=True, text=True, timeout=patient(120), check=False
    )
    if done.returncode:
        raise LabError(f"7z cannot open {archive.name}: {(done.stderr or done.stdout).strip()[-300:]}")
