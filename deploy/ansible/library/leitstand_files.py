"""Ansible module: make many files and folders what they should be, in one run."""

from __future__ import annotations

import base64
import fnmatch
import grp
import hashlib
import os
import pwd
import shlex
import shutil
import stat
import tempfile
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = """
module: leitstand_files
short_description: Files, folders and links, in one round trip
description:
  - Each entry has a C(path). With C(content) or C(source) it is a file; C(source) is on the machine that
    Ansible runs on, or in the role's folder C(files). With C(tree), all files of a folder there. Otherwise
    C(state) says what it is.
  - A file is replaced atomically, after C(validate) has accepted it (C(%s) is the new file).
  - C(topic) names what must restart or reload when it changes. It is noted in /run/leitstand-apply before the
    change, so that leitstand_units acts on it also after a run that was killed in between.
  - The content of a C(secret) entry is never in the result.
options:
  entries:
    description:
      - "Keys: path (or paths, several of the same), owner, group, mode, state (file, folder, link, absent,
        attributes), content, source, tree, to, validate, topic, secret, only (FOLDER/PATTERN in a tree: other
        files that match are removed)."
    type: list
    elements: dict
    required: true
  notes: {description: Folder of the notes., type: path, default: /run/leitstand-apply}
  act: {description: Internal; the second of two round trips., type: bool, default: false}
"""
_LARGEST_DIFF = 100_000  # bytes
Entry = dict  # of strings


class RefusedError(Exception):
    """What cannot be done, in one line."""


def kind(entry: Entry) -> str:
    """What the entry is; a file if nothing else is said."""
    return entry.get("state", "file")


def place(entry: Entry) -> Path:
    """Its path, with ``~user`` replaced."""
    return Path(entry["path"]).expanduser()


def owner(entry: Entry) -> tuple[int, int]:
    """User and group as numbers. Raises RefusedError for one that does not exist."""
    try:
        user = pwd.getpwnam(entry.get("owner", "root")).pw_uid
        group = entry.get("group")
        return user, grp.getgrnam(group).gr_gid if group else pwd.getpwuid(user).pw_gid
    except KeyError as error:
        raise RefusedError(f"{entry['path']}: {error.args[0]}") from error


def mode(entry: Entry) -> int:
    """Its permissions."""
    return int(entry.get("mode", "0755" if kind(entry) == "folder" else "0644"), 8)


def strangers(entry: Entry) -> list[Path]:
    """Files of a tree's folder that match ``only`` and are not of the tree."""
    pattern, folder = entry.get("only"), place(entry)
    if not pattern or not folder.is_dir():
        return []
    names = fnmatch.filter(sorted(path.name for path in folder.iterdir()), pattern)
    return [folder / name for name in names if name not in entry["kept"] and (folder / name).is_file()]


def differs(entry: Entry) -> bool:
    """Whether the host has something else."""
    path = place(entry)
    try:
        found = path.lstat()
    except OSError:
        return kind(entry) != "absent"
    if kind(entry) == "absent":
        return True
    if kind(entry) == "link":
        return not path.is_symlink() or str(path.readlink()) != entry["to"]
    return not is_of_kind(entry, found) or attributes(found) != wanted(entry) or has_other_content(entry)


def is_of_kind(entry: Entry, found: os.stat_result) -> bool:
    """Whether it is a folder or a file, as it should be."""
    return stat.S_ISDIR(found.st_mode) if kind(entry) == "folder" else stat.S_ISREG(found.st_mode)


def attributes(found: os.stat_result) -> tuple[int, int, int]:
    """User, group and permissions that are."""
    return found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)


def wanted(entry: Entry) -> tuple[int, int, int]:
    """User, group and permissions that should be; in a dry run their names may not exist yet."""
    try:
        return (*owner(entry), mode(entry))
    except RefusedError:
        return (-1, -1, -1)


def has_other_content(entry: Entry) -> bool:
    """Whether a file has another hash, or a tree's folder files that do not belong there."""
    if kind(entry) == "folder":
        return bool(strangers(entry))
    return "sha256" in entry and hashlib.sha256(place(entry).read_bytes()).hexdigest() != entry["sha256"]


def diff(entry: Entry) -> dict[str, str]:
    """What changes, for people."""
    path = place(entry)
    header = {"before_header": str(path), "after_header": str(path)}
    if kind(entry) != "file" or entry.get("secret"):
        what = "content hidden" if entry.get("secret") else kind(entry)
        return {**header, "before": "", "after": f"({what})\n"}
    before = path.read_bytes() if path.is_file() else b""
    after = base64.b64decode(entry["content"])
    if max(len(before), len(after)) > _LARGEST_DIFF:
        return {**header, "before": "", "after": f"({len(after)} bytes)\n"}
    texts = {"before": before.decode(errors="replace"), "after": after.decode(errors="replace")}
    if before == after:
        texts = {"before": "", "after": "(owner or mode)\n"}
    return {**header, **texts}


def note(folder: Path, topic: str) -> None:
    """Note for leitstand_units what must be acted on."""
    folder.mkdir(mode=0o700, exist_ok=True)
    (folder / topic).touch()


def change(module: Any, entry: Entry) -> None:
    """Make it so. Raises RefusedError, OSError."""
    path = place(entry)
    if kind(entry) == "file":
        replace(module, entry, path)
    elif kind(entry) == "folder":
        path.mkdir(parents=True, exist_ok=True)
        for stranger in strangers(entry):
            stranger.unlink()
    elif kind(entry) == "link":
        new = path.with_name(f".{path.name}.new")
        new.unlink(missing_ok=True)
        new.symlink_to(entry["to"])
        new.replace(path)
    elif kind(entry) == "absent":
        path.unlink()
    if kind(entry) in ("folder", "attributes"):
        give(entry, path)


def give(entry: Entry, path: Path) -> None:
    """Set owner and permissions; never through a link, which a user may have put into the own home."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        os.fchown(handle, *owner(entry))
        os.fchmod(handle, mode(entry))
    finally:
        os.close(handle)


def replace(module: Any, entry: Entry, path: Path) -> None:
    """Replace a file atomically by one that was validated."""
    folder = tempfile.gettempdir() if module.check_mode else path.parent
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=folder)
    new = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(base64.b64decode(entry["content"]))
            file.flush()
            os.fsync(file.fileno())
        validate(module, entry, new)
        if not module.check_mode:
            os.chown(new, *owner(entry))
            new.chmod(mode(entry))
            new.replace(path)
    finally:
        new.unlink(missing_ok=True)


def validate(module: Any, entry: Entry, new: Path) -> None:
    """Raises RefusedError if the program that reads the file does not accept it."""
    command = entry.get("validate")
    if command and shutil.which(command.split()[0], path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"):
        status, out, errors = module.run_command(shlex.split(command.replace("%s", shlex.quote(str(new)))))
        if status:
            words = (errors.strip() or out.strip() or f"exit status {status}").splitlines()
            raise RefusedError(f"{entry['path']} was not accepted: {words[-1][:300]}")


def main() -> None:
    """Run as a module."""
    arguments = {
        "entries": {"type": "list", "elements": "dict", "required": True},
        "act": {"type": "bool", "default": False},
        "notes": {"type": "path", "default": "/run/leitstand-apply"},
    }
    # no_log: the arguments may contain keys, and modules log theirs on the host.
    module = AnsibleModule(arguments, supports_check_mode=True, no_log=True)
    entries = [entry for entry in module.params["entries"] if differs(entry)]
    answer: dict[str, Any] = {"invocation": {}, "differ": [entry["path"] for entry in entries]}
    topics = sorted({entry["topic"] for entry in entries if entry.get("topic")})
    if not module.params["act"]:
        module.exit_json(changed=False, topics=topics, **answer)
    diffs = [diff(entry) for entry in entries] if module._diff else []
    try:
        for topic in topics if not module.check_mode else ():
            note(Path(module.params["notes"]), topic)
        for entry in entries:
            if not module.check_mode or entry.get("validate"):
                change(module, entry)
    except (RefusedError, OSError) as error:
        module.fail_json(msg=str(error), **answer)
    module.exit_json(changed=bool(entries), topics=topics, diff=diffs, did=answer["differ"], **answer)


if __name__ == "__main__":
    main()
