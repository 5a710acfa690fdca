"""The packages of a release: only those that root alone could have put there, and each version only once."""

import shlex
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from leitstand.errors import LeitstandError
from leitstand.files import write_atomically
from leitstand.trust import distrust
from rollout.apply.plan import PACKAGES, package_version


def new_packages(release: str, folders: Iterable[Path], kept: Path = PACKAGES) -> dict[str, bytes]:
    """Name → content of the packages of ``release`` in ``folders`` that ``kept`` does not have yet.

    Raises LeitstandError if others than root may change one, or ``kept``, and for two that differ.
    """
    _require_trust(kept)
    found: dict[str, bytes] = {}
    for package in _of_release(release, folders):
        present = found.get(package.name)
        if present is None and (kept / package.name).exists():
            present = (kept / package.name).read_bytes()
        if present is None:
            _require_trust(package)
        content = _read(package)
        if present is None:
            found[package.name] = content
        elif content != present:
            what = f"{package}: differs from the package of the same version in {kept}"
            quoted = " ".join(shlex.quote(str(each)) for each in (package, kept / package.name))
            raise LeitstandError(what, f"compare both with SHA256SUMS, then remove the wrong one: {quoted}")
    return found


def _of_release(release: str, folders: Iterable[Path]) -> Iterator[Path]:
    for folder in folders:
        yield from sorted(folder.glob(f"leitstand*_{package_version(release)}+*.deb"))


def _read(package: Path) -> bytes:
    if not package.is_file():  # opening a pipe would wait
        raise LeitstandError(f"{package}: is not a file", "remove it")
    return package.read_bytes()


def _require_trust(place: Path) -> None:
    if found := distrust(place):
        what = f"{found.place} {found.what}, so root installs no package from there"
        raise LeitstandError(what, f"verify the package with SHA256SUMS, then: {found.cure}")


def keep(packages: Mapping[str, bytes], kept: Path = PACKAGES) -> None:
    """Keep new packages, where hosts get them from. Raises OSError."""
    for name, content in packages.items():
        write_atomically(kept / name, content)


def lay_out(folder: Path, kept: Path = PACKAGES) -> None:
    """Make a folder for a run that changes nothing, in which it finds the packages that are kept."""
    folder.mkdir()
    for package in kept.glob("*.deb"):
        (folder / package.name).symlink_to(package)
