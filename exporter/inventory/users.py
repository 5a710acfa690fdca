"""Who can log in: users with a login shell, who may use sudo, and the ssh keys that open the door."""

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass

from exporter.inventory.source import Context, Findings
from exporter.tree import Tree

NO_LOGIN = ("", "nologin", "false", "sync", "shutdown", "halt", "git-shell-none")
KEY_FILES = (".ssh/authorized_keys", ".ssh/authorized_keys2")
KEY_FILE_LIMIT = 256 * 1024
MAXIMUM_USERS = 2_000
_KEY = re.compile(
    r"(?:^|\s)((?:ssh|ecdsa|sk-ssh|sk-ecdsa)-[a-z0-9@.-]+)\s+([A-Za-z0-9+/=]{16,16384})(?:\s+(.*))?$"
)
_SPECIFICATION = re.compile(r"^\s*(%?[\w.@+-]+|\\#\d+)\s+\S+\s*=")


@dataclass(frozen=True)
class User:
    """A line of passwd(5)."""

    name: str
    uid: int
    gid: int
    home: str
    shell: str


@dataclass(frozen=True)
class SudoRules:
    """Who may use sudo: users, and groups. ``readable`` is false if the rules are not ours to read."""

    users: frozenset[str]
    groups: frozenset[str]
    readable: bool


def read(context: Context) -> Findings:
    """Users with a login shell, their authorised keys, the host's own keys."""
    tree = context.tree
    findings = Findings()
    users, malformed = parse_passwd(tree.text_or_empty("/etc/passwd"))
    findings.skip(malformed)
    groups = parse_groups(tree.text_or_empty("/etc/group"))
    rules = read_sudo(tree)
    logins = [user for user in users if user.shell.rpartition("/")[2] not in NO_LOGIN]
    logins = list(dict.fromkeys(logins))
    findings.skip(len(logins[MAXIMUM_USERS:]))
    for user in logins[:MAXIMUM_USERS]:
        findings.add(
            "user",
            name=user.name,
            uid=user.uid,
            shell=user.shell,
            home=user.home,
            sudo=may_sudo(user, groups, rules),
        )
        for name in KEY_FILES:
            add_keys(tree, findings, user.name, f"{user.home}/{name}")
    for path in tree.glob("/etc/ssh/ssh_host_*_key.pub"):
        add_keys(tree, findings, "", path)
    return findings


def parse_passwd(text: str) -> tuple[list[User], int]:
    """The users, and how many lines are none."""
    users, malformed = [], 0
    for line in text.splitlines():
        fields = line.split(":")
        try:
            users.append(User(fields[0], int(fields[2]), int(fields[3]), fields[5], fields[6].strip()))
        except (IndexError, ValueError):
            # "+" lines ask NIS; they are no users of this file.
            malformed += bool(line.strip()) and not line.startswith(("+", "-", "#"))
    return users, malformed


def parse_groups(text: str) -> dict[str, tuple[int, set[str]]]:
    """Group -> (number, members), group(5)."""
    groups: dict[str, tuple[int, set[str]]] = {}
    for line in text.splitlines():
        fields = line.split(":")
        if len(fields) >= 4 and fields[2].isascii() and fields[2].isdigit():
            groups[fields[0]] = (int(fields[2][:10]), set(filter(None, fields[3].strip().split(","))))
    return groups


def read_sudo(tree: Tree) -> SudoRules:
    """The rules of sudo, without following its aliases."""
    try:
        texts = [tree.text("/etc/sudoers")]
    except FileNotFoundError:
        return SudoRules(frozenset(), frozenset(), readable=True)
    except OSError:
        return SudoRules(frozenset(), frozenset(), readable=False)
    texts += [
        tree.text_or_empty(path)
        for path in tree.glob("/etc/sudoers.d/*")
        # sudoers(5): such names are ignored.
        if "." not in path.rpartition("/")[2] and not path.endswith("~")
    ]
    subjects = [subject for text in texts for subject in parse_sudoers(text)]
    return SudoRules(
        frozenset(subject for subject in subjects if not subject.startswith("%")),
        frozenset(subject[1:] for subject in subjects if subject.startswith("%")),
        readable=True,
    )


def parse_sudoers(text: str) -> list[str]:
    """Users and %groups with a rule of their own, sudoers(5)."""
    lines = text.replace("\\\n", " ").splitlines()
    words = ("Defaults", "User_Alias", "Runas_Alias", "Host_Alias", "Cmnd_Alias", "Cmd_Alias")
    found = [_SPECIFICATION.match(line) for line in lines if not line.lstrip().startswith(("#", "@", *words))]
    return [match[1] for match in found if match]


def may_sudo(user: User, groups: dict[str, tuple[int, set[str]]], rules: SudoRules) -> bool | None:
    """True if a rule names the user or a group of theirs; None if the rules are not ours to read."""
    if user.uid == 0:
        return True
    if not rules.readable:
        return None
    own = {name for name, (gid, members) in groups.items() if user.name in members or gid == user.gid}
    return user.name in rules.users or "ALL" in rules.users or bool(own & rules.groups)


def add_keys(tree: Tree, findings: Findings, user: str, path: str) -> None:
    """Add the keys of one file; a file that is missing or not ours to read has none."""
    keys, malformed = parse_keys(tree.text_or_empty(path, KEY_FILE_LIMIT))
    findings.skip(malformed)
    for kind, fingerprint, comment in keys:
        findings.add("ssh_key", user=user, type=kind, fingerprint=fingerprint, comment=comment, path=path)


def parse_keys(text: str) -> tuple[list[tuple[str, str, str]], int]:
    """[(type, fingerprint, comment)] and how many lines are none; sshd(8), AUTHORIZED_KEYS FILE FORMAT."""
    keys, malformed = [], 0
    for line in text.splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        found = _KEY.search(line.strip())
        fingerprint = fingerprint_of(found[2]) if found else ""
        if found and fingerprint:
            keys.append((found[1], fingerprint, (found[3] or "").strip()))
        else:
            malformed += 1
    return keys, malformed


def fingerprint_of(encoded: str) -> str:
    """SHA256:… as ``ssh-keygen -l`` prints it; empty if the text is not base64."""
    try:
        blob = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        return ""
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")
