"""A web site on one host, its backups on a second, made by a third, restored and served on a fourth."""

import hashlib
import json
import os
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from lab.databases import MariaDB
from lab.patience import patient
from lab.processes import Server, wait_until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can make network namespaces"),
]
REPOSITORY = Path(__file__).resolve().parents[2]
SWIFT_PYTHON = REPOSITORY / ".venv-swift" / "bin" / "python"
SITE, SWIFT, LEITSTAND, NEW_SITE = "site", "swift", "leitstand", "newsite"
ADDRESSES = {SITE: "10.77.77.1", SWIFT: "10.77.77.2", LEITSTAND: "10.77.77.3", NEW_SITE: "10.77.77.4"}
INDEX = """\
<?php
// The page of a small content management system: posts from MariaDB, pictures from a folder.
require __DIR__ . '/config.php';
$database = new mysqli(null, 'root', '', DB_NAME, 0, getenv('DB_SOCKET'));
$database->set_charset('utf8mb4');
echo "<!doctype html><title>Rennteam</title>\\n";
foreach ($database->query('SELECT title, body FROM posts ORDER BY id') as $post) {
    printf("<article><h2>%s</h2>%s</article>\\n", htmlspecialchars($post['title']), $post['body']);
}
foreach (glob(__DIR__ . '/content/uploads/*/*.jpg') as $picture) {
    $name = substr($picture, strlen(__DIR__) + 1);
    printf("<img src=\\"%s\\" alt=\\"%s\\">\\n", $name, hash_file('sha256', $picture));
}
"""
SSHD = """\
Port 22022
ListenAddress {address}
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/authorized_keys
PidFile none
UsePAM no
StrictModes no
PasswordAuthentication no
PermitRootLogin forced-commands-only
"""


def run(*argv: object, check: bool = True) -> subprocess.CompletedProcess[str]:
    words = [str(word) for word in argv]
    return subprocess.run(words, capture_output=True, text=True, timeout=patient(600), check=check)


@dataclass
class Network:
    """Four hosts as network namespaces on one bridge; their names are this process's own."""

    tag: str = f"ls{os.getpid()}"
    servers: list[Server] = field(default_factory=list)

    def __enter__(self) -> "Network":
        for host in ADDRESSES:
            run("ip", "netns", "add", self.namespace(host))
            self.inside(host, "ip", "link", "set", "lo", "up")
        self.inside(LEITSTAND, "ip", "link", "add", "bridge0", "type", "bridge")
        self.inside(LEITSTAND, "ip", "address", "add", f"{ADDRESSES[LEITSTAND]}/24", "dev", "bridge0")
        self.inside(LEITSTAND, "ip", "link", "set", "bridge0", "up")
        for host in (SITE, SWIFT, NEW_SITE):
            self._plug_in(host)
        return self

    def _plug_in(self, host: str) -> None:
        middle, port = self.namespace(LEITSTAND), f"to-{host}"
        run(
            "ip",
            "-n",
            self.namespace(host),
            "link",
            "add",
            "eth0",
            "type",
            "veth",
            "peer",
            port,
            "netns",
            middle,
        )
        self.inside(host, "ip", "address", "add", f"{ADDRESSES[host]}/24", "dev", "eth0")
        self.inside(host, "ip", "link", "set", "eth0", "up")
        self.inside(LEITSTAND, "ip", "link", "set", port, "master", "bridge0", "up")

    def __exit__(self, *_: object) -> None:
        for server in reversed(self.servers):
            server.stop()
        for host in ADDRESSES:
            run("ip", "netns", "delete", self.namespace(host), check=False)

    def namespace(self, host: str) -> str:
        return f"{self.tag}-{host}"

    def words(self, host: str) -> list[str]:
        return ["ip", "netns", "exec", self.namespace(host)]

    def inside(self, host: str, *argv: object, check: bool = True) -> subprocess.CompletedProcess[str]:
        return run(*self.words(host), *argv, check=check)

    def serve(self, host: str, argv: Sequence[object], log: Path, environment: dict[str, str]) -> Server:
        words = [*self.words(host), *map(str, argv)]
        server = Server(str(argv[0]), words, log, 0, environment=environment).start()
        self.servers.append(server)
        return server

    def fetch(self, host: str, path: str) -> bytes:
        """What the web server of a host answers to another host; nothing when it does not."""
        url = f"http://{ADDRESSES[host]}:8080{path}"
        done = subprocess.run(
            [*self.words(LEITSTAND), "curl", "-sf", "-m", "60", url],
            capture_output=True,
            timeout=patient(120),
            check=False,
        )
        return done.stdout if done.returncode == 0 else b""


@dataclass
class Fleet:
    """The four hosts with what runs on them."""

    folder: Path
    network: Network
    database: MariaDB
    config: Path

    @property
    def www(self) -> Path:
        return self.folder / "www"

    def leitstand(self, host: str, *arguments: object) -> str:
        """A command of the orchestrator on one of the hosts."""
        argv = [sys.executable, "-m", "leitstand", "backup", *arguments, "--config", self.config]
        done = self.network.inside(host, *argv, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def serve_site(self, host: str, root: Path, database: MariaDB) -> None:
        environment = {"DB_SOCKET": str(database.folder / "socket")}
        address = f"{ADDRESSES[host]}:8080"
        self.network.serve(host, ["php", "-S", address, "-t", root], self.folder / f"php-{host}", environment)
        wait_until(lambda: b"</article>" in self.network.fetch(host, "/index.php"), f"the page of {host}")


def make_site(www: Path, database: MariaDB) -> None:
    generator = random.Random(7)
    for number in range(12):
        picture = www / "content" / "uploads" / f"2026-{number % 3 + 9:02}" / f"bild-{number}.jpg"
        picture.parent.mkdir(parents=True, exist_ok=True)
        picture.write_bytes(generator.randbytes(200_000))
    (www / "index.php").write_text(INDEX)
    (www / "config.php").write_text("<?php define('DB_NAME', 'website');\n")
    (www / "config.php").chmod(0o640)
    (www / "latest").symlink_to("content/uploads/2026-11")
    database.execute(
        "SET NAMES utf8mb4; CREATE DATABASE website CHARACTER SET utf8mb4; USE website;"
        " CREATE TABLE posts (id INT PRIMARY KEY AUTO_INCREMENT, title TEXT, body MEDIUMTEXT);"
        " INSERT INTO posts (title, body) VALUES ('Willkommen & hallo', '<p>Grüße 🏁</p>'),"
        " ('It''s a backslash: \\\\\\\\', '<p>two\\nlines</p>')"
    )


def start_swift(network: Network, folder: Path) -> dict[str, Any]:
    folder.mkdir()
    ready = folder / "ready"
    script = REPOSITORY / "lab" / "swift_server.py"
    network.serve(SWIFT, [SWIFT_PYTHON, script, folder / "data", "--address", ADDRESSES[SWIFT]], ready, {})
    wait_until(lambda: '{"endpoint"' in ready.read_text(), "Swift")
    lines = [line for line in ready.read_text().splitlines() if line.startswith('{"endpoint"')]
    answer: dict[str, Any] = json.loads(lines[-1])  # others are its log
    (folder / "swift.ini").touch(mode=0o600)
    (folder / "swift.ini").write_text(
        f"[default]\naccess_key = {answer['access_key']}\nsecret_key = {answer['secret_key']}\n"
    )
    return answer


def configuration(folder: Path, endpoint: str, database: MariaDB) -> dict[str, Any]:
    ssh = {
        "user": "root",
        "port": 22022,
        "identity_file": str(folder / "ssh" / "identity"),
        "known_hosts_file": str(folder / "ssh" / "known_hosts"),
    }
    job = {
        "host": "web1",
        "sources": [
            {"files": str(folder / "www")},
            {"mysql": "website", "defaults_file": str(database.defaults_file)},
        ],
        "stores": ["swift"],
        "keys_file": str(folder / "keys"),
        "volume_size": "1MiB",
    }
    store = {"type": "s3", "endpoint": endpoint, "bucket": "backups"}
    return {
        "hosts": {"web1": {"address": ADDRESSES[SITE], "ssh": ssh}},
        "stores": {"swift": {**store, "credentials_file": str(folder / "swift" / "swift.ini")}},
        "backups": {"website": job},
        "paths": {"state": str(folder / "state"), "metrics": str(folder / "metrics")},
    }


def start_sshd(network: Network, folder: Path) -> None:
    folder.mkdir()
    for name in ("host_key", "identity"):
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", folder / name)
    (folder / "authorized_keys").touch()
    (folder / "sshd_config").write_text(SSHD.format(address=ADDRESSES[SITE], folder=folder))
    Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    network.serve(SITE, ["/usr/sbin/sshd", "-D", "-e", "-f", folder / "sshd_config"], folder / "log", {})
    scan = ("ssh-keyscan", "-T", "2", "-p", "22022", "-t", "ed25519", ADDRESSES[SITE])
    wait_until(lambda: "ed25519" in network.inside(LEITSTAND, *scan, check=False).stdout, "sshd")
    kind, key, *_ = (folder / "host_key.pub").read_text().split()
    (folder / "known_hosts").write_text(f"[{ADDRESSES[SITE]}]:22022 {kind} {key}\n")


def authorize(fleet: Fleet) -> None:
    """What ``leitstand backup authorize`` says, done on the host; only the script's place is another."""
    told = json.loads(fleet.leitstand(LEITSTAND, "authorize", "web1", "--json"))
    script = fleet.folder / "ssh" / "read-web1"
    script.write_text(told["script"])
    script.chmod(0o755)
    line = told["line"].replace(told["script_path"], str(script))
    assert f'restrict,command="{script}"' in line
    (fleet.folder / "ssh" / "authorized_keys").write_text(line + "\n")


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    for program in ("ip", "php", "curl", "mysqldump"):
        assert shutil.which(program), f"this test needs {program}: see the packages in ./check"
    with ExitStack() as stack:
        network = stack.enter_context(Network())
        database = stack.enter_context(MariaDB(tmp_path / "mariadb"))
        endpoint = start_swift(network, tmp_path / "swift")["endpoint"]
        start_sshd(network, tmp_path / "ssh")
        config = tmp_path / "leitstand.yml"
        config.write_text(yaml.safe_dump(configuration(tmp_path, endpoint, database)))
        fleet = Fleet(tmp_path, network, database, config)
        make_site(fleet.www, database)
        fleet.serve_site(SITE, fleet.www, database)
        fleet.leitstand(LEITSTAND, "keys", "generate")
        authorize(fleet)
        yield fleet


def test_a_site_backed_up_over_ssh_is_restored_and_served_on_another_host(fleet: Fleet) -> None:
    page = fleet.network.fetch(SITE, "/index.php")
    assert page.count(b"<article>") == 2
    assert page.count(b"<img ") == 12
    said = fleet.leitstand(LEITSTAND, "run", "website")
    assert "complete snapshot" in said

    fleet.database.execute("DROP DATABASE website")
    shutil.rmtree(fleet.www)

    restored = fleet.folder / "restored"
    fleet.leitstand(NEW_SITE, "restore", "website", "--target", restored)
    www = restored / "files" / fleet.www.relative_to("/")
    assert (www / "config.php").stat().st_mode & 0o777 == 0o640
    with MariaDB(fleet.folder / "new-mariadb") as database:
        database.execute("CREATE DATABASE website CHARACTER SET utf8mb4")
        database.execute((restored / "mysql" / "website" / "dump.sql").read_text(), "website")
        fleet.serve_site(NEW_SITE, www, database)
        assert fleet.network.fetch(NEW_SITE, "/index.php") == page
        for name, digest in re.findall(rb'<img src="([^"]+)" alt="([0-9a-f]+)">', page):
            picture = fleet.network.fetch(NEW_SITE, "/" + name.decode())
            assert hashlib.sha256(picture).hexdigest() == digest.decode()


def test_the_key_of_the_leitstand_reads_what_the_job_holds_and_nothing_else(fleet: Fleet) -> None:
    ssh = ["ssh", "-o", "BatchMode=yes", "-i", fleet.folder / "ssh" / "identity"]
    ssh += ["-o", f"UserKnownHostsFile={fleet.folder / 'ssh' / 'known_hosts'}", "-p", "22022"]
    for command in ("cat /etc/shadow", "", f"rm -r {fleet.www}"):
        done = fleet.network.inside(LEITSTAND, *ssh, f"root@{ADDRESSES[SITE]}", command, check=False)
        assert done.returncode != 0
        assert done.stdout == ""
        assert "may not run that" in done.stderr
    assert (fleet.www / "index.php").exists()


def test_a_host_that_has_been_cut_off_is_one_clear_line(fleet: Fleet) -> None:
    fleet.network.inside(SITE, "ip", "link", "set", "eth0", "down")
    argv = [sys.executable, "-m", "leitstand", "backup", "run", "website", "--config", fleet.config]
    done = fleet.network.inside(LEITSTAND, *argv, check=False)
    assert done.returncode == 3
    logged = (" INFO ", "  hint: ")  # the first run of all tells that it made the bucket
    lines = [line for line in done.stderr.splitlines() if not any(mark in line for mark in logged)]
    assert len(lines) == 1, done.stderr
    assert "web1" in lines[0] or ADDRESSES[SITE] in lines[0]
