"""Three real hosts, rolled out and left again: secrets, pages on a second host, and what remains."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from lab.fleet import Fleet, debian_base, fleet_impossible
from lab.fleet.host import Host
from lab.packages import built_packages, target_of_this_python
from lab.processes import LabError, wait_until
from lab.rollout import CONTROL, Bare, configuration

IMPOSSIBLE = fleet_impossible()
pytestmark = [pytest.mark.slow, pytest.mark.skipif(IMPOSSIBLE is not None, reason=str(IMPOSSIBLE))]
NAMES = (CONTROL, "web1", "page2")
PACKAGES = ("--packages", "/root")  # where the leitstand package is that was installed by hand
# What Debian writes about packages, and what changes by itself.
PRUNED = (
    "/proc /sys /run /tmp /dev /var/lib/dpkg /var/lib/apt /var/cache/apt /var/log /var/lib/systemd /var/tmp"
)
PASSING = re.compile(
    r"/opt$|.*/__pycache__(/|$)|/var/cache/(ldconfig|debconf)/|/etc/(passwd|group|shadow|gshadow|subuid|subgid)-$"
    r"|/etc/ld\.so\.cache$|/etc/systemd/system/[\w.-]+\.wants$|/root/\.ansible(/|$)"
)
KEYS = (
    "/etc/leitstand/ca/ca.key",
    "/etc/leitstand/ca/prometheus.key",
    "/etc/leitstand/ca/hosts/web1.key",
    "/etc/leitstand/keys",
    "/etc/leitstand/ssh/status-page",
    "/root/.ssh/id_ed25519",
    "/root/.ssh/leitstand_backup",
)
LEFT = """\
systemctl list-units --all --no-legend 'leitstand*' 'prometheus*'
systemctl --failed --no-legend
nft list tables 2>/dev/null
cat /root/.ssh/authorized_keys
"""
# Every process' words, each fifth of a second, until it is stopped.
WATCH = """\
import pathlib, time
seen = open("/run/arguments", "ab")
while not pathlib.Path("/run/enough").exists():
    for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        try:
            seen.write(path.read_bytes())
        except OSError:
            pass
    seen.flush()
    time.sleep(0.2)
"""


def files(host: Host) -> set[str]:
    places = " -o ".join(f"-path {place}" for place in PRUNED.split())
    found = host.run(["sh", "-c", rf"find / \( {places} \) -prune -o -print"]).stdout.splitlines()
    return {name for name in found if not PASSING.match(name)}


def accounts(host: Host) -> set[str]:
    listed = host.run(["sh", "-c", "getent passwd; getent group"]).stdout.splitlines()
    return {line.partition(":")[0] for line in listed}


@dataclass
class Story:
    """What was seen on the way, by host."""

    before: dict[str, set[str]] = field(default_factory=dict)
    after: dict[str, set[str]] = field(default_factory=dict)
    accounts: dict[str, tuple[set[str], set[str]]] = field(default_factory=dict)
    left: dict[str, str] = field(default_factory=dict)
    pinned_by_dry_run: str = ""
    records: str = ""
    secrets: dict[str, str] = field(default_factory=dict)
    page: str = ""
    keys_line: str = ""


@pytest.fixture(scope="module")
def story() -> Iterator[Story]:
    try:
        packages = built_packages(target_of_this_python())
    except LabError as error:
        pytest.skip(str(error))
    with Fleet(debian_base(), NAMES) as fleet, fleet.mail_sink():
        bare = Bare(fleet, packages)
        bare.prepare()
        for host in fleet.hosts.values():
            host.run(["apt-get", "update", "-qq"])
        bare.install()
        document = configuration(fleet)
        document["hosts"][CONTROL]["roles"] = ["leitstand", "status_page"]
        document["hosts"]["page2"]["roles"] = ["watched", "status_page"]
        bare.configure(document)
        yield tell(bare, Story())


def tell(bare: Bare, story: Story) -> Story:
    fleet, control = bare.fleet, bare.control
    known = {name: accounts(host) for name, host in fleet.hosts.items()}
    story.before = {name: files(host) for name, host in fleet.hosts.items()}
    control.write("/root/watch.py", WATCH)
    control.run(["systemd-run", "--unit=watch", "python3", "/root/watch.py"])
    tried = bare.apply("--dry-run", "--accept-host-keys", *PACKAGES)
    look = "cat /etc/leitstand/ssh/known_hosts; ls /etc/leitstand/ca /var/lib/leitstand/deployments"
    story.pinned_by_dry_run = control.run(["sh", "-c", look], check=False).stdout
    applied = bare.apply("--accept-host-keys", *PACKAGES).require(0, 1)
    page2 = fleet["page2"]
    wait_until(lambda: '"state":"up"' in shown(page2), "pages on the second host", pause=1)
    story.page = shown(page2)
    story.keys_line = page2.run(["grep", "status-page", "/root/.ssh/authorized_keys"]).stdout
    again = bare.apply("--dry-run")
    control.run(["touch", "/run/enough"])
    story.secrets = {path: (control.root / path.lstrip("/")).read_text() for path in KEYS}
    story.records = "".join(str(each.report) + each.errors for each in (tried, applied, again))
    for place in ("/run/arguments", "/var/lib/leitstand/deployments", "/var/lib/leitstand/metrics"):
        story.records += printable(control, f"grep -rha '' {place}")
    for host in fleet.hosts.values():
        story.records += printable(host, "journalctl --no-pager -o cat")
    control.run(["rm", "/root/watch.py"])
    bare.leitstand("remove", "--yes")
    control.run(["apt-get", "-qq", "--yes", "autoremove", "--purge"])
    for name, host in fleet.hosts.items():
        story.after[name] = files(host)
        story.accounts[name] = known[name], accounts(host)
        story.left[name] = host.run(["sh", "-c", LEFT]).stdout
    return story


def printable(host: Host, command: str) -> str:
    """What a command prints, without other bytes."""
    return host.run(["sh", "-c", f"{command} | tr -cd '\\n -~'"]).stdout


def shown(host: Host) -> str:
    return host.run(["curl", "-sk", "http://127.0.0.1:8080/api/v1/status.json"], check=False).stdout


def test_a_dry_run_pins_no_key_and_leaves_nothing(story: Story) -> None:
    assert story.pinned_by_dry_run.split() == ["/var/lib/leitstand/deployments:", "lock"] or not (
        story.pinned_by_dry_run.strip().removeprefix("lock")
    )


def test_a_second_host_of_the_page_gets_the_pages_by_a_key_that_can_do_nothing_else(story: Story) -> None:
    assert '"stale":false' in story.page
    assert story.keys_line.startswith('restrict,command="/usr/bin/setpriv --reuid=leitstand-status ')


def test_no_secret_is_in_a_record_a_log_or_an_argument(story: Story) -> None:
    assert "ansible-playbook" in story.records, "arguments of programs were seen"
    for path, text in story.secrets.items():
        lines = [line for line in text.splitlines() if len(line) >= 24 and "PRIVATE KEY" not in line]
        assert lines, path
        for line in lines:
            assert line not in story.records, path


@pytest.mark.parametrize("name", NAMES)
def test_a_removal_leaves_the_hosts_as_they_were(story: Story, name: str) -> None:
    kept = {"/etc/leitstand", "/etc/leitstand/keys", "/srv/backups"} if name == CONTROL else set()
    kept |= {"/root/.ssh/leitstand_backup", "/root/.ssh/leitstand_backup.pub"} if name == CONTROL else set()
    added, lost = story.after[name] - story.before[name], story.before[name] - story.after[name]
    # Debian's nginx leaves its example page after a purge.
    assert {each for each in added if not each.startswith(("/srv/backups/", "/var/www"))} == kept
    # The leitstand host had the package before the roll-out.
    assert not [each for each in lost if name != CONTROL]
    before, after = story.accounts[name]
    assert after - before <= {"prometheus"}, "Debian's package keeps its own"
    assert "leitstand" not in story.left[name]
    assert "prometheus" not in story.left[name]
