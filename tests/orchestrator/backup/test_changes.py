"""What a run tells of the one before it."""

import os
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.archive import FileRecord, Kind, Metadata
from orchestrator.archive.entry import Method
from orchestrator.backup.changes import Changed, Paths

Site = Any
CONTENTS = st.tuples(
    st.sampled_from(list(Kind)), st.sampled_from([b"a" * 32, b"b" * 32]), st.binary(max_size=2)
)
TREES = st.dictionaries(st.binary(min_size=1, max_size=2), CONTENTS, max_size=60)


def paths_of(tree: dict[bytes, tuple[Kind, bytes, bytes]]) -> Paths:
    paths = Paths()
    for path, (kind, sha256, link) in tree.items():
        paths.add(FileRecord(Metadata(path=path, kind=kind, link=link), 0, sha256, 0, 0, 0, Method.STORE))
    return paths


def content(entry: tuple[Kind, bytes, bytes]) -> tuple[Kind, bytes]:
    kind, sha256, link = entry
    return kind, sha256 if kind is Kind.FILE else link


@given(before=TREES, after=TREES)
@settings(max_examples=150, derandomize=True, deadline=None)
def test_new_changed_and_gone_are_what_a_comparison_finds(
    tmp_path_factory: Any, before: dict[bytes, Any], after: dict[bytes, Any]
) -> None:
    file = tmp_path_factory.mktemp("changes") / "site.paths"
    paths_of(before).save(file)
    both = before.keys() & after.keys()
    assert paths_of(after).since(file) == Changed(
        len(after.keys() - before.keys()),
        sum(content(before[path]) != content(after[path]) for path in both),
        len(before.keys() - after.keys()),
    )


def test_a_lost_or_damaged_file_reports_nothing(tmp_path: Path) -> None:
    file = tmp_path / "site.paths"
    paths = paths_of({b"a": (Kind.FILE, b"a" * 32, b"")})
    assert paths.since(file) is None
    paths.save(file)
    whole = file.read_bytes()
    for spoilt in (b"", b"nonsense", whole[:-1], whole[:100], whole + b"x"):
        file.write_bytes(spoilt)
        assert paths.since(file) is None
    file.write_bytes(whole)
    assert paths.since(file) == Changed(0, 0, 0)


def test_metrics_can_be_read_by_the_exporter_s_user_with_any_umask(site: Site) -> None:
    state = site.folder / "new" / "leitstand"
    site.document["paths"] = {"state": str(state), "metrics": str(state / "metrics")}
    before = os.umask(0o077)
    try:
        site.good("run", "site")
    finally:
        os.umask(before)
    folders = [state / "metrics", state, state.parent]
    assert [oct(folder.stat().st_mode & 0o777) for folder in folders] == ["0o755"] * 3
    assert (state / "metrics" / "leitstand_backup.prom").stat().st_mode & 0o044 == 0o044
    assert [(state / name).stat().st_mode & 0o077 for name in ("backup", "locks")] == [0, 0]


def test_a_proof_is_reported_even_if_it_cannot_be_recorded(site: Site) -> None:
    site.good("run", "site")
    lock = site.folder / "state" / "backup" / ".lock"
    lock.unlink()
    lock.mkdir()
    verified = site.leitstand("verify", "site")
    assert (verified.status, "good:" in verified.stdout) == (0, True), verified.stderr
    assert "internal error" not in verified.stderr


def test_a_run_reports_what_changed_since_the_last_one(site: Site) -> None:
    first = site.good("run", "site", "--json").json()
    assert first["changes"] is None
    assert site.metric("files_new") == []
    (site.www / "fresh").write_text("new")
    (site.www / "index.html").write_text("changed")
    (site.www / "start").unlink()
    (site.www / "start").symlink_to("fresh")
    (site.www / "empty").unlink()
    assert "(1 new, 2 changed, 1 gone)" in site.good("run", "site").stdout
    for name, count in (("new", 1), ("changed", 2), ("gone", 1)):
        assert site.metric(f"files_{name}", backup="site", host="here", store="disk") == [count]
