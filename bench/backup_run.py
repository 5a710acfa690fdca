"""Whole runs of `leitstand backup` beside restic and boto3: real processes, a folder and a real Swift.

    python -m bench.backup_run compare [--rounds 3] [--uploads 1]   first full run of the 475 MB tree
    python -m bench.backup_run growth  [--only SUBSTRING]           run, verify, listings and restore by size
    python -m bench.backup_run wire                                 bytes sent for one file out of 1 GB

Every program runs alone, in a new order each round, each upload to a Swift of its own that is empty. CPU is
user and system time of the program and its children, without Swift's. Ratios are taken within a round, then
the median of the rounds is printed. Swift needs .venv-swift (see CONTRIBUTING.md).
"""

import argparse
import json
import os
import random
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from bench import backup, backup_growth, backup_tree
from bench.backup_lab import Figures, Site, Swift, compile_ours, measure, running_swift

WORKER = str(Path(__file__).with_name("backup_worker.py"))
OURS_SWIFT, OURS_FOLDER = "leitstand backup run, to Swift", "leitstand backup run, to a folder"
BOTO3, UPLOADS = "boto3 put_object alone", "leitstand's uploads alone"
RESTIC_SWIFT, RESTIC_FOLDER = "restic backup, to Swift", "restic backup, to a folder"
BUCKET = "restic"


@dataclass(frozen=True)
class Place:
    """The place of one contender: an empty folder, the tree, finished volumes, and a Swift if needed."""

    out: Path
    tree: Path
    volumes: Path
    uploads: int
    swift: Swift | None = None


@dataclass(frozen=True)
class Round:
    """A contender's figures, the Swift's CPU seconds, the bytes it stored, and the seconds that took."""

    figures: Figures
    swift_cpu: float
    stored: int
    seconds: float

    @property
    def speed(self) -> float:
        """MB stored per second."""
        return self.stored / self.seconds / 1e6


def ours(place: Place) -> Figures:
    site = Site(place.out, place.tree, place.swift, place.uploads)
    return measure(site.argv("run", "tree"))


def volumes_by(task: str) -> Callable[[Place], Figures]:
    def run(place: Place) -> Figures:
        assert place.swift
        argv = [sys.executable, WORKER, task, str(place.volumes), place.swift.endpoint, str(place.uploads)]
        return measure(argv, place.swift.environment)

    return run


def restic(place: Place) -> Figures:
    repository = f"s3:{place.swift.endpoint}/{BUCKET}" if place.swift else str(place.out / "repo")
    argv = ["restic", "-q", "-o", "s3.bucket-lookup=path", "-r", repository]
    swift = place.swift.environment if place.swift else {}
    homes = {"HOME": str(place.out), "XDG_CACHE_HOME": str(place.out / "cache")}
    environment = {"RESTIC_PASSWORD": backup.PASSWORD, "AWS_DEFAULT_REGION": "us-east-1", **homes, **swift}
    measure([*argv, "init"], environment)
    return measure([*argv, "backup", str(place.tree)], environment)


CONTENDERS: dict[str, tuple[Callable[[Place], Figures], bool]] = {
    OURS_SWIFT: (ours, True),
    OURS_FOLDER: (ours, False),
    UPLOADS: (volumes_by("uploads"), True),
    BOTO3: (volumes_by("boto3"), True),
    RESTIC_SWIFT: (restic, True),
    RESTIC_FOLDER: (restic, False),
}


@contextmanager
def empty_folder(folder: Path) -> Iterator[Path]:
    """A folder that is removed at the end, with all writes finished before the next one begins."""
    made = Path(tempfile.mkdtemp(dir=folder))
    try:
        yield made
    finally:
        shutil.rmtree(made)
        os.sync()


def run_once(name: str, place: Place) -> Round:
    run, on_swift = CONTENDERS[name]
    with empty_folder(place.out) as out, empty_folder(place.out) as data:
        if not on_swift:
            figures = run(replace(place, out=out))
            return Round(figures, 0, size_of(out, "disk/*/*/*/vol*", "repo/data/*/*"), figures.wall)
        with running_swift(data) as swift:
            before = swift.cpu
            figures = run(replace(place, out=out, swift=swift))
            stored = size_of(data, "**/*.data")
            seconds = json.loads(figures.output)["seconds"] if name in (BOTO3, UPLOADS) else figures.wall
            return Round(figures, swift.cpu - before, stored, seconds)


def size_of(folder: Path, *patterns: str) -> int:
    return sum(path.stat().st_size for pattern in patterns for path in folder.glob(pattern))


def make_volumes(folder: Path) -> Path:
    """The volumes of one run, which BOTO3 and UPLOADS send."""
    volumes = folder / "volumes"
    if not volumes.exists():
        with empty_folder(folder) as out:
            measure(Site(out, folder / "tree").argv("run", "tree"))
            made = next(out.glob("disk/*/*/*"))
            made.rename(volumes)
    return volumes


def compare(folder: Path, rounds: int, uploads: int, only: str) -> None:
    place = Place(folder, folder / "tree", make_volumes(folder), uploads)
    names = [name for name in CONTENDERS if only in name and (shutil.which("restic") or "restic" not in name)]
    found: list[dict[str, Round]] = []
    for number in range(rounds):
        found.append({name: run_once(name, place) for name in random.sample(names, len(names))})
        print(f"round {number + 1} of {rounds} done, load {os.getloadavg()[0]:.1f}", file=sys.stderr)
    backup.describe(rounds)
    print(f"uploads: {uploads}\n")
    print_table(found, names)
    print_ratios(found)


def print_table(rounds: list[dict[str, Round]], names: list[str]) -> None:
    print("| what | CPU s | wall s | RSS MiB | PSS MiB | Swift's CPU s | MB stored | MB/s |")
    print("|---|---|---|---|---|---|---|---|")
    for name in names:
        each = [found[name] for found in rounds]
        figures = [round.figures for round in each]
        cells = [
            f"{median([one.cpu for one in figures]):.2f}",
            f"{median([one.wall for one in figures]):.2f}",
            f"{median([one.rss for one in figures]):.0f}",
            f"{median([one.pss for one in figures]):.0f}",
            f"{median([one.swift_cpu for one in each]):.2f}",
            f"{median([one.stored for one in each]) / 1e6:.1f}",
            f"{median([one.speed for one in each]):.0f}",
        ]
        print(f"| {name} | {' | '.join(cells)} |")


def print_ratios(rounds: list[dict[str, Round]]) -> None:
    def ratio(what: str, one: str, other: str, figure: Callable[[Round], float]) -> None:
        if all(one in each and other in each for each in rounds):
            values = [figure(each[one]) / figure(each[other]) for each in rounds]
            print(f"| {what} | {median(values):.2f} | {min(values):.2f} to {max(values):.2f} |")

    print("\n| ratio | median | range |\n|---|---|---|")
    ratio("CPU, run to a folder / restic's", OURS_FOLDER, RESTIC_FOLDER, lambda each: each.figures.cpu)
    ratio("CPU, run to Swift / restic's", OURS_SWIFT, RESTIC_SWIFT, lambda each: each.figures.cpu)
    ratio("wall, run to a folder / restic's", OURS_FOLDER, RESTIC_FOLDER, lambda each: each.figures.wall)
    ratio("wall, run to Swift / restic's", OURS_SWIFT, RESTIC_SWIFT, lambda each: each.figures.wall)
    ratio("MB/s, uploads alone / boto3's", UPLOADS, BOTO3, lambda each: each.speed)
    ratio("CPU, uploads alone / boto3's", UPLOADS, BOTO3, lambda each: each.figures.cpu)
    ratio("MB/s, whole run to Swift / boto3's", OURS_SWIFT, BOTO3, lambda each: each.speed)


def median(values: list[float]) -> float:
    return statistics.median(values)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["compare", "growth", "wire"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--uploads", type=int, default=1, help="volumes sent in parallel")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "leitstand-bench")
    parser.add_argument(
        "--only", default="", help="only the contenders or cases with this text in their name"
    )
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    compile_ours()
    if options.what == "growth":
        backup_growth.growth(options.folder, options.only)
        return
    if options.what == "wire":
        backup_growth.wire(options.folder)
        return
    backup_tree.make(options.folder)
    compare(options.folder, options.rounds, options.uploads, options.only)


if __name__ == "__main__":
    main()
