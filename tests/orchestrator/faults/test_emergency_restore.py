"""docs/emergency-restore.md, run as it is written: 7-Zip, rclone and the recovery kit are enough."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lab.databases import MariaDB, PostgreSQL
from lab.patience import patient

Site = Any
Swift = Any
REPOSITORY = Path(__file__).resolve().parents[3]
PAGE = REPOSITORY / "docs" / "emergency-restore.md"
BLOCK = re.compile(r"^```bash ?(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def script(values: Mapping[str, str], *chosen: str) -> str:
    """The page's blocks for ``chosen`` tags, with ``values`` in place of those in its first block."""
    blocks = BLOCK.findall(PAGE.read_text())
    for name, value in values.items():
        setting = re.search(rf"(?<![A-Z_]){name}=(?:'[^']*'|\"[^\"]*\")", blocks[0][1])
        assert setting, f"the first block does not set {name}"
        blocks[0] = (blocks[0][0], blocks[0][1].replace(setting[0], f"{name}='{value}'"))
    return "\n".join(text for tag, text in blocks if not tag or tag in chosen)


@dataclass(frozen=True)
class Rescue:
    """A machine without Leitstand: an empty home, the kit on paper."""

    site: Site
    home: Path
    environment: dict[str, str]

    def kit(self) -> str:
        text: str = self.site.good("keys", "export", "site").stdout
        return text

    def secret(self) -> str:
        found = re.search(r"^1 ([A-Z2-7]{52}) ", self.kit(), re.MULTILINE)
        assert found
        return found[1]

    def run(self, text: str) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.home), **self.environment}
        return subprocess.run(
            ["bash"],
            input=text,
            capture_output=True,
            text=True,
            env=environment,
            cwd="/",
            timeout=patient(120),
        )

    @property
    def restored(self) -> Path:
        (folder,) = (self.home / "work").glob("*/restored")
        return folder


@pytest.fixture
def rescue(on_swift: Site, tmp_path: Path) -> Rescue:
    for program in ("7z", "rclone", "jq", "openssl", "sha256sum"):
        assert shutil.which(program), f"this test needs {program}: see the packages in ./check"
    home = tmp_path / "home"
    home.mkdir()
    return Rescue(on_swift, home, {})


@pytest.fixture
def in_the_bucket(rescue: Rescue, swift: Swift, tmp_path: Path) -> dict[str, str]:
    """What a person copies from the kit into the page's first block."""
    return {
        "secret": rescue.secret(),
        "place": f"backups/tests/{tmp_path.name}/here/site",
        "work": str(rescue.home / "work"),
        "RCLONE_CONFIG_STORE_ENDPOINT": swift.endpoint,
        "RCLONE_CONFIG_STORE_ACCESS_KEY_ID": swift.access_key,
        "RCLONE_CONFIG_STORE_SECRET_ACCESS_KEY": swift.secret_key,
    }


def assert_same_files(site: Site, restored: Path) -> None:
    """Every plain file of the site, with its bytes, mode and time; others are told of in the page."""
    here = restored / "files" / site.www.relative_to("/")
    for path in site.www.rglob("*"):
        if path.is_symlink() or not path.is_file() or "latin1" in path.name or "\\" in path.name:
            continue
        found = here / path.relative_to(site.www)
        assert found.read_bytes() == path.read_bytes()
        assert found.stat().st_mode == path.stat().st_mode
        assert abs(found.stat().st_mtime - path.stat().st_mtime) < 2


def test_a_snapshot_of_several_volumes_in_the_bucket(rescue: Rescue, in_the_bucket: dict[str, str]) -> None:
    rescue.site.good("run", "site")
    rescue.site.good("run", "site")
    newest = rescue.site.snapshots("swift")[-1]
    done = rescue.run(script(in_the_bucket))
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"snapshot: {newest}" in done.stdout
    assert "vol.zip.003: OK" in done.stdout
    assert "manifest.zip: OK" in done.stdout
    assert "COMMIT: OK" in done.stdout
    assert re.search(r"all \d+ files: OK", done.stdout)
    assert_same_files(rescue.site, rescue.restored)
    database = rescue.restored / "sqlite" / rescue.site.folder.relative_to("/") / "guestbook.sqlite"
    assert database.read_bytes().startswith(b"SQLite format 3")


def test_a_snapshot_of_one_volume_in_a_folder(rescue: Rescue) -> None:
    rescue.site.job["volume_size"] = "64MiB"
    with (rescue.site.www / "uploads" / "a log of holes").open("wb") as file:
        file.truncate(1_200_000_000)
        file.write(b"begin")
        file.seek(1_199_990_000)
        file.write(b"end")
    rescue.site.good("run", "site")
    place = str(rescue.site.disk / "here" / "site")
    values = {"secret": rescue.secret(), "place": place, "work": str(rescue.home / "work")}
    done = rescue.run(script(values, "folder"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "vol.zip: OK" in done.stdout
    assert_same_files(rescue.site, rescue.restored)


@pytest.mark.parametrize("harmed", ["vol.zip.002", "manifest.zip", "meta.json", "COMMIT"])
def test_the_checks_of_the_page_find_damage(rescue: Rescue, harmed: str) -> None:
    rescue.site.good("run", "site")
    (path,) = rescue.site.disk.rglob(harmed)
    data = bytearray(path.read_bytes())
    position = data.index(b'"here"') + 1 if harmed == "meta.json" else len(data) // 2
    data[position] = ord("a") if data[position] != ord("a") else ord("b")
    path.write_bytes(data)
    place = str(rescue.site.disk / "here" / "site")
    values = {"secret": rescue.secret(), "place": place, "work": str(rescue.home / "work")}
    done = rescue.run(script(values, "folder"))
    assert done.returncode != 0, done.stdout
    assert not list((rescue.home / "work").rglob("restored"))


def in_the_folder(rescue: Rescue, job: str = "site") -> dict[str, str]:
    place = str(rescue.site.disk / "here" / job)
    return {"secret": rescue.secret(), "place": place, "work": str(rescue.home / "work")}


def test_the_page_finds_a_file_that_is_not_a_volume(rescue: Rescue) -> None:
    rescue.site.good("run", "site")
    last = sorted(rescue.site.disk.rglob("vol.zip.*"))[-1]
    shutil.copy(last, last.with_name(f"vol.zip.{int(last.suffix[1:]) + 1:03}"))
    done = rescue.run(script(in_the_folder(rescue), "folder"))
    assert done.returncode != 0, done.stdout
    assert "COMMIT: OK" not in done.stdout


def test_the_page_finds_a_snapshot_of_another_job_host_or_time(rescue: Rescue) -> None:
    rescue.site.document["backups"]["other"] = {**rescue.site.job, "stores": ["disk"]}
    rescue.site.good("run", "other")
    (folder,) = (rescue.site.disk / "here" / "other").iterdir()
    newer = rescue.site.disk / "here" / "other" / "20991231T000000Z-aaaaaaaa"
    for place in (rescue.site.disk / "here" / "site" / folder.name, newer):
        shutil.copytree(folder, place)
        done = rescue.run(script(in_the_folder(rescue, place.parent.name), "folder"))
        assert f"snapshot of: here/other/{folder.name}" in done.stdout, done.stderr
        assert (done.returncode != 0, "its place: OK" in done.stdout) == (True, False)


def test_the_page_finds_a_file_that_the_manifest_does_not_name(rescue: Rescue) -> None:
    rescue.site.good("run", "site")
    text = script(in_the_folder(rescue), "folder")
    done = rescue.run(text.replace("cd restored\n", "cd restored\necho evil > files/added\n"))
    assert (done.returncode != 0, done.stdout.splitlines()[-1]) == (True, "files/added")


def test_bsdtar_restores_non_ascii_names_in_any_locale(rescue: Rescue) -> None:
    assert shutil.which("bsdtar"), "this test needs libarchive-tools: see the packages in ./check"
    (rescue.site.www / "Grüße 日本.txt").write_text("Willkommen")
    rescue.site.good("run", "site")
    text = script(in_the_folder(rescue), "folder")
    seven = re.search(r"^7z x -y -orestored .*$", text, re.MULTILINE)
    assert seven
    done = rescue.run(text.replace(seven[0], "mkdir restored && bsdtar -xpf sealed/backup.zip -C restored"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert_same_files(rescue.site, rescue.restored)


def test_a_mistyped_secret_is_found_before_anything_is_opened(rescue: Rescue) -> None:
    rescue.site.good("run", "site")
    secret = rescue.secret()
    mistyped = ("B" if secret[0] != "B" else "C") + secret[1:]
    values = {"secret": mistyped, "place": str(rescue.site.disk / "here" / "site")}
    done = rescue.run(script({**values, "work": str(rescue.home / "work")}, "folder"))
    assert done.returncode != 0
    assert "COMMIT: OK" not in done.stdout
    assert not list((rescue.home / "work").rglob("backup.zip"))


@pytest.fixture
def mariadb(tmp_path: Path) -> Iterator[MariaDB]:
    with MariaDB(tmp_path / "mariadb") as server:
        server.execute(
            "CREATE DATABASE website; USE website; CREATE TABLE post (id INT PRIMARY KEY, text TEXT);"
            " INSERT INTO post VALUES (1, 'Willkommen'), (2, 'Grüße');"
            " CREATE USER editor@localhost IDENTIFIED BY 'x'; GRANT SELECT ON website.* TO editor@localhost"
        )
        yield server


@pytest.fixture
def postgresql(tmp_path: Path) -> Iterator[PostgreSQL]:
    with PostgreSQL(tmp_path / "postgresql") as server:
        for name in ("wiki", "shop"):
            server.execute(f"CREATE DATABASE {name}")
            server.execute(f"CREATE TABLE page (text text); INSERT INTO page VALUES ('in {name}')", name)
        server.execute("CREATE ROLE keeper")
        yield server


@pytest.mark.slow
def test_dumps_are_loaded_by_hand_into_other_servers(
    rescue: Rescue, in_the_bucket: dict[str, str], mariadb: MariaDB, postgresql: PostgreSQL, tmp_path: Path
) -> None:
    rescue.site.job["sources"] += [
        {"mysql": "website", "defaults_file": str(mariadb.defaults_file), "users": True},
        {"postgresql": "wiki", **postgresql.settings, "globals": True},
        {"postgresql": "shop", "format": "custom", **postgresql.settings},
    ]
    rescue.site.good("run", "site")
    with MariaDB(tmp_path / "other-mariadb") as other, PostgreSQL(tmp_path / "other-postgresql") as second:
        (rescue.home / ".my.cnf").write_text(other.defaults_file.read_text())
        rescue.environment.update(PGHOST=second.settings["host"], PGUSER=second.settings["user"])
        done = rescue.run(script(in_the_bucket, "mysql", "postgresql"))
        assert done.returncode == 0, done.stdout + done.stderr
        assert other.execute("SELECT text FROM post ORDER BY id", "website").split() == [
            "Willkommen",
            "Grüße",
        ]
        assert "editor" in other.execute("SELECT user FROM mysql.user")
        assert second.execute("SELECT text FROM page", "wiki").strip() == "in wiki"
        assert second.execute("SELECT text FROM page", "shop").strip() == "in shop"
        assert second.execute("SELECT 1 FROM pg_roles WHERE rolname = 'keeper'").strip() == "1"


def test_the_kit_and_the_page_derive_the_same_password(rescue: Rescue) -> None:
    rescue.site.good("run", "site")
    (snapshot,) = rescue.site.snapshots("disk")
    lines = re.search(r"^   (key=.*\n.*\n.*\n?.*base32)$", rescue.kit(), re.MULTILINE)
    assert lines, "the kit has the recipe"
    derived = rescue.run(f"secret={rescue.secret()}\nsnapshot={snapshot}\n{lines[1]}\n")
    shown = rescue.site.good("keys", "show", snapshot).stdout
    assert derived.stdout.strip() == shown.strip(), derived.stderr


def test_meta_json_has_everything_that_the_page_reads_from_it(rescue: Rescue) -> None:
    rescue.site.good("run", "site")
    (path,) = rescue.site.disk.rglob("meta.json")
    meta = json.loads(path.read_text())
    found = re.findall(r'"sha256": "([0-9a-f]*)"', path.read_text())
    assert found == [volume["sha256"] for volume in meta["volumes"]]
