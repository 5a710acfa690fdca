"""Python packages: every dist-info and egg-info folder in the usual places."""

from exporter.inventory.package import add_package
from exporter.inventory.source import Context, Findings

PLACES = (
    "/usr/lib/python3/dist-packages",
    "/usr/lib/python3.*/site-packages",
    "/usr/lib64/python3.*/site-packages",
    "/usr/local/lib/python3.*/dist-packages",
    "/usr/local/lib/python3.*/site-packages",
    "/opt/*/lib/python3.*/site-packages",
    "/opt/*/*/lib/python3.*/site-packages",
    "/srv/*/lib/python3.*/site-packages",
    "/srv/*/*/lib/python3.*/site-packages",
    "/var/www/*/*/lib/python3.*/site-packages",
    "/home/*/*/lib/python3.*/site-packages",
    "/home/*/.local/lib/python3.*/site-packages",
    "/root/*/lib/python3.*/site-packages",
    "/root/.local/lib/python3.*/site-packages",
    "/root/.local/share/pipx/venvs/*/lib/python3.*/site-packages",
    "/opt/pipx/venvs/*/lib/python3.*/site-packages",
)
METADATA_LIMIT = 4 * 1024 * 1024
NAMES = {".dist-info": "METADATA", ".egg-info": "PKG-INFO"}


def read(context: Context) -> Findings:
    findings = Findings()
    folders = {folder: None for place in PLACES for folder in context.tree.glob(place)}
    for folder in folders:
        for name in context.tree.names(folder):
            suffix = name[name.rfind(".") :]
            if suffix in NAMES:
                add_one(context, findings, folder, name, NAMES[suffix])
    return findings


def add_one(context: Context, findings: Findings, folder: str, entry: str, file: str) -> None:
    """Add the package that one metadata folder, or one egg-info file, describes."""
    path = f"{folder}/{entry}"
    try:
        text = context.tree.text(f"{path}/{file}" if context.tree.is_folder(path) else path, METADATA_LIMIT)
    except OSError as error:
        findings.skip(reason=f"{path}: {error.strerror or error}")
        return
    status = context.tree.stat(path)
    installed = int(status.st_mtime) if status else None
    add_package(findings, "python", parse_metadata(text), folder, installed=installed)


def parse_metadata(text: str) -> tuple[str, str]:
    """(name, version) from the header of core metadata, packaging.python.org/specifications/core-metadata."""
    fields = {"name": "", "version": ""}
    for line in text.splitlines():
        key, colon, value = line.partition(":")
        if not line.strip():
            break
        if colon and key.lower() in fields and not fields[key.lower()]:
            fields[key.lower()] = value.strip()
    return fields["name"], fields["version"]
