"""Several hosts on one network, and a place for the tests' own programs beside them."""

import fcntl
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Self

from lab.fleet import cgroups
from lab.fleet.base import CACHE, Base, locked
from lab.fleet.enclosure import UNSHARE, Enclosure
from lab.fleet.host import INOTIFY, Host, lay_cable, make_key
from lab.fleet.names import ADDRESSES, Names
from lab.fleet.services import MailSink, Outsider, mail_sink, swift
from lab.patience import patient
from lab.processes import LabError
from lab.swift_process import Swift

CGROUP = "leitstand-fleet-"
FIRST = 11  # number of the first host; the bridge, where the tests' programs are, is 1
OUTSIDER = 250
RUNNING = "running.json"  # in the fleet's folder: how others find into it
DOMAIN = "fleet"  # below "test."
PROGRAMS = {
    "mmdebstrap": "mmdebstrap",
    "systemd-nspawn": "systemd-container",
    "ip": "iproute2",
    "apt-ftparchive": "apt-utils",
    "knotd": "knot",
    "ssh-keygen": "openssh-client",
    "nsenter": "util-linux",
}
BRIDGE = """\
link add fleet0 type bridge
link set fleet0 up
address add 10.77.0.1/24 dev fleet0
address add fd77::1/64 dev fleet0 nodad
route add unreachable default
route add unreachable ::/0
"""
# Hosts have a default route, as everywhere; what they send beyond their network is refused at once.
FORWARD = ("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
SSH_CONFIG = """\
Host *
  User root
  IdentityFile {folder}/key
  IdentitiesOnly yes
  UserKnownHostsFile {folder}/known_hosts
  GlobalKnownHostsFile /dev/null
  StrictHostKeyChecking yes
  BatchMode yes
  ConnectTimeout 5
"""
RESOLV_CONF = f"search {DOMAIN}.test\nnameserver {ADDRESSES[0]}\noptions timeout:2\n"
HOSTS = "127.0.0.1 localhost\n::1 localhost\n127.0.1.1 {name}.fleet.test {name}\n"
TRY = """\
mount -t tmpfs tmpfs "$1" && mkdir "$1/a" "$1/b" "$1/c" "$1/d" &&
mount -t overlay -o "lowerdir=$1/a,upperdir=$1/b,workdir=$1/c" overlay "$1/d" && mknod "$1/d/null" c 1 3 &&
ip link add fleet0 type bridge
"""


def fleet_impossible() -> str | None:
    """Why this machine or this user cannot have a fleet; None if it can."""
    if os.geteuid():
        return "a fleet of hosts needs root, for namespaces and mounts"
    if missing := sorted({package for program, package in PROGRAMS.items() if not shutil.which(program)}):
        return f"a fleet of hosts needs these Debian packages: {' '.join(missing)}"
    with tempfile.TemporaryDirectory() as folder:
        argv = [*UNSHARE, "--net", "sh", "-c", TRY, "try", folder]
        tried = subprocess.run(argv, capture_output=True, text=True, check=False)
    if tried.returncode:
        return f"a fleet of hosts is not allowed here: {tried.stderr.strip()}"
    try:
        cgroups.make(f"{CGROUP}{os.getpid()}-try")
        cgroups.remove(f"{CGROUP}{os.getpid()}-try")
    except OSError as error:
        return f"a fleet of hosts is not allowed here: {error}"
    return None


class Fleet:
    """``with Fleet(base, ["leitstand", "web1"]) as fleet:``; all hosts have booted.

    Programs run with `in_network` are at 10.77.0.1 and fd77::1 and know all hosts by name. The machine sees
    nothing of a fleet's network and mounts, so several fleets can run at once. When its process ends, however
    it ends, the fleet ends; a kill -9 leaves files and empty cgroups, which the next fleet removes.

    ``small`` hosts run sshd alone, without systemd: there can be a hundred.
    """

    def __init__(
        self,
        base: Base,
        names: Sequence[str],
        *,
        cache: Path = CACHE,
        boot: bool = True,
        small: bool = False,
    ) -> None:
        self.base, self._wanted, self.cache = base, names, cache
        self._boots, self._small = boot, small
        self.hosts: dict[str, Host] = {}
        self._next = FIRST
        self._outsider: Outsider | None = None
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        if not self._small:
            _require_inotify(len(self._wanted))
        with ExitStack() as stack:
            self.folder = stack.enter_context(_own_folder(self.cache / "fleets"))
            stack.enter_context(self.base.used())
            stack.callback(self._reap)
            self.enclosure = stack.enter_context(Enclosure())
            self._prepare()
            self.names = stack.enter_context(Names(self.folder / "names", self.enclosure))
            self._publish(
                *(
                    self._make(name, FIRST + place, self.base, self._small)
                    for place, name in enumerate(self._wanted)
                )
            )
            if self._boots:
                self.boot()
            (self.folder / RUNNING).write_text(json.dumps({"pid": self.enclosure.pid}))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _reap(self) -> None:
        for host in self.hosts.values():
            if host.nspawn is not None:
                host.nspawn.wait()

    def __getitem__(self, name: str) -> Host:
        return self.hosts[name]

    @property
    def key(self) -> Path:
        """The private SSH key that root and admin of every host accept."""
        return self.folder / "key"

    @property
    def ssh_config(self) -> Path:
        """For ``ssh -F``: root, this key, pinned host keys. Use it `in_network`."""
        return self.folder / "ssh_config"

    @property
    def known_hosts(self) -> Path:
        """The host keys of all hosts, by name and addresses."""
        return self.folder / "known_hosts"

    def _prepare(self) -> None:
        self.enclosure.run(["ip", "-batch", "-"], input=BRIDGE)
        self.enclosure.run(FORWARD)
        make_key(self.key, "fleet")
        self.ssh_config.write_text(SSH_CONFIG.format(folder=self.folder))
        (self.folder / "resolv.conf").write_text(RESOLV_CONF)
        target = Path("/etc/resolv.conf").resolve()  # may be a link to what is below our empty /run
        self.enclosure.run(["mkdir", "-p", target.parent])
        self.enclosure.run(["touch", target])
        self.enclosure.run(["mount", "--bind", self.folder / "resolv.conf", target])

    def add(
        self, name: str, *, base: Base | None = None, boot: bool = True, small: bool | None = None
    ) -> Host:
        """One more host, with an empty disk, new keys, and the next address.

        ``base``, for another release of Debian, and ``small`` are the fleet's by default.
        """
        if base:
            self._stack.enter_context(base.used())
        host = self._make(name, self._next, base or self.base, self._small if small is None else small)
        self._publish(host)
        if boot:
            host.boot()
        return host

    def replace(self, name: str, *, boot: bool = True) -> Host:
        """A new machine in the place of a lost one: same name and addresses, empty disk, new keys."""
        lost = self.hosts.pop(name)
        lost.destroy()
        host = self._make(name, lost.number, lost.base, lost.small)
        self._publish(host)
        if boot:
            host.boot()
        return host

    def _make(self, name: str, number: int, base: Base, small: bool) -> Host:
        if name in self.hosts:
            raise LabError(f"there is already a host named {name}")
        host = Host(
            name,
            number,
            self.folder / "hosts" / name,
            base,
            self.enclosure,
            f"{CGROUP}{self.folder.name}-{name}",
            self.ssh_config,
            small,
        )
        host.install(self.key.with_suffix(".pub").read_text())
        host.write("/etc/resolv.conf", RESOLV_CONF)
        host.write("/etc/hosts", HOSTS.format(name=name))
        self.hosts[name] = host
        self._next = max(self._next, number + 1)
        return host

    def _publish(self, *hosts: Host) -> None:
        """Give hosts their names, and our own programs the host keys of all."""
        keys = [
            f"{host.name},{host.name}.{DOMAIN}.test,{host.address},{host.address6} {host.public_key}\n"
            for host in self.hosts.values()
        ]
        self.known_hosts.write_text("".join(keys))
        self.names.add({f"{host.name}.{DOMAIN}": (host.address, host.address6) for host in hosts})

    def alias(self, name: str, host: Host) -> None:
        """Give a host one more name, which ends with ``.test``."""
        self.names.add({name.removesuffix(".test"): (host.address, host.address6)})

    def swift(self) -> AbstractContextManager[Swift]:
        """A real Swift over TLS on the bridge. Hosts that use it need a copy of its ``ca_file``."""
        return swift(self.enclosure, self.folder / "swift")

    def mail_sink(self) -> AbstractContextManager[MailSink]:
        """A mail server, ``lab.fleet.test`` port 25, without TLS."""
        return mail_sink(self.enclosure, self.folder / "mail")

    def outsider(self) -> Outsider:
        """A machine on the same network that no host knows, for port scans."""
        if not self._outsider:
            self._outsider = Outsider(self.enclosure, "outsider")
            lay_cable(self.enclosure, "outsider", OUTSIDER)
        return self._outsider

    def boot(self) -> None:
        """Switch on all hosts that are off, and wait for all of them."""
        off = [host for host in self.hosts.values() if not host.is_on]
        for host in off:
            host.boot(wait=False)
        for host in off:
            host.wait()

    def in_network(self, argv: Sequence[str | os.PathLike[str]]) -> list[str]:
        """``argv`` as the command of a child, of any kind, that is in the hosts' network at 10.77.0.1."""
        return self.enclosure.command(argv)

    def run(
        self, argv: Sequence[str | os.PathLike[str]], *, check: bool = True, seconds: float = 600
    ) -> "subprocess.CompletedProcess[str]":
        """Run a program of the machine in the hosts' network; with ``check``, LabError if it fails."""
        done = subprocess.run(
            self.in_network(argv),
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
            timeout=patient(seconds),
        )
        if check and done.returncode:
            raise LabError(f"{argv[0]} exited {done.returncode}:\n{done.stdout}{done.stderr}")
        return done

    def link_down(self, host: Host) -> None:
        """Pull the cable of a host."""
        self.enclosure.run(["ip", "link", "set", f"v-{host.number}", "down"])

    def link_up(self, host: Host) -> None:
        """Put it back."""
        self.enclosure.run(["ip", "link", "set", f"v-{host.number}", "up"])


def _require_inotify(hosts: int) -> None:
    """The kernel counts root's in all namespaces together; without them, hosts would hang while booting."""
    limit = int(Path("/proc/sys/fs/inotify/max_user_instances").read_text())
    if hosts * INOTIFY > limit:
        raise LabError(
            f"fs.inotify.max_user_instances = {limit} is enough for {limit // INOTIFY} hosts, not {hosts};"
            " raise it with sysctl, or make small hosts"
        )


@contextmanager
def _own_folder(fleets: Path) -> Iterator[Path]:
    """A folder that is removed afterwards, with its cgroups. Removes first what dead processes left."""
    fleets.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        with locked(fleets, fcntl.LOCK_EX):
            for left in [path for path in fleets.iterdir() if path.is_dir()]:
                _remove_if_left(left)
            folder = Path(tempfile.mkdtemp(prefix=f"{os.getpid()}-", dir=fleets))
            stack.enter_context(locked(folder, fcntl.LOCK_EX))
        folder.chmod(0o755)
        stack.callback(_remove, folder)
        yield folder


def _remove_if_left(folder: Path) -> None:
    try:
        with locked(folder, fcntl.LOCK_EX | fcntl.LOCK_NB):
            _remove(folder)
    except BlockingIOError:  # its owner lives
        pass


def _remove(folder: Path) -> None:
    cgroups.remove(f"{CGROUP}{folder.name}-*")
    if folder.exists():  # else its owner was just removing it
        shutil.rmtree(folder)
    folder.with_name(f"{folder.name}.lock").unlink(missing_ok=True)
