"""What `leitstand check` warns of: no mistake by itself, but rarely meant."""

import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[3]
Run = Any
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root is told how files are open to others")


def warned(answer: Run, file: Path, **sections: Any) -> dict[str, str]:
    """What is warned of, by the place of the setting."""
    file.write_text(yaml.safe_dump(sections))
    done: subprocess.CompletedProcess[str] = answer("check", "--config", file)
    assert done.returncode == 0, done.stderr
    assert "valid (" in done.stdout
    found = [line.split(": warning: ", 1)[1] for line in done.stderr.splitlines()]
    return dict(line.split(": ", 1) for line in found)


def job(folder: Path, **more: Any) -> dict[str, Any]:
    own = {"host": "here", "sources": [{"files": str(folder / "www")}], "stores": ["disk"]}
    always = {"schedule": "daily 03:00", "keep": {"daily": 7}, "keys_file": str(folder / "keys")}
    return {**own, **always, **more}


def backups(folder: Path, **more: Any) -> dict[str, Any]:
    """Sections with one job of this machine whose files are all there."""
    for name in ("www", "disk"):
        (folder / name).mkdir()
    (folder / "keys").touch(mode=0o600)
    return {
        "hosts": {"here": {"address": "127.0.0.1"}},
        "stores": {"disk": {"type": "folder", "path": str(folder / "disk")}},
        "backups": {"site": job(folder, **more)},
    }


@pytest.mark.parametrize("other", ["2001:db8:0:0::1", "2001:DB8::1"])
def test_two_hosts_of_one_address(answer: Run, tmp_path: Path, other: str) -> None:
    hosts = {"web1": {"address": "2001:db8::1"}, "web2": {"address": other}}
    found = warned(answer, tmp_path / "l.yml", hosts=hosts)
    assert found["hosts.web2.address"].startswith("has the same address and port as 'web1'")
    hosts["web2"]["exporter_port"] = 9816  # type: ignore[assignment]
    assert warned(answer, tmp_path / "l.yml", hosts=hosts) == {}, "as behind one router"


@pytest.mark.parametrize("other", ["https://WWW.example.org/", "https://www.example.org"])
def test_two_services_of_one_url(answer: Run, tmp_path: Path, other: str) -> None:
    one, two = ({"name": "Website", "url": url} for url in ("https://www.example.org/", other))
    found = warned(answer, tmp_path / "l.yml", services={"one": one, "two": two})
    assert found["services.two.url"].startswith("is also the URL of 'one'")
    two["expect"] = "Login"
    assert warned(answer, tmp_path / "l.yml", services={"one": one, "two": two}) == {}


def test_each_file_that_is_missing_is_named_once_with_how_to_make_it(answer: Run, tmp_path: Path) -> None:
    sections = backups(tmp_path)
    missing = {
        name: str(tmp_path / "none" / name) for name in ("keys", "s3", "ssh", "my", "mail", "password")
    }
    sections["stores"]["s3"] = {
        "type": "s3",
        "endpoint": "https://s3.example.org",
        "bucket": "backups",
        "credentials_file": missing["s3"],
    }
    far = {"address": "192.0.2.1", "ssh": {"identity_file": missing["ssh"]}}
    far["exporter"] = {"username": "fleet", "password_file": missing["password"]}
    sections["hosts"]["far"] = far
    mysql = {"mysql": "shop", "defaults_file": missing["my"]}
    sections["backups"] = {
        "one": job(tmp_path, keys_file=missing["keys"], stores=["s3"], sources=[mysql]),
        "two": job(tmp_path, keys_file=missing["keys"], stores=["s3"], host="far", sources=[mysql]),
    }
    mail = {"to": ["a@example.org"], "sender": "a@example.org", "smarthost": "mail.example.org:25"}
    sections["alerts"] = {"mail": {**mail, "username": "a", "password_file": missing["mail"]}}
    found = warned(answer, tmp_path / "l.yml", **sections)
    assert {place: what.partition(":")[0] for place, what in found.items()} == {
        "alerts.mail.password_file": missing["mail"],
        "backups.one.keys_file": missing["keys"],
        "backups.one.sources[0].defaults_file": missing["my"],  # of the far host it is read there
        "hosts.far.exporter.password_file": missing["password"],
        "hosts.far.ssh.identity_file": missing["ssh"],
        "stores.s3.credentials_file": missing["s3"],
    }
    assert "leitstand backup keys generate" in found["backups.one.keys_file"]
    assert "leitstand backup authorize" in found["hosts.far.ssh.identity_file"]


def test_keys_in_a_store_or_a_source(answer: Run, tmp_path: Path) -> None:
    sections = backups(tmp_path)
    (tmp_path / "disk" / "keys").touch(mode=0o600)
    sections["backups"]["site"]["keys_file"] = str(tmp_path / "disk" / "keys")
    found = warned(answer, tmp_path / "l.yml", **sections)
    assert found["backups.site.keys_file"].startswith("is in the store 'disk'")


@pytest.mark.parametrize("exclude", [["/*/etc/keys"], ["keys"], ["etc/keys"], ["etc"], ["etc/"]])
def test_keys_in_a_source_unless_they_are_left_out(answer: Run, tmp_path: Path, exclude: list[str]) -> None:
    sections = backups(tmp_path)
    (tmp_path / "www" / "etc").mkdir()
    (tmp_path / "www" / "etc" / "keys").touch(mode=0o600)
    job = sections["backups"]["site"] | {"keys_file": str(tmp_path / "www" / "etc" / "keys")}
    sections["backups"]["site"] = job
    found = warned(answer, tmp_path / "l.yml", **sections)
    assert found["backups.site.sources[0]"].startswith("saves the keys file")
    job["sources"][0]["exclude"] = exclude
    assert "backups.site.sources[0]" not in warned(answer, tmp_path / "l.yml", **sections)


def test_a_store_on_the_disk_that_it_saves(answer: Run, tmp_path: Path) -> None:
    sections = backups(tmp_path)
    found = warned(answer, tmp_path / "l.yml", **sections)
    assert found["backups.site.stores"].startswith("every store is on the same disk as the data")
    (tmp_path / "s3.ini").touch(mode=0o600)
    away = {"type": "s3", "endpoint": "https://s3.example.org", "bucket": "backups"}
    sections["stores"]["away"] = {**away, "credentials_file": str(tmp_path / "s3.ini")}
    sections["backups"]["site"]["stores"].append("away")
    assert warned(answer, tmp_path / "l.yml", **sections) == {}, "another store is elsewhere"


@root_only
def test_files_that_are_open_to_others(answer: Run, tmp_path: Path) -> None:
    sections = backups(tmp_path)
    (tmp_path / "keys").chmod(0o640)
    (tmp_path / "mail").touch(mode=0o644)
    mail = {"to": ["a@example.org"], "sender": "a@example.org", "smarthost": "mail.example.org:25"}
    sections["alerts"] = {"mail": {**mail, "username": "a", "password_file": str(tmp_path / "mail")}}
    found = warned(answer, tmp_path / "l.yml", **sections)
    assert (
        found["backups.site.keys_file"] == f"{tmp_path}/keys may be read by others; chmod 600 {tmp_path}/keys"
    )
    assert "can be read by every user" in found["alerts.mail.password_file"]
    os.chown(tmp_path / "mail", 1234, 1234)  # Prometheus' own user
    (tmp_path / "mail").chmod(0o600)
    assert "alerts.mail.password_file" not in warned(answer, tmp_path / "l.yml", **sections)


@root_only
def test_an_ordinary_user_sees_which_files_cannot_be_checked(leitstand: Run, tmp_path: Path) -> None:
    sections = backups(tmp_path)
    (tmp_path / "private").mkdir(mode=0o700)
    sections["backups"]["site"]["keys_file"] = str(tmp_path / "private" / "keys")
    sections["backups"]["site"]["stores"] = ["disk"]
    file = tmp_path / "l.yml"
    file.write_text(yaml.safe_dump(sections))
    program = leitstand("--version").args[:3]  # python -m leitstand
    for folder in tmp_path.parents:
        if folder not in Path(tempfile.gettempdir(), "any").parents:
            folder.chmod(folder.stat().st_mode | 0o011)
    tmp_path.chmod(0o755)
    argv = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *program, "check", "-c", file]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert f"{tmp_path}/private/keys cannot be checked by this user; check again as root" in done.stderr


def test_faulty_settings_get_no_warning_besides(answer: Run, tmp_path: Path) -> None:
    sections = backups(tmp_path, schedule="sometimes")
    (tmp_path / "l.yml").write_text(yaml.safe_dump(sections))
    done = answer("check", "--config", tmp_path / "l.yml")
    assert done.returncode == 2
    assert "has no schedule" not in done.stderr


def test_settings_of_roles_and_deploy_that_are_rarely_intended(answer: Run, tmp_path: Path) -> None:
    managed = {"control": {"address": "192.0.2.10", "roles": ["leitstand"]}}
    file = tmp_path / "l.yml"
    assert "without TLS" in warned(answer, file, hosts=managed)["deploy.certificate"]
    found = warned(answer, file, hosts={"web1": {"address": "192.0.2.11"}}, deploy={"grafana": True})
    assert found["deploy"].startswith("has no effect: no host has roles")
    site = {"url": "https://status.example.org/"}
    deploy = {"certificate": "acme", "acme_mail": "a@example.org"}
    assert warned(answer, file, site=site, hosts=managed, deploy=deploy) == {}, "apply makes the CA's files"
    files = {"cert_file": "/none/page.crt", "key_file": "/none/page.key"}
    managed["control"]["deploy"] = {"identity_file": "/none/key"}  # type: ignore[assignment]
    found = warned(answer, file, hosts=managed, deploy={**deploy, "certificate": files})
    assert found.keys() == {
        "deploy.acme_mail",
        "deploy.certificate.cert_file",
        "deploy.certificate.key_file",
        "hosts.control.deploy.identity_file",
    }
    assert "ssh-copy-id" in found["hosts.control.deploy.identity_file"]
