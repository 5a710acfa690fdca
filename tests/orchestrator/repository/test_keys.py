"""Keys: made once, kept from others, never shown by accident, and of use without Leitstand."""

import base64
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from orchestrator.repository.keys import KeyRing, KeysError, append_generation, generate, retire_generation

SNAPSHOT = "20261121T030000Z-BBBBBBBB"
RING = KeyRing({1: bytes(range(32)), 2: bytes(32)})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys"


def test_a_key_file_is_made_readable_by_its_owner_alone(path):
    ring = generate(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert KeyRing.load(path).archive_password(SNAPSHOT, 1) == ring.archive_password(SNAPSHOT, 1)


def test_keys_are_never_overwritten(path):
    generate(path)
    before = path.read_bytes()
    with pytest.raises(KeysError, match="never overwritten"):
        generate(path)
    assert path.read_bytes() == before


def test_a_folder_that_is_missing_is_named(path):
    with pytest.raises(KeysError, match="there is no folder") as raised:
        generate(path / "none" / "keys")
    assert raised.value.hint == f"mkdir -m 700 {path / 'none'}"


def test_a_new_generation_leaves_the_old_ones_as_they_are(path):
    old = generate(path)
    new = append_generation(path)
    assert (old.current, new.current, new.generations) == (1, 2, (1, 2))
    assert new.archive_password(SNAPSHOT, 1) == old.archive_password(SNAPSHOT, 1)
    assert new.archive_password(SNAPSHOT, 2) != new.archive_password(SNAPSHOT, 1)
    assert KeyRing.load(path).export() == new.export()


def test_passwords_have_160_bits_and_suit_every_program():
    password = RING.archive_password(SNAPSHOT, 1)
    assert len(base64.b32decode(password)) == 20
    assert password.isascii()
    assert password.isalnum()
    assert password != RING.archive_password("20261121T030000Z-CCCCCCCC", 1)


def test_the_password_can_be_had_without_leitstand_as_the_docs_say():
    docs = Path(__file__).parents[3] / "docs/archive-format.md"
    recipe = docs.read_text().split("```sh\n")[1].split("```")[0]
    secret = RING.export().splitlines()[1].split()[1]
    environment = {**os.environ, "KEY": secret, "SNAPSHOT": SNAPSHOT}
    done = subprocess.run(["sh", "-ec", recipe], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == RING.archive_password(SNAPSHOT, 1)


def test_a_ring_shows_no_secret():
    shown = f"{RING!r} {RING}"
    assert "generations=[1, 2]" in shown
    assert base64.b32encode(bytes(range(32))).decode()[:8] not in shown
    assert RING.commit_key(1).hex() not in shown


def test_a_file_open_to_others_is_refused(path):
    generate(path)
    path.chmod(0o640)
    with pytest.raises(KeysError, match="read by others") as caught:
        KeyRing.load(path)
    assert caught.value.hint == f"chmod 600 {path}"


def test_a_folder_in_place_of_the_file_is_named(path):
    path.mkdir(mode=0o700)
    with pytest.raises(KeysError, match=f"{path} is a folder"):
        KeyRing.load(path)


def test_a_missing_file_is_reported_with_how_to_create_it(path):
    with pytest.raises(KeysError, match="No such file") as caught:
        KeyRing.load(path)
    assert "leitstand backup keys generate" in caught.value.hint


def test_a_letter_mistyped_in_a_kit_is_noticed(path):
    text = RING.export()
    for position in range(text.index("\n") + 3, len(text) - 1):
        if text[position] not in " \n":
            wrong = text[:position] + ("A" if text[position] != "A" else "B") + text[position + 1 :]
            path.write_text(wrong)
            path.chmod(0o600)
            with pytest.raises(KeysError) as caught:
                KeyRing.load(path)
            assert text.split()[3][:10] not in "".join(caught.value.lines())


@pytest.mark.parametrize(
    "text", ["", "leitstand-keys 2\n", "hello", "leitstand-keys 1\n", "leitstand-keys 1\nsecret\n"]
)
def test_an_invalid_key_file_is_refused(path, text):
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(KeysError):
        KeyRing.load(path)


def test_a_generation_given_twice_is_refused(path):
    lines = RING.export().splitlines()
    path.write_text("\n".join([*lines, lines[1]]))
    path.chmod(0o600)
    with pytest.raises(KeysError, match="twice"):
        KeyRing.load(path)


def test_a_missing_generation_is_reported():
    with pytest.raises(KeysError, match="no generation 7"):
        RING.archive_password(SNAPSHOT, 7)


def test_keys_come_from_a_command():
    ring = KeyRing.from_command([sys.executable, "-c", f"print({RING.export()!r})"])
    assert ring.export() == RING.export()
    with pytest.raises(KeysError, match="status 3"):
        KeyRing.from_command([sys.executable, "-c", "raise SystemExit(3)"])


MOMENT = datetime(2026, 11, 30, 12, 0, 30, tzinfo=UTC)


def test_a_retired_generation_signs_nothing_and_reads_on(path):
    generate(path)
    append_generation(path)
    ring = retire_generation(path, 2, MOMENT)
    assert path.read_text().endswith(" retired 2026-11-30T12:00:30Z\n")
    again = KeyRing.load(path)
    assert (ring.current, again.current, again.retired) == (1, 1, {2: MOMENT})
    assert again.archive_password(SNAPSHOT, 2) == ring.archive_password(SNAPSHOT, 2)
    assert append_generation(path).current == 3
    assert KeyRing.load(path).retired == {2: MOMENT}


def test_the_last_generation_that_signs_is_not_retired(path):
    generate(path)
    before = path.read_bytes()
    with pytest.raises(KeysError, match="every generation") as caught:
        retire_generation(path, 1, MOMENT)
    assert "keys generate --add" in caught.value.hint
    with pytest.raises(KeysError, match="no generation 7"):
        retire_generation(path, 7, MOMENT)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "date", ["2026-13-01", "soon", "9999-12-31", "2026-11-30T25:00:00Z", "", "2026-11-30 x"]
)
def test_an_invalid_date_is_named(path, date):
    generate(path)
    path.write_text(path.read_text().rstrip("\n") + f" retired {date}\n")
    with pytest.raises(KeysError, match="line 2") as caught:
        KeyRing.load(path)
    assert path.read_text().split()[3][:10] not in "".join(caught.value.lines())


def test_a_retired_date_is_that_day_s_end(path):
    generate(path)
    append_generation(path)
    first, *rest = path.read_text().splitlines()
    path.write_text("\n".join([first, f"{rest[0]} retired 2026-11-30", rest[1]]))
    assert KeyRing.load(path).retired == {1: datetime(2026, 12, 1, tzinfo=UTC)}


def test_a_thief_of_retired_keys_makes_no_snapshot_that_is_believed(site, tmp_path):
    site.job["sources"] = site.job["sources"][1:]
    site.good("run", "site")
    (old,) = site.snapshots()
    stolen = (site.folder / "keys").read_text()
    site.good("keys", "generate", "--add")
    site.wait_for_next_second()
    told = site.good("keys", "retire", "1")
    assert "new snapshots use generation 2" in told.stdout
    site.wait_for_next_second()
    right = (site.folder / "keys").read_text()
    (site.folder / "keys").write_text(stolen)
    site.good("run", "site")
    (site.folder / "keys").write_text(right)
    rows = site.good("list", "site", "--json").json()
    assert [(row["state"], row["generation"]) for row in rows] == [("complete", 1), ("not proven", 1)]
    ran = site.good("restore", "site", "--target", tmp_path / "out", "--json")
    assert ran.json()["snapshot"] == old
    assert "signed with generation 1 of the keys, but made after that was retired" in ran.stderr
    refused = site.leitstand("verify", "site", "--snapshot", rows[1]["snapshot"])
    assert (refused.status, "retired" in refused.errors[0]) == (3, True)
    site.good("run", "site")
    assert [row["generation"] for row in site.good("list", "site", "--json").json()] == [1, 1, 2]
    commit = site.objects(old)["COMMIT"]
    commit.write_bytes(commit.read_bytes())  # stored later, under its older name
    assert "but stored after" in site.good("list", "site").stderr
