"""Where mail is kept, by the configuration of Dovecot, Postfix and Cyrus, and in the usual spool."""

import re
from collections.abc import Iterator

from exporter.inventory.source import Context, Findings
from exporter.tree import Tree

SPOOLS = ("/var/mail", "/var/spool/mail")
DOVECOT = ("/etc/dovecot/dovecot.conf", "/etc/dovecot/conf.d/*.conf", "/etc/dovecot/local.conf")
POSTFIX, CYRUS = "/etc/postfix/main.cf", "/etc/imapd.conf"
_DOVECOT = re.compile(
    r"^[ \t]*(mail_location|mail_path|mail_home|mail_inbox_path)[ \t]*=[ \t]*(\S+)", re.MULTILINE
)
_POSTFIX = re.compile(
    r"^(virtual_mailbox_base|mail_spool_directory|home_mailbox)[ \t]*=[ \t]*(\S+)", re.MULTILINE
)
_CYRUS = re.compile(r"^partition-[\w-]+:[ \t]*(\S+)", re.MULTILINE)
_VARIABLE = re.compile(r"[%${]")
HOMES = "/home"


def read(context: Context) -> Findings:
    """Each folder with mail in it, or where mail will be; below the home folders all of these."""
    findings, tree = Findings(), context.tree
    seen: set[str] = set()
    for program, path in stores(tree):
        real = tree.resolve(path)
        if (
            real in seen
            or real == "/"
            or not tree.is_folder(real)
            or (is_spool(tree, real) and is_empty(tree, real))
        ):
            continue
        seen.add(real)
        findings.add("mail_store", program=program, path=real)
    return findings


def stores(tree: Tree) -> Iterator[tuple[str, str]]:
    """Program and folder, as configured."""
    for pattern in DOVECOT:
        for file in tree.glob(pattern):
            yield from (("Dovecot", path) for path in dovecot(tree.text_or_empty(file)))
    yield from (("Postfix", path) for path in postfix(tree.text_or_empty(POSTFIX)))
    yield from (("Cyrus", path) for path in _CYRUS.findall(tree.text_or_empty(CYRUS)))
    yield from (("spool", path) for path in SPOOLS)


def dovecot(text: str) -> list[str]:
    """Folders of Dovecot: ``maildir:/srv/mail/%d/%n:INBOX=…``, or the path alone since 2.4."""
    settings = _DOVECOT.findall(text)
    homes = [value for name, value in settings if name == "mail_home"]
    found: list[str] = []
    for _, value in settings:
        for part in re.split(r":(?:[A-Z]+=)?|\A[A-Z]+=", value):
            if part.startswith("~"):
                found += [fixed(home) for home in homes] or [HOMES]
            elif part.startswith("/"):
                found.append(fixed(part))
    return found


def postfix(text: str) -> list[str]:
    """Folders of Postfix: mailboxes of users without an account, the spool, home folders."""
    return [fixed(value) if value.startswith("/") else HOMES for _, value in _POSTFIX.findall(text)]


def fixed(path: str) -> str:
    """The part of a path that is the same for all users."""
    found = _VARIABLE.search(path)
    return (path[: found.start()].rpartition("/")[0] if found else path).rstrip("/") or "/"


def is_spool(tree: Tree, path: str) -> bool:
    """Whether a folder is there on every machine, with or without mail."""
    return path in {tree.resolve(spool) for spool in SPOOLS}


def is_empty(tree: Tree, folder: str) -> bool:
    """Whether no file in a folder holds anything; one that we may not list is not known to be empty."""
    names = tree.names(folder)
    statuses = [tree.stat(f"{folder}/{name}") for name in names]
    return folder not in tree.closed and not any(status and status.st_size for status in statuses)
