"""rpm's packages, from rpm itself: only rpm can read its database. dnf knows why each is installed."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from urllib.parse import quote

from exporter.inventory.source import Context, Findings, Item
from exporter.roots import NoData
from exporter.tree import Tree
from leitstand.process import run

DATABASES = ("/usr/lib/sysimage/rpm", "/var/lib/rpm")
FILES = ("rpmdb.sqlite", "Packages.db", "Packages")
QUERY = r"%{NAME}\t%{EPOCHNUM}\t%{VERSION}-%{RELEASE}\t%{ARCH}\t%{SOURCERPM}\t%{INSTALLTIME}\n"
TIME_LIMIT = 20.0
HISTORY = "/var/lib/dnf/history.sqlite"
# The last word on a package holds; libdnf/transaction/TransactionItemReason.hpp and Swdb.cpp.
REASONS = "SELECT name, arch, reason FROM trans_item JOIN rpm USING (item_id) ORDER BY trans_item.id"
UNKNOWN, DEPENDENCY, WEAK_DEPENDENCY = 0, 1, 4


def read(context: Context) -> Findings:
    """Every installed package. NoData without a database of rpm."""
    tree = context.tree
    found = [folder for folder in DATABASES if any(tree.is_file(f"{folder}/{name}") for name in FILES)]
    if not found:
        raise NoData("no rpm here")
    # Debian's rpm looks for the database elsewhere than Red Hat's.
    place = ["--root", str(tree.root), "--dbpath", found[0]]
    answer = run(["rpm", *place, "-qa", "--qf", QUERY], timeout=TIME_LIMIT)
    if answer.status:
        raise OSError(f"rpm: {answer.stderr.strip()[:200]}")
    findings = Findings()
    reasons = read_reasons(tree)
    for package in findings.known("rpm -qa", parse_query(answer.stdout.decode("utf-8", "replace"))):
        reason = reasons.get((str(package["name"]), str(package["arch"])), UNKNOWN)
        manual = reason not in (DEPENDENCY, WEAK_DEPENDENCY) if reason != UNKNOWN else None
        findings.add("package", **package, manual=manual)
    return findings


def read_reasons(tree: Tree) -> dict[tuple[str, str], int]:
    """(name, architecture) -> why it was installed, from dnf's history; empty without one."""
    if not tree.is_file(HISTORY):
        return {}
    # Without its log file, a database in WAL mode can only be opened as immutable.
    for option in ("mode=ro", "immutable=1"):
        try:
            with closing(sqlite3.connect(f"file:{quote(tree.real(HISTORY))}?{option}", uri=True)) as history:
                return {(name, arch): reason for name, arch, reason in history.execute(REASONS)}
        except sqlite3.Error:
            continue
    return {}


def parse_query(text: str) -> Iterator[Item | None]:
    """Lines of QUERY. The imported signing keys, which rpm lists as packages, are left out."""
    for line in text.splitlines():
        fields = line.split("\t")
        if fields[0] == "gpg-pubkey":
            continue
        if len(fields) != 6 or not fields[5].isascii() or not fields[5].isdigit():
            yield None
            continue
        name, epoch, version, arch, source, installed = fields
        yield {
            "manager": "rpm",
            "name": name,
            "version": f"{epoch}:{version}" if epoch not in ("0", "(none)") else version,
            "arch": "" if arch == "(none)" else arch,
            "source": "" if source == "(none)" else source.removesuffix(".src.rpm"),
            "path": "",
            "installed": int(installed[:18]),
        }
