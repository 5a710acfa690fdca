"""A folder as a .deb: control files, then dpkg-deb."""

import hashlib
import shutil
import textwrap
from collections.abc import Iterator
from datetime import UTC, datetime
from email.message import Message
from email.parser import Parser
from email.utils import format_datetime
from pathlib import Path

from deploy.debian import programs
from deploy.debian.source import Source
from deploy.debian.targets import Target
from deploy.debian.tree import EXPORTER, HERE, Package, settle, site_packages, write_compressed

MAINTAINER = "Leitstand maintainers <maintainers@leitstand.invalid>"
_USERS = "systemd | systemd-standalone-sysusers"
_RELATIONS = {
    EXPORTER.name: {"Depends": _USERS},
    "leitstand": {
        "Depends": f"{_USERS}, age, ansible-core, ca-certificates, openssh-client, tzdata",
        "Suggests": "bash-completion, p7zip-full, prometheus, prometheus-alertmanager, "
        "prometheus-blackbox-exporter",
        "Conflicts": EXPORTER.name,
        "Replaces": EXPORTER.name,
        "Provides": f"{EXPORTER.name} (= {{version}})",
    },
}
_DESCRIPTIONS = {
    EXPORTER.name: """\
        exporter of Leitstand: figures and inventory of a host
        Serves metrics under node_exporter's names, and which software, certificates
        and services the host has. It listens on loopback until another address is
        set. The package leitstand contains it.""",
    "leitstand": """\
        control room of a small fleet
        Health, inventory, proven backups and an honest status page: all that the
        leitstand host needs, the exporter included. No service but the exporter is
        enabled; it listens on loopback until another address is set.""",
}


def file_name(package: str, version: str, architecture: str) -> str:
    """As dpkg-deb names it."""
    return f"{package}_{version}_{architecture}.deb"


def pack(package: Package, source: Source, target: Target, architecture: str, root: Path, out: Path) -> Path:
    """The finished package in ``out``; ``root`` has its files."""
    version = f"{source.debian_version}+{target.suffix}"
    docs = root / "usr/share/doc" / package.name
    write_compressed(docs / "changelog.gz", _changelog(package.name, version, source.epoch))
    (docs / "copyright").write_text("".join(_copyright(root / site_packages(target))))
    control = root / "DEBIAN"
    shutil.copytree(HERE / "scripts", control)
    files = sorted(path for path in root.rglob("*") if path.is_file() and control not in path.parents)
    (control / "conffiles").write_text(
        "".join(f"/{path.relative_to(root)}\n" for path in files if root / "etc" in path.parents)
    )
    sums = (f"{_md5(path)}  {path.relative_to(root)}\n" for path in files if not path.is_symlink())
    (control / "md5sums").write_text("".join(sums))
    size = sum(path.lstat().st_size + 1023 >> 10 for path in files)
    (control / "control").write_text(control_text(package.name, version, target, architecture, size))
    settle(root, source.epoch)
    made = out / file_name(package.name, version, architecture)
    # One thread: with several, the bytes depend on their number. Level 6: 7 % smaller, three times the CPU.
    arguments = ("--root-owner-group", "-Zxz", "-z2", "--threads-max=1", "--build", str(root), str(made))
    programs.run("dpkg-deb", *arguments, extra={"SOURCE_DATE_EPOCH": str(source.epoch)})
    return made


def _md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def control_text(name: str, version: str, target: Target, architecture: str, size: int) -> str:
    """The file ``control``; ``size`` in KiB (deb-control(5))."""
    relations = {field: text.format(version=version) for field, text in _RELATIONS[name].items()}
    fitting = (
        f"python3 (>= {target.python}~), python3 (<< {target.next_python}~), libc6 (>= 2.{target.glibc})"
    )
    fields = {
        "Package": name,
        "Version": version,
        "Architecture": architecture,
        "Maintainer": MAINTAINER,
        "Installed-Size": str(size),
        **relations,
        "Depends": f"{fitting}, {relations['Depends']}",
        "Section": "admin",
        "Priority": "optional",
        "Description": textwrap.dedent(_DESCRIPTIONS[name]).replace("\n", "\n "),
    }
    return "".join(f"{field}: {text}\n" for field, text in fields.items())


def _changelog(name: str, version: str, epoch: int) -> str:
    when = format_datetime(datetime.fromtimestamp(epoch, UTC))
    return f"{name} ({version}) unstable; urgency=medium\n\n  * See NEWS.md.\n\n -- {MAINTAINER}  {when}\n"


def _copyright(packages: Path) -> Iterator[str]:
    yield "Leitstand itself is licensed under the Apache License 2.0, on Debian systems\n"
    yield "/usr/share/common-licenses/Apache-2.0.\n\n"
    yield "These libraries come with it, in /opt/leitstand, each with its licence in its .dist-info:\n\n"
    for metadata in described(packages):
        yield f"{metadata['Name']} {metadata['Version']}: {licence(metadata)}\n"


def described(packages: Path) -> list[Message]:
    """The metadata of each library, by name."""
    found = (Parser().parsestr(path.read_text()) for path in packages.glob("*.dist-info/METADATA"))
    return sorted(found, key=lambda metadata: metadata["Name"].lower())


def licence(metadata: Message) -> str:
    """Its SPDX expression, or what an older wheel says."""
    expression = metadata["License-Expression"]
    classifiers = [
        line.split(" :: ")[-1] for line in metadata.get_all("Classifier", []) if "License ::" in line
    ]
    return str(expression or ", ".join(classifiers) or metadata["License"] or "see its dist-info")
