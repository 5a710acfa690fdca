"""One host of a fleet: an overlay on the base, systemd as its PID 1, a cable to the bridge."""

import os
import shutil
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from lab.fleet import cgroups
from lab.fleet.base import Base
from lab.fleet.enclosure import Enclosure
from lab.patience import patient
from lab.processes import LabError, wait_until

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
INOTIFY = 6  # instances that root holds on a host with systemd
# Instead of systemd, without any.
SMALL = ("sh", "-c", "mkdir -p /run/sshd && exec /usr/sbin/sshd -D")
# Join the cgroups given before "--", then run nspawn; it exits with 133 when the host wants to reboot.
BOOT = """\
while [ "$1" != -- ]; do echo 0 >"$1/cgroup.procs"; shift; done
shift
while "$@"; status=$?; [ $status = 133 ]; do :; done
exit $status
"""
# The same hardware address for the same number: after a replacement no neighbour looks for the lost one.
CABLE = """\
ip netns add "$1"
ip link add "v-$2" type veth peer name host0 address "$(printf 02:00:00:00:00:%02x "$2")" netns "$1"
ip link set "v-$2" master fleet0 up
ip -n "$1" -batch - <<END
link set lo up
link set host0 up
address add $3/24 dev host0
address add $4/64 dev host0 nodad
route add default via {gateway}
route add ::/0 via {gateway6}
END
"""


def addresses(number: int) -> tuple[str, str]:
    """Of the host with this number."""
    return f"10.77.0.{number}", f"fd77::{number:x}"


def lay_cable(enclosure: Enclosure, name: str, number: int) -> None:
    """Make a network namespace whose ``host0`` is plugged into the bridge."""
    gateway, gateway6 = addresses(1)
    script = CABLE.format(gateway=gateway, gateway6=gateway6)
    enclosure.run(["sh", "-ec", script, "cable", name, str(number), *addresses(number)])


def make_key(path: Path, comment: str) -> None:
    """Make an SSH key, ``PATH`` and ``PATH.pub``."""
    argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(path)]
    subprocess.run(argv, check=True, stdin=subprocess.DEVNULL)


@dataclass
class Host:
    """Made by `Fleet`. Its disk outlasts a power cut and is removed with the fleet."""

    name: str
    number: int  # of its addresses
    folder: Path
    base: Base
    enclosure: Enclosure
    cgroup: str
    ssh_config: Path
    small: bool = False
    nspawn: "subprocess.Popen[bytes] | None" = field(default=None, init=False)

    @property
    def address(self) -> str:
        """Its IPv4 address."""
        return addresses(self.number)[0]

    @property
    def address6(self) -> str:
        """Its IPv6 address."""
        return addresses(self.number)[1]

    @property
    def root(self) -> Path:
        """Its disk, also while it is off, without what a running host mounts over it (/run, /tmp)."""
        return self.enclosure.path(self.folder / "root")

    @property
    def files(self) -> Path:
        """Its files as a process on it sees them, while it runs."""
        return Path(f"/proc/{self.leader}/root")

    @property
    def console(self) -> Path:
        """What it printed while booting."""
        return self.folder / "console"

    def install(self, public_key: str) -> None:
        """Mount its disk, lay the cable, and give it what no two hosts share."""
        for name in ("upper", "work", "root"):
            (self.folder / name).mkdir(parents=True)
        layers = f"lowerdir={self.base.root},upperdir={self.folder}/upper,workdir={self.folder}/work"
        # volatile: nothing is synced. The page cache survives our power cuts, and packages install faster.
        mount = ["mount", "-t", "overlay", "-o", f"{layers},volatile", "overlay", str(self.folder / "root")]
        self.enclosure.run(mount)
        lay_cable(self.enclosure, self.name, self.number)
        self._write_identity(public_key)

    def _write_identity(self, public_key: str) -> None:
        self.write("/etc/hostname", f"{self.name}\n")
        self.write("/etc/machine-id", f"{os.urandom(16).hex()}\n")
        key = self.folder / "ssh_host_ed25519_key"
        make_key(key, self.name)
        self.write("/etc/ssh/ssh_host_ed25519_key", key.read_text(), 0o600)
        self.write("/etc/ssh/ssh_host_ed25519_key.pub", key.with_suffix(".pub").read_text())
        self.write("/root/.ssh/authorized_keys", public_key, 0o600)
        self.write("/home/admin/.ssh/authorized_keys", public_key, 0o600)
        owner = (self.root / "home/admin").stat()
        for path in (self.root / "home/admin/.ssh", self.root / "home/admin/.ssh/authorized_keys"):
            os.chown(path, owner.st_uid, owner.st_gid)

    @property
    def public_key(self) -> str:
        """Its SSH host key, as in known_hosts, without the comment."""
        return " ".join((self.folder / "ssh_host_ed25519_key.pub").read_text().split()[:2])

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        """Write a file on its disk; folders are made."""
        target = self.root / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o755 if mode & 0o077 else 0o700)
        target.write_text(text)
        target.chmod(mode)

    def boot(self, *, wait: bool = True) -> None:
        """Switch it on, and wait until systemd has started everything and sshd answers."""
        if self.is_on:
            raise LabError(f"{self.name} is already on")
        folders = cgroups.make(self.cgroup)
        argv = ["sh", "-c", BOOT, "boot", *map(str, folders), "--", *self._nspawn()]
        with self.console.open("ab") as console:
            self.nspawn = subprocess.Popen(
                self.enclosure.command(argv, inside=True),
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                env={**os.environ, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"},
                start_new_session=True,
            )
        if wait:
            self.wait()

    def _nspawn(self) -> list[str]:
        return [
            *("systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--link-journal=no"),
            *("--resolv-conf=off", "--timezone=off", "--console=pipe", "--capability=CAP_NET_ADMIN"),
            f"--machine={self.name}",
            f"--network-namespace-path=/run/netns/{self.name}",
            "--capability=CAP_NET_ADMIN",  # for a packet filter of its own
            f"--bind-ro={self.base.packages}:/srv/packages",
            f"--directory={self.folder / 'root'}",
            *(("--as-pid2", *SMALL) if self.small else ("--boot",)),
        ]

    def wait(self) -> None:
        """Wait until it has booted and sshd answers."""
        wait_until(lambda: self._is_up() or not self.is_on, f"{self.name} to boot (see {self.console})")
        if not self.is_on:
            raise LabError(f"{self.name} did not boot:\n{self.console.read_text(errors='replace')[-2000:]}")

    @property
    def is_on(self) -> bool:
        """Whether it has power, booted or not."""
        return self.nspawn is not None and self.nspawn.poll() is None

    def _is_up(self) -> bool:
        booted = self.small or self.state() in ("running", "degraded")
        return booted and self.ssh("true", check=False).returncode == 0

    def state(self) -> str:
        """What ``systemctl is-system-running`` says: ``running``, ``degraded``, …; ``off`` without power."""
        try:
            return self.run(["systemctl", "is-system-running"], check=False).stdout.strip()
        except LabError:
            return "off"

    @property
    def leader(self) -> int:
        """The PID of its systemd, as the machine sees it. Raises LabError if it is off."""
        if self.nspawn is None:
            raise LabError(f"{self.name} is off")
        with suppress(psutil.Error, OSError):
            for process in psutil.Process(self.nspawn.pid).children(recursive=True):
                status = Path(f"/proc/{process.pid}/status").read_text()
                pids = next(line for line in status.splitlines() if line.startswith("NSpid:")).split()[1:]
                if len(pids) > 2 and pids[-1] == "1" and process.name() != "systemd-nspawn":
                    return process.pid
        raise LabError(f"{self.name} is off")

    def run(
        self, argv: Sequence[str], *, check: bool = True, input: str | None = None, seconds: float = 300
    ) -> "subprocess.CompletedProcess[str]":
        """Run as root on it, without SSH; with ``check``, LabError if it fails. Needs no network."""
        return self._done(self.command(argv), check, input, seconds)

    def command(self, argv: Sequence[str]) -> list[str]:
        """``argv`` as the command of a child, of any kind, that is root's on it."""
        enter = ["nsenter", f"--target={self.leader}", "--all", "env", "-i", f"PATH={PATH}", "HOME=/root"]
        return [*enter, "LANG=C.UTF-8", *argv]

    def ssh(
        self, *command: str, check: bool = True, input: str | None = None, seconds: float = 300
    ) -> "subprocess.CompletedProcess[str]":
        """Run a shell command over SSH, from the lab's network."""
        argv = ["ssh", "-F", str(self.ssh_config), self.name, "--", *command]
        return self._done(self.enclosure.command(argv), check, input, seconds)

    def _done(
        self, argv: Sequence[str], check: bool, input: str | None, seconds: float
    ) -> "subprocess.CompletedProcess[str]":
        done = subprocess.run(
            argv,
            capture_output=True,
            text=True,
            check=False,
            timeout=patient(seconds),
            input=input or "",
        )
        if check and done.returncode:
            raise LabError(
                f"on {self.name}, {' '.join(argv[-3:])} exited {done.returncode}:\n{done.stdout}{done.stderr}"
            )
        return done

    def cut_power(self) -> None:
        """End all its processes at once, as a power cut would; `boot` starts it again from the same disk."""
        with suppress(ProcessLookupError, LabError):
            os.kill(self.leader, signal.SIGKILL)  # the kernel then kills all others of its PID namespace
        wait_until(self._has_lost_all, f"all processes of {self.name} to end")
        cgroups.kill(self.cgroup)

    def _has_lost_all(self) -> bool:
        """Whether all has ended that was started to run it; if not, what is there by now is killed."""
        if self.nspawn is None or not self.is_on:
            return True
        with suppress(psutil.NoSuchProcess):
            for process in psutil.Process(self.nspawn.pid).children(recursive=True):
                process.kill()
        return False

    def shut_down(self) -> None:
        """Switch it off in the orderly way."""
        self.run(["systemctl", "poweroff"], check=False)
        if self.nspawn is not None:
            self.nspawn.wait(patient(90))  # as long as systemd waits for a service

    def destroy(self) -> None:
        """Lose it for good, with its disk and its cable."""
        self.cut_power()
        self.enclosure.run(["umount", self.folder / "root"])
        self.enclosure.run(["ip", "netns", "delete", self.name])
        cgroups.remove(self.cgroup)
        shutil.rmtree(self.folder)
