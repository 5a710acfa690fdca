"""Tasks as processes of their own: each gives back all its memory, and SIGTERM breaks one off cleanly."""

import json
import logging
import os
import queue
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from leitstand import process
from leitstand.errors import EXIT_FAILED, EXIT_OK, EXIT_WARNINGS
from leitstand.process import ProcessError, Stream
from orchestrator.config.tasks import Task

_log = logging.getLogger(__name__)
LARGEST_REPORT = 32 << 20  # bytes of JSON that a child may report
END_SECONDS = 60.0  # for a child to end once it has closed its output


@dataclass(frozen=True)
class Ended:
    """A child that ended. ``report`` is what it printed as JSON, None if that was nothing of the kind."""

    task: Task
    status: int
    began: float
    seconds: float
    report: Any
    stderr: str


@dataclass
class Children:
    """Starts ``leitstand backup …`` for tasks; each that ends is put into ``ended``."""

    config: Path
    show_errors: bool = False
    log_options: Sequence[str] = ()
    ended: "queue.Queue[Ended]" = field(default_factory=queue.Queue)
    running: dict[Task, Stream] = field(default_factory=dict)

    def start(self, task: Task, options: Sequence[str] = ()) -> None:
        """Start a child; what keeps it from starting is its end."""
        # -P: the working folder must not choose what runs.
        argv = [sys.executable, "-P", "-m", "leitstand", *self.log_options, "backup", task.action, task.job]
        argv += ["--json", "--config", str(self.config.absolute()), *options]
        began = time.time()
        try:
            # It is this program itself: so it gets all of the environment, proxies and the like.
            stream = process.open_stream(argv, env=os.environ, keep_errors=not self.show_errors)
        except ProcessError as error:
            self.ended.put(Ended(task, EXIT_FAILED, began, 0.0, None, error.message))
            return
        self.running[task] = stream
        follow = threading.Thread(
            target=self._follow, args=(task, stream, began), name=task.name, daemon=True
        )
        follow.start()

    def forget(self, ended: Ended) -> None:
        self.running.pop(ended.task, None)

    def break_off(self) -> None:
        """Ask all children to clean up and end."""
        for stream in self.running.values():
            stream.terminate()

    def kill(self) -> None:
        """End what did not listen."""
        for stream in self.running.values():
            stream.kill()

    def _follow(self, task: Task, stream: Stream, began: float) -> None:
        start = time.monotonic()
        status, stderr, output = EXIT_FAILED, "", b""
        try:
            with stream:
                output = stream.stdout.read(LARGEST_REPORT)
                finished = stream.finish(END_SECONDS)
                status, stderr = finished.status, finished.stderr
                if status < 0:
                    status, stderr = EXIT_FAILED, f"{stderr}it was ended by signal {-finished.status}"
        except (ProcessError, OSError) as error:
            stderr = str(error)
        report = _report(output)
        if report is None and status in (EXIT_OK, EXIT_WARNINGS):
            status, stderr = EXIT_FAILED, f"{stderr}it ended with status {status} but reported nothing"
        self.ended.put(Ended(task, status, began, time.monotonic() - start, report, stderr))


def _report(output: bytes) -> Any:
    try:
        return json.loads(output)
    except ValueError:
        return None
