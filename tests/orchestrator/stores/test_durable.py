"""What is said to be written is on the disk, not in memory: seen in the calls that the kernel gets."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lab.patience import patient

FILE = """
from pathlib import Path
from leitstand.files import write_atomically
write_atomically(Path("file"), "new")
"""
OBJECT = """
import hashlib
from pathlib import Path
from orchestrator.config.stores import FolderSettings
from orchestrator.stores.folder import FolderStore
place = Path("store").resolve()
place.mkdir()
store = FolderStore("disk", FolderSettings(type="folder", path=place))
store.put("job/file", b"new", sha256=hashlib.sha256(b"new").hexdigest())
"""
CALLS = "write,fsync,fdatasync,rename,renameat,renameat2,link,linkat"


@pytest.mark.skipif(not shutil.which("strace"), reason="strace is not installed")
@pytest.mark.parametrize(("script", "folder"), [(FILE, "."), (OBJECT, "store/job")], ids=["file", "object"])
def test_the_content_is_on_the_disk_before_its_name_and_the_name_before_success_is_reported(
    tmp_path: Path, script: str, folder: str
) -> None:
    traced = [
        "strace",
        "-f",
        "-qq",
        "-y",
        "-e",
        f"trace={CALLS}",
        "-e",
        "signal=none",
        "-o",
        tmp_path / "calls",
    ]
    work = tmp_path / "work"
    work.mkdir()
    subprocess.run([*traced, sys.executable, "-c", script], cwd=work, check=True, timeout=patient(120))
    place = (work / folder).resolve()
    calls = [line.split(maxsplit=1)[1] for line in (tmp_path / "calls").read_text().splitlines()]
    named = [
        at
        for at, call in enumerate(calls)
        if re.match("(rename|link)", call) and '/file"' in call.replace('"file"', '"/file"')
    ]
    assert len(named) == 1, calls
    synced = [re.match(r"fd?a?t?a?sync\(\d+<(.*)>\) += 0", call) for call in calls]
    before = [Path(found[1]).parent for found in synced[: named[0]] if found]
    after = [Path(found[1]) for found in synced[named[0] :] if found]
    written = [at for at, call in enumerate(calls) if call.startswith("write(") and '"new"' in call]
    assert written and written[-1] < next(at for at, found in enumerate(synced) if found)
    assert len(before) == 1
    assert before[0].is_relative_to(work)
    assert after == [place]
