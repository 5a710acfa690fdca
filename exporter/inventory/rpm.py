"""rpm's packages, asked from rpm: its database is nobody else's to read."""

from collections.abc import Iterator

from exporter.collectors.collector import NoData
from exporter.inventory.source import Context, Findings, Item
from leitstand.process import run

DATABASES = ("/usr/lib/sysimage/rpm", "/var/lib/rpm")
FILES = ("rpmdb.sqlite", "Packages.db", "Packages")
QUERY = r"%{NAME}\t%{EPOCHNUM}\t%{VERSION}-%{RELEASE}\t%{ARCH}\t%{SOURCERPM}\t%{INSTALLTIME}\n"
TIME_LIMIT = 20.0


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
    for package in parse_query(answer.stdout.decode("utf-8", "replace")):
        if package is None:
            findings.skip()
        else:
            findings.add("package", **package)
    return findings


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
            "manual": None,
            "installed": int(installed[:18]),
        }
