"""What goes wrong: one clear line, the right exit code, and nothing half-made is ever taken for whole."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from lab.fault_proxy import Fault, FaultProxy
from lab.processes import wait_until
from orchestrator.archive import Entry
from orchestrator.sources import Report
from orchestrator.sources.files import FilesSource

Site = Any
Swift = Any
TreeOf = Callable[[Path], dict[bytes, tuple[Any, ...]]]


def flip(path: Path, position: int) -> None:
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.write_bytes(data)


@pytest.fixture
def snapshot(site: Site) -> str:
    site.good("run", "site")
    (name,) = site.snapshots()
    return name


def test_one_flipped_byte_is_found_and_the_file_named(site: Site, snapshot: str) -> None:
    volume = site.objects(snapshot)["vol.zip.002"]
    flip(volume, 60_000)
    ran = site.leitstand("verify", "site")
    assert ran.status == 3
    assert f"{snapshot}/vol.zip.002: is damaged" in ran.stderr
    assert "photo.jpg" in ran.stderr
    assert "DAMAGED" in ran.stdout
    assert "notes.txt: " not in ran.stderr, "only what is damaged is named"


def test_a_damaged_file_is_not_restored_and_the_others_are(site: Site, snapshot: str, tmp_path: Path) -> None:
    flip(site.objects(snapshot)["vol.zip.002"], 60_000)
    ran = site.leitstand("restore", "site", "*/photo.jpg", "--target", tmp_path / "out")
    assert ran.status == 3
    assert "photo.jpg" in ran.errors[0]
    assert not list((tmp_path / "out").rglob("photo.jpg"))
    assert not list((tmp_path / "out").rglob("*leitstand-part*"))
    site.good("restore", "site", "index.html", "--target", tmp_path / "other")


@pytest.mark.parametrize("harm", ["damaged", "missing"])
def test_a_whole_restore_brings_all_that_is_good_and_another_store_the_rest(
    site: Site, tree: TreeOf, tmp_path: Path, harm: str
) -> None:
    (tmp_path / "second").mkdir()
    site.document["stores"]["second"] = {"type": "folder", "path": str(tmp_path / "second")}
    site.job["stores"] = ["disk", "second"]
    (site.www / "photo again").hardlink_to(site.www / "uploads" / "photo.jpg")
    site.good("run", "site")
    (snapshot,) = site.snapshots()
    volume = site.objects(snapshot)["vol.zip.002"]
    flip(volume, 60_000) if harm == "damaged" else volume.unlink()
    target = tmp_path / "out"
    ran = site.leitstand("restore", "site", "--target", target)
    assert (ran.status, len(ran.errors)) == (3, 1)
    assert "uploads/photo.jpg: " in ran.errors[0]
    (staging,) = target.iterdir()
    restored = tree(site.restored(staging))
    assert {b"uploads/photo.jpg", b"photo again"}.isdisjoint(restored)
    everything = tree(site.www)
    lost = everything.keys() - restored.keys()
    assert len(lost) < 5
    assert all(restored[path] == everything[path] for path in restored.keys() - {b"."}), (
        "the rest is as it was"
    )
    site.good("restore", "site", "--target", target, "--store", "second")
    assert tree(site.restored(target)) == everything


def test_the_newest_snapshot_is_restored_also_when_the_first_store_does_not_have_it(
    site: Site, tmp_path: Path
) -> None:
    (tmp_path / "second").mkdir()
    site.document["stores"]["second"] = {"type": "folder", "path": str(tmp_path / "second")}
    site.job["stores"] = ["disk", "second"]
    site.good("run", "site")
    site.disk.rename(tmp_path / "away")
    (site.www / "new").touch()
    assert site.leitstand("run", "site").status == 3
    (tmp_path / "away").rename(site.disk)
    ran = site.good("restore", "site", "--target", tmp_path / "out")
    assert (site.restored(tmp_path / "out") / "new").exists()
    assert "in second" in ran.stdout


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def _lengthen(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"x")


@pytest.mark.parametrize("name", ["vol.zip.001", "vol.zip.002", "manifest.zip", "meta.json"])
@pytest.mark.parametrize("harm", [Path.unlink, _cut, _lengthen], ids=["missing", "cut", "longer"])
def test_missing_truncated_or_longer_volumes_are_found(
    site: Site, snapshot: str, name: str, harm: Callable[[Path], None]
) -> None:
    harm(site.objects(snapshot)[name])
    ran = site.leitstand("verify", "site")
    assert ran.status == 3
    assert name in ran.stderr


@pytest.mark.parametrize("name", ["vol.zip.001", "vol.zip.002", "manifest.zip", "meta.json", "COMMIT"])
def test_an_object_of_another_snapshot_is_found(site: Site, snapshot: str, name: str) -> None:
    site.good("run", "site")
    other = next(each for each in site.snapshots() if each != snapshot)
    shutil.copy(site.objects(other)[name], site.objects(snapshot)[name])
    ran = site.leitstand("verify", "site", "--snapshot", snapshot)
    assert ran.status == 3
    assert ran.errors
    site.good("verify", "site", "--snapshot", other)


def test_a_snapshot_moved_under_another_name_is_found(site: Site, snapshot: str) -> None:
    folder = site.objects(snapshot)["COMMIT"].parent
    moved = f"20300101T000000Z-{'a' * 8}"
    folder.rename(folder.with_name(moved))
    ran = site.leitstand("verify", "site")
    assert ran.status == 3
    assert len(ran.errors) == 1


def test_other_keys_are_reported_as_such(site: Site, snapshot: str, tmp_path: Path) -> None:
    (site.folder / "keys").unlink()
    site.good("keys", "generate")
    for command in (["verify", "site"], ["restore", "site", "--target", tmp_path / "out"]):
        ran = site.leitstand(*command)
        assert ran.status == 3
        assert len(ran.errors) == 1
        assert "key" in ran.errors[0]
    assert not (tmp_path / "out").exists()


def test_keys_that_are_not_there_are_one_clear_line(site: Site) -> None:
    (site.folder / "keys").unlink()
    ran = site.leitstand("run", "site")
    assert ran.status in (2, 3)
    assert ran.errors == [f"{site.folder}/keys: No such file or directory"]
    assert "keys generate" in ran.stderr
    assert not list(site.disk.iterdir())


def test_keys_are_never_overwritten(site: Site) -> None:
    before = (site.folder / "keys").read_text()
    ran = site.leitstand("keys", "generate")
    assert ran.status != 0
    assert "never overwritten" in ran.errors[0]
    assert (site.folder / "keys").read_text() == before


def test_an_unknown_job_is_reported_with_a_suggestion(site: Site) -> None:
    for command in (["run", "sit"], ["verify", "sit"], ["list", "sit"], ["restore", "sit", "--target", "/x"]):
        ran = site.leitstand(*command)
        assert ran.status == 2
        assert ran.errors == ["there is no backup job 'sit'"]
        assert "did you mean 'site'?" in ran.stderr


def test_a_swift_that_is_not_there_is_one_clear_line(on_swift: Site) -> None:
    on_swift.document["stores"]["swift"]["endpoint"] = "http://127.0.0.1:1"
    on_swift.document["stores"]["swift"]["tries"] = 1
    on_swift.job["stores"] = ["swift"]
    ran = on_swift.leitstand("run", "site")
    assert ran.status == 3
    assert ran.errors == ["swift: http://127.0.0.1:1 cannot be reached"]


def test_one_store_that_fails_does_not_cost_the_other_its_snapshot(on_swift: Site) -> None:
    on_swift.document["stores"]["swift"].update(endpoint="http://127.0.0.1:1", tries=1)
    ran = on_swift.leitstand("run", "site")
    assert ran.status == 3
    assert "in disk, NOT in swift:" in ran.stdout
    assert ran.errors == ["swift: http://127.0.0.1:1 cannot be reached"]
    assert len(on_swift.snapshots("disk")) == 1
    labels = {"backup": "site", "host": "here"}
    assert on_swift.metric("last_run_success", **labels, store="swift") == [0]
    assert on_swift.metric("last_run_success", **labels, store="disk") == [1]


def test_a_store_that_fails_in_the_middle_keeps_nothing(on_swift: Site, swift: Swift) -> None:
    host, port = swift.endpoint.removeprefix("http://").split(":")
    with FaultProxy(host, int(port), [Fault("status", "PUT", r"vol\.zip\.002", status=403)]) as proxy:
        on_swift.document["stores"]["swift"]["endpoint"] = proxy.url
        ran = on_swift.leitstand("run", "site")
    assert ran.status == 3
    on_swift.document["stores"]["swift"]["endpoint"] = swift.endpoint
    assert on_swift.snapshots("swift") == []
    assert len(on_swift.snapshots("disk")) == 1
    restored = on_swift.good("restore", "site", "--target", on_swift.folder / "out")
    assert "in disk" in restored.stdout, "the store that has it is asked"


@pytest.mark.parametrize(
    "source",
    [
        {"files": "/no/such/folder"},
        {"sqlite": "/no/such/database"},
        {"sqlite": "/etc/passwd"},
        {"command": ["sh", "-c", "echo half a dump; exit 3"], "name": "fails"},
    ],
    ids=["no folder", "no database", "not a database", "failing command"],
)
def test_a_source_that_fails_leaves_nothing_behind(site: Site, source: dict[str, Any]) -> None:
    site.job["sources"].append(source)
    ran = site.leitstand("run", "site")
    assert ran.status == 3
    assert len(ran.errors) == 1
    assert [path for path in site.disk.rglob("*") if path.is_file()] == []
    assert site.metric("last_run_success", backup="site", host="here", store="disk") == [0]


def test_files_that_cannot_be_read_are_a_warning(site: Site) -> None:
    site.job["sources"].append({"files": "/proc/sys/vm"})  # not even root may read some of these
    ran = site.leitstand("run", "site")
    assert ran.status == 1
    assert any("vm/compact_memory: " in line and "ermission denied" in line for line in ran.errors)
    (row,) = site.good("list", "site", "--json").json()
    assert row["state"] == "partial"
    site.good("verify", "site")


def test_other_names_of_a_vanished_file_are_reported_and_do_not_stop_a_restore(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Vanishing(FilesSource):
        def entries(self, report: Report) -> Iterator[Entry]:
            for entry in super().entries(report):
                yield entry
                if entry.path.endswith(b"/second name"):  # both are known now, and none is read yet
                    (site.www / "index.html").unlink()

    monkeypatch.setattr("orchestrator.sources.FilesSource", Vanishing)
    first, second = (f"files{site.www}/{name}" for name in ("index.html", "second name"))
    ran = site.leitstand("run", "site")
    assert ran.status == 1
    assert f"{first}: vanished before it was read" in ran.errors
    assert f"{second}: another name of {first}, which was not read" in ran.errors
    ran = site.leitstand("restore", "site", "--target", tmp_path / "out")
    assert ran.status == 1
    assert ran.errors == [f"{second}: another name of {first}, which the snapshot does not have"]
    assert (site.restored(tmp_path / "out") / "secret.php").is_file()


def test_files_that_cannot_be_read_fail_a_job_with_that_policy(site: Site) -> None:
    site.job["sources"].append({"files": "/proc/sys/vm"})
    site.job["policy"] = "fail"
    ran = site.leitstand("run", "site")
    assert ran.status == 3
    assert "policy is 'fail'" in ran.errors[0]
    assert site.snapshots() == []


def test_a_host_that_is_another_machine_is_not_read_here(site: Site) -> None:
    site.document["hosts"]["here"]["address"] = "192.0.2.1"
    ran = site.leitstand("run", "site")
    assert ran.status == 2
    assert "another machine" in ran.errors[0]


def test_restore_touches_no_folder_that_is_not_empty(site: Site, snapshot: str, tmp_path: Path) -> None:
    target = tmp_path / "full"
    target.mkdir()
    (target / "mine").write_text("mine")
    ran = site.leitstand("restore", "site", "--target", target)
    assert ran.status == 2
    assert "is not empty" in ran.errors[0]
    assert [path.name for path in target.iterdir()] == ["mine"]


def test_a_killed_run_leaves_nothing_that_is_listed(on_swift: Site, tree: TreeOf, tmp_path: Path) -> None:
    (on_swift.www / "large").write_bytes(os.urandom(2_000_000))
    os.mkfifo(on_swift.folder / "gate")
    gate = {"command": ["cat", str(on_swift.folder / "gate")], "name": "waits"}
    on_swift.job["sources"].append(gate)
    with on_swift.start("run", "site") as run:
        wait_until(lambda: list(on_swift.disk.rglob("vol.zip.002")), "the second volume")
        run.kill()
        run.wait()
    with suppress(OSError):  # the run may have been killed before it started the program
        # It would wait for ever otherwise: its pipe ends here.
        os.close(os.open(on_swift.folder / "gate", os.O_WRONLY | os.O_NONBLOCK))
    assert on_swift.snapshots("swift") == on_swift.snapshots("disk") == []
    ran = on_swift.leitstand("verify", "site")
    assert ran.status == 3
    assert "no complete snapshot" in ran.stderr
    on_swift.job["sources"].remove(gate)
    on_swift.good("run", "site")
    on_swift.good("verify", "site")
    on_swift.good("restore", "site", "--target", tmp_path / "out")
    assert tree(on_swift.restored(tmp_path / "out")) == tree(on_swift.www)


def files_below(target: Path) -> int:
    """How many there are now; a folder may be given another name meanwhile, which ``rglob`` does not bear."""
    return sum(name.startswith("file-") for _, _, names in os.walk(target) for name in names)


def test_a_killed_restore_goes_on_where_it_stopped(site: Site, tree: TreeOf, tmp_path: Path) -> None:
    for number in range(300):
        (site.www / f"file-{number:03}").write_bytes(os.urandom(20_000))
    site.good("run", "site")
    target = tmp_path / "out"
    for _ in range(10):  # it may be done before it can be killed
        shutil.rmtree(target, ignore_errors=True)
        with site.start("restore", "site", "--target", target) as restore:
            wait_until(lambda: files_below(target) > 20, "twenty files", pause=0.01)
            restore.kill()
        if not list(target.glob("files")):
            break
    assert not list(target.glob("files")), "nothing has its final name before all of it is there"
    before = {path.name: path.stat().st_ino for path in target.rglob("file-*")}
    site.good("restore", "site", "--target", target)
    after = {path.name: path.stat().st_ino for path in target.rglob("file-*")}
    assert tree(site.restored(target)) == tree(site.www)
    assert before.items() <= after.items(), "what was there was not fetched again"


def test_a_path_that_comes_twice_leaves_no_snapshot_that_could_not_be_restored(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Repeating(FilesSource):
        def entries(self, report: Report) -> Iterator[Entry]:
            for entry in super().entries(report):
                yield entry
                if entry.path.endswith(b"/empty"):
                    yield entry

    monkeypatch.setattr("orchestrator.sources.FilesSource", Repeating)
    ran = site.leitstand("run", "site")
    assert (ran.status, "two sources yield the same path" in ran.errors[0]) == (3, True)
    assert list(site.disk.iterdir()) == []


def test_the_accounts_of_a_server_are_saved_once(site: Site) -> None:
    site.job["sources"] += [{"mysql": name, "users": True} for name in ("shop", "forum")]
    ran = site.leitstand("run", "site")
    assert ran.status == 2
    assert "sources[3].users: 'users' is set on two sources" in ran.stderr
    site.job["sources"][3] = {"postgresql": "forum", "globals": True}
    assert "two sources" not in site.leitstand("status").stderr
