"""A host is lost and comes back on a new machine, as docs/deploy-recovery.md describes it. Run each month."""

import pytest

from lab.fleet import Fleet, debian_base, fleet_impossible
from lab.fleet.host import Host
from lab.packages import built_packages, target_of_this_python
from lab.processes import LabError
from lab.rollout import CONTROL, LOGIN_KEY, Bare, configuration

IMPOSSIBLE = fleet_impossible()
pytestmark = [pytest.mark.slow, pytest.mark.skipif(IMPOSSIBLE is not None, reason=str(IMPOSSIBLE))]
KNOWN_HOSTS = "/etc/leitstand/ssh/known_hosts"
TREE = "cd /var/www && find . -printf '%y %m %U %G %p\\n' | sort && find . -type f | sort | xargs sha256sum"


def tree(host: Host) -> str:
    return host.run(["sh", "-c", TREE]).stdout


def test_a_lost_host_comes_back_with_its_data_by_three_commands() -> None:
    try:
        packages = built_packages(target_of_this_python())
    except LabError as error:
        pytest.skip(str(error))
    with Fleet(debian_base(), [CONTROL, "web1"]) as fleet, fleet.mail_sink():
        bare = Bare(fleet, packages)
        bare.prepare()
        bare.install()
        bare.configure(configuration(fleet))
        bare.apply("--accept-host-keys").require(0, 1)
        bare.leitstand("backup", "run", "website")
        before = tree(fleet["web1"])

        web1 = fleet.replace("web1")
        refused = bare.apply("--host", "web1", "--accept-host-keys")
        assert "its SSH host key changed" in refused.errors
        bare.control.run(["ssh-keygen", "-R", web1.address, "-f", KNOWN_HOSTS])
        bare.apply("--host", "web1", "--accept-host-keys").require(0, 1)
        restored = "/srv/restored"
        bare.leitstand("backup", "restore", "website", "--target", restored)
        ssh = f"ssh -i {LOGIN_KEY} -o UserKnownHostsFile={KNOWN_HOSTS} {web1.address}"
        found = bare.control.run(["find", restored, "-path", "*/var/www", "-type", "d"]).stdout.strip()
        copy = f"tar -C {found} -c . | {ssh} 'mkdir -p /var/www && tar -C /var/www -x'"
        bare.control.run(["sh", "-c", copy])

        assert tree(web1) == before
        bare.leitstand("backup", "run", "website")
        assert web1.run(["systemctl", "is-active", "leitstand-exporter.service"]).stdout.strip() == "active"
