"""Change the core modules at random, one place at a time, and check whether their quick tests fail.

The modules and their tests are in pyproject.toml, in ``[tool.leitstand.mutants]``. Works on a copy of the
checkout. Needs cosmic-ray, preferably in its own environment: ``--tool PATH``.
"""

import argparse
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from lab.patience import patient

ROOT = Path(__file__).resolve().parents[1]
PYTHON = ROOT / ".venv/bin/python"
OPTIONS = "-x -q --no-header -p no:cacheprovider"
SECONDS = 60
INSTALL = "python3 -m venv /tmp/cosmic-ray && /tmp/cosmic-ray/bin/pip install cosmic-ray"
SETTINGS = """\
[cosmic-ray]
module-path = "{module}"
timeout = {seconds}
excluded-modules = []
test-command = "env PYTHONPATH={copy} {python} -m pytest {options} --basetemp={copy}-t {tests}"
[cosmic-ray.distributor]
name = "local"
"""
SITES = "SELECT job_id, start_pos_row, start_pos_col, operator_name FROM mutation_specs"
RESULTS = "SELECT test_outcome, diff FROM work_results"


@dataclass(frozen=True)
class Session:
    """The mutations of one module, in a database of cosmic-ray's."""

    module: str
    settings: Path

    @property
    def database(self) -> Path:
        """The database's path."""
        return self.settings.with_suffix(".sqlite")

    def places(self) -> dict[tuple[int, int, str], list[str]]:
        """The mutations of each place; a kind of operator counts once, even with several replacements.

        The flags of a dataclass (frozen, slots) are left out: nothing that works depends on them.
        """
        lines = (ROOT / self.module).read_text().splitlines()
        found: dict[tuple[int, int, str], list[str]] = {}
        with closing(sqlite3.connect(self.database)) as connection:
            for job, row, column, operator in connection.execute(SITES):
                if lines[row - 1].startswith("@dataclass("):
                    continue
                kind = operator.rpartition("/")[2].split("_")[0]
                found.setdefault((row, column, kind), []).append(job)
        return found

    def keep(self, jobs: set[str]) -> None:
        """Delete all other mutations."""
        with closing(sqlite3.connect(self.database)) as connection, connection:
            connection.execute("PRAGMA foreign_keys = OFF")
            for table in ("mutation_specs", "work_items"):
                known = {job for (job,) in connection.execute(f"SELECT job_id FROM {table}")}
                gone = [(job,) for job in known - jobs]
                connection.executemany(f"DELETE FROM {table} WHERE job_id = ?", gone)

    def results(self) -> Iterator[tuple[str, str]]:
        """``KILLED``, ``SURVIVED`` or ``INCOMPETENT``, and the change as a diff."""
        with closing(sqlite3.connect(self.database)) as connection:
            yield from connection.execute(RESULTS)


def copy_checkout(target: Path) -> None:
    """All files that git knows, and the virtual environments by link."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    for name in listed.stdout.split("\0"):
        if name and (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)
    for name in (".venv", ".venv-swift"):
        (target / name).symlink_to(ROOT / name)


def make_session(folder: Path, copy: Path, module: str, tests: str, tool: str) -> Session:
    """Find a module's mutations."""
    session = Session(module, folder / (module.replace("/", ".") + ".toml"))
    words = {"module": module, "tests": tests, "copy": copy, "python": PYTHON, "options": OPTIONS}
    session.settings.write_text(SETTINGS.format(**words, seconds=patient(SECONDS)))
    subprocess.run([tool, "init", session.settings, session.database], cwd=copy, check=True)
    return session


def choose(sessions: list[Session], number: int, seed: int) -> None:
    """Keep ``number`` places at random over all modules, with one mutation each."""
    generator = random.Random(seed)
    places = [jobs for session in sessions for jobs in session.places().values()]
    sample = generator.sample(places, min(number, len(places)))
    kept = {generator.choice(sorted(jobs)) for jobs in sample}
    for session in sessions:
        session.keep(kept)


def report(sessions: list[Session]) -> int:
    """Print the survivors and the share of killed mutations; returns the number of survivors."""
    outcomes = [(session.module, *result) for session in sessions for result in session.results()]
    survivors = [(module, diff) for module, outcome, diff in outcomes if outcome == "SURVIVED"]
    for module, diff in survivors:
        changed = [line for line in diff.splitlines() if line[:1] in "+-@" and line[:3] not in ("---", "+++")]
        print(f"\n{module}", *changed, sep="\n")
    killed = len(outcomes) - len(survivors)
    print(f"\n{killed} of {len(outcomes)} killed ({100 * killed / max(1, len(outcomes)):.1f} %)")
    return len(survivors)


def options() -> argparse.Namespace:
    """The command line, parsed."""
    parser = argparse.ArgumentParser(prog="python -m lab.mutants", description=__doc__)
    parser.add_argument("--sample", type=int, default=400, help="number of places to change (400)")
    parser.add_argument("--seed", type=int, default=1, help="seed of the sample (1)")
    parser.add_argument("--only", default="", help="modules whose path contains this text")
    parser.add_argument("--tool", default="cosmic-ray", help="path of cosmic-ray")
    return parser.parse_args()


def main() -> int:
    """Exit code 1 if a change survived, 2 without cosmic-ray."""
    chosen = options()
    if not shutil.which(chosen.tool):
        print(f"error: {chosen.tool}: not found\n  hint: {INSTALL}; then --tool PATH", file=sys.stderr)
        return 2
    table = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["leitstand"]["mutants"]
    with tempfile.TemporaryDirectory(prefix="mutants.") as name:
        folder = Path(name)
        copy = folder / "copy"
        copy_checkout(copy)
        sessions = [
            make_session(folder, copy, module, tests, chosen.tool)
            for module, tests in table.items()
            if chosen.only in module
        ]
        choose(sessions, chosen.sample, chosen.seed)
        for session in sessions:
            argv = [chosen.tool, "exec", session.settings, session.database]
            subprocess.run(argv, cwd=copy, check=True, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"})
        return 1 if report(sessions) else 0


if __name__ == "__main__":
    sys.exit(main())
