"""An atomic write leaves the old or the new content, whatever happens in the middle."""

import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from lab.mounts import memory_file_system
from lab.patience import patient
from leitstand.files import make_private_folder, make_public_folder, write_atomically

SIZE = 2_000_000
WRITER = f"""
import sys
from pathlib import Path
from leitstand.files import write_atomically
for turn in range(1_000_000):
    write_atomically(Path("file"), ("ab"[turn % 2]) * {SIZE})
    print(turn, flush=True)
"""
ONE_WRITE = """
from pathlib import Path
from leitstand.files import write_atomically
write_atomically(Path("file"), "new")
"""


def test_text_and_bytes_are_written_as_they_are(tmp_path):
    write_atomically(tmp_path / "text", "Größe\n")
    write_atomically(tmp_path / "bytes", b"\xff\0")
    assert (tmp_path / "text").read_bytes() == "Größe\n".encode()
    assert (tmp_path / "bytes").read_bytes() == b"\xff\0"


@pytest.mark.parametrize(("asked", "mode"), [("", 0o644), (", 0o600", 0o600), (", 0o640", 0o640)])
def test_the_mode_is_as_requested_with_any_umask(tmp_path, asked, mode):
    done = subprocess.run(
        [sys.executable, "-c", ONE_WRITE.replace('"new"', f'"new"{asked}')],
        cwd=tmp_path,
        umask=0o077,
        timeout=patient(120),
    )
    assert done.returncode == 0
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == mode


def test_a_kill_in_the_middle_leaves_old_or_new(tmp_path):
    seen = set()
    for attempt in range(100):
        if attempt >= 12 and len(seen) == 2:
            break
        with subprocess.Popen([sys.executable, "-c", WRITER], cwd=tmp_path, stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            for _ in range(1 + attempt % 2):
                writer.stdout.readline()
            time.sleep(0.001 * (attempt % 12))  # not a wait for something: the moment of the kill varies
            writer.send_signal(signal.SIGKILL)
        content = (tmp_path / "file").read_text()
        assert content in ("a" * SIZE, "b" * SIZE)
        seen.add(content[0])
    assert seen == {"a", "b"}


def test_a_reader_never_sees_half_a_file(tmp_path):
    with subprocess.Popen([sys.executable, "-c", WRITER], cwd=tmp_path, stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        lengths = {len((tmp_path / "file").read_bytes()) for _ in range(200)}
        writer.kill()
    assert lengths == {SIZE}


@pytest.fixture
def tiny(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    with ExitStack() as mounted:
        try:
            yield mounted.enter_context(memory_file_system(tmp_path / "tiny", "64k"))
        except subprocess.CalledProcessError:
            pytest.skip("needs the right to mount")


def test_a_full_disk_keeps_the_old_file_and_leaves_nothing_behind(tiny):
    write_atomically(tiny / "file", "old")
    with pytest.raises(OSError, match="No space left") as caught:
        write_atomically(tiny / "file", "x" * 200_000)
    assert caught.value.filename == str(tiny / "file")
    assert (tiny / "file").read_text() == "old"
    assert [path.name for path in tiny.iterdir()] == ["file"]


def test_a_folder_that_may_not_be_written_keeps_the_old_file(tmp_path, bound_by_permissions, give_away):
    (tmp_path / "file").write_text("old")
    give_away(tmp_path, 0o755)
    command = [*bound_by_permissions, sys.executable, "-c", ONE_WRITE]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=patient(120))
    assert "PermissionError" in done.stderr
    assert (tmp_path / "file").read_text() == "old"


def test_a_folder_in_the_way_is_an_error_and_leaves_nothing_behind(tmp_path):
    (tmp_path / "file").mkdir()
    with pytest.raises(IsADirectoryError):
        write_atomically(tmp_path / "file", "new")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_a_public_folder_is_read_by_all_and_changed_by_its_owner(tmp_path, umask):
    before = os.umask(umask)
    try:
        make_public_folder(tmp_path / "a" / "b")
    finally:
        os.umask(before)
    modes = [stat.S_IMODE((tmp_path / path).stat().st_mode) & 0o757 for path in ("a", "a/b")]
    assert modes == [0o755, 0o755]


@pytest.mark.parametrize(("make", "mode"), [(make_public_folder, 0o755), (make_private_folder, 0o700)])
def test_a_folder_is_made_once_and_stays_as_it_is(tmp_path, make, mode):
    for _ in range(2):
        make(tmp_path / "public" / "own")
    modes = [stat.S_IMODE((tmp_path / path).stat().st_mode) for path in ("public", "public/own")]
    assert modes == [0o755, mode]
