"""--write: the entries come in, and no other byte of leitstand.yml changes."""

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from rollout.suggest import write
from tests.rollout.suggest.conftest import Fleet

Make = Callable[..., Fleet]
SITE = {
    "virtual_host": [
        {"server": "nginx", "file": "/f", "name": "a.example.org", "listen": ["443"], "root": "/srv/a"}
    ]
}
# What the file has besides hosts and stores; each in a form that people write.
FORMS = {
    "no section yet": "",
    "no line end": "site: {name: x}",
    "lines": "services:\n  x: {name: x, url: 'https://x.io'}\n",
    "deep indentation": "services:\n      x:\n          name: x\n          url: https://x.io\n",
    "comments behind": "services:\n  x: {name: x, url: 'https://x.io'} # mine\n  # y: {name: y}\n"
    "# of the next section\n\nsite: {name: n}\n",
    "blank lines": "services:\n\n  x:\n    name: x\n    url: https://x.io\n\n\n\nsite: {name: n}\n",
    "empty section": "services:   # none yet\nsite: {name: n}\n",
    "list last": "services:\n  x:\n    name: x\n    url: https://x.io\n    hosts:\n      - web1\nsite:\n",
    "list not indented": "services:\n  x:\n    name: x\n    url: https://x.io\n    hosts:\n    - web1\n",
    "block scalar": "services:\n  x:\n    url: https://x.io\n    name: |\n      x\n\n\nsite: {name: n}\n",
    "kept block scalar at the end": "services:\n  x:\n    url: https://x.io\n    name: |+\n      x\n\n\n",
    "block scalar of another section at the end": "site:\n  name: >-\n    some\n    name\n",
    "folded text": "services:\n  x:\n    url: https://x.io\n    name: some\n      text\nsite: {name: n}\n",
    "anchor and alias": "services:\n  x: &x\n    name: x\n    url: https://x.io\n"
    "  y: {<<: *x, url: 'https://y.io'}\n",
    "alias last": "site: {name: &n x}\nservices:\n  x:\n    url: https://x.io\n    name: *n\n# end\n",
    "merged section": "services:\n  <<: {x: {name: x, url: 'https://x.io'}}\n  z: {name: z, url: 'https://z.io'}\n",
    "flow over lines": "services:\n  x: {\n    name: x,\n    url: 'https://x.io'\n  }\nsite: {name: n}\n",
    "quoted keys": '"services":\n  "x": {"name": "x", "url": "https://x.io"}\n',
    "document start": "---\nservices:\n  x: {name: x, url: 'https://x.io'}\n",
    "explicit text over lines": 'services:\n  x:\n    url: https://x.io\n    name: "a\n\n      b"\n\n# c\n',
}


@pytest.mark.parametrize("ends", ["\n", "\r\n"], ids=["lf", "crlf"])
@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.replace(" ", "-"))
def test_lines_are_only_added_and_nothing_else_changes(fleet: Make, form: str, ends: str) -> None:
    one = fleet()
    start = one.config.read_text()
    text = start + FORMS[form] if not FORMS[form].startswith("---") else "---\n" + start + FORMS[form][4:]
    before = text.replace("\n", ends).encode()
    one.config.write_bytes(before)
    assert one.check()[0] == 0
    one.has("web1", SITE)
    one.has("db1", {})
    code, _, messages = one("--write")
    assert code == 0, messages
    after = one.config.read_bytes()
    assert len(after) > len(before)
    assert is_subsequence_of_lines(before, after)
    assert after.count(b"\r\n") == (after.count(b"\n") if ends == "\r\n" else 0)
    code, said = one.check()
    assert code == 0, said
    assert one()[0] == 0


def is_subsequence_of_lines(before: bytes, after: bytes) -> bool:
    """Whether every line of the one is in the other, in order."""
    rest = iter(after.splitlines())
    return all(line in rest for line in before.splitlines())


def test_a_comment_of_the_last_entry_stays_with_it(fleet: Make) -> None:
    one = fleet(FORMS["comments behind"])
    one.has("web1", SITE)
    one("--write")
    text = one.config.read_text()
    assert text.index("# y: {name: y}") < text.index("  a.example.org:") < text.index("# of the next section")


@pytest.mark.parametrize(
    ("form", "why"),
    [
        ("services: {x: {name: x, url: 'https://x.io'}}\n", "'services' is written in braces"),
        ("services: {}\n", "'services' is written in braces"),
        ("site: {name: n}\n...\n", "no lines can be added at its end"),
    ],
)
def test_a_form_that_leaves_no_place_is_refused_with_the_entries_printed(
    fleet: Make, form: str, why: str
) -> None:
    one = fleet(form)
    before = one.config.read_bytes()
    one.has("web1", SITE)
    code, output, messages = one("--write")
    assert code == 2
    assert why in messages
    assert "hint: add the entries above by hand" in messages
    assert "  a.example.org:\n" in output
    assert one.config.read_bytes() == before


def test_a_file_in_braces_is_refused(fleet: Make) -> None:
    one = fleet()
    one.config.write_text('{"hosts": {"web1": {"address": "192.0.2.1"}}}')
    one.has("web1", SITE)
    code, _, messages = one("--write")
    assert (code, "the file is written in braces, not as lines" in messages) == (2, True)


def test_a_folder_of_files_is_refused(fleet: Make, tmp_path: Path) -> None:
    one = fleet()
    folder = tmp_path / "conf"
    folder.mkdir()
    one.config.rename(folder / "leitstand.yml")
    one.has("web1", SITE)
    code, output, messages = one("--write", "-c", str(folder))
    assert (code, "is a folder of files" in messages, "a.example.org" in output) == (2, True, True)


def test_mode_owner_and_link_stay(fleet: Make, tmp_path: Path) -> None:
    one = fleet()
    real = tmp_path / "real.yml"
    one.config.rename(real)
    one.config.symlink_to("real.yml")
    real.chmod(0o640)
    groups = [group for group in os.getgroups() if group != os.getgid()]
    wanted = groups[0] if groups else (12345 if os.geteuid() == 0 else os.getgid())
    os.chown(real, -1, wanted)
    one.has("web1", SITE)
    one("--write")
    assert one.config.is_symlink()
    status = real.stat()
    assert (stat.S_IMODE(status.st_mode), status.st_gid) == (0o640, wanted)
    assert "a.example.org" in real.read_text()


def test_a_disk_without_room_leaves_the_old_file(fleet: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    one = fleet()
    before = one.config.read_bytes()
    one.has("web1", SITE)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    code, output, messages = one("--write")
    assert code == 3
    assert f"{one.config}: No space left on device" in messages
    assert "a.example.org" in output
    assert one.config.read_bytes() == before
    assert [path.name for path in one.folder.iterdir() if path.name.startswith(".")] == []


def test_a_file_that_was_changed_meanwhile_is_not_overwritten(
    fleet: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = fleet()
    one.has("web1", SITE)
    make = write.new_text

    def slow(*arguments: object) -> str:
        made = make(*arguments)  # type: ignore[arg-type]
        one.config.write_text(one.config.read_text() + "# mine\n")
        return made

    monkeypatch.setattr(write, "new_text", slow)
    code, _, messages = one("--write")
    assert (code, "was changed meanwhile" in messages) == (2, True)
    assert one.config.read_text().endswith("# mine\n")
