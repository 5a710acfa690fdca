"""The roles' own modules: files and units in one round trip, nothing done twice, nothing owed forgotten."""

import base64
import hashlib
import json
import os
import subprocess
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from lab.patience import patient
from leitstand.share import share
from rollout.ansible_run import Playbook, play
from rollout.apply.shown import Shown

PYTHON = "/usr/bin/python3"
_FOUND = subprocess.run([PYTHON, "-c", "import ansible"], capture_output=True, check=False).returncode == 0
pytestmark = pytest.mark.skipif(
    not _FOUND or os.geteuid() != 0, reason="needs root and the Debian package ansible-core"
)
DRY = {"_ansible_check_mode": True, "_ansible_diff": True}
SYSTEMCTL = """\
#!/bin/sh
cd "$UNITS" || exit 1
case $1 in
  show)
    shift 3
    for unit; do
      printf 'Id=%s\\nLoadState=loaded\\nActiveState=%s\\n' "$unit" "$(cat "$unit")"
      printf 'UnitFileState=enabled\\nNeedDaemonReload=no\\n\\n'
    done ;;
  *)
    echo "$@" >>done
    for unit; do [ ! -e "$unit" ] || [ -e broken ] || echo active >"$unit"; done ;;
esac
"""


def module(name: str, folder: Path, **args: Any) -> Any:
    """What a module answers to ``args`` on this machine; programs in ``folder`` come first."""
    given = folder / "args.json"
    given.write_text(json.dumps({"ANSIBLE_MODULE_ARGS": {"_ansible_remote_tmp": str(folder), **args}}))
    done = subprocess.run(
        [PYTHON, str(share("ansible") / "library" / f"{name}.py"), str(given)],
        capture_output=True,
        text=True,
        env={**os.environ, "PATH": f"{folder}:/usr/sbin:/usr/bin:/sbin:/bin", "UNITS": str(folder)},
        timeout=patient(60),
        check=False,
    )
    return json.loads(done.stdout.splitlines()[-1])


def file(path: Path, text: str, **more: Any) -> dict[str, Any]:
    content = text.encode()
    hashed = {"sha256": hashlib.sha256(content).hexdigest(), "content": base64.b64encode(content).decode()}
    return {"path": str(path), **hashed, **more}


def files(folder: Path, *entries: dict[str, Any], **more: Any) -> Any:
    return module("leitstand_files", folder, entries=entries, act=True, notes=f"{folder}/notes", **more)


def units(folder: Path, *entries: Any, **more: Any) -> Any:
    return module("leitstand_units", folder, units=entries, notes=f"{folder}/notes", **more)


@pytest.fixture
def systemd(tmp_path: Path) -> Path:
    """A stand-in for systemctl, which notes what it is asked; a file per unit has its state."""
    (tmp_path / "systemctl").write_text(SYSTEMCTL)
    (tmp_path / "systemctl").chmod(0o755)
    for unit in ("web.service", "page.service"):
        (tmp_path / unit).write_text("active\n")
    return tmp_path


def done(folder: Path) -> list[str]:
    """What systemctl was asked to do, without looks."""
    path = folder / "done"
    return path.read_text().splitlines() if path.exists() else []


@pytest.mark.parametrize("drift", ["content", "mode", "gone", "link"])
def test_only_what_drifted_is_put_right(tmp_path: Path, drift: str) -> None:
    wanted, other = file(tmp_path / "a", "good\n", mode="0640"), file(tmp_path / "b", "b\n")
    assert files(tmp_path, wanted, other)["did"] == [wanted["path"], other["path"]]
    assert files(tmp_path, wanted, other)["changed"] is False
    before = (tmp_path / "b").stat()
    path = tmp_path / "a"
    if drift == "content":
        path.write_text("bad\n")
    elif drift == "mode":
        path.chmod(0o666)
    else:
        path.unlink()
    if drift == "link":
        path.symlink_to("/etc/hostname")
    assert files(tmp_path, wanted, other)["did"] == [wanted["path"]]
    assert path.read_text() == "good\n"
    assert path.lstat().st_mode & 0o7777 == 0o640
    assert not path.is_symlink()
    assert (tmp_path / "b").stat() == before


def test_a_file_that_its_program_refuses_is_not_installed(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("good\n")
    refused = files(tmp_path, file(tmp_path / "a", "if\n", validate="sh -n %s"))
    assert refused["failed"]
    assert refused["msg"].startswith(f"{tmp_path}/a was not accepted: ")
    assert (tmp_path / "a").read_text() == "good\n"
    assert {path.name for path in tmp_path.iterdir()} == {"a", "args.json"}, "nothing is left behind"
    assert files(tmp_path, file(tmp_path / "a", "if\n", validate="sh -n %s"), **DRY)["failed"], (
        "as in a dry run"
    )


def test_a_dry_run_shows_what_would_change_and_no_secret(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old\n")
    entries = [file(tmp_path / "a", "new\n"), file(tmp_path / "key", "SECRET-KEY", secret=True, topic="web")]
    answer = files(tmp_path, *entries, **DRY)
    assert (answer["diff"][0]["before"], answer["diff"][0]["after"]) == ("old\n", "new\n")
    assert "SECRET" not in json.dumps(answer)
    assert entries[1]["content"] not in json.dumps(answer)
    assert (tmp_path / "a").read_text() == "old\n"
    assert not (tmp_path / "key").exists()
    assert not (tmp_path / "notes").exists()


def test_a_restart_that_a_killed_run_owed_is_done_by_the_next_one_and_once(systemd: Path) -> None:
    wanted, unit = file(systemd / "conf", "x\n", topic="web"), {"name": "web.service", "restart": ["web"]}
    files(systemd, wanted)  # and here the run is killed
    assert files(systemd, wanted)["changed"] is False
    assert units(systemd, unit, "page.service")["did"] == ["restarted web.service"]
    assert units(systemd, unit, "page.service")["changed"] is False
    assert done(systemd) == ["daemon-reload", "restart web.service"]


def test_a_unit_that_is_down_is_started_and_others_are_left(systemd: Path) -> None:
    (systemd / "page.service").write_text("failed\n")
    assert units(systemd, "web.service", "page.service", **DRY)["did"] == ["started page.service"]
    assert done(systemd) == []
    assert units(systemd, "web.service", "page.service")["did"] == ["started page.service"]
    assert done(systemd) == ["start page.service"]


def test_configuration_that_its_program_refuses_reloads_nothing_and_stays_owed(systemd: Path) -> None:
    files(systemd, file(systemd / "conf", "x\n", topic="web"))
    unit = {"name": "web.service", "reload": ["web"], "check": ["sh -c 'echo no such metric >&2; exit 1'"]}
    assert units(systemd, unit)["msg"] == "sh: no such metric"
    assert done(systemd) == []
    assert units(systemd, {**unit, "check": ["true"]})["did"] == ["reloaded web.service"]


def test_a_unit_that_does_not_stay_up_is_named(systemd: Path) -> None:
    (systemd / "web.service").write_text("failed\n")
    (systemd / "broken").touch()
    assert units(systemd, "web.service")["msg"] == "web.service is failed; see: journalctl --unit web.service"


def test_a_socket_takes_its_new_address_while_its_service_is_down(systemd: Path) -> None:
    socket = {"name": "web.socket", "restart": ["address"], "after_stop": "web.service"}
    (systemd / "web.socket").write_text("active\n")
    units(systemd, socket, {"name": "web.service", "restart": ["address"]}, topics=["address"])
    assert done(systemd)[1:] == ["stop web.service", "restart web.socket", "restart web.service"]


@pytest.fixture
def server() -> Iterator[str]:
    """A server that answers "release 1" to everything."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"release 1")

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as http:
        Thread(target=http.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{http.server_port}/"
        http.shutdown()


def test_an_answer_of_another_release_is_no_proof(tmp_path: Path, server: str) -> None:
    def asked(**more: Any) -> Any:
        servers = [{"name": "the page", "url": server, "otherwise": "serves another release", **more}]
        return module("leitstand_answers", tmp_path, servers=servers, seconds=0)

    assert not asked(contains=["release 1"]).get("failed")
    assert asked(contains=["release 2"])["msg"] == "the page serves another release"
    assert asked(status=[301])["msg"] == f"the page answers with status 200 at {server}"
    assert "the page does not answer at http://127.0.0.1:9/" in asked(url="http://127.0.0.1:9/")["msg"]


def test_a_tree_is_installed_by_ansible_and_files_of_an_earlier_release_go(tmp_path: Path) -> None:
    tree, to = tmp_path / "rendered", tmp_path / "etc"
    for name in ("rules/new.yml", "main.yml"):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(f"# {name} {{{{ not_a_template }}}}\n")
    (to / "rules").mkdir(parents=True)
    for name in ("rules/old.yml", "rules/note.txt", "own.yml"):
        (to / name).write_text("x")
    entry = {"path": str(to), "tree": str(tree), "only": "rules/*.yml"}
    task = {"name": "Tree", "leitstand_files": {"entries": [entry], "notes": f"{tmp_path}/notes"}}
    book, inventory = tmp_path / "book.yml", tmp_path / "inventory.json"
    book.write_text(json.dumps([{"hosts": "all", "gather_facts": False, "tasks": [task, task]}]))
    here = {"ansible_connection": "local", "ansible_python_interpreter": PYTHON}
    inventory.write_text(json.dumps({"all": {"hosts": {"here": here}}}))
    result = play(Playbook(share("ansible"), str(book), inventory, ("here",)), Shown())["here"]
    assert result.good, result.problems
    assert result.changed == [f"{to}/rules", f"{to}/main.yml", f"{to}/rules/new.yml"], (
        "by the first task alone"
    )
    found = {str(path.relative_to(to)) for path in to.rglob("*") if path.is_file()}
    assert found == {"main.yml", "own.yml", "rules/new.yml", "rules/note.txt"}
    assert (to / "main.yml").read_text() == "# main.yml {{ not_a_template }}\n"
