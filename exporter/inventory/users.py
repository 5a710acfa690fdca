"""Who can log in: users with a login shell, who may use sudo, and the ssh keys that open the door."""

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass

from exporter.inventory.source import Context, Findings
from exporter.inventory.sudo import read_sudo
from exporter.inventory.text import search
from exporter.tree import Tree

NO_LOGIN = ("nologin", "false", "sync", "shutdown", "halt")
DEFAULT_SHELL = "/bin/sh"
KEY_FILES = (".ssh/authorized_keys", ".ssh/authorized_keys2")
KEY_FILE_LIMIT = 4 * 1024 * 1024
ACCOUNTS_LIMIT = 64 * 1024 * 1024
MAXIMUM_USERS = 2_000
_KEY = re.compile(
    r"(?:^|\s)((?:ssh|ecdsa|sk-ssh|sk-ecdsa)-[a-z0-9@.-]+)\s+([A-Za-z0-9+/=]{16,16384})(?:\s+(.*))?$"
)


@dataclass(frozen=True)
class User:
    """A line of passwd(5)."""

    name: str
    uid: int
    gid: int
    home: str
    shell: str


def read(context: Context) -> Findings:
    """Users with a login shell, their authorised keys, the host's own keys."""
    tree = context.tree
    findings = Findings()
    users, malformed = parse_passwd(tree.text_if_there("/etc/passwd", ACCOUNTS_LIMIT))
    findings.skip(malformed, "/etc/passwd: a line that is no account")
    groups, malformed = parse_groups(tree.text_if_there("/etc/group", ACCOUNTS_LIMIT))
    findings.skip(malformed, "/etc/group: a line that is no group")
    rules = read_sudo(tree)
    findings.skip(rules.unknown, "the rules of sudo: a line that is none")
    patterns = read_key_files(tree)
    logins = [user for user in users if user.shell.rpartition("/")[2] not in NO_LOGIN]
    logins = list(dict.fromkeys(logins))
    findings.skip(len(logins[MAXIMUM_USERS:]), f"more than {MAXIMUM_USERS} users")
    for user in logins[:MAXIMUM_USERS]:
        findings.add(
            "user",
            name=user.name,
            uid=user.uid,
            shell=user.shell,
            home=user.home,
            sudo=rules.allow(user.name, user.uid, groups_of(user, groups)),
        )
        for pattern in patterns:
            add_keys(tree, findings, user.name, key_file(pattern, user))
    for path in tree.glob("/etc/ssh/ssh_host_*_key.pub"):
        add_keys(tree, findings, "", path)
    return findings


def parse_passwd(text: str) -> tuple[list[User], int]:
    """The users, and how many lines are none."""
    users, malformed = [], 0
    # Not splitlines(): a user who may change their full name must not be able to split their line.
    for line in filter(is_entry, text.split("\n")):
        fields = line.split(":")
        try:
            shell = fields[6].strip() or DEFAULT_SHELL
            users.append(User(fields[0], int(fields[2]), int(fields[3]), fields[5], shell))
        except (IndexError, ValueError):
            malformed += 1
    return users, malformed


def is_entry(line: str) -> bool:
    """Whether a line of passwd or group should be an entry; "+" and "-" ask NIS, nsswitch.conf(5)."""
    return bool(line.strip()) and not line.startswith(("+", "-", "#"))


def parse_groups(text: str) -> tuple[dict[str, tuple[int, set[str]]], int]:
    """Group -> (number, members), group(5), and how many lines are none; members of two lines add up."""
    groups: dict[str, tuple[int, set[str]]] = {}
    malformed = 0
    for line in filter(is_entry, text.split("\n")):
        fields = line.split(":")
        if len(fields) >= 4 and fields[2].isascii() and fields[2].isdigit():
            _, members = groups.get(fields[0], (0, set()))
            members = members | set(filter(None, fields[3].strip().split(",")))
            groups[fields[0]] = (int(fields[2][:10]), members)
        else:
            malformed += 1
    return groups, malformed


def groups_of(user: User, groups: dict[str, tuple[int, set[str]]]) -> list[tuple[str, int]]:
    """(name, number) of the groups a user is in."""
    return [(name, gid) for name, (gid, members) in groups.items() if user.name in members or gid == user.gid]


def read_key_files(tree: Tree) -> list[str]:
    """Where sshd looks for keys, sshd_config(5); what holds for some users only is left out."""
    paths = [*tree.glob("/etc/ssh/sshd_config.d/*.conf"), "/etc/ssh/sshd_config"]
    chosen = [files for path in paths if (files := parse_key_files(tree.text_or_empty(path)))]
    return chosen[0] if chosen else list(KEY_FILES)


def parse_key_files(text: str) -> list[str]:
    """The patterns of AuthorizedKeysFile before any Match, as written; the first such line holds."""
    general = re.split(r"(?im)^[ \t]*match\b", text, maxsplit=1)[0]
    return search(r"(?i)^[ \t]*AuthorizedKeysFile[ \t=]+(.*)", general).replace('"', "").split()


def key_file(pattern: str, user: User) -> str:
    """The file that a pattern means for a user; %h, %u, %U and %% stand for something."""
    values = {"h": user.home, "u": user.name, "U": str(user.uid), "%": "%"}
    name = re.sub(r"%([huU%])", lambda found: values[found[1]], pattern)
    return name if name.startswith("/") else f"{user.home}/{name}"


def add_keys(tree: Tree, findings: Findings, user: str, path: str) -> None:
    """Add the keys of one file; one that is too large or not ours to read is skipped."""
    try:
        keys, malformed = parse_keys(tree.text(path, KEY_FILE_LIMIT))
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        findings.skip(reason=f"{path}: {error.strerror or error}")
        return
    findings.skip(malformed, f"{path}: a line that is no key")
    for kind, fingerprint, comment in keys:
        findings.add("ssh_key", user=user, type=kind, fingerprint=fingerprint, comment=comment, path=path)


def parse_keys(text: str) -> tuple[list[tuple[str, str, str]], int]:
    """[(type, fingerprint, comment)] and how many lines are none; sshd(8), AUTHORIZED_KEYS FILE FORMAT."""
    keys, malformed = [], 0
    for line in text.split("\n"):
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
