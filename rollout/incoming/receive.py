"""Take what `leitstand apply --on` sends, keep it as a revision, and apply it."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from leitstand.errors import LeitstandError
from leitstand.files import make_private_folder, write_atomically
from leitstand.settings.config import ConfigError, check, load_document
from rollout.numbered import next_numbered, numbered
from rollout.remote.parcel import LARGEST, unpack

INCOMING = Path("/etc/leitstand/incoming")
_KEPT = 10
RollOut = Callable[[list[str]], int]


def receive(source: BinaryIO, incoming: Path, roll_out: RollOut) -> int:
    """Read a parcel to its end, check it, and call ``roll_out`` with the words after ``leitstand apply``.

    What is refused leaves no revision. Raises LeitstandError, ConfigError.
    """
    packed = source.read(LARGEST + 1)
    if len(packed) > LARGEST:
        raise LeitstandError(f"what was sent is larger than {LARGEST >> 20} MiB", "is it the right folder?")
    order, files = unpack(packed)
    revision = _keep(files, incoming)
    try:
        problems = check(load_document(revision))
        if problems:
            raise ConfigError(problems)
    except BaseException:
        shutil.rmtree(revision)
        raise
    _clean_up(incoming)
    return roll_out([f"--config={revision}", *order.words()])


def _keep(files: dict[str, bytes], incoming: Path) -> Path:
    make_private_folder(incoming)
    revision = next_numbered(incoming)
    for name, content in files.items():
        write_atomically(revision / name, content, 0o600)
    return revision


def _clean_up(incoming: Path) -> None:
    for path in numbered(incoming)[:-_KEPT]:
        shutil.rmtree(path)
