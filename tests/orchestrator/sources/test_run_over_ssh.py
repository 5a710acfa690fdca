"""The whole way over the real OpenSSH: a host that allows its jobs' commands, to the letter, and no other."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.databases import MariaDB
from lab.sshd import Sshd
from orchestrator.state.context import Context
from orchestrator.state.operations import readable_snapshot

Site = Any
TreeOf = Callable[[Path], dict[bytes, tuple[Any, ...]]]
Fill = Callable[[Path], None]
ROWS = 1234


@pytest.fixture(scope="module")
def mariadb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MariaDB]:
    with MariaDB(tmp_path_factory.mktemp("mariadb")) as server:
        values = ",".join(f"({n}, 'Gast {n}')" for n in range(ROWS))
        server.execute(
            "CREATE DATABASE website; CREATE DATABASE again; USE website;"
            "CREATE TABLE entry (id INT PRIMARY KEY, name VARCHAR(50)); CREATE TABLE empty (id INT);"
            f"INSERT INTO entry VALUES {values};"
        )
        yield server


@pytest.fixture
def sshd(tmp_path: Path) -> Iterator[Sshd]:
    with Sshd(tmp_path / "sshd") as server:
        yield server


@pytest.fixture
def far(site: Site, sshd: Sshd) -> Site:
    """The site on a host behind sshd, which has been given what 'authorize' prints."""
    ssh = {"user": sshd.user, "port": sshd.port, "identity_file": str(sshd.identity)}
    ssh["known_hosts_file"] = str(sshd.known_hosts)
    site.document["hosts"]["far"] = {"address": "127.0.0.1", "ssh": ssh}
    site.job["host"] = "far"
    site.job["sources"] = [{"files": str(site.www)}]
    return site


def install(site: Site, sshd: Sshd) -> None:
    """Do what the command tells an admin to do on the host; only the script stands elsewhere."""
    told = site.good("authorize", "far", "--json").json()
    script = sshd.folder / "read-far"
    script.write_text(told["script"])
    script.chmod(0o755)
    sshd.allow(told["line"].replace(told["script_path"], str(script)))


def test_files_and_a_database_of_a_far_host_come_back_equal(
    far: Site, sshd: Sshd, mariadb: MariaDB, tree: TreeOf, tmp_path: Path
) -> None:
    mysql = {"mysql": "website", "defaults_file": str(mariadb.defaults_file)}
    far.job["sources"].append(mysql)
    install(far, sshd)
    assert "site: mysql/website: can be read" in far.good("doctor", "site").stdout
    far.good("run", "site")
    far.good("verify", "site")
    far.good("restore", "site", "--target", tmp_path / "out")
    assert tree(far.restored(tmp_path / "out")) == tree(far.www)
    mariadb.execute((tmp_path / "out" / "mysql" / "website" / "dump.sql").read_text(), "again")
    sums = "SELECT COUNT(*), SUM(CRC32(CONCAT(id, name))) FROM entry"
    assert mariadb.execute(sums, "again") == mariadb.execute(sums, "website")
    assert mariadb.execute(sums, "again").startswith(f"{ROWS}\t")


def test_rsync_finds_no_difference(
    far: Site,
    sshd: Sshd,
    oddities: Callable[[Path], None],
    rsync: Callable[[Path, Path], str],
    tmp_path: Path,
) -> None:
    """tar sends no sockets, and pipes and devices with two names as two of them."""
    oddities(far.www)
    for name in ("socket", "socket again", "another pipe again", "null again"):
        (far.www / name).unlink(missing_ok=True)
    install(far, sshd)
    far.good("run", "site")
    far.good("restore", "site", "--target", tmp_path / "out")
    assert rsync(far.www, far.restored(tmp_path / "out")) == ""


def test_a_spot_check_asks_the_far_host_for_no_more_than_a_run(far: Site, sshd: Sshd) -> None:
    install(far, sshd)
    far.good("run", "site")
    (check,) = far.good("verify", "site", "--spot", "50", "--json").json()
    assert (check["changed"], check["findings"]) == (0, [])
    assert check["paths_live"] == check["paths_stored"] > check["files"] > 5
    photo = far.www / "uploads" / "photo.jpg"
    status, data = photo.stat(), photo.read_bytes()
    photo.write_bytes(bytes([data[0] ^ 1]) + data[1:])
    os.utime(photo, ns=(status.st_atime_ns, status.st_mtime_ns))
    (far.www / "secret.php").write_text("changed since, as files do")
    ran = far.leitstand("verify", "site", "--spot", "50", "--json")
    (check,) = ran.json()
    assert (ran.status, check["changed"], len(check["findings"])) == (3, 1, 1)
    assert check["findings"][0]["where"].endswith("photo.jpg")


def test_the_manifest_has_the_rows_of_each_table(far: Site, sshd: Sshd, mariadb: MariaDB) -> None:
    far.job["sources"] = [{"mysql": "website", "defaults_file": str(mariadb.defaults_file)}]
    install(far, sshd)
    far.good("run", "site")
    context = Context.load(far.config)
    with readable_snapshot(context, context.job("site"), "site", None, None, print) as snapshot:
        (row,) = snapshot.manifest.rows()
    assert row.tables == {"entry": ROWS, "empty": 0}


def test_a_source_that_was_added_later_needs_a_new_authorization(far: Site, sshd: Sshd) -> None:
    install(far, sshd)
    far.job["sources"].append({"command": ["hostname"], "name": "name"})
    refused = far.leitstand("run", "site")
    assert refused.status == 3
    assert "may not run that here" in refused.stderr
    assert far.snapshots() == []
    install(far, sshd)
    far.good("run", "site")


def test_a_host_with_another_key_is_refused(far: Site, sshd: Sshd) -> None:
    install(far, sshd)
    kind, key, *_ = (sshd.folder / "identity.pub").read_text().split()
    sshd.known_hosts.write_text(f"[127.0.0.1]:{sshd.port} {kind} {key}\n")
    refused = far.leitstand("run", "site")
    assert refused.status == 3
    assert "Host key verification failed" in refused.stderr


def test_the_steps_name_every_place_and_how_to_pin_the_key(far: Site, sshd: Sshd) -> None:
    text = far.good("authorize", "far").stdout
    told = far.good("authorize", "far", "--json").json()
    for part in ("script", "line", "script_path", "scan", "authorized_keys"):
        assert told[part].strip() in text
    assert f"ssh-keyscan -p {sshd.port} 127.0.0.1 >> {sshd.known_hosts}" in text
    assert f"-F '[127.0.0.1]:{sshd.port}'" in text
    made = [
        words.split()[0] for words in text.replace(";", "\n").replace("-m 700 ", "").split("mkdir -p ")[1:]
    ]
    assert made == [
        path.rpartition("/")[0]
        for path in (told["script_path"], told["authorized_keys"], str(sshd.known_hosts))
    ]
    assert told["jobs"] == ["site"]


def test_an_unknown_host_is_answered_with_those_there_are(far: Site) -> None:
    wrong = far.leitstand("authorize", "fra")
    assert wrong.status == 2
    assert wrong.errors == ["there is no host 'fra'"]
    assert "far, here" in wrong.stderr
