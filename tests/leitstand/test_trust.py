"""Nothing is run or believed because of the folder one stands in."""

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.checkout import packages
from leitstand import trust
from leitstand.process import environment
from leitstand.trust import distrust

ROOT = Path(__file__).parents[2]
PROGRAMS = (*packages(), "lab")
LEITSTAND = Path(sys.executable).with_name("leitstand")
NOBODY = 65534
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to make files that are somebody else's")


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A good configuration in a folder that nobody else may change."""
    (tmp_path / "mine").mkdir(mode=0o755)
    path = tmp_path / "mine" / "leitstand.yml"
    path.write_text("hosts: {}\n")
    return path


def own(path: Path, user: int) -> None:
    os.chown(path, user, user, follow_symlinks=False)


def stranger_file(mine: Path) -> Path:
    own(mine, NOBODY)
    return mine


def stranger_folder(mine: Path) -> Path:
    own(mine.parent, NOBODY)
    return mine


def folder_above(mine: Path) -> Path:
    (mine.parent / "inner").mkdir()
    mine.rename(mine.parent / "inner" / mine.name)
    own(mine.parent, NOBODY)
    return mine.parent / "inner" / mine.name


def open_file(mine: Path) -> Path:
    mine.chmod(0o666)
    return mine


def group_file(mine: Path) -> Path:
    os.chown(mine, 0, NOBODY)
    mine.chmod(0o664)
    return mine


def open_folder(mine: Path) -> Path:
    mine.parent.chmod(0o777)
    return mine


def file_in_a_folder(mine: Path) -> Path:
    (mine.parent / "more.yml").write_text("services: {}\n")
    (mine.parent / "more.yml").chmod(0o666)
    return mine.parent


def link_to_a_stranger(mine: Path) -> Path:
    own(mine, NOBODY)
    (mine.parent.parent / "link.yml").symlink_to(mine)
    return mine.parent.parent / "link.yml"


def link_of_a_stranger(mine: Path) -> Path:
    link = mine.parent.parent / "link.yml"
    link.symlink_to("mine/leitstand.yml")
    own(link, NOBODY)
    return link


def by_way_of_a_stranger(mine: Path) -> Path:
    """A link to a link in a folder of a stranger's, which leads to the good file."""
    (theirs := mine.parent.parent / "theirs").mkdir()
    (theirs / "hop.yml").symlink_to("../mine/leitstand.yml")
    own(theirs, NOBODY)
    (mine.parent / "link.yml").symlink_to("../theirs/hop.yml")
    return mine.parent / "link.yml"


HOSTILE = [
    *(stranger_file, stranger_folder, folder_above, open_file, group_file, open_folder, file_in_a_folder),
    *(link_to_a_stranger, link_of_a_stranger, by_way_of_a_stranger),
]


@root_only
@pytest.mark.parametrize("spoil", HOSTILE, ids=lambda spoil: spoil.__name__)
def test_root_reads_no_configuration_that_others_may_change(answer, mine, spoil):
    config = spoil(mine)
    done = answer("check", "--config", config)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "so root refuses the configuration" in line
    assert "; if its content is correct: ch" in line or "; move it to /etc/leitstand" in line


@root_only
@pytest.mark.parametrize("spoil", HOSTILE, ids=lambda spoil: spoil.__name__)
def test_the_hint_is_a_command_that_helps(answer, mine, spoil):
    config = spoil(mine)
    for _ in range(3):
        told = answer("check", "--config", config).stderr
        if ": chown " not in told and ": chmod " not in told:
            break
        subprocess.run(["sh", "-c", told.rpartition("content is correct: ")[2]], check=True)
    assert "content is correct" not in told


@root_only
def test_a_folder_for_all_with_the_sticky_bit_is_good_above_a_file_of_ones_own(mine):
    mine.parent.chmod(0o1777)
    assert distrust(mine) is None


@root_only
def test_a_relative_name_and_dots_lead_to_the_same_answer(mine, monkeypatch):
    monkeypatch.chdir(mine.parent)
    assert distrust(Path("leitstand.yml")) is None
    assert distrust(Path("../mine/./leitstand.yml")) is None
    mine.chmod(0o666)
    assert distrust(Path("leitstand.yml")) == distrust(Path("../mine/leitstand.yml")) is not None


@root_only
def test_an_owner_without_a_name_is_named_by_number_and_a_device_is_harmless(mine):
    own(mine, 4711)
    found = distrust(mine)
    assert found is not None and found.what == "belongs to user 4711"
    assert distrust(Path("/dev/null")) is None


@root_only
@pytest.mark.parametrize(
    ("group", "mode", "what"),
    [
        (NOBODY, 0o664, None),
        (NOBODY, 0o666, "may be changed by everyone"),
        (4711, 0o664, "may be changed by its group (number 4711)"),
    ],
)
def test_a_group_that_may_change_the_program_may_change_its_configuration(mine, tmp_path, group, mode, what):
    program = tmp_path / "trust.py"
    program.write_bytes(Path(trust.__file__).read_bytes())
    for path, its_group, its_mode in ((program, NOBODY, 0o664), (mine, group, mode)):
        os.chown(path, 0, its_group)
        path.chmod(its_mode)
    script = f"from trust import *; found = distrust(Path({str(mine)!r})); print(found and found.what)"
    argv = [sys.executable, "-c", script]
    told = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert told == f"{what}\n"


@root_only
def test_root_of_a_container_without_root_reads_its_configuration(leitstand, mine):
    mapped = ["unshare", "--user", "--map-user=0"]  # all other users are nobody, and own /
    if subprocess.run([*mapped, "true"], check=False, capture_output=True).returncode:
        pytest.skip("this machine makes no such namespaces")
    assert leitstand("check", "-c", mine, before=mapped).returncode == 0


def test_endless_links_and_missing_files_are_left_to_the_reader(tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    assert distrust(tmp_path / "loop" / "x") is None
    assert distrust(tmp_path / "missing" / "x") is None


def test_a_file_found_in_the_working_folder_is_named(leitstand, tmp_path):
    (tmp_path / "leitstand.yml").write_text("hosts: {}\n")
    told = f"configuration: {tmp_path}/leitstand.yml\n"
    out = ("render", "prometheus", "--out", tmp_path / "out")
    assert leitstand(*out).stderr.startswith(told)
    assert told not in leitstand(*out, "--config", "leitstand.yml").stderr


@root_only
@pytest.mark.parametrize("spoil", [stranger_file, stranger_folder])
def test_an_ordinary_user_uses_a_configuration_of_others_only_when_it_is_named(leitstand, mine, spoil):
    for folder in (mine.parents[1], mine.parents[2], mine.parents[3]):
        folder.chmod(0o711)
    spoil(mine)
    as_user = ["setpriv", "--reuid=2", "--regid=2", "--clear-groups"]
    found = leitstand("render", "prometheus", "--out", "out", before=as_user, cwd=mine.parent)
    assert found.returncode == 2
    what, hint = found.stderr.splitlines()
    assert "another user's configuration is used only if you name it" in what
    assert f"--config {mine}" in hint
    assert leitstand("check", "-c", mine, before=as_user, cwd=mine.parent).returncode == 0


@root_only
def test_completion_reads_no_configuration_of_others(tmp_path, corpus):
    config = tmp_path / "leitstand.yml"
    config.write_bytes((corpus / "good" / "complete.yml").read_bytes())
    words = {"_LEITSTAND_COMPLETE": "bash_complete", "COMP_WORDS": "leitstand backup run ", "COMP_CWORD": "3"}
    environment = {**os.environ, **words}

    def offered() -> str:
        command = [LEITSTAND]
        done = subprocess.run(
            command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.stderr == ""
        return done.stdout.strip()

    assert offered()
    own(config, NOBODY)
    assert not offered()


def test_no_program_is_looked_for_in_the_working_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", f":.:{tmp_path}::bin:/usr/bin")
    assert environment()["PATH"] == f"{tmp_path}:/usr/bin"
    monkeypatch.setenv("PATH", ".")
    assert "PATH" not in environment(), "then the system's own places are taken"


def python_starts() -> Iterator[tuple[str, list[str]]]:
    """Every list in the programs that begins with a Python: where, and its further words."""
    for path in (path for name in PROGRAMS for path in (ROOT / name).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.List) or not node.elts:
                continue
            words = [ast.unparse(element).strip("'") for element in node.elts]
            first = next((at for at, word in enumerate(words) if word in ("sys.executable", "PYTHON")), None)
            if first is not None:
                yield f"{path.relative_to(ROOT)}:{node.lineno}", words[first + 1 :]


def test_every_python_that_is_started_ignores_the_working_folder():
    starts = dict(python_starts())
    assert any("orchestrator/scheduler/children.py" in place for place in starts)
    assert {place: words for place, words in starts.items() if words[0] not in ("-P", "-I")} == {}


def test_children_of_libraries_ignore_the_working_folder_too():
    script = "import os; from leitstand import cli; cli.run = lambda _: print(os.environ['PYTHONSAFEPATH']); "
    done = subprocess.run([sys.executable, "-c", script + "cli.main()"], capture_output=True, text=True)
    assert done.stdout == "1\n"
