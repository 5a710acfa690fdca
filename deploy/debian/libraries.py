"""The locked requirements as folders: each wheel by its hash, without what no program of ours loads."""

import re
import shutil
import struct
from pathlib import Path

from deploy.debian import programs
from deploy.debian.targets import Target
from leitstand.errors import LeitstandError

# rich loads these for Markdown and for colours in source code only.
UNUSED = (
    "pygments",
    "markdown_it",
    "mdurl",
    "pygments-*.dist-info",
    "markdown_it_py-*.dist-info",
    "mdurl-*.dist-info",
)
# Globs below site-packages. Their dist-info stays: licences, and versions for those who ask.
LEFT_OUT = (
    *("bin", "**/tests", "**/test", "**/__pycache__", "**/*.pyi", "**/*.pyx", "**/*.pxd", "**/*.h", "**/*.c"),
    *("*.dist-info/RECORD", "*.dist-info/INSTALLER", "*.dist-info/REQUESTED", "*.dist-info/direct_url.json"),
    *("Cryptodome/SelfTest", "Cryptodome/PublicKey", "Cryptodome/Signature", "Cryptodome/IO"),
    *("boto3/examples", "granian/py.typed", "pydantic/v1", "pydantic/mypy.py"),
)
_DATA_OF_BOTOCORE = {
    "s3",
    "endpoints.json",
    "partitions.json",
    "sdk-default-configuration.json",
    "_retry.json",
}


def unpack(locks: list[Path], target: Target, architecture: str, wheels: Path, into: Path) -> None:
    """Install what the lock files name, from ``wheels``; what is missing there is downloaded once.

    Raises LeitstandError when a wheel is missing and no package index answers.
    """
    wheels.mkdir(parents=True, exist_ok=True)
    platforms = [word for tag in target.platforms(architecture) for word in ("--platform", tag)]
    wanted = ["--require-hashes", "--no-deps", "--only-binary=:all:", "--python-version", target.python]
    wanted += ["--implementation", "cp", *platforms, *(word for lock in locks for word in ("-r", str(lock)))]
    quiet = ("--quiet", "--disable-pip-version-check")
    install = (
        "install",
        *quiet,
        "--no-index",
        "--find-links",
        str(wheels),
        "--no-compile",
        "--target",
        str(into),
    )
    try:
        programs.python("pip", *install, *wanted)
    except LeitstandError:
        shutil.rmtree(into, ignore_errors=True)
        hint = "is a package index reachable? Once downloaded, no network is needed"
        programs.python("pip", "download", *quiet, "--dest", str(wheels), *wanted, hint=hint)
        programs.python("pip", *install, *wanted)


def trim(packages: Path, languages: set[str]) -> None:
    """Remove what is never loaded: tests, sources in C, symbols, other services than S3, other languages."""
    loaded = {
        "botocore/data/*": _DATA_OF_BOTOCORE,
        "boto3/data/*": {"s3"},
        "babel/locale-data/*.dat": {"root", *languages},
    }
    for pattern in (*LEFT_OUT, *UNUSED):
        for path in sorted(packages.glob(pattern)):
            _remove(path)
    for pattern, kept in loaded.items():
        for path in packages.glob(pattern):
            if not {path.name, re.split(r"[_.]", path.name)[0]} & kept:
                _remove(path)

    for path in packages.rglob("*.so"):
        path.write_bytes(as_loaded(path.read_bytes()))


def as_loaded(library: bytes) -> bytes:
    """A shared library as far as programs load it: what follows is for linkers and debuggers (elf(5)).

    Unlike strip(1), it gives the same bytes on every machine, and takes those of another architecture.
    """
    if library[:6] != b"\x7fELF\x02\x01":  # 64 bits, little-endian
        return library
    (table,) = struct.unpack_from("<Q", library, 32)  # e_phoff
    size, count = struct.unpack_from("<HH", library, 54)  # e_phentsize, e_phnum
    ends = [table + size * count]
    for header in range(table, ends[0], size):
        offset, length = struct.unpack_from("<8xQ16xQ", library, header)  # p_offset, p_filesz
        ends.append(offset + length)
    kept = bytearray(library[: max(ends)])
    struct.pack_into("<Q", kept, 40, 0)  # e_shoff: no table of sections
    struct.pack_into("<HH", kept, 60, 0, 0)  # e_shnum, e_shstrndx
    return bytes(kept)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
