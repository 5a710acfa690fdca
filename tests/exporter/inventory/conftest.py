import time
from collections.abc import Callable
from pathlib import Path

import pytest

from exporter.inventory.kinds import KINDS
from exporter.inventory.source import Context, Findings, Item
from exporter.roots import Roots
from exporter.tree import Tree

Build = Callable[[dict[str, str | bytes]], Context]


@pytest.fixture
def host(tmp_path: Path) -> Build:
    """Makes a root with the files given and returns what a source looks at there."""

    def build(files: dict[str, str | bytes]) -> Context:
        root = tmp_path / "root"
        for name, content in files.items():
            path = root / name.lstrip("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        root.mkdir(exist_ok=True)
        proc, sys = tmp_path / "proc", tmp_path / "sys"
        proc.mkdir(exist_ok=True)
        sys.mkdir(exist_ok=True)
        return Context(Roots(proc, sys, root), Tree(root), time.time())

    return build


@pytest.fixture
def real_host() -> Context:
    return Context(Roots(), Tree(Path("/")), time.time())


@pytest.fixture
def items() -> Callable[[Findings, str], list[Item]]:
    """The items of one kind, after a look that every item keeps to the schema."""

    def select(findings: Findings, kind: str) -> list[Item]:
        for name, item in findings.items:
            assert set(item) == set(KINDS[name].fields), name
        return [item for name, item in findings.items if name == kind]

    return select
