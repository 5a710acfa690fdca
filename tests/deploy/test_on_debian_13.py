"""The packages on a bare Debian 13 with systemd and no network: Python 3.13, another systemd, another apt."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.fleet import Fleet, Host, debian_base, fleet_impossible
from lab.packages import as_release, built_packages, package
from lab.processes import LabError

IMPOSSIBLE = fleet_impossible()
pytestmark = [pytest.mark.slow, pytest.mark.skipif(IMPOSSIBLE is not None, reason=str(IMPOSSIBLE))]
APT = ["apt-get", "-q", "-y", "--no-install-recommends", "-o", "Dpkg::Use-Pty=0"]
OLDER = "0.0.9"


@pytest.fixture(scope="module")
def built() -> Path:
    try:
        return built_packages("debian13")
    except LabError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def web1(built: Path) -> Iterator[Host]:
    with Fleet(debian_base("trixie"), ["web1"]) as fleet:
        fleet["web1"].run([*APT, "update"])
        yield fleet["web1"]


def install(host: Host, deb: Path) -> str:
    shutil.copyfile(deb, host.root / "root" / deb.name)
    return host.run([*APT, "install", f"/root/{deb.name}"], seconds=600).stdout


def shown(host: Host, command: str) -> str:
    return host.run(["sh", "-c", command], check=False).stdout.strip()


def test_it_serves_is_updated_and_purged_as_on_debian_12(web1: Host, built: Path, tmp_path: Path) -> None:
    new = package("leitstand-exporter", built)
    install(web1, as_release(new, OLDER, tmp_path))
    assert shown(web1, "leitstand --version").startswith(f"leitstand, version {OLDER},")
    install(web1, new)
    figures = shown(web1, "curl -sf http://127.0.0.1:9815/metrics")
    assert figures.count("\nnode_") > 400
    assert 'python="3.13.' in figures
    assert f'version="{OLDER}"' not in figures
    assert shown(web1, "systemctl --failed --no-legend") == ""
    web1.run([*APT, "purge", "leitstand-exporter"])
    places = "/opt/leitstand /var/lib/leitstand-exporter /usr/lib/systemd/system/leitstand-*"
    assert shown(web1, f"ls -d {places}; getent passwd leitstand-exporter") == ""


def test_the_leitstand_host_checks_its_file_and_proves_a_backup(web1: Host, built: Path) -> None:
    install(web1, package("leitstand", built))
    web1.run(["mkdir", "-p", "/srv/backups"])
    web1.write("/srv/site/index.html", "<h1>Lap 1</h1>")
    web1.write(
        "/etc/leitstand/leitstand.yml",
        "hosts: {web1: {address: 127.0.0.1}}\nstores: {disk: {type: folder, path: /srv/backups}}\n"
        "backups: {site: {host: web1, sources: [{files: /srv/site}], stores: [disk], schedule: daily 03:00,\n"
        "  keep: {daily: 7}, keys_file: /etc/leitstand/keys}}\n",
    )
    web1.run(["leitstand", "backup", "keys", "generate"])
    web1.run(["leitstand", "check"])
    web1.run(["leitstand", "backup", "run", "site"])
    assert "proven restorable" in web1.run(["leitstand", "backup", "drill", "site"]).stdout
    assert shown(web1, "ansible-playbook --version | head -1").startswith("ansible-playbook [core 2.")
