"""The Ansible inventory is made from leitstand.yml alone, and Ansible reads both of its forms."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from fleet_config.ansible import inventory, leitstand_host_if_here
from fleet_config.expected import Expected
from fleet_config.settings import Deploy
from lab.patience import patient
from leitstand.settings.fleet import Fleet
from leitstand.settings.roles import GROUPS

SECRET = "correct horse"
FLEET = {
    "site": {"url": "https://status.example.org/"},
    "hosts": {
        "control": {"address": "192.0.2.10", "roles": ["leitstand"]},
        "web2": {
            "address": "2001:db8::12",
            "roles": ["watched", "status_page"],
            "ssh": {"user": "backup", "port": 2222, "identity_file": "/root/.ssh/backup"},
        },
        "web1": {
            "address": "web1.example.org",
            "roles": ["watched"],
            "ssh": {"port": 2222},
            "deploy": {"user": "admin", "port": 22022, "identity_file": "/root/.ssh/fleet"},
            "exporter": {"username": "fleet", "password_file": "SECRETS"},
        },
        "router": {"address": "192.0.2.1"},
    },
    "alerts": {
        "mail": {
            "to": ["a@example.org"],
            "sender": "a@example.org",
            "smarthost": "mail.example.org:25",
            "username": "a",
            "password_file": "SECRETS",
        }
    },
    "stores": {
        "disk": {"type": "folder", "path": "/srv/backups"},
        "far": {
            "type": "s3",
            "endpoint": "https://s3.example.org",
            "bucket": "backups",
            "credentials_file": "SECRETS",
        },
    },
    "backups": {
        name: {"host": name, "sources": [{"files": "/var"}], "stores": ["disk"], "keys_file": "SECRETS"}
        for name in ("control", "web2", "router")
    },
    "deploy": {
        "certificate": "acme",
        "acme_mail": "a@example.org",
        "grafana": True,
        "allow": ["198.51.100.0/24"],
    },
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with leitstand.yml, whose secrets are in files that can be read."""
    (tmp_path / "secrets").write_text(f"{SECRET}\n")
    text = yaml.safe_dump(FLEET, sort_keys=False).replace("SECRETS", str(tmp_path / "secrets"))
    (tmp_path / "leitstand.yml").write_text(text)
    return tmp_path


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "leitstand", *arguments]
    environment = {**os.environ, "LEITSTAND_CONFIG": str(folder / "leitstand.yml")}
    return subprocess.run(argv, capture_output=True, text=True, env=environment, timeout=patient(60))


def printed(folder: Path, *arguments: str) -> dict[str, Any]:
    done = run(folder, "ansible-inventory", *arguments)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_groups_follow_from_roles_jobs_and_stores_in_the_order_of_the_file(folder: Path) -> None:
    found = printed(folder, "--list")
    assert {group: found[group]["hosts"] for group in GROUPS} == {
        "leitstand": ["control"],
        "watched": ["control", "web2", "web1"],
        "status_page": ["web2"],
        "ssh_source": ["web2"],
        "store": ["control"],
        "grafana": ["control"],
    }
    assert found["all"]["hosts"] == list(found["_meta"]["hostvars"]) == ["control", "web2", "web1"]


def test_the_login_to_a_host_is_that_of_the_file_or_that_of_backups(folder: Path) -> None:
    hosts = printed(folder, "--list")["_meta"]["hostvars"]
    keys = ("ansible_user", "ansible_port", "ansible_become", "ansible_ssh_private_key_file")
    assert [[hosts[name].get(key) for key in keys] for name in hosts] == [
        ["root", 22, False, None],
        ["root", 2222, False, "/root/.ssh/backup"],
        ["admin", 22022, True, "/root/.ssh/fleet"],
    ]
    assert hosts["web2"]["leitstand_ssh"] == {
        "user": "backup",
        "port": 2222,
        "identity_file": "/root/.ssh/backup",
    }


def test_exporters_admit_the_leitstand_host_and_who_the_file_adds(folder: Path) -> None:
    hosts = printed(folder, "--list")["_meta"]["hostvars"]
    assert all(host["leitstand_allow"] == ["192.0.2.10", "198.51.100.0/24"] for host in hosts.values())
    assert [host["leitstand_exporter_tls"] for host in hosts.values()] == [True, True, False]
    assert [host["leitstand_exporter_own_access"] for host in hosts.values()] == [False, False, True]


@pytest.mark.parametrize(
    ("address", "listen"),
    [("127.0.0.1", "127.0.0.1:9815"), ("localhost", "127.0.0.1:9815"), ("::1", "[::1]:9815")],
)
def test_a_leitstand_host_on_loopback_is_this_machine_and_its_exporter_stays_there(
    folder: Path, address: str, listen: str
) -> None:
    sections = {"hosts": {"control": {"address": address, "roles": ["leitstand"]}}}
    (folder / "leitstand.yml").write_text(yaml.safe_dump(sections))
    host = printed(folder, "--host", "control")
    assert host["ansible_connection"] == "local"
    assert host["leitstand_exporter_listen"] == listen
    assert not host["leitstand_exporter_tls"]
    assert host["leitstand_roles"] == ["leitstand", "watched", "status_page"]


def test_only_an_own_address_makes_this_machine_the_leitstand_host(folder: Path) -> None:
    assert printed(folder, "--host", "control")["ansible_connection"] == "ssh"
    hosts = printed(folder, "--list", "--here", "web1")["_meta"]["hostvars"]
    assert [host["ansible_connection"] for host in hosts.values()] == ["ssh", "ssh", "local"]
    assert leitstand_host_if_here(fleet_of({"a": {"address": "192.0.2.1"}})) is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give either --list or --host"),
        (["--list", "--host", "web1"], "give either --list or --host"),
        (["--host", "web11"], "there is no host 'web11' with roles\n  hint: did you mean 'web1'?"),
        (["--host", "router"], "there is no host 'router' with roles"),
        (["--list", "--here", "router"], "--here: there is no host 'router' with roles"),
    ],
)
def test_a_wrong_call_is_one_line_with_a_hint(folder: Path, arguments: list[str], message: str) -> None:
    done = run(folder, "ansible-inventory", *arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (("stores", "disk", "path"), "/srv/{{ lookup('pipe', 'id') }}"),
        (("hosts", "web1", "deploy", "identity_file"), "/root/{% if x %}"),
        (("deploy", "acme_mail"), "{#a@example.org"),
    ],
)
def test_no_text_of_the_file_becomes_a_template_of_ansible(
    folder: Path, path: tuple[str, ...], text: str
) -> None:
    data = yaml.safe_load((folder / "leitstand.yml").read_text())
    inner = data
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = text
    (folder / "leitstand.yml").write_text(yaml.safe_dump(data))
    done = run(folder, "ansible-inventory", "--list")
    assert done.returncode == 2
    assert "which Ansible would read as a template" in done.stderr
    assert done.stdout == ""


def test_an_inventory_without_hosts_is_a_warning(folder: Path) -> None:
    (folder / "leitstand.yml").write_text("hosts: {router: {address: 192.0.2.1}}\n")
    done = run(folder, "render", "ansible", "--out", str(folder / "out"))
    assert done.returncode == 1
    assert "no host has roles" in done.stderr


def test_no_secret_is_in_the_inventory(folder: Path) -> None:
    assert run(folder, "render", "ansible", "--out", str(folder / "out")).returncode == 0
    assert SECRET not in (folder / "out" / "inventory.json").read_text()
    assert SECRET not in json.dumps(printed(folder, "--list"))


def test_ansible_reads_the_script_as_the_file(folder: Path) -> None:
    if shutil.which("ansible-inventory") is None:
        pytest.skip("ansible-core is not installed")
    assert run(folder, "render", "ansible", "--out", str(folder)).returncode == 0
    script = folder / "script"
    script.write_text(f'#!/bin/sh\nexec {sys.executable} -m leitstand ansible-inventory "$@"\n')
    script.chmod(0o755)
    of_script, of_file = (read_by_ansible(folder, source) for source in ("script", "inventory.json"))
    assert of_script == of_file
    assert of_script["_meta"]["hostvars"]["web2"].items() >= printed(folder, "--host", "web2").items()
    assert of_script["watched"]["hosts"] == ["control", "web2", "web1"]


def read_by_ansible(folder: Path, source: str) -> dict[str, Any]:
    argv = ["ansible-inventory", "-i", str(folder / source), "--list"]
    own = {"LEITSTAND_CONFIG": str(folder / "leitstand.yml"), "ANSIBLE_LOCAL_TEMP": str(folder / "tmp")}
    done = subprocess.run(
        argv, capture_output=True, text=True, env={**os.environ, **own}, timeout=patient(120), cwd=Path.cwd()
    )
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def fleet_of(hosts: dict[str, Any]) -> Fleet:
    return Fleet.model_validate({"hosts": hosts})


ROLES = st.lists(st.sampled_from(["leitstand", "watched", "status_page"]), unique=True)
HOSTS = st.dictionaries(st.from_regex(r"\A[a-z][a-z0-9-]{0,6}[a-z0-9]\Z"), ROLES, max_size=12)


@given(roles=HOSTS, jobs=st.sets(st.integers(0, 11)), grafana=st.booleans())
def test_each_host_with_roles_is_there_once_with_its_address_and_no_other_host_is(
    roles: dict[str, list[str]], jobs: set[int], grafana: bool
) -> None:
    addresses = {name: f"2001:db8::{number:x}" for number, name in enumerate(roles, start=0x100)}
    fleet = fleet_of(
        {name: {"address": addresses[name], "roles": given, "ssh": {}} for name, given in roles.items()}
    )
    read = {
        str(each): {"host": name, "sources": [{"files": "/var"}], "stores": ["s"], "keys_file": "/k"}
        for each, name in enumerate(roles)
        if each in jobs
    }
    made = inventory(fleet, Expected.model_validate({"backups": read}), Deploy(grafana=grafana), None)
    managed = [name for name, given in roles.items() if given]
    for form in (made.as_script(), made.as_file()):
        text = json.dumps(form)
        for name, address in addresses.items():
            assert text.count(f'"ansible_host": "{address}"') == (name in managed)
    assert list(made.hosts) == managed
    for names in made.groups.values():
        assert names == [name for name in managed if name in names]
    assert made.groups["watched"] == managed
