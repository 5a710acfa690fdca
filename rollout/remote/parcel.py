"""The configuration as a small tar: ``request.json``, then ``leitstand.yml`` or the files of the folder."""

import io
import json
import os
import re
import tarfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from leitstand.errors import LeitstandError, UsageError

LARGEST = 16 << 20  # bytes of the whole tar
_MOST_FILES = 200
_LARGEST_FILE = 8 << 20  # as leitstand.yml may be
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}\.ya?ml")
_REQUEST = "request.json"
_TYPES = {"hosts": list, "dry_run": bool, "without_gate": str}


@dataclass(frozen=True)
class Order:
    """What is to be done with the configuration: the options of ``leitstand apply``."""

    hosts: list[str] = field(default_factory=list)
    dry_run: bool = False
    without_gate: str = ""

    def words(self) -> list[str]:
        """The options as ``leitstand apply`` takes them."""
        found = [f"--host={host}" for host in self.hosts]
        found += ["--dry-run"] if self.dry_run else []
        return [*found, f"--without-gate={self.without_gate}"] if self.without_gate else found


def pack(config: Path, order: Order) -> bytes:
    """``config``, a file or a folder, as a tar. Raises UsageError for a link, or too much."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        _add(tar, _REQUEST, json.dumps(asdict(order)).encode())
        for name, content in _contents(config):
            _add(tar, name, content)
    if buffer.tell() > LARGEST:
        raise UsageError(f"{config}: larger than {LARGEST >> 20} MiB", "is it the right folder?")
    return buffer.getvalue()


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    tar.addfile(info, io.BytesIO(content))


def _contents(config: Path) -> Iterator[tuple[str, bytes]]:
    if not config.is_dir():
        yield "leitstand.yml", _read(config)
        return
    # The files that load_document reads, and nothing beside them.
    for path in sorted(config.iterdir()):
        if path.suffix in (".yml", ".yaml") and not path.name.startswith("."):
            if not _NAME.fullmatch(path.name):
                raise UsageError(f"{path}: such a name is not sent", "use letters, digits, dots, - and _")
            yield path.name, _read(path)


def _read(path: Path) -> bytes:
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as file:  # noqa: PTH123
            content = file.read(_LARGEST_FILE + 1)
    except OSError as error:
        what = "is a link" if path.is_symlink() else f"cannot be read: {error.strerror}"
        raise UsageError(f"{path}: {what}", "only regular files are sent") from error
    if len(content) > _LARGEST_FILE:
        raise UsageError(f"{path}: larger than {_LARGEST_FILE >> 20} MiB", "is it the right file?")
    return content


def unpack(packed: bytes) -> tuple[Order, dict[str, bytes]]:
    """The order and the files by name. Nothing is written. Raises LeitstandError for anything unexpected."""
    files: dict[str, bytes] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(packed), mode="r:") as tar:
            for member in tar:
                _take(tar, member, files)
    except (tarfile.TarError, ValueError, EOFError, OverflowError) as error:
        raise _refused("not a complete tar") from error
    order = _order(files.pop(_REQUEST, b""))
    if not files:
        raise _refused("it contains no configuration")
    return order, files


def _take(tar: tarfile.TarFile, member: tarfile.TarInfo, files: dict[str, bytes]) -> None:
    if member.name != _REQUEST and not _NAME.fullmatch(member.name):
        raise _refused("it contains a file whose name is not expected")
    if not member.isreg() or member.name in files or len(files) >= _MOST_FILES:
        raise _refused("it contains a link, a folder, a file twice, or too many files")
    content = tar.extractfile(member)
    if content is None or member.size > _LARGEST_FILE:
        raise _refused("it contains a file that is too large")
    files[member.name] = content.read()
    if len(files[member.name]) != member.size:
        raise _refused("not a complete tar")


def _order(content: bytes) -> Order:
    try:
        data: Any = json.loads(content)
        good = isinstance(data, dict) and all(type(data[name]) is _TYPES[name] for name in data)
    except (ValueError, KeyError) as error:
        raise _refused("it says nothing we understand about what to do") from error
    if not good or not all(isinstance(host, str) for host in data.get("hosts", [])):
        raise _refused("it says nothing we understand about what to do")
    return Order(**data)


def _refused(why: str) -> LeitstandError:
    return LeitstandError(f"what was sent is refused: {why}", "send it with: leitstand apply --on HOST")
