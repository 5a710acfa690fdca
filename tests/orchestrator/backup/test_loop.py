"""Back up, list, verify, restore: the whole way, on the real Swift and on a folder."""

import json
import os
import sqlite3
import stat
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from leitstand.cli import run as run_leitstand

Site = Any
TreeOf = Callable[[Path], dict[bytes, tuple[Any, ...]]]
Fill = Callable[[Path], None]
Rsync = Callable[[Path, Path], str]


def test_a_restored_tree_equals_its_source(on_swift: Site, tree: TreeOf, tmp_path: Path) -> None:
    on_swift.good("run", "site")
    before = tree(on_swift.www)
    for store in ("swift", "disk"):
        target = tmp_path / f"from-{store}"
        on_swift.good("restore", "site", "--target", target, "--store", store)
        assert tree(on_swift.restored(target)) == before
        assert (on_swift.restored(target) / "sparse").stat().st_blocks * 512 < 1_000_000, "holes stay holes"


def test_rsync_finds_no_difference(site: Site, oddities: Fill, rsync: Rsync, tmp_path: Path) -> None:
    oddities(site.www)
    site.good("run", "site")
    site.good("restore", "site", "--target", tmp_path / "out")
    assert rsync(site.www, site.restored(tmp_path / "out")) == ""
    site.good("drill", "site")


def test_a_target_that_hands_down_rights_changes_none_of_the_snapshot(
    site: Site, oddities: Fill, rsync: Rsync, tmp_path: Path
) -> None:
    oddities(site.www)
    site.good("run", "site")
    target = tmp_path / "out"
    target.mkdir()
    handed_down = os.getxattr(site.www / "shared", "system.posix_acl_default")
    os.setxattr(target, "system.posix_acl_default", handed_down)
    site.good("restore", "site", "--target", target)
    assert rsync(site.www, site.restored(target)) == ""
    assert os.getxattr(target, "system.posix_acl_default") == handed_down


def test_a_restored_database_is_whole_though_it_was_being_written(site: Site, tmp_path: Path) -> None:
    database = site.folder / "guestbook.sqlite"
    writer = sqlite3.connect(database)
    writer.execute("PRAGMA journal_mode = WAL")
    writer.execute("INSERT INTO entry (name) VALUES ('committed')")
    writer.commit()
    writer.execute("INSERT INTO entry (name) VALUES ('not committed')")
    site.good("run", "site")
    writer.close()
    site.good("restore", "site", "--target", tmp_path / "out")
    copy = sqlite3.connect(tmp_path / "out" / "sqlite" / database.relative_to("/"))
    names = [name for (name,) in copy.execute("SELECT name FROM entry WHERE id > 500")]
    copy.close()
    assert names == ["committed"]


def test_a_large_database_leaves_nothing_in_the_scratch_folder(site: Site, tmp_path: Path) -> None:
    site.job["sources"] = [{"sqlite": str(site.folder / "guestbook.sqlite"), "memory_limit": "1KiB"}]
    site.good("run", "site")
    assert list((site.folder / "scratch").iterdir()) == []
    site.good("restore", "site", "--target", tmp_path / "out")
    assert len(list((tmp_path / "out").rglob("guestbook.sqlite"))) == 1


def test_both_stores_list_the_same_snapshots(on_swift: Site) -> None:
    on_swift.good("run", "site")
    on_swift.wait_for_next_second()
    on_swift.good("run", "site")
    rows = on_swift.good("list", "site", "--json").json()
    assert [row["store"] for row in rows] == ["swift", "swift", "disk", "disk"]
    assert on_swift.snapshots("swift") == on_swift.snapshots("disk")
    first = rows[0]
    assert (first["job"], first["host"], first["state"]) == ("site", "here", "complete")
    assert first["content_bytes"] > 5_000_000 > first["stored_bytes"] > 300_000
    assert first["entries"] > 15
    assert first["volumes"] > 1
    assert first["snapshot"] in on_swift.good("list").stdout


def test_verify_reads_every_byte_back(on_swift: Site) -> None:
    on_swift.good("run", "site")
    checks = on_swift.good("verify", "site", "--json").json()
    stored = on_swift.good("list", "site", "--json").json()[0]["stored_bytes"]
    assert [check["store"] for check in checks] == ["swift", "disk"]
    assert all(check["findings"] == [] for check in checks)
    assert all(stored - 20_000 < check["archive_bytes"] < stored for check in checks)


def test_one_small_snapshot_is_one_volume_named_vol_zip(site: Site) -> None:
    site.job["volume_size"] = "64MiB"
    site.good("run", "site")
    names = sorted(path.name for path in site.disk.rglob("*") if path.is_file())
    assert names == ["COMMIT", "manifest.zip", "meta.json", "vol.zip"]


def test_7zip_opens_a_snapshot_with_the_password_that_is_shown(on_swift: Site, tmp_path: Path) -> None:
    (on_swift.www / "nowhere").unlink()  # 7-Zip itself refuses a link that leads out of the tree
    on_swift.good("run", "site")
    (snapshot,) = on_swift.snapshots("disk")
    password = on_swift.good("keys", "show", snapshot).stdout.strip()
    (volume,) = on_swift.disk.rglob("vol.zip.001")
    for archive, target in (
        (volume, tmp_path / "outer"),
        (tmp_path / "outer" / "backup.zip", tmp_path / "inner"),
    ):
        argv = ["7z", "x", "-y", f"-o{target}", str(archive)]
        subprocess.run(argv, input=f"{password}\n", capture_output=True, text=True, check=True)
    restored = on_swift.restored(tmp_path / "inner")
    assert (restored / "index.html").read_text() == "<h1>Willkommen</h1>"
    assert (restored / "uploads" / "photo.jpg").read_bytes() == (
        on_swift.www / "uploads" / "photo.jpg"
    ).read_bytes()


def test_the_recovery_kit_derives_the_same_password_in_a_shell(site: Site) -> None:
    site.good("run", "site")
    (snapshot,) = site.snapshots()
    kit = site.good("keys", "export").stdout
    secret = next(line.split()[1] for line in kit.splitlines() if line.startswith("1 "))
    recipe = "\n".join(line for line in kit.splitlines() if "printf" in line or "openssl" in line)
    script = f"secret={secret}\nsnapshot={snapshot}\n{recipe}"
    shell = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert shell.stdout.strip() == site.good("keys", "show", snapshot).stdout.strip()
    assert str(site.disk) in kit


def test_patterns_restore_only_what_they_name(site: Site, tmp_path: Path) -> None:
    site.good("run", "site")
    for number, (pattern, expected) in enumerate(
        [
            ("*/uploads/*.jpg", {"uploads/photo.jpg"}),
            (f"{site.www}/uploads", {"uploads", "uploads/photo.jpg", "uploads/notes.txt"}),
            ("secret.php", {"secret.php"}),
            ("second name", {"second name"}),
        ]
    ):
        target = tmp_path / f"out-{number}"
        site.good("restore", "site", pattern, "--target", target)
        root = site.restored(target)
        found = {str(path.relative_to(root)) for path in root.rglob("*")} - {"uploads"}
        assert found == expected - {"uploads"}
    assert (site.restored(tmp_path / "out-3") / "second name").read_text() == "<h1>Willkommen</h1>"


def test_a_pattern_that_matches_nothing_is_reported(site: Site, tmp_path: Path) -> None:
    site.good("run", "site")
    ran = site.leitstand("restore", "site", "no-such-file", "--target", tmp_path / "out")
    assert ran.status == 3
    assert "matches" in ran.errors[0]


def test_excluded_files_are_not_saved(site: Site) -> None:
    (site.www / "cache").mkdir()
    (site.www / "cache" / "page").touch()
    (site.www / "tmp").mkdir()
    (site.www / "tmp" / "CACHEDIR.TAG").write_text("Signature: 8a477f597d28d172789f06886806bc55\n")
    (site.www / "tmp" / "junk").touch()
    (site.www / "guestbook.sqlite").touch()
    site.job["sources"][0]["exclude"] = ["*/cache/*", "*.jpg", "/nowhere/else"]
    site.job["sources"][1] = {"sqlite": str(site.folder / "guestbook.sqlite")}
    site.good("run", "site")
    target = site.folder / "out"
    site.good("restore", "site", "--target", target)
    names = {str(path.relative_to(site.restored(target))) for path in site.restored(target).rglob("*")}
    assert {"cache", "tmp", "tmp/CACHEDIR.TAG", "uploads/notes.txt"} <= names
    assert not names & {"cache/page", "tmp/junk", "uploads/photo.jpg"}


def test_metrics_report_the_run_and_its_verification(on_swift: Site) -> None:
    start = time.time()
    on_swift.good("run", "site")
    on_swift.good("verify", "site", "--store", "disk")
    text = (on_swift.folder / "metrics" / "leitstand_backup.prom").read_text()
    for store in ("swift", "disk"):

        def value(name: str, store: str = store) -> float:
            (number,) = on_swift.metric(name, backup="site", host="here", store=store)
            return number

        assert value("last_run_success") == 1
        assert value("last_success_timestamp_seconds") >= start
        assert value("interval_seconds") == 86400
        assert value("source_bytes") > 5_000_000
        assert value("files") > 15
        assert value("snapshots") == 1
    labels = {"backup": "site", "host": "here", "level": "full"}
    assert len(on_swift.metric("last_verified_timestamp_seconds", **labels, store="disk")) == 1
    assert on_swift.metric("last_verified_timestamp_seconds", **labels, store="swift") == []
    argv = ["promtool", "check", "metrics"]
    lint = subprocess.run(argv, input=text, capture_output=True, text=True, check=False)
    assert lint.returncode == 0, lint.stdout + lint.stderr


def test_secrets_are_nowhere_but_where_they_belong(on_swift: Site, swift: Any) -> None:
    with on_swift.start("run", "site") as run:
        lines = set()
        while run.poll() is None:
            try:
                lines.add(Path(f"/proc/{run.pid}/cmdline").read_bytes())
                lines.add(Path(f"/proc/{run.pid}/environ").read_bytes())
            except (FileNotFoundError, ProcessLookupError, PermissionError):  # it is ending
                break
            time.sleep(0.02)
        output = "".join(run.communicate())
    assert run.returncode == 0, output
    (snapshot,) = on_swift.snapshots("swift")
    password = on_swift.good("keys", "show", snapshot).stdout.strip()
    master = (on_swift.folder / "keys").read_text().splitlines()[1].split()[1]
    kept = [path for path in (on_swift.folder / "state").rglob("*") if path.is_file()]
    kept += list((on_swift.folder / "metrics").rglob("*"))
    kept += [path for path in on_swift.disk.rglob("*") if path.is_file()]
    seen = b"\n".join(
        [*lines, output.encode(), swift.log.read_bytes(), *(path.read_bytes() for path in kept)]
    )
    for secret in (password, master, swift.secret_key):
        assert secret.encode() not in seen
    assert b"index.html" not in seen, "names of files are encrypted, too"


def test_the_log_of_a_developer_holds_no_request_with_its_signature(on_swift: Site) -> None:
    on_swift.write()
    argv = ["--log-level", "debug", "backup", "run", "site", "--config", str(on_swift.config)]
    assert run_leitstand(argv) == 0
    assert "authorization" not in on_swift.capture.readouterr().err.lower()


def test_stored_objects_are_for_their_owner_only(site: Site) -> None:
    site.good("run", "site")
    modes = {stat.S_IMODE(path.stat().st_mode) for path in site.disk.rglob("*") if path.is_file()}
    assert modes == {0o600}
    folders = {stat.S_IMODE(path.stat().st_mode) for path in site.disk.rglob("*") if path.is_dir()}
    assert folders == {0o700}


def test_a_second_run_at_the_same_time_is_refused(site: Site) -> None:
    os.mkfifo(site.folder / "gate")
    site.job["sources"] = [{"command": ["cat", str(site.folder / "gate")], "name": "waits"}]
    with site.start("run", "site") as first:
        gate = (site.folder / "gate").open("w")  # opens when the first run reads it
        second = site.leitstand("run", "site")
        gate.write("done")
        gate.close()
        assert first.wait(120) == 0
    assert second.status == 3
    assert "another run is under way" in second.errors[0]
    assert str(first.pid) in second.errors[0]


def test_state_is_a_cache_and_the_store_alone_is_enough(on_swift: Site, tree: TreeOf, tmp_path: Path) -> None:
    on_swift.good("run", "site")
    for path in sorted((on_swift.folder / "state").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    on_swift.good("verify", "site")
    on_swift.good("restore", "site", "--target", tmp_path / "out")
    assert tree(on_swift.restored(tmp_path / "out")) == tree(on_swift.www)


@pytest.mark.parametrize(
    "command",
    [
        *("run", "list", "verify", "restore", "keys generate", "keys export", "keys show", "prune", "status"),
        *("ls", "find", "cat", "diff", "drill", "catalog rebuild", "authorize", "serve", "install-timers"),
    ],
)
def test_every_command_has_help_with_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    from leitstand.cli import run

    assert run(["backup", *command.split(), "--help"]) == 0
    assert "Example: leitstand backup" in capsys.readouterr().out


def test_the_listing_is_valid_json_without_snapshots(site: Site) -> None:
    assert json.loads(site.good("list", "--json").stdout) == []
