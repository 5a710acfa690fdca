"""Start the worker and read its answer."""

import contextlib
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from exporter.inventory import SOURCES
from exporter.inventory.order import Order
from exporter.inventory.part import Part, from_wire
from exporter.inventory.source import ENDING_SECONDS
from leitstand.process import run


@dataclass(frozen=True)
class Outcome:
    """How one source went: ``part`` or else ``error``; ``stuck`` is the process that could not be ended."""

    source: str
    duration: float
    part: Part | None = None
    error: str = ""
    stuck: int | None = None


class Runner(Protocol):
    """Carries out an order. Raises LeitstandError when nothing of it could be done."""

    def run(self, order: Order) -> list[Outcome]: ...


class WorkerProcess:
    """Runs sources in a process apart; see ``worker``."""

    def run(self, order: Order) -> list[Outcome]:
        limit = sum(SOURCES[name].limit + ENDING_SECONDS for name in order.sources) + 10
        # -I: neither the working folder nor PYTHON* variables may choose what runs here.
        command = [sys.executable, "-I", "-m", "exporter.inventory.worker"]
        finished = run(command, timeout=limit, stdin=order.to_wire())
        return parse_answer(finished.stdout, finished.stderr, order.sources)


def parse_answer(answer: bytes, complaint: str, sources: Sequence[str]) -> list[Outcome]:
    """One outcome per source asked for; what the worker did not answer has failed with its last words."""
    outcomes = {}
    for line in answer.splitlines():
        # The last line of a worker that was killed may be half of one.
        with contextlib.suppress(ValueError):
            outcome = parse_line(line)
            outcomes[outcome.source] = outcome
    last_words = (complaint.strip().splitlines() or ["the worker ended early"])[-1]
    return [outcomes.get(name) or Outcome(name, 0.0, error=last_words) for name in sources]


def parse_line(line: bytes) -> Outcome:
    """One line of the worker's answer. Raises ValueError for anything else."""
    try:
        raw = json.loads(line)
        part = from_wire(raw["part"].encode()) if "part" in raw else None
        return Outcome(raw["source"], float(raw["duration"]), part, raw.get("error", ""), raw.get("stuck"))
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not an answer of the worker: {error}") from error
