"""What goes wrong with backups on the running stack: one clear line each, the right exit code."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.mounts import memory_file_system
from lab.stack import Ran, Stack

pytestmark = pytest.mark.slow


@pytest.fixture
def snapshot(stack: Stack) -> str:
    """A fresh snapshot of the sample site, by its name."""
    stack.leitstand("backup", "run", "website", check=True)
    rows = json.loads(stack.leitstand("backup", "list", "website", "--json", check=True).stdout)
    return max(str(row["snapshot"]) for row in rows)


def assert_one_clear_line(ran: Ran, status: int, *words: str) -> None:
    assert ran.status == status, ran.stderr
    assert "Traceback" not in ran.stderr
    lines = [line for line in ran.stderr.splitlines() if line and not line.startswith("  hint: ")]
    said = [line for line in lines if all(word in line for word in words)]
    assert len(said) == 1, ran.stderr


def test_one_flipped_byte_is_found_and_the_file_named(stack: Stack, snapshot: str) -> None:
    folder = next(
        path.parent for path in (stack.folder / "disk").rglob("COMMIT") if path.parent.name in snapshot
    )
    volume = next(folder.glob("vol.zip*"))
    data = bytearray(volume.read_bytes())
    data[len(data) // 2] ^= 1
    volume.chmod(0o644)
    volume.write_bytes(data)
    ran = stack.leitstand("backup", "verify", "website", "--snapshot", snapshot)
    assert ran.status == 3
    assert volume.name in ran.stdout + ran.stderr
    assert "bild-" in ran.stdout + ran.stderr, "the damaged byte is inside one of the pictures"


def test_a_wrong_key_is_one_clear_line(stack: Stack, snapshot: str) -> None:
    keys = stack.folder / "keys"
    right = keys.read_bytes()
    keys.unlink()
    try:
        stack.leitstand("backup", "keys", "generate", check=True)
        ran = stack.leitstand("backup", "restore", "website", "--target", str(stack.folder / "wrong-key"))
    finally:
        keys.write_bytes(right)
    assert_one_clear_line(ran, 3, "key")
    assert not (stack.folder / "wrong-key").exists()


def test_a_swift_that_does_not_answer_is_one_clear_line(stack: Stack) -> None:
    configuration = stack.config.read_text()
    port = f"127.0.0.1:{stack.ports['swift']}"
    nowhere = configuration.replace(
        f'endpoint: "http://{port}"', 'endpoint: "http://127.0.0.1:1"\n    tries: 2'
    )
    stack.config.write_text(nowhere.replace("[swift, disk]", "[swift]"))
    try:
        ran = stack.leitstand("backup", "run", "website")
    finally:
        stack.config.write_text(configuration)
    assert_one_clear_line(ran, 3, "127.0.0.1:1")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte, in memory."""
    if os.geteuid():
        pytest.skip("only root can mount a small file system")
    with memory_file_system(tmp_path, "1m") as place:
        yield place


def test_a_full_disk_in_a_restore_is_one_clear_line(stack: Stack, snapshot: str, small_disk: Path) -> None:
    target = small_disk / "restored"
    ran = stack.leitstand("backup", "restore", "website", "--target", str(target))
    assert_one_clear_line(ran, 3, "No space left")
    whole = list(target.rglob("bild-*.jpg")) if target.exists() else []
    assert all(path.stat().st_size == 300_000 for path in whole), "what has its name is whole"
    again = stack.leitstand("backup", "restore", "website", "--target", str(stack.folder / "after-full-disk"))
    assert again.status == 0, again.stderr
