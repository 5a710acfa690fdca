"""No text of leitstand.yml and no answer of a host is evaluated by Ansible, or leaves its place in a file."""

import copy
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from fleet_config.ansible import inventory
from fleet_config.expected import Expected
from fleet_config.settings import DeploySettings
from lab.patience import patient
from leitstand.errors import UsageError
from leitstand.settings.config import ConfigError, read
from leitstand.settings.document import document_of
from leitstand.settings.fleet import Fleet
from leitstand.settings.roles import leitstand_host
from leitstand.share import share

pytestmark = pytest.mark.skipif(
    not shutil.which("ansible-playbook") or os.geteuid() != 0,
    reason="needs root and the Debian package ansible-core",
)
CANARY = "canary-of-a-template"
FLEET: dict[str, Any] = {
    "site": {"name": "Example", "url": "https://status.example.org/"},
    "hosts": {
        "control": {"address": "192.0.2.10", "roles": ["leitstand", "status_page"]},
        "web1": {
            "address": "192.0.2.11",
            "roles": ["watched"],
            "ssh": {"user": "root", "identity_file": "/root/.ssh/backup"},
            "deploy": {"user": "admin", "identity_file": "/root/.ssh/deploy"},
        },
    },
    "alerts": {"mail": {"to": ["a@example.org"], "sender": "a@example.org"}},
    "stores": {"disk": {"type": "folder", "path": "/srv/backups"}},
    "backups": {
        "www": {
            "host": "web1",
            "sources": [{"files": "/var/www"}],
            "stores": ["disk"],
            "keys_file": "/etc/leitstand/keys",
        }
    },
    "status_page": {"listen": "127.0.0.1:8080"},
    "deploy": {
        "certificate": "acme",
        "acme_mail": "a@example.org",
        "allow": ["198.51.100.0/24"],
        "max_parallel": "25%",
    },
}
FILES = {"certificate": {"cert_file": "/etc/ssl/page.crt", "key_file": "/etc/ssl/page.key"}}
# Where a text may stand, as a path of keys (None is the name of an entry), and forms that the setting wants.
PLACES: dict[tuple[Any, ...], Sequence[str]] = {
    ("site", "name"): ("{}",),
    ("site", "url"): ("https://{}/", "https://a/{}"),
    ("hosts", None): ("{}",),
    ("hosts", "control", "address"): ("{}", "fe80::1%{}", "::1%{}"),
    ("hosts", "web1", "ssh", "user"): ("{}",),
    ("hosts", "web1", "ssh", "identity_file"): ("/{}",),
    ("hosts", "web1", "deploy", "user"): ("{}",),
    ("hosts", "web1", "deploy", "identity_file"): ("/{}",),
    ("stores", "disk", "path"): ("/{}",),
    ("backups", "www", "keys_file"): ("/{}",),
    ("backups", "www", "sources", 0, "files"): ("/{}",),
    ("status_page", "listen"): ("{}:80", "127.0.0.1:80{}", "[::1%{}]:80"),
    ("deploy", "acme_mail"): ("{}@example.org", "a@{}"),
    ("deploy", "allow", 0): ("{}", "fe80::1%{}", "::%{}/64"),
    ("deploy", "max_parallel"): ("{}", "25%{}"),
    ("deploy", "certificate", "cert_file"): ("/{}",),
    ("deploy", "certificate", "key_file"): ("/{}",),
}
PIPE = f"lookup('pipe', 'touch {CANARY}')"
TEXTS = (
    f"{{{{ {PIPE} }}}}",
    f"{{% set x = {PIPE} %}}",
    "{# x #}",
    "x; include /etc/shadow;",
    'x"; return 200 "y',
    "x\nListenStream=0.0.0.0:1",
    "x accept; policy accept; #",
    "x $(touch canary) `touch canary` ${HOME} $host",
    "%n %h %%",
    "' -D /tmp/x.so '",
    "-oProxyCommand=touch canary",
    'x",command="touch canary" ssh-ed25519 AAAA',
    "a ALL=(ALL) NOPASSWD: ALL",
)
CALLBACK = """\
import json
from ansible.plugins.callback import CallbackBase
class CallbackModule(CallbackBase):
    CALLBACK_VERSION, CALLBACK_TYPE, CALLBACK_NAME = 2.0, "stdout", "lines"
    def say(self, result):
        print(json.dumps(result._result), flush=True)
    def v2_runner_on_failed(self, result, ignore_errors=False):
        self.say(result)
    v2_runner_on_ok = v2_runner_on_unreachable = say
"""
TEMPLATES = ("exporter/templates/exporter.nft.j2", "exporter/templates/socket.conf.j2")
TEMPLATES += ("exporter/templates/service.conf.j2", "status_page/templates/site.conf.j2")


def with_text(place: tuple[Any, ...], text: str) -> dict[str, Any]:
    made = copy.deepcopy(FLEET)
    if place[:2] == ("deploy", "certificate"):
        made["deploy"] = copy.deepcopy(FILES)
    at = made
    for key in place[:-1]:
        at = at[key]
    if place[-1] is None:
        at[text] = at.pop("web1")
        made["backups"]["www"]["host"] = text
    else:
        at[place[-1]] = text
    return made


def inventory_of(data: dict[str, Any]) -> dict[str, Any] | None:
    """The inventory of a leitstand.yml, with the few variables of `apply`; None if it is refused."""
    document = document_of(Path("leitstand.yml"), yaml.safe_dump(data, allow_unicode=True))
    try:
        fleet, expected = read(document, Fleet), read(document, Expected)
        deploy = read(document, DeploySettings).deploy
        made = inventory(fleet, expected, deploy, leitstand_host(fleet.hosts))
    except ConfigError:
        return None
    except UsageError as error:
        assert "Ansible would read as a template" in error.message
        return None
    more = {"leitstand_configuration": "0" * 16, "leitstand_config": "/etc/leitstand/leitstand.yml"}
    return {**made.variables, **made.hosts["control"], **more, "of_web1": dict(made.hosts).get("web1", {})}


def accepted() -> Iterator[tuple[tuple[Any, ...], str, dict[str, Any]]]:
    for place, forms in PLACES.items():
        for text in TEXTS:
            for form in forms:
                if found := inventory_of(with_text(place, form.format(text))):
                    yield place, form.format(text), found


def play(folder: Path, tasks: Any, hosts: dict[str, Any], **variables: Any) -> list[dict[str, Any]]:
    """Run tasks with the shipped settings; the result of each, as Ansible has it."""
    book = [{"hosts": "all", "gather_facts": False, "vars": variables, "tasks": tasks}]
    (folder / "book.yml").write_text(json.dumps(book))
    (folder / "inventory.json").write_text(json.dumps({"all": {"hosts": hosts}}))
    (folder / "lines.py").write_text(CALLBACK)
    environment = {**os.environ, "ANSIBLE_CONFIG": str(share("ansible") / "ansible.cfg")}
    environment |= {"ANSIBLE_STDOUT_CALLBACK": "lines", "ANSIBLE_CALLBACK_PLUGINS": str(folder)}
    done = subprocess.run(
        ["ansible-playbook", "-i", str(folder / "inventory.json"), str(folder / "book.yml")],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=patient(300),
    )
    results = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert len(results) == len(tasks), done.stdout + done.stderr
    return results


def role(name: str, file: str) -> Any:
    return yaml.safe_load((share("ansible") / "roles" / name / file).read_text())


def untouched(folder: Path) -> None:
    for path in (folder, Path("/"), Path.cwd(), share("ansible")):
        assert not list(path.glob("canary*")), path


def rendered(folder: Path, combinations: list[dict[str, Any]]) -> list[list[str]]:
    """What each template becomes with the variables of each combination."""
    roles = share("ansible") / "roles"
    show = [
        {"debug": {"msg": "{{ lookup('template', '%s') }}" % (roles / name)}, "loop": "{{ of_all }}"}
        for name in TEMPLATES
    ]
    defaults = role("status_page", "defaults/main.yml") | {"status_page_tls": True}
    for task in show:
        task["vars"] = {name: f"{{{{ item.{name} }}}}" for name in combinations[0]} | defaults
    tasks = [{"include_vars": {"file": "all.json"}}, *show]
    (folder / "all.json").write_text(json.dumps({"of_all": combinations}))
    hosts = {"control": {"ansible_connection": "local"}}
    results = play(folder, tasks, hosts)[1:]
    texts = [[str(one["msg"]) for one in result["results"]] for result in results]
    return [list(of_one) for of_one in zip(*texts, strict=True)]


def test_no_text_that_is_accepted_adds_a_line_or_a_statement_to_a_rendered_file(tmp_path: Path) -> None:
    combinations = list(accepted())
    tame = [found for data in (FLEET, FLEET | {"deploy": FILES}) if (found := inventory_of(data))]
    texts = rendered(tmp_path, [*tame, *(found for _, _, found in combinations)])
    shapes = {tuple(map(shape, of_one)) for of_one in texts[: len(tame)]}
    for (place, text, _), of_one in zip(combinations, texts[len(tame) :], strict=True):
        assert tuple(map(shape, of_one)) in shapes, f"{place}: {text!r} gave {of_one}"
    untouched(tmp_path)


def shape(text: str) -> str:
    """A rendered file without its words: lines, punctuation of nginx, nft and systemd, quotes."""
    return re.sub(r"[\w./:*@+,=~-]+", "w", re.sub(r"\$\w+", "", text))


def stub(folder: Path, *names: str) -> str:
    """Programs that only note their words, one per line; the PATH to find them."""
    for name in names:
        (folder / name).write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >>{folder}/words\n')
        (folder / name).chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


@pytest.mark.parametrize(
    ("where", "file", "variables", "word"),
    [
        ("status_page", "tasks/acme.yml", {"leitstand_acme_mail": "a'b@c"}, "--email=a'b@c"),
        ("ssh_source", "tasks/main.yml", {"leitstand_ssh": {"identity_file": "/k -D x '"}}, "/k -D x '"),
    ],
)
def test_a_text_stays_one_word_of_a_command(
    tmp_path: Path, where: str, file: str, variables: dict[str, Any], word: str
) -> None:
    task = role(where, file)[0]
    programs = stub(tmp_path, "certbot", "ssh-keygen")
    given = role(where, "defaults/main.yml") | {"leitstand_page_name": "status.example.org"} | variables
    hosts = {"web1": {"ansible_connection": "local", "ansible_python_interpreter": "/usr/bin/python3"}}
    (result,) = play(tmp_path, [task | {"environment": {"PATH": programs}}], hosts, **given)
    words = (tmp_path / "words").read_text().splitlines()
    assert word in words, result
    untouched(tmp_path)


def test_a_source_that_looks_like_a_template_arrives_as_written_in_the_forced_command(tmp_path: Path) -> None:
    script = f"#!/bin/sh\n# {{{{ {PIPE} }}}} {{% raw %}} $(touch canary)\n"
    wanted = {"script": script, "script_path": f"{tmp_path}/read-web1", "line": f"restrict {{{{ {PIPE} }}}}"}
    (tmp_path / "authorization").write_text(json.dumps(wanted))
    (tmp_path / ".ssh").mkdir()
    tasks = role("ssh_source", "tasks/main.yml")
    by_name = {task["name"]: task for task in tasks}
    asked = {"command": f"cat {tmp_path}/authorization", "register": "ssh_source_authorization"}
    given = role("ssh_source", "defaults/main.yml") | {
        "ssh_source_home": str(tmp_path),
        "leitstand_ssh": {"user": "root", "identity_file": ""},
    }
    hosts = {"web1": {"ansible_connection": "local", "ansible_python_interpreter": "/usr/bin/python3"}}
    chosen = [by_name["The forced command"], by_name["The key may run the forced command, and nothing else"]]
    play(tmp_path, [asked, *chosen], hosts, **given)
    assert (tmp_path / "read-web1").read_text() == script
    assert (tmp_path / ".ssh/authorized_keys").read_text() == wanted["line"] + "\n"
    untouched(tmp_path)


def test_answers_of_a_hostile_host_replace_none_of_our_variables(tmp_path: Path) -> None:
    mine = {"leitstand_ssh": {"identity_file": f"{tmp_path}/own"}, "leitstand_packages": f"{tmp_path}/own"}
    answer = {
        "changed": False,
        "ansible_facts": {
            "leitstand_ssh": {"identity_file": "/stolen"},
            "leitstand_packages": "/stolen",
            "ansible_architecture": f"{{{{ {PIPE} }}}}",
            "architecture": f"{{{{ {PIPE} }}}}",
            "distribution": f"{{{{ {PIPE} }}}}",
            "base_systems": {"x": "/../.."},
        },
        "architecture": f"{{{{ {PIPE} }}}}",
        "distribution": f"{{{{ {PIPE} }}}}",
        "distribution_version": "/../..",
        "msg": f"{{{{ {PIPE} }}}}",
    }
    (tmp_path / "answer").write_text(json.dumps(answer))
    (tmp_path / "python3").write_text(f"#!/bin/sh\ncat {tmp_path}/answer\n")
    (tmp_path / "python3").chmod(0o755)
    tasks = [
        {"leitstand_look": {}, "register": "base_look"},
        {"debug": {"msg": "{{ leitstand_ssh.identity_file }} {{ leitstand_packages }} {{ base_system }}"}},
        {"debug": {"msg": "{{ base_architecture }}"}},
        {"debug": {"msg": "{{ base_look.msg }}"}},
    ]
    hosts = {
        "web1": {"ansible_connection": "local", "ansible_python_interpreter": f"{tmp_path}/python3", **mine}
    }
    _, seen, architecture, message = play(tmp_path, tasks, hosts, **role("base", "defaults/main.yml"))
    assert seen["msg"] == f"{tmp_path}/own {tmp_path}/own unknown"
    assert architecture["msg"] == "unknown"
    assert message["msg"] == answer["msg"]
    untouched(tmp_path)


@pytest.mark.parametrize("kind", ["folder", "attributes"])
def test_a_link_in_a_home_gives_its_user_nothing_else(tmp_path: Path, kind: str) -> None:
    (tmp_path / "etc").mkdir(mode=0o755)
    (tmp_path / "link").symlink_to(tmp_path / "etc")
    entry = {"path": str(tmp_path / "link"), "state": kind, "owner": "nobody", "mode": "0700"}
    hosts = {"web1": {"ansible_connection": "local", "ansible_python_interpreter": "/usr/bin/python3"}}
    (result,) = play(tmp_path, [{"leitstand_files": {"entries": [entry]}}], hosts)
    assert "symbolic links" in result["msg"]
    assert (tmp_path / "etc").stat().st_uid == 0
    assert (tmp_path / "etc").stat().st_mode & 0o777 == 0o755


def test_a_list_of_keys_that_is_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / ".ssh").mkdir()
    (tmp_path / "shadow").write_text("root:x\n")
    (tmp_path / ".ssh/authorized_keys").symlink_to(tmp_path / "shadow")
    names = ("Is the list of that user's keys a link", "Root follows no link of another user")
    tasks = [task for task in role("ssh_source", "tasks/main.yml") if task["name"] in names]
    given = {"ssh_source_folder": f"{tmp_path}/.ssh", "leitstand_ssh": {"user": "nobody"}}
    hosts = {"web1": {"ansible_connection": "local", "ansible_python_interpreter": "/usr/bin/python3"}}
    _, refused = play(tmp_path, tasks, hosts, **given)
    assert "is a link" in refused["msg"]
