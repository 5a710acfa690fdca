"""A key that reads its jobs' data and nothing else, tried on the real sshd."""

import re
import shlex
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from lab.patience import patient
from lab.sshd import Sshd
from leitstand.errors import UsageError
from leitstand.settings.hosts import Host
from orchestrator.authorize import authorize
from orchestrator.cli.authorize import _steps
from orchestrator.config.settings import Job
from orchestrator.sources import open_sources, open_transport


@pytest.fixture
def host(sshd: Sshd) -> Host:
    ssh = {"user": sshd.user, "port": sshd.port, "identity_file": str(sshd.identity)}
    return Host.model_validate(
        {"address": "127.0.0.1", "ssh": {**ssh, "known_hosts_file": str(sshd.known_hosts)}}
    )


def job(*sources: dict[str, object]) -> Job:
    return Job.model_validate(
        {"host": "web1", "sources": list(sources), "stores": ["disk"], "keys_file": "/etc/leitstand/keys"}
    )


def install(sshd: Sshd, host: Host, jobs: dict[str, Job], folder: Path) -> None:
    """Do on the host what the command tells an admin to do."""
    authorization = authorize("web1", host, jobs)
    script = folder / "read-web1"
    script.write_text(authorization.script)
    script.chmod(0o755)
    sshd.allow(authorization.line.replace(authorization.script_path, str(script)))


def test_the_key_reads_the_job_and_nothing_else(sshd: Sshd, host: Host, tmp_path: Path) -> None:
    tree = tmp_path / "it's www"
    tree.mkdir()
    (tree / "page").write_text("hello")
    allowed = job(
        {"files": str(tree), "exclude": ["*.log"]}, {"command": ["printf", "%s", "$a 'b'"], "name": "words"}
    )
    install(sshd, host, {"website": allowed}, tmp_path)
    contents = {
        entry.path: b"".join(entry.blocks())
        for source in open_sources(allowed, host)
        for entry in source.entries(lambda problem: None)
    }
    assert contents[f"files{tree}/page".encode()] == b"hello"
    assert contents[b"command/words/output"] == b"$a 'b'"
    transport = open_transport("web1", host)
    for forbidden in (
        ["cat", "/etc/passwd"],
        ["sh"],
        ["tar", "--create", "--file=-", "/etc"],
        ["true;", "id"],
    ):
        refused = transport.run(forbidden, timeout=patient(30))
        assert refused.status == 126, forbidden
        assert "may not" in refused.stderr
        assert refused.stdout == b""


def test_the_script_is_a_valid_shell_script(host: Host, tmp_path: Path) -> None:
    awkward = job({"files": '/srv/it\'s "odd" $(id) `x`', "exclude": ["*'*", "a b/*"]})
    script = tmp_path / "script"
    script.write_text(authorize("web1", host, {"website": awkward}).script)
    subprocess.run(["sh", "-n", str(script)], check=True)
    subprocess.run(["shellcheck", "-s", "sh", "-S", "warning", str(script)], check=True)


def test_the_public_key_is_in_the_line(sshd: Sshd, host: Host) -> None:
    line = authorize("web1", host, {"website": job({"files": "/srv"})}).line
    assert line.startswith('restrict,command="')
    assert (sshd.folder / "identity.pub").read_text().split()[1] in line


def test_all_databases_cannot_be_allowed_beforehand(host: Host) -> None:
    with pytest.raises(UsageError, match="all databases"):
        authorize("web1", host, {"website": job({"mysql": "*"})})


def test_a_host_that_is_read_locally_needs_no_key() -> None:
    with pytest.raises(UsageError, match="no ssh section"):
        authorize("web1", Host(address="127.0.0.1"), {"website": job({"files": "/srv"})})


def test_the_key_reads_a_database_of_sqlite(sshd: Sshd, host: Host, tmp_path: Path) -> None:
    path = tmp_path / "it's a $book.sqlite"
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE entry (text TEXT)")
    allowed = job({"sqlite": str(path)})
    install(sshd, host, {"website": allowed}, tmp_path)
    (source,) = open_sources(allowed, host)
    (entry,) = source.entries(lambda problem: None)
    assert b"CREATE TABLE entry" in b"".join(entry.blocks())


@pytest.mark.parametrize("path", ["/etc/known hosts", "/etc/$(id)/`id`", "/etc/a;id", "/etc/it's"])
def test_a_path_is_one_word_in_every_command_that_is_printed(host: Host, path: str) -> None:
    assert host.ssh
    ssh = host.ssh.model_copy(update={"known_hosts_file": Path(path)})
    jobs = {"website": job({"files": "/srv"})}
    printed = _steps(authorize("web1", host.model_copy(update={"ssh": ssh}), jobs))
    fetch, compare = re.findall(r"^   (ssh-key.*)$", printed, re.MULTILINE)
    assert shlex.split(fetch)[-1] == path
    assert shlex.split(compare)[2] == path
