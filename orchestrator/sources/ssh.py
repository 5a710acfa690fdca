"""Where a source's programs run: on this host, or on another through the system's OpenSSH."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from leitstand import process
from leitstand.process import Finished, Stream
from orchestrator.sources.ssh_hints import ssh_hint

Environment = Mapping[str, str] | None


@dataclass(frozen=True)
class Transport:
    """Runs programs where the data is. ``name`` is used in messages."""

    name: str

    def open_stream(self, argv: Sequence[str], *, env: Environment = None) -> Stream:
        """Start a program and read its output; see `leitstand.process.Stream`."""
        argv, env = self._call(argv, env)
        return process.open_stream(argv, env=env)

    def run(
        self, argv: Sequence[str], *, timeout: float, env: Environment = None, keep_output: bool = True
    ) -> Finished:
        """Run a program; see `leitstand.process.run`."""
        argv, env = self._call(argv, env)
        return process.run(argv, timeout=timeout, env=env, keep_output=keep_output)

    def hint(self, finished: Finished) -> str:
        """A hint for a program that failed because of the connection; otherwise empty."""
        return ""

    def _call(self, argv: Sequence[str], env: Environment) -> tuple[Sequence[str], Environment]:
        return argv, env


LOCAL = Transport("this host")


@dataclass(frozen=True)
class Ssh(Transport):
    """Another host, which needs nothing but sshd and the programs that are run there.

    The host's key must be known already: a new host, or one with another key, is refused.
    """

    address: str
    user: str = "root"
    port: int = 22
    identity_file: Path | None = None
    known_hosts_file: Path | None = None
    connect_seconds: int = 15

    def hint(self, finished: Finished) -> str:
        facts = {**vars(self), "identity": _shown(self.identity_file)}
        return ssh_hint(finished.status, finished.stderr, facts)

    def command(self, argv: Sequence[str], env: Environment = None) -> list[str]:
        return ["ssh", *self._options(), "--", self.address, self.remote_command(argv, env)]

    def _call(self, argv: Sequence[str], env: Environment) -> tuple[Sequence[str], Environment]:
        return self.command(argv, env), None

    def remote_command(self, argv: Sequence[str], env: Environment = None) -> str:
        """The command for the remote shell: ssh passes it one string, so every word is quoted."""
        words = [*(["env", *(f"{name}={value}" for name, value in env.items())] if env else []), *argv]
        return shlex.join(words)

    def _options(self) -> list[str]:
        settings = {
            "BatchMode": "yes",  # never prompt: no one could answer
            "StrictHostKeyChecking": "yes",
            "ConnectTimeout": str(self.connect_seconds),
            "ServerAliveInterval": "15",
            "ServerAliveCountMax": "4",
            "ForwardAgent": "no",
            "ForwardX11": "no",
            "RequestTTY": "no",
            "ClearAllForwardings": "yes",
        }
        if self.known_hosts_file:
            settings |= {
                "UserKnownHostsFile": str(self.known_hosts_file),
                "GlobalKnownHostsFile": "/dev/null",
            }
        if self.identity_file:
            settings["IdentitiesOnly"] = "yes"
        options = [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]
        identity = ["-i", str(self.identity_file)] if self.identity_file else []
        return [*options, *identity, "-p", str(self.port), "-l", self.user]


def _shown(identity: Path | None) -> str:
    return shlex.quote(str(identity)) if identity else "~/.ssh/id_ed25519"
