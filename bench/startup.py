"""Small commands compared with borg's: the cost of starting.

    .venv/bin/python -m bench.startup [--rounds 20]

A folder store and a borg repository with three snapshots of one file each. The commands alternate; the
figures are medians of the rounds, the ratios those of the medians. CPU is user and system time.
"""

import argparse
import shutil
import statistics
import sys
import tempfile
from pathlib import Path

from bench import backup
from bench.backup_lab import Site, compile_ours, measure

SNAPSHOTS = 3
LEITSTAND = [sys.executable, "-m", "leitstand"]


def commands(folder: Path) -> dict[str, list[str]]:
    """Name -> command line; makes the snapshots that they list. The first is borg's, if installed."""
    tree = folder / "tree"
    tree.mkdir()
    (tree / "file").write_text("content\n")
    (folder / "site").mkdir()
    site = Site(folder / "site", tree)
    found = {}
    if shutil.which("borg"):
        measure(["borg", "init", "-e", "repokey-blake2", str(folder / "repo")], environment(folder))
        found["borg list"] = ["borg", "list", str(folder / "repo")]
    for number in range(SNAPSHOTS):
        measure(site.argv("run", "tree"))
        if found:
            archive = f"{folder / 'repo'}::{number}"
            measure(["borg", "create", archive, str(tree)], environment(folder))
    return found | {
        "leitstand backup status": site.argv("status"),
        "leitstand backup list": site.argv("list"),
        "leitstand --version": [*LEITSTAND, "--version"],
        "leitstand --help": [*LEITSTAND, "--help"],
        "leitstand backup --help": [*LEITSTAND, "backup", "--help"],
    }


def environment(folder: Path) -> dict[str, str]:
    return {"BORG_BASE_DIR": str(folder / "borg"), "BORG_PASSPHRASE": backup.PASSWORD}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=20)
    rounds = parser.parse_args().rounds
    compile_ours()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lines = commands(folder)
        cpu: dict[str, list[float]] = {name: [] for name in lines}
        wall: dict[str, list[float]] = {name: [] for name in lines}
        for _ in range(rounds):
            for name, argv in lines.items():
                figures = measure(argv, environment(folder))
                cpu[name].append(figures.cpu)
                wall[name].append(figures.wall)
    print(f"{rounds} rounds\n")
    print("| command | CPU ms | wall ms | CPU / first | wall / first |\n|---|---|---|---|---|")
    first = None
    for name in lines:
        medians = [1000 * statistics.median(values[name]) for values in (cpu, wall)]
        first = first or medians
        cells = [f"{each:.0f}" for each in medians]
        cells += [f"{each / base:.2f}" for each, base in zip(medians, first, strict=True)]
        print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
