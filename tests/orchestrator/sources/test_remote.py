"""A host that has nothing but sshd and tar, read over the real OpenSSH."""

import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, nullcontext, suppress
from pathlib import Path

import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lab.mounts import memory_file_system, read_only
from lab.sshd import Sshd
from leitstand.process import Stream
from orchestrator.archive import Entry, Kind, Problem
from orchestrator.config.settings import CommandSettings, FilesSettings, SqliteSettings
from orchestrator.sources import SourceError
from orchestrator.sources.databases import CommandOutput, RemoteSqliteDump
from orchestrator.sources.files import FilesSource
from orchestrator.sources.remote_files import RemoteFilesSource
from orchestrator.sources.source import Source
from orchestrator.sources.sqlite import SqliteSource
from orchestrator.sources.ssh import LOCAL, Ssh, Transport
from orchestrator.sources.tar_complaints import last_words


@pytest.fixture
def host(sshd: Sshd) -> Ssh:
    return Ssh("web1", "127.0.0.1", sshd.user, sshd.port, sshd.identity, sshd.known_hosts)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "site's files"
    (root / "cache").mkdir(parents=True)
    (root / "cache" / "junk").write_text("left out")
    (root / "keep" / "deep").mkdir(parents=True)
    (root / "keep" / "page.html").write_text("<h1>hello</h1>")
    (root / "keep" / "error.log").write_text("left out by name")
    (root / "big").write_bytes(os.urandom(3_000_000))
    (root / "empty").touch()
    (root / "link").symlink_to("keep/page.html")
    (root / "hard").hardlink_to(root / "big")
    os.mkfifo(root / "pipe")
    (root / os.fsdecode(b"odd \xff\n name")).write_text("any bytes")
    os.utime(root / "empty", ns=(1, 1_700_000_000_123_456_789))
    (root / "keep").chmod(0o750)
    os.setxattr(root / "keep" / "page.html", "user.note", b"\x00binary\xff\n")
    os.setxattr(root / "keep" / "page.html", "user.a=b%", b"")
    return root


def read(source: Source) -> tuple[dict[bytes, tuple[Entry, bytes]], list[Problem]]:
    problems: list[Problem] = []
    seen = {entry.path: (entry, b"".join(entry.blocks())) for entry in source.entries(problems.append)}
    source.close()
    return seen, problems


def described(entry: Entry, content: bytes) -> tuple[object, ...]:
    data = entry.metadata
    mine = (data.kind, data.mode, data.uid, data.gid, data.user, data.group, data.mtime_ns, data.link)
    return (*mine, data.xattrs, content)


def test_a_remote_tree_is_read_as_the_local_one(host: Ssh, tree: Path) -> None:
    chosen = FilesSettings(files=tree, exclude=["cache/*", "*.log", "deep/"])
    local, problems = read(FilesSource(chosen))
    remote, remote_problems = read(RemoteFilesSource(chosen, host))
    assert (problems, remote_problems) == ([], [])
    assert {
        path: described(*pair) for path, pair in remote.items() if b"hard" not in path and b"big" not in path
    } == {
        path: described(*pair) for path, pair in local.items() if b"hard" not in path and b"big" not in path
    }
    assert set(remote) == set(local), "which of two hard links comes first may differ, the paths do not"


NAMES = ("a", "tmp", ".h", "a.b", "x^y", "k\\l", "n\nn", "*s", "[q]", "ü")
# Pieces that patterns are made of; "{root}" is the source's folder.
PIECES = ("*", "?", "a", "tmp", ".", "/", "[ab]", "[!a]", "[^a]", "ü", "\\", "[", ".h", "{root}/", "/*/")
PATTERNS = st.lists(st.lists(st.sampled_from(PIECES), min_size=1, max_size=4).map("".join), max_size=2)


@pytest.fixture(scope="module")
def named_badly(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tree whose folder is called as what is left out, and a second name for each file."""
    root = tmp_path_factory.mktemp("outer") / "tmp" / "a.b"
    for outer in NAMES:
        (root / outer / "tmp" / "a").mkdir(parents=True)
        for inner in NAMES:
            (root / outer / "tmp" / "a" / inner).write_text(outer + inner)
            (root / f"{inner} of {outer}").hardlink_to(root / outer / "tmp" / "a" / inner)
    return root


@settings(
    derandomize=True,
    deadline=None,
    max_examples=40,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(exclude=PATTERNS, include=PATTERNS)
def test_tar_leaves_out_what_we_would_and_loses_no_content(
    named_badly: Path, exclude: list[str], include: list[str]
) -> None:
    patterns = {"exclude": exclude, "include": include}
    chosen = FilesSettings(
        files=named_badly,
        **{key: [text.format(root=named_badly) for text in texts] for key, texts in patterns.items()},
    )
    local, remote = (read(source)[0] for source in (FilesSource(chosen), RemoteFilesSource(chosen, LOCAL)))
    assert set(remote) == set(local)
    for found in (local, remote):
        links = {entry.metadata.link for entry, _ in found.values() if entry.metadata.kind is Kind.HARDLINK}
        assert links <= set(found)


def test_a_root_that_is_a_link_or_a_file_is_what_it_leads_to(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "way").symlink_to(tree)
    (tmp_path / "page").symlink_to(tree / "keep" / "page.html")
    by_link, _ = read(RemoteFilesSource(FilesSettings(files=tmp_path / "way"), LOCAL))
    assert by_link[os.fsencode(f"files{tmp_path}/way/keep/page.html")][1] == b"<h1>hello</h1>"
    for path in (tmp_path / "page", tree / "keep" / "page.html"):
        chosen = FilesSettings(files=path, exclude=[path.name])
        remote, problems = read(RemoteFilesSource(chosen, LOCAL))
        assert problems == []
        assert {path: described(*pair) for path, pair in remote.items()} == {
            path: described(*pair) for path, pair in read(FilesSource(chosen))[0].items()
        }


@pytest.mark.parametrize("kind", [FilesSource, lambda chosen: RemoteFilesSource(chosen, LOCAL)])
def test_folders_with_a_tag_and_large_files_are_left_out(
    kind: Callable[[FilesSettings], Source], tree: Path
) -> None:
    (tree / "keep" / ".nobackup").touch()
    chosen = FilesSettings(files=tree, exclude_if_present=[".nobackup"], exclude_larger=2_999_999)
    found, problems = read(kind(chosen))
    names = {path.removeprefix(os.fsencode(f"files{tree}")) for path in found}
    assert names == {
        *(b"", b"/cache", b"/cache/junk", b"/keep", b"/keep/.nobackup"),
        *(b"/empty", b"/link", b"/pipe", b"/odd \xff\n name"),
    }
    assert problems == []
    found, _ = read(kind(chosen.model_copy(update={"exclude_larger": 3_000_000})))
    assert os.fsencode(f"files{tree}/hard") in found


@pytest.mark.parametrize("name", ["", "..", "a/b"])
def test_a_tag_is_the_name_of_a_file(name: str, tree: Path) -> None:
    with pytest.raises(ValueError, match="exclude_if_present"):
        FilesSettings(files=tree, exclude_if_present=[name])


@pytest.fixture
def mounted(tree: Path) -> Iterator[Path]:
    """A small file system below the tree, with a file."""
    if os.geteuid():
        pytest.skip("only root can mount")
    with memory_file_system(tree / "uploads", "64k") as place:
        (place / "inside").touch()
        yield place


@pytest.mark.parametrize("kind", [FilesSource, lambda chosen: RemoteFilesSource(chosen, LOCAL)])
def test_mounts_below_the_root_are_entered_only_on_demand(
    kind: Callable[[FilesSettings], Source], tree: Path, mounted: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    path = os.fsencode(f"files{mounted}")
    found, problems = read(kind(FilesSettings(files=tree)))
    assert (path in found, path + b"/inside" in found, problems) == (True, False, [])
    assert ("uploads: left out, as it is another file system" in caplog.text) == (kind is FilesSource)
    found, _ = read(kind(FilesSettings(files=tree, one_file_system=False)))
    assert path + b"/inside" in found


def test_a_database_with_a_source_of_its_own_is_not_sent(tree: Path) -> None:
    skip = frozenset({f"{tree}/big"})
    remote, _ = read(RemoteFilesSource(FilesSettings(files=tree), LOCAL, skip))
    assert remote[os.fsencode(f"files{tree}/hard")][0].metadata.kind is Kind.FILE, "its other name has it all"
    assert os.fsencode(f"files{tree}/big") not in remote


def test_a_folder_that_changes_is_no_loss_and_a_file_that_does_is_reported(tree: Path) -> None:
    """tar says the same of both."""
    (tree / "keep" / "big").write_bytes(bytes(30_000_000))
    problems: list[Problem] = []
    for entry in RemoteFilesSource(FilesSettings(files=tree), LOCAL).entries(problems.append):
        if entry.path.endswith(b"/keep"):
            (tree / "keep" / "new").touch()
        for _ in entry.blocks():
            if entry.path.endswith(b"keep/big"):
                with (tree / "keep" / "big").open("ab") as file:
                    file.write(b"more")
    assert problems == [Problem(os.fsencode(f"files{tree}/keep/big"), "changed while it was read")]


class Nobody(Transport):
    """This host, as a user who may not read everything."""

    def open_stream(self, argv: Sequence[str], *, env: Mapping[str, str] | None = None) -> Stream:
        drop = (
            ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"] if not os.geteuid() else []
        )
        return super().open_stream([*drop, *argv], env=env)


def test_a_file_that_may_not_be_read_is_reported_and_the_rest_is_kept(tree: Path) -> None:
    for folder in (tree, *list(tree.parents)[:-2]):
        folder.chmod(folder.stat().st_mode | 0o011)
    secret = [tree / "big", tree / os.fsdecode(b"odd \xff\n name"), tree / "a: \\033 b"]
    secret[2].touch()
    for path in secret:
        path.chmod(0)
    remote, problems = read(
        RemoteFilesSource(FilesSettings(files=tree, exclude=["hard", "keep"]), Nobody("this host"))
    )
    assert {problem.path for problem in problems} == {os.fsencode(f"files{path}") for path in secret}
    assert {problem.what for problem in problems} == {"cannot be read: Permission denied"}
    assert remote[os.fsencode(f"files{tree}/cache/junk")][1] == b"left out"


def test_complaints_too_many_to_keep_are_reported_as_more(tree: Path) -> None:
    for folder in (tree, *list(tree.parents)[:-2]):
        folder.chmod(folder.stat().st_mode | 0o011)
    for number in range(1200):
        (tree / f"unreadable, with a name that is somewhat longer {number}").touch(mode=0)
    _, problems = read(RemoteFilesSource(FilesSettings(files=tree), Nobody("this host")))
    assert len(problems) > 500
    assert problems[-1] == Problem(
        os.fsencode(f"files{tree}"), "tar complained of more files than are listed"
    )


def test_a_missing_folder_fails_with_tar_s_words(host: Ssh, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="No such file or directory"):
        read(RemoteFilesSource(FilesSettings(files=tmp_path / "missing"), host))


def test_a_host_with_another_key_is_refused(sshd: Sshd, tmp_path: Path, tree: Path) -> None:
    other = tmp_path / "known_hosts"
    other.write_text(f"[127.0.0.1]:{sshd.port} {(sshd.folder / 'identity.pub').read_text()}")
    host = Ssh("web1", "127.0.0.1", sshd.user, sshd.port, sshd.identity, other)
    with pytest.raises(SourceError, match="Host key verification failed"):
        read(RemoteFilesSource(FilesSettings(files=tree), host))


def test_a_host_that_goes_away_in_the_middle_fails_the_source(tmp_path: Path, tree: Path) -> None:
    (tree / "huge").write_bytes(bytes(200_000_000))
    with Sshd(tmp_path / "sshd") as sshd:
        host = Ssh("web1", "127.0.0.1", sshd.user, sshd.port, sshd.identity, sshd.known_hosts)
        entries = RemoteFilesSource(FilesSettings(files=tree / "huge"), host).entries(lambda problem: None)
        blocks = iter(next(entries).blocks())
        next(blocks)
        for child in psutil.Process(sshd.server.process.pid).children(recursive=True):
            with suppress(psutil.NoSuchProcess):  # it ended when its monitor did
                child.kill()
        with pytest.raises(SourceError, match="in the middle"):
            for _ in blocks:
                pass


def test_waiting_for_a_host_that_falls_silent_is_limited(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = tmp_path / "tar"
    silent.write_text("#!/bin/sh\nprintf start\nexec sleep 600\n")
    silent.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr("orchestrator.sources.remote_files.SILENT_SECONDS", 0.2)
    with pytest.raises(SourceError, match="this host sent nothing for"):
        read(RemoteFilesSource(FilesSettings(files=tree), LOCAL))


@pytest.mark.parametrize(
    "closed",
    [False, pytest.param(True, marks=pytest.mark.skipif(os.geteuid() != 0, reason="root mounts"))],
)
def test_a_remote_sqlite_database_at_rest_is_read_as_it_is(host: Ssh, tmp_path: Path, closed: bool) -> None:
    (tmp_path / "app").mkdir()
    path = tmp_path / "app" / "it's 100% idle?.sqlite"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA journal_mode = wal")
        connection.execute("CREATE TABLE entry (id INTEGER)")
    os.utime(path, (1, 1))
    with read_only(path.parent) if closed else nullcontext():
        seen, _ = read(RemoteSqliteDump(SqliteSettings(sqlite=path), host))
    ((_, (_, content)),) = seen.items()
    assert b"CREATE TABLE entry" in content
    assert list(path.parent.iterdir()) == [path]


def test_a_remote_sqlite_database_comes_as_sql_that_loads(host: Ssh, tmp_path: Path) -> None:
    path = tmp_path / "it's a book.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE entry (text TEXT)")
        connection.executemany("INSERT INTO entry VALUES (?)", [("one",), ("two\nlines",)])
    connection.close()
    seen, _ = read(RemoteSqliteDump(SqliteSettings(sqlite=path), host))
    ((_, dump),) = seen.values()
    copy = sqlite3.connect(":memory:")
    copy.executescript(dump.decode())
    assert copy.execute("SELECT text FROM entry").fetchall() == [("one",), ("two\nlines",)]
    copy.close()


# What the program sqlite3 can do beyond SQL, as a schema could call it.
CALLS = [
    "edit('x', 'touch {0}; true')",
    "writefile('{0}', 'x')",
    "load_extension('{0}')",
    "hex(readfile('/etc/passwd'))",
]


@pytest.mark.parametrize("wal", [False, True])
@pytest.mark.parametrize("call", CALLS)
def test_a_database_that_others_write_runs_nothing_on_its_host(
    host: Ssh, tmp_path: Path, call: str, wal: bool
) -> None:
    path, trace = tmp_path / "site.sqlite", tmp_path / "trace"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(f"PRAGMA journal_mode = {'wal' if wal else 'delete'}")
        connection.execute("CREATE TABLE entry (text TEXT)")
        connection.execute("CREATE VIEW trap AS SELECT 1 AS text")
        connection.execute("PRAGMA writable_schema = ON")
        view = f"CREATE VIEW trap AS SELECT {call.format(trace)} AS text"
        connection.execute("UPDATE sqlite_schema SET type = 'table', sql = ? WHERE name = 'trap'", (view,))
    os.utime(path, (1, 1))
    with pytest.raises(SourceError, match="the dump is cut short"):
        read(RemoteSqliteDump(SqliteSettings(sqlite=path), host))
    assert not trace.exists()


@pytest.mark.parametrize("local", [True, False])
@pytest.mark.parametrize("other", ["pipe", "folder", "device"])
def test_a_path_that_is_not_a_file_is_not_read_as_a_database(
    host: Ssh, tmp_path: Path, other: str, local: bool
) -> None:
    path = tmp_path / "site.sqlite"
    {"pipe": lambda: os.mkfifo(path), "folder": path.mkdir, "device": lambda: path.symlink_to("/dev/zero")}[
        other
    ]()
    settings = SqliteSettings(sqlite=path)
    with pytest.raises(SourceError, match="not a file"):
        read(SqliteSource(settings, tmp_path) if local else RemoteSqliteDump(settings, host))


def test_an_sqlite3_program_that_could_be_misused_is_not_given_a_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One before 3.31 does not know the setting, and says nothing about it."""
    old = tmp_path / "sqlite3"
    old.write_text('#!/bin/sh\ncase "$*" in *.dump*) touch ${0%/*}/trace ;; esac\n')
    old.chmod(0o755)
    (tmp_path / "site.sqlite").touch()
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(SourceError, match=r"sqlite3 is older than 3\.31"):
        read(RemoteSqliteDump(SqliteSettings(sqlite=tmp_path / "site.sqlite"), LOCAL))
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize("word", ["$HOME", "a b", "; touch /tmp/never", "'", '"', "`id`", "ü\n"])
def test_every_word_of_a_command_arrives_as_it_is(host: Ssh, word: str) -> None:
    settings = CommandSettings(command=["printf", "%s", word], name="words")
    seen, _ = read(CommandOutput(settings, host))
    assert [content for _, content in seen.values()] == [word.encode()]


def test_a_tar_without_an_option_is_reported_without_its_usage_text() -> None:
    said = "tar: unrecognized option '--sort=name'\nTry 'tar --help' or 'tar --usage' for more information.\n"
    assert last_words(said) == "tar: unrecognized option '--sort=name'"
