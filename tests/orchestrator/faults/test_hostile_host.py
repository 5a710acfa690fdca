"""A host that was taken over, or is broken, played by an ``ssh`` that writes what such a host might send."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from lab.patience import patient

Site = Any
END = bytes(1024)
MOST_BYTES = 200_000_000
SSH = """#!{python}
import os, sys
sys.path.insert(0, {here!r})
import hostile
command = sys.argv[-1]
sys.exit(hostile.answer(command))
"""


def header(
    name: bytes, kind: bytes = b"0", size: int = 0, link: bytes = b"", numbers: Mapping[str, bytes] = {}
) -> bytes:
    """A block of a tar, right but for what is asked for."""
    fields = {
        "mode": b"0000644\0",
        "uid": b"0000000\0",
        "gid": b"0000000\0",
        "size": b"%011o\0" % size if size < 8**11 else b"\x80" + size.to_bytes(11),
        "mtime": b"14712345670\0",
        **numbers,
    }
    major, minor = fields.pop("major", b"0000000\0"), fields.pop("minor", b"0000000\0")
    text = name.ljust(100, b"\0") + b"".join(fields.values()) + b" " * 8 + kind
    text += link.ljust(100, b"\0") + b"ustar\x0000" + b"root".ljust(32, b"\0") * 2 + major + minor
    text = text.ljust(512, b"\0")
    return text[:148] + b"%06o\0 " % sum(text) + text[156:]


def pax(**records: bytes) -> bytes:
    """An extended header before the next member."""
    return pax_of({name.replace("__", ".").encode(): value for name, value in records.items()})


def pax_of(records: Mapping[bytes, bytes]) -> bytes:
    data = b""
    for name, value in records.items():
        length = len(name) + len(value) + 3
        length += len(str(length + len(str(length))))
        data += b"%d %s=%s\n" % (length, name, value)
    return member(b"PaxHeader", data, b"x")


def member(name: bytes, data: bytes = b"", kind: bytes = b"0", **more: Any) -> bytes:
    return header(name, kind, len(data), **more) + data + bytes(-len(data) % 512)


ROOT = header(b"./", b"5", numbers={"mode": b"0000755\0"})
GOOD = member(b"./good", b"saved")


@pytest.fixture
def far(site: Site, monkeypatch: pytest.MonkeyPatch) -> Site:
    """The site on a host that anything may come from; ``sends`` in its folder says what."""
    programs = site.folder / "bin"
    programs.mkdir()
    (programs / "ssh").write_text(f'#!/bin/sh\nexec cat "{site.folder}/sends"\n')
    (programs / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    site.document["hosts"]["far"] = {"address": "127.0.0.1", "ssh": {"user": "root"}}
    site.job["host"] = "far"
    site.job["sources"] = [{"files": "/srv/data"}]
    return site


def sends(site: Site, data: bytes) -> Site:
    (site.folder / "sends").write_bytes(data)
    return site


def endless(site: Site, start: bytes, block: bytes = bytes(1 << 16)) -> Site:
    """A host that sends the start once, and the block for ever."""
    sends(site, start)
    (site.folder / "more").write_bytes(block)
    script = f'#!/bin/sh\ncat "{site.folder}/sends"\nwhile cat "{site.folder}/more"; do :; done\n'
    (site.folder / "bin" / "ssh").write_text(script)
    return site


REFUSED = {
    "a time beyond all time": pax(mtime=b"1" + b"0" * 30) + member(b"./bad", b"x"),
    "a time that is written like no time": pax(mtime=b"1e30") + member(b"./bad", b"x"),
    "a time that is no number": pax(mtime=b"nan") + member(b"./bad", b"x"),
    "an infinite time": pax(mtime=b"inf") + member(b"./bad", b"x"),
    "a time that takes all memory": pax(mtime=b"1e999999999") + member(b"./bad", b"x"),
    "an attribute without a name": pax_of({b"SCHILY.xattr.": b"x"}) + member(b"./bad", b"x"),
    "an attribute of a long name": pax_of({b"SCHILY.xattr.user." + b"n" * 300: b"x"}) + member(b"./bad"),
    "an attribute too large": pax_of({b"SCHILY.xattr.user.n": b"x" * 70_000}) + member(b"./bad"),
    "a device with a negative number": member(b"./bad", kind=b"3", numbers={"major": b"\xff" * 8}),
    "a device with a huge number": member(b"./bad", kind=b"4", numbers={"minor": b"\x80" + b"\xff" * 7}),
    "a user of a huge number": pax(uid=b"99999999999") + member(b"./bad"),
    "a user of no number": pax(uid=b"-1") + member(b"./bad"),
    "a user of a long name": pax(uname=b"n" * 3000) + member(b"./bad"),
    "a group with NUL": pax(gname=b"a\0b") + member(b"./bad"),
    "a long name": pax(path=b"./" + b"n" * 300) + member(b"./bad"),
    "a path that climbs": pax(path=b"./bad/../../x") + member(b"./bad"),
    "an absolute path": pax(path=b"/bad") + member(b"./bad"),
    "a path with NUL": pax(path=b"./bad\0x") + member(b"./bad"),
    "a path without an end": pax(path=b"./" + b"bad/" * 20_000 + b"x") + member(b"./bad"),
    "a link to nothing": member(b"./bad", kind=b"2"),
    "a link without an end": pax(linkpath=b"l" * 5000) + member(b"./bad", kind=b"2"),
    "another name of itself": member(b"./bad", kind=b"1", link=b"./bad"),
    "another name of what lies outside": member(b"./bad", kind=b"1", link=b"../../etc/shadow"),
    "another name of what is in a file": member(b"./bad", kind=b"1", link=b"./good/x"),
    "another name of what is behind a link": member(b"./d", kind=b"2", link=b"/etc")
    + member(b"./bad", kind=b"1", link=b"./d/shadow"),
    "a file below a link": member(b"./d", kind=b"2", link=b"/etc") + member(b"./d/bad", b"x"),
    "a file below a file": member(b"./d", b"x") + member(b"./d/bad", b"x"),
    "a file in no folder": member(b"./no/bad", b"x"),
    "a member of no type": member(b"./bad", b"x" * 700, kind=b"V"),
    "an old sparse file": member(b"./bad", b"x" * 700, kind=b"S"),
    "a sparse file in another format": pax_of({b"GNU.sparse.map": b"0,1"}) + member(b"./bad", b"x"),
    "a sparse file of false sizes": pax_of(
        {b"GNU.sparse.major": b"1", b"GNU.sparse.minor": b"0", b"GNU.sparse.realsize": b"9" * 18}
    )
    + member(b"./bad", b"1\n0\n99999999\n".ljust(512, b"\0") + b"x" * 20),
    "a sparse file of too many pieces": pax_of(
        {b"GNU.sparse.major": b"1", b"GNU.sparse.minor": b"0", b"GNU.sparse.realsize": b"9"}
    )
    + member(b"./bad", b"99999999999\n".ljust(512, b"\0")),
    "a sparse file larger than everything": pax_of(
        {b"GNU.sparse.major": b"1", b"GNU.sparse.minor": b"0", b"GNU.sparse.realsize": b"9" * 18}
    )
    + member(b"./bad", b"0\n".ljust(512, b"\0")),
}


# Rows that a restore leaves out with a note, once all else is there.
LEFT_OUT = {
    "another name of a folder": member(b"./d", kind=b"5") + member(b"./bad", kind=b"1", link=b"./d"),
    "another name of nothing": member(b"./bad", kind=b"1", link=b"./missing"),
}


@pytest.mark.parametrize("what", [*REFUSED, *LEFT_OUT])
def test_paths_that_cannot_be_restored_are_named_by_the_run_and_left_out(far: Site, what: str) -> None:
    sent = {**REFUSED, **LEFT_OUT}[what]
    ran = sends(far, ROOT + GOOD + sent + member(b"./last", b"saved, too") + END).leitstand("run", "site")
    assert (ran.status, len(ran.errors)) == (1, 1), ran.stderr
    assert "refused: " in ran.stderr or "another name of" in ran.stderr
    assert "partial snapshot" in ran.stdout
    entries = 4 if what in LEFT_OUT else 3
    assert f" {entries + (b'./d' in sent)} entries" in ran.stdout


def test_a_time_that_not_every_file_system_keeps_does_not_fail_the_drill(far: Site) -> None:
    sends(far, ROOT + pax(mtime=b"%d" % (1 << 40)) + member(b"./far off", b"x") + END).good("run", "site")
    far.good("drill", "site")


def test_a_snapshot_of_all_that_was_refused_is_good_and_comes_back(far: Site, tmp_path: Path) -> None:
    apart = [data for data in REFUSED.values() if b"./d" not in data]
    sends(far, ROOT + GOOD + b"".join([*apart, *LEFT_OUT.values()][:-1]) + member(b"./last", b"too") + END)
    assert far.leitstand("run", "site").status == 1
    far.good("verify", "site")
    ran = far.leitstand("restore", "site", "--target", tmp_path / "out")
    assert (ran.status, len(ran.errors)) == (1, 1), ran.stderr
    assert "bad: another name of files/srv/data/d" in ran.stderr
    data = tmp_path / "out" / "files" / "srv" / "data"
    assert {path.name for path in data.iterdir()} == {"good", "d", "last"}


BROKEN = {
    "no end": ROOT + GOOD,
    "half an end": ROOT + GOOD + bytes(512),
    "an end in the middle": ROOT + GOOD + bytes(512) + GOOD + END,
    "more behind its end": ROOT + GOOD + END + GOOD,
    "junk in place of a header": ROOT + GOOD + b"junk" * 128 + member(b"./lost", b"x") + END,
    "a header with one wrong letter": ROOT + GOOD + member(b"./lost").replace(b"lost", b"list") + END,
    "junk after a header for the next": ROOT + GOOD + pax(path=b"./x") + b"junk" * 128 + END,
    "an end after a header for the next": ROOT + GOOD + pax(path=b"./x") + END,
    "a member cut short": ROOT + header(b"./lost", size=5000) + b"x" * 600,
    "a size that is no number": ROOT + GOOD + header(b"./lost", numbers={"size": b"12345678901x"}) + END,
    "a size below nothing": ROOT + GOOD + header(b"./lost", numbers={"size": b"\xff" * 12}) + END,
    "a global header": ROOT + member(b"x", b"13 path=other\n", b"g") + GOOD + END,
    "records that overlap": ROOT + member(b"x", b"99 path=other\n", b"x") + GOOD + END,
    "a record of no length": ROOT + member(b"x", b"0 path=other\n", b"x") + GOOD + END,
    "a header of 64 GiB": ROOT + header(b"x", b"x", 64 << 30) + bytes(100_000),
    "a name of 64 GiB": ROOT + header(b"x", b"L", 64 << 30) + bytes(100_000),
    "a link of 64 GiB": ROOT + header(b"x", b"K", 64 << 30) + bytes(100_000),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_stream_that_is_not_whole_leaves_no_snapshot(far: Site, what: str) -> None:
    sends(far, BROKEN[what])
    ran = far.leitstand("run", "site")
    assert (ran.status, len(ran.errors)) == (3, 1), ran.stderr
    assert "an incomplete or damaged tar: " in ran.stderr or "stopped sending in the middle" in ran.stderr
    assert far.snapshots() == []


def test_the_last_output_of_a_server_that_ended_early_is_shown(far: Site) -> None:
    sends(far, ROOT + GOOD)
    script = f'#!/bin/sh\ncat "{far.folder}/sends"\necho "Connection closed by 192.0.2.1" >&2\nexit 255\n'
    (far.folder / "bin" / "ssh").write_text(script)
    assert "it ends early (Connection closed by 192.0.2.1)" in far.leitstand("run", "site").stderr


ENDLESS = {
    "a file": (ROOT + header(b"./huge", size=1 << 60), bytes(1 << 16), "bytes"),
    "headers for the next": (ROOT, pax(comment=b"x" * 60_000), "damaged tar"),
    "members": (ROOT, b"".join(header(b"./%d" % n) for n in range(500)), "entries"),
    "members of no type": (ROOT, member(b"./x", bytes(1 << 16), b"V"), "bytes"),
    "old sparse maps": (ROOT + header(b"./x", b"S")[:482] + b"\1", b"\1" * (1 << 16), "damaged tar"),
}


@pytest.mark.parametrize("what", ENDLESS)
def test_a_host_that_never_ends_is_left_at_the_limits_of_the_job(far: Site, what: str) -> None:
    start, block, told = ENDLESS[what]
    far.job["limits"] = {"bytes": "50MB", "entries": 20_000, "time": "60s"}
    ran = endless(far, start, block).leitstand("run", "site")
    assert (ran.status, len(ran.errors)) == (3, 1), ran.stderr
    assert told in ran.stderr
    assert far.snapshots() == []


def test_a_host_that_dribbles_is_left_when_its_time_is_over(far: Site) -> None:
    far.job["limits"] = {"time": "1s"}
    (far.folder / "bin" / "ssh").write_text("#!/bin/sh\nwhile sleep 0.1; do printf x; done\n")
    assert "more than 1 s" in far.leitstand("run", "site").stderr


@pytest.mark.parametrize(
    "source",
    [{"files": "/srv/data"}, {"mysql": "website"}, {"postgresql": "forum"}],
    ids=["tar", "mysql", "pg"],
)
def test_the_greeting_of_a_shell_is_named_and_no_part_of_a_backup(far: Site, source: dict[str, str]) -> None:
    far.job["sources"] = [source]
    trailers = b"-- Dump completed\n" if "mysql" in source else b"-- PostgreSQL database dump complete\n"
    sent = ROOT + GOOD + END if "files" in source else b"-- a dump\n" + trailers
    sends(far, sent)
    assert far.leitstand("run", "site").status in (0, 1)
    ran = sends(far, b"Welcome to far!\n" + sent).leitstand("run", "site")
    assert ran.status == 3
    assert "Welcome to far!" in ran.stderr
    assert ".bashrc" in ran.stderr


def memory_of(site: Site, *arguments: str) -> tuple[int, int, str]:
    """Exit status, largest memory in bytes and errors of a command in a process of its own."""
    site.write()
    code = (
        "import sys; from leitstand.cli import run; status = run(sys.argv[1:])\n"
        "lines = open('/proc/self/status').read().splitlines()\n"
        "print(*(line.split()[1] for line in lines if line.startswith('VmHWM:'))); sys.exit(status)"
    )
    argv = [sys.executable, "-c", code, "backup", *arguments, "--config", str(site.config)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=patient(120), check=False)
    return done.returncode, int(done.stdout.split()[-1]) * 1024, done.stderr


@pytest.mark.parametrize(
    ("source", "start", "block"),
    [
        ({"files": "/srv/data"}, ROOT + header(b"x", b"x", 64 << 30), bytes(1 << 16)),
        ({"mysql": "*"}, b"", b"a_database\n" * 6000),
        ({"mysql": "website"}, b"", b"CREATE TABLE `$` (\n"),
        ({"mysql": "website"}, b"", b"INSERT INTO `t` VALUES ('%s');\n" % (b"text " * 3_300_000)),
        ({"mysql": "website"}, b"", b"CREATE TABLE `%s` (\n" % (b"name " * 3_300_000)),
        ({"postgresql": "forum"}, b"", b'COPY "%s" (a) FROM stdin;\n' % (b"name " * 3_300_000)),
    ],
    ids=["header", "databases", "tables", "text of a row", "name of a table", "name in PostgreSQL"],
)
def test_memory_is_bounded_for_anything_that_a_host_sends(
    far: Site, source: dict[str, object], start: bytes, block: bytes
) -> None:
    far.job["sources"] = [source]
    far.job["limits"] = {"bytes": "60MB"}
    endless(far, start, block)
    if b"$" in block:
        script = f"#!/bin/sh\nexec {sys.executable} -c '{TABLES}'\n"
        (far.folder / "bin" / "ssh").write_text(script)
    status, memory, errors = memory_of(far, "run", "site")
    assert status == 3, errors
    assert memory < MOST_BYTES


TABLES = 'n = 0\nwhile True:\n n += 1\n print("CREATE TABLE `table_of_some_length_%d` (" % n)'


def test_a_list_of_databases_that_ends_late_is_refused(far: Site) -> None:
    far.job["sources"] = [{"mysql": "*"}]
    status, memory, errors = memory_of(sends(far, b"a\n" * 30_000_000), "run", "site")
    assert (status, memory < MOST_BYTES) == (3, True)
    assert "lists more than" in errors


def test_refusing_what_reaches_out_of_the_target_makes_no_device(far: Site, tmp_path: Path) -> None:
    disk = member(b"./disk", kind=b"4", numbers={"major": b"0000010\0"})
    sends(far, ROOT + GOOD + disk + member(b"./out", kind=b"2", link=b"/etc") + END)
    far.good("run", "site")
    target = tmp_path / "out"
    ran = far.leitstand("restore", "site", "--target", target, "--outside-links", "refuse")
    assert ran.status == 1
    assert "disk: refused: a device reaches out of the target" in ran.stderr
    assert sorted(path.name for path in (target / "files" / "srv" / "data").iterdir()) == ["good"]


def test_a_tree_that_is_too_deep_to_be_removed_again_is_saved_as_far_as_that_goes(
    far: Site, tmp_path: Path
) -> None:
    folders = [pax(path=b"./" + b"d/" * depth) + member(b"d/", kind=b"5") for depth in range(1, 1200)]
    ran = sends(far, ROOT + GOOD + b"".join(folders) + END).leitstand("run", "site")
    assert ran.status == 1
    assert "more than 500 folders deep" in ran.stderr
    far.good("drill", "site")
