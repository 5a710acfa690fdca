"""A real Swift over http and https, and a small site with its own leitstand.yml to back up."""

import datetime
import json
import os
import shutil
import sqlite3
import stat
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from lab.databases import MariaDB, PostgreSQL
from lab.sshd import Sshd
from lab.swift_process import Swift, end_with_parent, make_certificates, start_swift
from leitstand.cli import run as run_leitstand
from orchestrator.backup.run import Progress, RunPlan, run_job
from orchestrator.sources import open_sources
from orchestrator.state.context import Context, keys_of
from orchestrator.state.lookout import learn

REPOSITORY = Path(__file__).resolve().parents[2]
NOBODY = 0xFFFFFFFF
CAP_NET_RAW = struct.pack("<5I", 0x02000001, 1 << 13, 0, 0, 0)  # effective; linux/capability.h


@pytest.fixture(scope="session")
def swift(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Swift]:
    with start_swift(tmp_path_factory.mktemp("swift")) as server:
        yield server


@pytest.fixture(scope="session")
def swift_https(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Swift]:
    folder = tmp_path_factory.mktemp("swift-https")
    authority, certificate, key = make_certificates(folder)
    with start_swift(folder, "--tls", str(certificate), str(key), ca_file=authority) as server:
        yield server


@dataclass(frozen=True)
class Ran:
    """A command that ended: exit status and what it printed."""

    status: int
    stdout: str
    stderr: str

    @property
    def errors(self) -> list[str]:
        """The lines of standard error without hints."""
        return [line for line in self.stderr.splitlines() if not line.startswith("  hint: ")]

    def json(self) -> Any:
        return json.loads(self.stdout)


@dataclass
class Site:
    """A folder with files and a database, a configuration that backs them up, and a way to run commands."""

    folder: Path
    capture: pytest.CaptureFixture[str]
    document: dict[str, Any]

    @property
    def www(self) -> Path:
        return self.folder / "www"

    @property
    def config(self) -> Path:
        return self.folder / "leitstand.yml"

    @property
    def job(self) -> dict[str, Any]:
        job: dict[str, Any] = self.document["backups"]["site"]
        return job

    @property
    def disk(self) -> Path:
        return self.folder / "disk"

    def restored(self, target: Path) -> Path:
        """Where the site's files stand in a restored tree."""
        return target / "files" / self.www.relative_to("/")

    def write(self) -> None:
        self.config.write_text(yaml.dump(self.document, Dumper=yaml.CSafeDumper))

    def leitstand(self, *arguments: object) -> Ran:
        """Run a command of ``leitstand backup`` in this process."""
        self.write()
        self.capture.readouterr()
        verb, *rest = map(str, arguments)
        words = [verb, rest.pop(0)] if verb in ("keys", "catalog") else [verb]
        status = run_leitstand(["backup", *words, "--config", str(self.config), *rest])
        output = self.capture.readouterr()
        return Ran(status, output.out, output.err)

    def good(self, *arguments: object) -> Ran:
        ran = self.leitstand(*arguments)
        assert ran.status == 0, ran.stderr
        return ran

    def snapshots(self, store: str = "disk") -> list[str]:
        """The names of the complete snapshots in a store, oldest first."""
        rows = self.good("list", "site", "--store", store, "--json").json()
        return [row["snapshot"] for row in rows]

    def objects(self, snapshot: str) -> dict[str, Path]:
        """The files of one snapshot in the folder store, by name."""
        return {path.name: path for path in self.disk.rglob("*") if path.parent.name == snapshot}

    def metric(self, name: str, **labels: str) -> list[float]:
        """The values of ``leitstand_backup_NAME`` with these labels in the textfile."""
        text = (Path(self.document["paths"]["metrics"]) / "leitstand_backup.prom").read_text()
        return [
            sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == f"leitstand_backup_{name}" and labels.items() <= sample.labels.items()
        ]

    def wait_for_next_second(self) -> None:
        """So that the next run is the newer one in every store: times of Swift have whole seconds."""
        now = int(time.time())
        while int(time.time()) <= now + 1:  # Swift rounds up
            time.sleep(0.02)

    @contextmanager
    def start(self, *arguments: object) -> Iterator[subprocess.Popen[str]]:
        """Run a command in a process of its own, which ends with the block."""
        self.write()
        python = REPOSITORY / ".venv" / "bin" / "python"
        argv = [str(python), "-m", "leitstand", "backup", *map(str, arguments), "--config", str(self.config)]
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        with subprocess.Popen(argv, preexec_fn=end_with_parent, **pipes) as process:
            try:
                yield process
            finally:
                process.kill()


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    """A host that has nothing but the real sshd."""
    with Sshd(tmp_path_factory.mktemp("sshd")) as sshd:
        yield sshd


def fill_tree(www: Path) -> None:
    """Files of every kind that a web site has, and some that it should not have."""
    (www / "uploads").mkdir(parents=True)
    (www / "index.html").write_text("<h1>Willkommen</h1>")
    (www / "empty").touch()
    (www / "uploads" / "photo.jpg").write_bytes(os.urandom(300_000))
    (www / "uploads" / "notes.txt").write_text("zwei Zeilen\n" * 20_000)
    (www / "secret.php").write_text("<?php // only for its owner")
    (www / "secret.php").chmod(0o640)
    (www / "start").symlink_to("index.html")
    (www / "nowhere").symlink_to("../../missing")
    (www / "second name").hardlink_to(www / "index.html")
    (www / "äöü [x] 'q' \"d\" $HOME\\n").write_text("an odd name")
    Path(os.fsdecode(os.fsencode(www) + b"/latin1-\xe4\xff\n-line")).write_text("not UTF-8, and a line break")
    os.mkfifo(www / "pipe", 0o600)
    os.setxattr(www / "index.html", "user.origin", b"caf\xc3\xa9\x00\xff")
    with (www / "sparse").open("wb") as file:
        file.truncate(5_000_000)
        file.seek(2_000_000)
        file.write(b"middle")
    os.utime(www / "index.html", ns=(1_700_000_000_123_456_789, 1_700_000_000_123_456_789))
    (www / "closed").mkdir(mode=0o700)
    (www / "closed" / "inside").write_text("in a closed folder")
    os.utime(www / "closed", ns=(1_600_000_000_000_000_001, 1_600_000_000_000_000_001))


# Format 2, then (tag, rights, id) of owner, user 1234, group, mask and others; linux/posix_acl_xattr.h
ACCESS_LIST = struct.pack("<I", 2) + b"".join(
    struct.pack("<HHI", *entry)
    for entry in ((1, 7, NOBODY), (2, 4, 1234), (4, 4, NOBODY), (16, 4, NOBODY), (32, 0, NOBODY))
)


def fill_with_oddities(www: Path) -> None:
    """What is rarer: access lists, sockets, second names of what is no file; devices and the like as root."""
    for name, kind in {"socket": stat.S_IFSOCK, "another pipe": stat.S_IFIFO}.items():
        os.mknod(www / name, kind | 0o640)
        os.link(www / name, www / f"{name} again")
    os.link(www / "start", www / "start again", follow_symlinks=False)
    (www / "shared").mkdir(mode=0o2750)
    for path in (www / "shared", www / "secret.php", www / "another pipe"):
        os.setxattr(path, "system.posix_acl_access", ACCESS_LIST)
    os.setxattr(www / "shared", "system.posix_acl_default", ACCESS_LIST)
    (www / "shared" / "inherits").write_text("what the list says")
    os.utime(www / "empty", ns=(-1, -1_000_000_001))
    if os.geteuid():
        return
    os.mknod(www / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.mknod(www / "disk", stat.S_IFBLK | 0o660, os.makedev(7, 300))
    os.link(www / "null", www / "null again")
    os.chown(www / "start", 1234, 4321, follow_symlinks=False)
    os.setxattr(www / "start", "trusted.note", b"of a link", follow_symlinks=False)
    (www / "ping").write_text("a program")
    (www / "ping").chmod(0o755)
    os.setxattr(www / "ping", "security.capability", CAP_NET_RAW)
    (www / "tool").write_text("a program of somebody")
    os.chown(www / "tool", 1234, 4321)
    (www / "tool").chmod(0o6755)


def fill_database(path: Path, rows: int = 500) -> None:
    connection = sqlite3.connect(path)
    with connection:
        connection.execute("CREATE TABLE entry (id INTEGER PRIMARY KEY, name TEXT)")
        connection.executemany("INSERT INTO entry (name) VALUES (?)", ((f"Gast {n}",) for n in range(rows)))
    connection.close()


@pytest.fixture
def site(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Site:
    """A site whose one job goes to a folder; tests change ``site.document`` before they run something."""
    for name in ("disk", "state", "scratch"):
        (tmp_path / name).mkdir()
    fill_tree(tmp_path / "www")
    fill_database(tmp_path / "guestbook.sqlite")
    job = {
        "host": "here",
        "sources": [{"files": str(tmp_path / "www")}, {"sqlite": str(tmp_path / "guestbook.sqlite")}],
        "stores": ["disk"],
        "schedule": "daily 03:00",
        "verify": "never",  # a test that wants either asks for it
        "drill": "never",
        "keys_file": str(tmp_path / "keys"),
        "volume_size": "128KiB",
        "scratch": str(tmp_path / "scratch"),
    }
    document = {
        "hosts": {"here": {"address": "127.0.0.1"}},
        "stores": {"disk": {"type": "folder", "path": str(tmp_path / "disk")}},
        "backups": {"site": job},
        "paths": {"state": str(tmp_path / "state"), "metrics": str(tmp_path / "metrics")},
    }
    site = Site(tmp_path, capsys, document)
    site.good("keys", "generate")
    return site


@pytest.fixture
def on_swift(site: Site, swift: Swift, tmp_path: Path) -> Site:
    """The same site, whose job goes to the real Swift and to a folder."""
    site.document["stores"]["swift"] = swift.settings(prefix=f"tests/{tmp_path.name}", tries=2)
    site.job["stores"] = ["swift", "disk"]
    return site


def tree_of(root: Path) -> dict[bytes, tuple[Any, ...]]:
    """Everything about a tree that a restore must bring back, by path."""
    first_names: dict[int, bytes] = {}
    paths = sorted([root, *root.rglob("*")])
    return {os.fsencode(path.relative_to(root)): _facts(path, first_names) for path in paths}


def _facts(path: Path, first_names: dict[int, bytes]) -> tuple[Any, ...]:
    status = path.lstat()
    link = str(path.readlink()) if path.is_symlink() else ""
    content = path.read_bytes() if path.is_file() and not link else b""
    names = sorted(os.listxattr(path, follow_symlinks=False))
    attributes = {name: os.getxattr(path, name, follow_symlinks=False) for name in names}
    is_shared = status.st_nlink > 1 and not path.is_dir()
    first = first_names.setdefault(status.st_ino, os.fsencode(path.name)) if is_shared else b""
    owner = (status.st_uid, status.st_gid)
    return (oct(status.st_mode), owner, status.st_mtime_ns, link, content, attributes, first)


@pytest.fixture
def tree() -> Callable[[Path], dict[bytes, tuple[Any, ...]]]:
    return tree_of


@pytest.fixture
def oddities() -> Callable[[Path], None]:
    return fill_with_oddities


def rsync_differences(source: Path, restored: Path) -> str:
    """What rsync would change to make ``restored`` what ``source`` is; empty when they are equal."""
    argv = ["rsync", "-acnAXHi", "--devices", "--specials", "--delete", f"{source}/", f"{restored}/"]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    return done.stdout


@pytest.fixture
def rsync() -> Callable[[Path, Path], str]:
    return rsync_differences


@pytest.fixture
def scratch() -> Iterator[Path]:
    """A scratch folder that the users of database servers can reach: pytest's own are closed to them."""
    # What a server still does as it ends is no failure of a test that is over.
    with TemporaryDirectory(dir="/var/tmp", prefix="leitstand-test-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o711)
        yield Path(folder)


@pytest.fixture
def mariadb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MariaDB]:
    if shutil.which("mariadbd") is None and not Path("/usr/sbin/mariadbd").exists():
        pytest.skip("mariadb-server is not installed")
    with MariaDB(tmp_path_factory.mktemp("mariadb")) as server:
        yield server


@pytest.fixture
def postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgreSQL]:
    if not list(Path("/usr/lib/postgresql").glob("*/bin/postgres")):
        pytest.skip("postgresql is not installed")
    with PostgreSQL(tmp_path_factory.mktemp("postgresql")) as server:
        yield server


def make_snapshot(site: Site, moment: datetime.datetime, job_name: str = "site") -> str:
    """Run a job as if the machine's clock stood at ``moment``; the folder store's times are of then, too."""
    site.write()
    context = Context.load(site.config)
    job, keys = context.job(job_name), keys_of(context.job(job_name))
    with context.stores(job) as stores:
        known = {store.name: learn(context, job_name, store, keys) for store in stores}
        sources = open_sources(job, context.fleet.hosts[job.host], [])
        name = run_job(RunPlan(job_name, job, sources, stores, keys, known=known), Progress(), moment).name.id
        for store in stores:
            learn(context, job_name, store, keys)
    for path in site.objects(name).values():
        os.utime(path, (moment.timestamp(),) * 2)
    return name


@pytest.fixture
def make_at() -> Callable[[Site, datetime.datetime], str]:
    return make_snapshot
