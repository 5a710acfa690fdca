"""``leitstand backup serve`` as a process: runs what is due, tells of it, takes changes up, stops cleanly."""

import json
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from lab.processes import wait_until

Site = Any
DAYS_AGO = time.time() - 3 * 86400


def make_due(site: Site, *names: str) -> None:
    """As if the service had first seen these tasks three days ago and had been down since."""
    folder = site.folder / "state" / "backup"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "agenda").write_text(json.dumps({"done": {}, "seen": dict.fromkeys(names, DAYS_AGO)}))


class Serving:
    """A running service: its log and its metrics."""

    def __init__(self, process: subprocess.Popen[str], folder: Path) -> None:
        self.process, self.folder, self.lines = process, folder, list[str]()
        self.reader = threading.Thread(target=self._read)
        self.reader.start()
        wait_until((folder / "leitstand_backup_scheduler.prom").exists, "the service to begin")

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line)

    @property
    def log(self) -> str:
        return "".join(self.lines)

    def metrics(self) -> str:
        return "".join(file.read_text() for file in sorted(self.folder.glob("*.prom")))

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        status = self.process.wait(120)
        self.reader.join(60)
        return status


@contextmanager
def serving(site: Site) -> Iterator[Serving]:
    with site.start("serve") as process:
        found = Serving(process, site.folder / "metrics")
        try:
            yield found
        finally:
            process.kill()
            found.reader.join(60)


def test_due_tasks_are_run_and_reported(on_swift: Site) -> None:
    far = datetime.now(UTC) + timedelta(hours=12)  # whatever the time of day, nothing comes due meanwhile
    on_swift.job["schedule"] = f"daily {far:%H:%M}"
    on_swift.job["verify"] = {"schedule": f"daily {far:%H:%M}"}
    make_due(on_swift, "site/run")
    with serving(on_swift) as service:
        wait_until(lambda: "site/run: ended" in service.log, "a run")
        text = service.metrics()
        pattern = r'next_run_timestamp_seconds\{action="(\w+)",backup="site",host="here"\} (\S+)'
        following = dict(re.findall(pattern, text))
        assert all(time.time() < float(when) < time.time() + 90_000 for when in following.values())
        assert set(following) == {"run", "verify"}
        lint = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True)
        assert lint.returncode == 0, lint.stdout + lint.stderr
        assert service.stop() == 0
        assert "site/run: starts" in service.log
        assert "site/run: ended with status 0" in service.log
    assert len(on_swift.snapshots("swift")) == len(on_swift.snapshots("disk")) == 1
    assert "disk" in on_swift.good("status").stdout


def test_a_changed_configuration_is_used_and_one_with_errors_is_not(site: Site) -> None:
    with serving(site) as service:
        good = site.config.read_text()
        site.config.write_text(good + "nonsense: {}\n")
        wait_until(lambda: "leitstand_backup_config_good 0.0" in service.metrics(), "the error to be seen")
        assert "unknown section" in service.log
        assert 'action="run",backup="site",host="here"' in service.metrics(), "the last good one is in use"
        site.document["backups"]["other"] = {**site.job, "schedule": "weekly"}
        site.write()
        wait_until(lambda: 'action="run",backup="other",host="here"' in service.metrics(), "the new job")
        wait_until(lambda: "leitstand_backup_config_good 1.0" in service.metrics(), "the error to be mended")
        textfile = site.folder / "metrics" / "leitstand_backup.prom"
        interval = 'leitstand_backup_interval_seconds{backup="other",host="here",store="disk"} 604800'
        assert interval in textfile.read_text(), "a job that never ran is missed"
        del site.document["backups"]["other"]
        site.write()
        wait_until(lambda: 'backup="other"' not in service.metrics(), "the job to be gone")
        assert 'backup="other"' not in textfile.read_text()


def test_a_stop_breaks_a_run_off_cleanly_and_it_is_due_again(site: Site) -> None:
    gate, log = site.folder / "gate", site.folder / "log"
    os.mkfifo(gate)
    site.job["sources"] = [{"command": ["cat", str(gate)], "name": "waits"}]
    site.job["hooks"] = {"after": [["sh", "-c", f"echo $LEITSTAND_STATE >> {log}"]]}
    make_due(site, "site/run")
    with serving(site) as service, gate.open("w"):
        wait_until(lambda: "site/run: starts" in service.log, "the run")
        assert service.stop() == 0
    assert log.read_text() == "interrupted\n"
    assert list(site.disk.rglob("*")) == []
    assert json.loads((site.folder / "state" / "backup" / "agenda").read_text())["done"] == {}


def test_a_failed_run_is_reported_and_retried(site: Site) -> None:
    site.job["sources"] = [{"command": ["sh", "-c", "echo the database is away >&2; false"], "name": "x"}]
    make_due(site, "site/run")
    with serving(site) as service:
        wait_until(lambda: "site/run: failed" in service.log, "the failure")
        (following,) = re.findall(r"site/run: failed with status .*; next: (\S+)", service.log)
        assert 250 < datetime.fromisoformat(following).timestamp() - time.time() < 310
        assert "the database is away" in service.log
