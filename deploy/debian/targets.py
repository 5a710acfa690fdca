"""The systems that packages are built for."""

from dataclasses import dataclass

MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}  # Debian's name of an architecture -> the kernel's
_OLDEST_GLIBC = 17  # of manylinux2014, the oldest tag that wheels still carry


@dataclass(frozen=True)
class Target:
    """A release of a system. ``glibc`` is the minor version of its C library, 2.X."""

    name: str
    suffix: str  # of the package's version
    python: str
    glibc: int

    @property
    def abi(self) -> str:
        """Python's tag, as in the names of wheels."""
        return f"cp{self.python.replace('.', '')}"

    @property
    def next_python(self) -> str:
        """The first Python that its compiled modules do not fit."""
        major, minor = self.python.split(".")
        return f"{major}.{int(minor) + 1}"

    def platforms(self, architecture: str) -> list[str]:
        """The tags of wheels that run there, best first (PEP 600)."""
        machine = MACHINES[architecture]
        tags = [f"manylinux_2_{minor}_{machine}" for minor in range(self.glibc, _OLDEST_GLIBC - 1, -1)]
        return [*tags, f"manylinux2014_{machine}"]


TARGETS = {
    target.name: target
    for target in (
        Target("debian12", "deb12", "3.11", 36),
        Target("debian13", "deb13", "3.13", 41),
        Target("ubuntu24.04", "ubuntu24.04", "3.12", 39),
    )
}
