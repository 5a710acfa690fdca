"""Which hosts a removal takes, and in which order; Ansible is a stand-in."""

import json
import os
from pathlib import Path

import pytest

from leitstand.errors import UsageError
from rollout.apply.deployments import Deployments
from rollout.apply.shown import Shown
from rollout.removal import cli
from rollout.removal.command import chosen_hosts, remove

ROLES = {"control": ["leitstand", "watched", "status_page"], "web1": ["watched"], "web2": ["watched"]}
ANSIBLE = """\
#!/usr/bin/env python3
import json, sys
hosts = sys.argv[sys.argv.index("--limit") + 1].split(",")
print(json.dumps({"kind": "task", "task": " ".join(sys.argv)}))
for host in hosts:
    status = "failed" if host in FAILING else "changed"
    result = {"kind": "result", "host": host, "task": "purge", "status": status, "message": "no room"}
    print(json.dumps(result))
    print(json.dumps({"kind": "recap", "host": host}))
with open(LOG, "a") as file:
    file.write(" ".join(hosts) + "\\n")
"""


def deployment(deployments: Deployments, hosts: list[str], release: str) -> None:
    made = deployments.new()
    variables = {host: {"leitstand_roles": ROLES[host], "leitstand_address": host} for host in hosts}
    inventory = {"all": {"hosts": variables, "vars": {"leitstand_release": release}}}
    made.inventory.write_text(json.dumps(inventory))


@pytest.fixture
def deployments(tmp_path: Path) -> Deployments:
    (tmp_path / "deployments").mkdir()
    made = Deployments(tmp_path / "deployments")
    deployment(made, ["control", "web1", "web2"], "1")
    deployment(made, ["control", "web1"], "2")
    made.new()  # ended before it had an inventory
    return made


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_ansible(tmp_path, failing=[])
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    return tmp_path / "log"


def write_ansible(folder: Path, failing: list[str]) -> None:
    head, rest = ANSIBLE.split("\n", 1)
    program = folder / "ansible-playbook"
    program.write_text(f"{head}\nFAILING, LOG = {failing!r}, {str(folder / 'log')!r}\n{rest}")
    program.chmod(0o755)


def test_all_hosts_are_those_of_the_newest_roll_out_with_the_leitstand_host_last(
    deployments: Deployments,
) -> None:
    assert list(chosen_hosts(deployments, [])) == ["web1", "control"]


def test_a_host_that_is_no_longer_in_the_file_is_found_with_its_own_variables(
    deployments: Deployments,
) -> None:
    chosen = chosen_hosts(deployments, ["web2"])
    assert chosen == {
        "web2": {"leitstand_release": "1", "leitstand_roles": ["watched"], "leitstand_address": "web2"}
    }


def test_the_leitstand_host_alone_is_refused(deployments: Deployments) -> None:
    with pytest.raises(UsageError, match="which web1 would be left without"):
        chosen_hosts(deployments, ["control"])
    assert list(chosen_hosts(deployments, ["control", "web1"])) == ["web1", "control"]


@pytest.mark.parametrize("name", ["wbe1", "", "--yes"])
def test_an_unknown_host_is_refused(deployments: Deployments, name: str) -> None:
    with pytest.raises(UsageError, match="no roll-out had a host"):
        chosen_hosts(deployments, [name])


def test_without_any_roll_out_nothing_can_be_removed(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no roll-out was made from this host"):
        chosen_hosts(Deployments(tmp_path), [])


def test_hosts_are_removed_together_and_the_leitstand_host_afterwards(
    deployments: Deployments, log: Path
) -> None:
    removal = remove(chosen_hosts(deployments, ["web2", "control", "web1"]), Shown(), dry_run=False)
    assert log.read_text().splitlines() == ["web2 web1", "control"]
    assert removal.removed == ["web2", "web1", "control"]
    assert not removal.problems


def test_the_leitstand_host_stays_while_another_host_is_not_removed(
    deployments: Deployments, log: Path
) -> None:
    write_ansible(log.parent, failing=["web1"])
    removal = remove(chosen_hosts(deployments, []), Shown(), dry_run=False)
    assert log.read_text().splitlines() == ["web1"]
    assert removal.problems == {"web1": "purge: no room"}
    assert removal.untouched == ["control"]


def test_a_script_must_confirm_with_an_option(
    deployments: Deployments, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli, "Deployments", lambda: deployments)
    with pytest.raises(UsageError, match="it asks first"):
        cli.remove.main(args=[], standalone_mode=False)
    assert not log.exists()
    assert cli.remove.main(args=["--yes"], standalone_mode=False) == 0
    assert log.read_text().splitlines() == ["web1", "control"]
