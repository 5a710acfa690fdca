"""What a thief of the SSH key gets: every command that it may run, by hand, in a tree full of traps."""

import io
import re
import subprocess
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lab.patience import patient
from lab.sshd import Sshd
from leitstand.errors import UsageError
from leitstand.settings.hosts import Host
from orchestrator.authorize import authorize
from orchestrator.config.settings import Job
from orchestrator.sources import open_transport

SECRET = b"not of this job"
EXCLUDE = ["private", "cache/*", "*.key", "*/logs/*", "tmp/", "/*/absolute"]


@pytest.fixture
def host(sshd: Sshd) -> Host:
    ssh = {"user": sshd.user, "port": sshd.port, "identity_file": str(sshd.identity)}
    return Host.model_validate(
        {"address": "127.0.0.1", "ssh": {**ssh, "known_hosts_file": str(sshd.known_hosts)}}
    )


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """What the job does not name."""
    folder = tmp_path / "outside"
    (folder / "deep").mkdir(parents=True)
    (folder / "shadow").write_bytes(SECRET)
    (folder / "deep" / "shadow").write_bytes(SECRET)
    return folder


@pytest.fixture
def tree(tmp_path: Path, outside: Path) -> Path:
    """A site in which someone who may write there has set every trap that we know."""
    root = tmp_path / "sites" / "www"
    for name in ("private", "cache", "a/logs", "a/tmp", "a/absolute", "a/kept", "own", "tagged", "cached"):
        (root / name).mkdir(parents=True)
        (root / name / "secret").write_bytes(SECRET)
    for name in ("a/kept/secret", "own/secret"):
        (root / name).write_text("saved")
    (root / "server.key").write_bytes(SECRET)
    (root / "tagged" / ".nobackup").touch()
    (root / "cached" / "CACHEDIR.TAG").write_text("Signature: 8a477f597d28d172789f06886806bc55")
    (root / "innocent").symlink_to(outside / "shadow")
    (root / "up").symlink_to(outside)
    (root / "everything").symlink_to("/")
    (root / "parent").symlink_to("..")
    (root / "climbing").symlink_to("a/../../../outside")
    (root / "round").symlink_to("private")
    (root / "--dereference").symlink_to(outside)
    (root / "--checkpoint-action=exec=sh -c id").touch()
    return root


def job(tree: Path) -> Job:
    files = {"files": str(tree), "exclude": EXCLUDE, "exclude_if_present": [".nobackup"]}
    one_file = {"files": str(tree.parent / "page.html")}
    sources = [files, one_file, {"sqlite": str(tree.parent / "book.sqlite")}]
    document = {"host": "web1", "sources": sources, "stores": ["disk"], "keys_file": "/etc/leitstand/keys"}
    return Job.model_validate(document)


def commands(script: str) -> list[str]:
    """Each command of the script, as a client would ask for it."""
    return re.findall(r"^  exec (.*?) ;;$", script, re.MULTILINE | re.DOTALL)


def received(host: Host, command: str) -> bytes:
    transport = open_transport("web1", host)
    ssh = transport.command(["true"])[:-1]  # type: ignore[attr-defined]
    return subprocess.run([*ssh, command], capture_output=True, timeout=patient(60), check=False).stdout


@contextmanager
def swapping(name: Path, outside: Path) -> Iterator[None]:
    """A file that is now itself, now a link to what lies outside."""
    ended = threading.Event()
    plain, link, new = name.with_suffix(".plain"), name.with_suffix(".link"), name.with_suffix(".new")

    def swap() -> None:
        while not ended.is_set():
            new.unlink(missing_ok=True)
            new.symlink_to(outside / "shadow")
            new.rename(link)
            link.rename(name)
            plain.write_text("saved")
            plain.rename(name)

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def test_every_allowed_command_gives_nothing_outside_the_source_nor_what_is_excluded(
    sshd: Sshd, host: Host, tree: Path, outside: Path, tmp_path: Path
) -> None:
    (tree.parent / "page.html").write_text("saved")
    printed = authorize("web1", host, {"website": job(tree)})
    script = tmp_path / "read-web1"
    script.write_text(printed.script)
    script.chmod(0o755)
    sshd.allow(printed.line.replace(printed.script_path, str(script)))
    allowed = commands(printed.script)
    assert len(allowed) == 5
    with swapping(tree / "own" / "swapped", outside):
        answers = [received(host, command) for command in allowed for _ in range(3)]
    assert any(b"saved" in answer for answer in answers)
    assert [answer for answer in answers if SECRET in answer] == []
    names = {name for answer in answers for name in names_in(answer)}
    assert {"./a/kept/secret", "./own/secret", "./innocent", "page.html"} <= names
    assert not any(
        re.search(r"private/|server\.key|cache/|/logs/|tmp/s|absolute/|shadow", each) for each in names
    )


def names_in(answer: bytes) -> list[str]:
    if not answer.strip(b"\0"):
        return []
    with tarfile.open(fileobj=io.BytesIO(answer)) as archive:
        return archive.getnames()


@pytest.mark.parametrize("pattern", ["secret?", "[!a]*", "[ä]", "*", "?/x"])
def test_a_pattern_that_the_host_cannot_apply_is_refused_for_a_key(
    host: Host, tree: Path, pattern: str
) -> None:
    chosen = job(tree)
    chosen.sources[0].exclude.append(pattern)  # type: ignore[union-attr]
    with pytest.raises(UsageError, match="cannot apply this pattern"):
        authorize("web1", host, {"website": chosen})
