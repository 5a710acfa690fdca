"""Back up the same tree with Leitstand's archive, 7-Zip, stock pyzipper, restic and borg, and print a table.

    python bench/backup.py compare [--rounds 5] [--folder DIR]    first full run, to local disk
    python bench/backup.py verify  [--rounds 5] [--folder DIR]    reading back, and one file out of all
    python bench/backup.py growth  [--largest N]                  time and memory from 1,000 files and 100 MB
    up

Every program runs alone, in a new order each round; CPU is the user and system time of it and its children.
Ratios are taken within a round, then the median of the rounds is printed.
"""

import argparse
import os
import platform
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import backup_lab  # noqa: E402
import backup_tree  # noqa: E402

PASSWORD = "BENCHBENCHBENCHBENCHBENCHBENCH22"
OURS = "leitstand archive"


@dataclass(frozen=True)
class Figures:
    """One run: CPU and wall seconds, peak memory of the largest process, bytes written."""

    cpu: float
    wall: float
    memory_mib: float
    size_mb: float


@dataclass(frozen=True)
class Contender:
    """A program to be measured: its command, preparation, output folder and environment."""

    name: str
    argv: Callable[[Path, Path], list[str]]
    program: str = sys.executable
    prepare: Callable[[Path], None] = lambda _out: None


def worker(task: str) -> Callable[[Path, Path], list[str]]:
    return lambda tree, out: [
        sys.executable,
        str(HERE / "backup_worker.py"),
        task,
        str(tree),
        str(out),
        PASSWORD,
    ]


def seven_zip(tree: Path, out: Path) -> list[str]:
    # The password may be in argv: it is the benchmark's own.
    options = ["-tzip", "-mem=AES256", "-mx=1", "-mmt=2", f"-p{PASSWORD}", "-bd", "-bso0"]
    return ["7z", "a", *options, str(out / "t.zip"), str(tree)]


def restic(tree: Path, out: Path) -> list[str]:
    return ["restic", "-q", "-r", str(out / "repo"), "backup", str(tree)]


def borg(compression: str) -> Callable[[Path, Path], list[str]]:
    return lambda tree, out: ["borg", "create", "-C", compression, f"{out / 'repo'}::a", str(tree)]


def make_restic(out: Path) -> None:
    quiet("restic", "-q", "-r", str(out / "repo"), "init")


def make_borg(out: Path) -> None:
    quiet("borg", "init", "-e", "repokey-blake2", str(out / "repo"))


CONTENDERS = [
    Contender(OURS, worker("seal")),
    Contender("7z a -tzip -mem=AES256 -mx=1 -mmt=2", seven_zip, "7z"),
    Contender("pyzipper stock, deflate 6", worker("stock")),
    Contender("restic backup, local repository", restic, "restic", make_restic),
    Contender("borg create -C lz4, repokey-blake2", borg("lz4"), "borg", make_borg),
    Contender("borg create -C zstd,3, repokey-blake2", borg("zstd,3"), "borg", make_borg),
]
PACKAGES = {"7z": "p7zip-full", "restic": "restic", "borg": "borgbackup"}


def environment() -> dict[str, str]:
    secrets = {"RESTIC_PASSWORD": PASSWORD, "BORG_PASSPHRASE": PASSWORD}
    answers = {"BORG_RELOCATED_REPO_ACCESS_IS_OK": "yes", "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes"}
    home = Path(tempfile.gettempdir()) / "bench-home"
    homes = {
        "HOME": str(home),
        "XDG_CACHE_HOME": str(home / "cache"),
        "XDG_CONFIG_HOME": str(home / "config"),
    }
    return {**os.environ, **secrets, **answers, **homes}


def quiet(*argv: str) -> None:
    subprocess.run(argv, env=environment(), check=True, stdout=subprocess.DEVNULL)


def measure(argv: list[str], out: Path) -> Figures:
    """Run one command alone and read its figures from the kernel."""
    start = time.monotonic()
    child = subprocess.Popen(argv, env=environment(), stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    wall = time.monotonic() - start
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"{argv[0]} failed with status {child.returncode}")
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file()) / 1e6
    return Figures(usage.ru_utime + usage.ru_stime, wall, usage.ru_maxrss / 1024, size)


def run_once(contender: Contender, tree: Path, scratch: Path) -> Figures:
    out = Path(tempfile.mkdtemp(dir=scratch))
    try:
        contender.prepare(out)
        return measure(contender.argv(tree, out), out)
    finally:
        shutil.rmtree(out)


def present(contenders: list[Contender]) -> list[Contender]:
    for contender in contenders:
        if not shutil.which(contender.program):
            print(
                f"left out: {contender.name} (apt-get install {PACKAGES[contender.program]})", file=sys.stderr
            )
    return [contender for contender in contenders if shutil.which(contender.program)]


def rounds_of(
    contenders: list[Contender], tree: Path, scratch: Path, rounds: int
) -> list[dict[str, Figures]]:
    found = []
    for number in range(rounds):
        order = random.sample(contenders, len(contenders))
        found.append({contender.name: run_once(contender, tree, scratch) for contender in order})
        print(f"round {number + 1} of {rounds} done, load {os.getloadavg()[0]:.1f}", file=sys.stderr)
    return found


def print_table(rounds: list[dict[str, Figures]], names: list[str]) -> None:
    print("| what | CPU s | wall s | peak MiB | size MB | our CPU / its | our wall / its | our size / its |")
    print("|---|---|---|---|---|---|---|---|")
    for name in names:
        ratios = [
            median([ratio(each, name, field) for each in rounds]) for field in ("cpu", "wall", "size_mb")
        ]
        figures = [
            median([getattr(each[name], field) for each in rounds]) for field in ("cpu", "wall", "memory_mib")
        ]
        size = median([each[name].size_mb for each in rounds])
        print(f"| {name} | {figures[0]:.2f} | {figures[1]:.2f} | {figures[2]:.0f} | {size:.1f} | "
              + " | ".join(f"{value:.2f}" for value in ratios) + " |")  # fmt: skip


def ratio(figures: dict[str, Figures], name: str, field: str) -> float:
    return float(getattr(figures[OURS], field) / getattr(figures[name], field))


def median(values: list[float]) -> float:
    return statistics.median(values)


def describe(rounds: int) -> None:
    model = next(
        line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")
    )
    print(f"{os.cpu_count()} cores, {model.split(':')[1].strip()}, Python {platform.python_version()}, "
          f"median of {rounds} rounds, load at the end {os.getloadavg()[0]:.1f}\n")  # fmt: skip


def compare(folder: Path, rounds: int) -> None:
    contenders = present(CONTENDERS)
    # Once unmeasured, so that every program finds a warm page cache and its own code in memory.
    run_once(contenders[0], folder / "tree", folder)
    found = rounds_of(contenders, folder / "tree", folder, rounds)
    describe(rounds)
    print_table(found, [contender.name for contender in contenders])


def verify(folder: Path, rounds: int) -> None:
    """Reading back: each program checks what it wrote itself."""
    ours, theirs = folder / "ours", folder / "theirs"
    for made, argv in ((ours, worker("seal")), (theirs, seven_zip)):
        shutil.rmtree(made, ignore_errors=True)
        made.mkdir()
        measure(argv(folder / "tree", made), made)
    quiet("7z", "x", "-y", f"-p{PASSWORD}", f"-o{folder}", first_volume(ours))
    checks = [
        Contender(OURS, lambda _tree, _out: worker("verify")(folder / "tree", ours)),
        Contender(
            "7z t of 7-Zip's own archive",
            lambda *_: ["7z", "t", f"-p{PASSWORD}", str(theirs / "t.zip")],
            "7z",
        ),
        Contender(
            "7z t of ours (MAC only)", lambda *_: ["7z", "t", f"-p{PASSWORD}", first_volume(ours)], "7z"
        ),
        Contender("7z t of the ZIP inside ours", lambda *_: ["7z", "t", str(folder / "backup.zip")], "7z"),
    ]
    found = rounds_of(present(checks), folder / "tree", folder, rounds)
    describe(rounds)
    print_table(
        [{name: one_size(figures) for name, figures in each.items()} for each in found],
        [c.name for c in checks],
    )
    print(
        subprocess.run(
            worker("one-file")(folder / "tree", ours), capture_output=True, text=True, check=True
        ).stdout
    )


def first_volume(folder: Path) -> str:
    return str(min(folder.glob("vol.zip*")))


def one_size(figures: Figures) -> Figures:
    return Figures(figures.cpu, figures.wall, figures.memory_mib, 1)


def growth(largest: int) -> None:
    """Time and memory by the number of files and by bytes; output is discarded, so that the disk does not
    count.
    """
    print("| files | bytes | CPU s | wall s | peak MiB | µs of CPU per file | MB of content per CPU s |")
    print("|---|---|---|---|---|---|---|")
    cases = [(10**power, 2000) for power in range(3, 7)] + [(1, 10**power) for power in range(8, 11)]
    for files, size in cases:
        if files * size > largest:
            continue
        out = Path(tempfile.mkdtemp())
        argv = [sys.executable, str(HERE / "backup_worker.py"), "growth", str(files), str(size), PASSWORD]
        figures = measure(argv, out)
        total = files * size
        times = f"{figures.cpu:.1f} | {figures.wall:.1f} | {figures.memory_mib:.0f}"
        per_file = f"{figures.cpu / files * 1e6:.0f}" if files > 1 else ""
        print(
            f"| {files:,} | {total:,} | {times} | {per_file} | {total / figures.cpu / 1e6:.0f} |", flush=True
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["compare", "verify", "growth"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "leitstand-bench")
    parser.add_argument("--largest", type=int, default=10**10, help="bytes of the largest case of growth")
    options = parser.parse_args()
    backup_lab.compile_ours()
    if options.what == "growth":
        growth(options.largest)
        return
    options.folder.mkdir(parents=True, exist_ok=True)
    backup_tree.make(options.folder)
    (compare if options.what == "compare" else verify)(options.folder, options.rounds)


if __name__ == "__main__":
    main()
