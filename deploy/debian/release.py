"""All files of a release: packages, lists of what is in them, sums, signature."""

import hashlib
import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from deploy.debian import libraries, programs, sbom
from deploy.debian.archive import pack
from deploy.debian.source import Source, unpack_wheel
from deploy.debian.targets import Target
from deploy.debian.tree import EXPORTER, LEITSTAND, Package, lay_out, site_packages

SUMS = "SHA256SUMS"
NAMESPACE = "leitstand-release"  # of the signature: what it was made for (ssh-keygen(1), -n)


@dataclass(frozen=True)
class Build:
    """One run. ``wheels`` keeps what was downloaded, ``folder`` is for what is thrown away."""

    source: Source
    architecture: str
    wheels: Path
    out: Path
    folder: Path

    def release(self, targets: Iterable[Target]) -> list[Path]:
        """Everything but sums and signature."""
        unpack_wheel(self.source, self.folder / "wheel", self.folder / "own")
        return [path for target in targets for path in self._packages(target)]

    def _packages(self, target: Target) -> list[Path]:
        exporter = self._package(EXPORTER, target, {})
        carried = {f"usr/share/leitstand/packages/{exporter[0].name}": exporter[0]}
        return [*exporter, *self._package(LEITSTAND, target, carried)]

    def _package(self, package: Package, target: Target, carried: dict[str, Path]) -> list[Path]:
        """The package, and its list of contents. ``carried`` are files that it has besides, by path."""
        root = self.folder / target.name / package.name
        wheels = self.wheels / f"{target.abi}-{self.architecture}"
        unpacked = self.folder / target.name / f"{package.name}.libraries"
        locks = [self.source.root / f"requirements/{role}.txt" for role in package.roles]
        libraries.unpack(locks, target, self.architecture, wheels, unpacked)
        languages = {path.stem for path in (self.folder / "own/leitstand/languages").glob("*.po")}
        libraries.trim(unpacked, languages)
        lay_out(package, self.source, self.folder / "own", unpacked, target, root)
        for name, path in carried.items():
            (root / name).parent.mkdir(parents=True)
            shutil.copyfile(path, root / name)
        made = pack(package, self.source, target, self.architecture, root, self.out)
        return [made, sbom.write(made, root / site_packages(target), wheels, self.source.epoch)]


def build(
    source: Source, targets: Iterable[Target], architecture: str, wheels: Path, out: Path
) -> list[Path]:
    """Every file of the release, in ``out``; the last one has the sums of the others."""
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="leitstand-build-") as folder:
        made = Build(source, architecture, wheels, out, Path(folder)).release(targets)
    sums = out / SUMS
    sums.write_text(
        "".join(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in made)
    )
    return [*made, sums]


def sign(sums: Path, key: Path) -> Path:
    """The signature beside ``sums``, by an SSH key: every host has what verifies it, ``ssh-keygen``."""
    signature = sums.with_name(f"{sums.name}.sig")
    signature.unlink(missing_ok=True)  # ssh-keygen would ask
    hint = "the key is a private SSH key without a passphrase, or one that the agent holds (name its .pub)"
    programs.run("ssh-keygen", "-Y", "sign", "-n", NAMESPACE, "-f", str(key), str(sums), hint=hint)
    return signature
