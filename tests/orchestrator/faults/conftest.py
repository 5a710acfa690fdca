"""A small site on the real Swift behind a proxy that does wrong, and what must hold afterwards."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lab.fault_proxy import Fault, FaultProxy
from lab.patience import patient
from orchestrator.stores.retry import Retry

Ran = Any
Site = Any
Swift = Any
TreeOf = Callable[[Path], dict[bytes, tuple[Any, ...]]]


def one_clear_line(ran: Ran, *words: str) -> str:
    """The one line that a failed command prints: exit code 3, no traceback. ``words`` must stand in it.

    Above it the log may tell of tries that failed.
    """
    assert ran.status == 3, ran.stderr
    assert "Traceback" not in ran.stderr
    lines = [line for line in ran.errors if " INFO " not in line]
    assert len(lines) == 1, ran.stderr
    line: str = lines[0]
    assert all(word in line for word in words), line
    return line


@pytest.fixture
def clear_line() -> Callable[..., str]:
    return one_clear_line


def run_apart(site: Site, *arguments: object, within: tuple[str, ...] = ()) -> SimpleNamespace:
    """A command in a process of its own, as users have it, after the words ``within``."""
    site.write()
    argv = [*within, sys.executable, "-m", "leitstand", "backup", *map(str, arguments)]
    done = subprocess.run(
        [*argv, "--config", str(site.config)],
        capture_output=True,
        text=True,
        timeout=patient(120),
        check=False,
    )
    errors = [line for line in done.stderr.splitlines() if not line.startswith("  hint: ")]
    return SimpleNamespace(status=done.returncode, stdout=done.stdout, stderr=done.stderr, errors=errors)


@pytest.fixture
def apart() -> Callable[..., SimpleNamespace]:
    return run_apart


@pytest.fixture
def small(site: Site) -> Site:
    """The site with little in it: faults are many, time is short."""
    shutil.rmtree(site.www)
    site.www.mkdir()
    (site.www / "index.html").write_text("<h1>Willkommen</h1>")
    (site.www / "photo.jpg").write_bytes(os.urandom(150_000))
    site.job["sources"] = [{"files": str(site.www)}]
    site.job["volume_size"] = "64KiB"
    return site


@dataclass
class Behind:
    """The small site, whose store ``swift`` is the real Swift behind a proxy."""

    site: Site
    proxy: FaultProxy
    tree: TreeOf
    before: list[str] = field(default_factory=list)

    def strike(self, *faults: Fault) -> None:
        self.proxy.faults.extend(faults)

    def heal(self) -> None:
        self.proxy.faults.clear()

    def new(self) -> list[str]:
        """Snapshots that are listed since the fixture made its first one; whoever lists sees no fault."""
        self.heal()
        return [name for name in self.site.snapshots("swift") if name not in self.before]

    def unhurried(self) -> None:
        """What fails from here on fails whatever time it is given."""
        self.heal()
        self.site.document["stores"]["swift"].update(tries=3, timeout="60s")

    def assert_sound(self) -> None:
        """The old snapshot can be restored, and the next run works; both are proven."""
        self.unhurried()
        for number, name in enumerate(self.before):
            target = self.site.folder / f"old-{number}"
            self.site.good("restore", "site", "--snapshot", name, "--target", target)
            assert self.tree(self.site.restored(target)) == self.tree(self.site.www)
        self.site.good("run", "site")
        self.site.good("verify", "site")


@pytest.fixture
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tries follow each other at once; how long they wait is test_retry.py's concern."""
    monkeypatch.setattr(Retry, "_pause", lambda *_: 0.01)


@pytest.fixture
def behind(small: Site, swift: Swift, tree: TreeOf, short_pauses: None) -> Iterator[Behind]:
    """One good snapshot is there before anything goes wrong."""
    host, port = swift.endpoint.removeprefix("http://").split(":")
    with FaultProxy(host, int(port)) as proxy:
        settings = swift.settings(prefix=f"faults/{small.folder.name}", tries=3)
        small.document["stores"]["swift"] = {**settings, "endpoint": proxy.url}
        small.job["stores"] = ["swift"]
        small.good("run", "site")
        yield Behind(small, proxy, tree, small.snapshots("swift"))
