"""A real sshd on loopback with its own keys, for the user who runs the test."""

import os
import pwd
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from lab.processes import Server, free_port, on_free_ports

CONFIGURATION = """\
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/authorized_keys
PidFile none
UsePAM no
StrictModes no
PasswordAuthentication no
PermitRootLogin prohibit-password
AcceptEnv none
LogLevel VERBOSE
"""


@dataclass
class Sshd:
    """``with Sshd(folder) as sshd:``; ``identity`` is the client's key, ``known_hosts`` has the server's."""

    folder: Path
    port: int = field(init=False)
    server: Server = field(init=False)

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        for name in ("host_key", "identity"):
            generate = [
                "ssh-keygen",
                "-q",
                "-t",
                "ed25519",
                "-N",
                "",
                "-C",
                name,
                "-f",
                str(self.folder / name),
            ]
            subprocess.run(generate, check=True)
        self.allow((self.folder / "identity.pub").read_text())
        if not os.geteuid():
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # sshd requires it when run as root
        self.server = on_free_ports(self._serve)
        return self

    def _serve(self) -> Server:
        self.port = free_port()
        kind, key, *_ = (self.folder / "host_key.pub").read_text().split()
        self.known_hosts.write_text(f"[127.0.0.1]:{self.port} {kind} {key}\n")
        configuration = self.folder / "sshd_config"
        configuration.write_text(CONFIGURATION.format(port=self.port, folder=self.folder))
        argv = ["/usr/sbin/sshd", "-D", "-e", "-f", str(configuration)]
        return Server("sshd", argv, self.folder / "log", self.port, ready_path=None).start()

    def __exit__(self, *_: object) -> None:
        self.server.stop()

    @property
    def identity(self) -> Path:
        """The private key that may log in."""
        return self.folder / "identity"

    @property
    def known_hosts(self) -> Path:
        """The known_hosts file with the server's key."""
        return self.folder / "known_hosts"

    @property
    def user(self) -> str:
        """The user whom the key may log in."""
        return pwd.getpwuid(os.geteuid()).pw_name  # independent of the environment

    def allow(self, line: str) -> None:
        """Make ``line`` the only one of the server's authorized_keys."""
        (self.folder / "authorized_keys").write_text(line.rstrip("\n") + "\n")
