"""The section hosts: how a machine is watched, read by backups and set up by `leitstand apply`."""

from ipaddress import ip_address
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from leitstand.settings.fields import Address, Port, UserName
from leitstand.settings.models import AbsolutePath, Line, Model, SettingError

Part = Literal["backups", "status_page"]
Role = Literal["leitstand", "watched", "status_page"]
EXPORTER_PORT = 9815
SSH_PORT = 22
CA_FOLDER = Path("/etc/leitstand/ca")  # made by `leitstand apply`
KNOWN_HOSTS = Path("/etc/leitstand/ssh/known_hosts")  # likewise


class Ssh(Model):
    """How backups reach a host: with the system's OpenSSH; the host's key must be known already."""

    user: UserName = Field(default="root", description="User name to log in with.")
    port: Port = Field(default=SSH_PORT, description="Port of its sshd.")
    identity_file: AbsolutePath | None = Field(default=None, description="Private key, mode 0600.")
    known_hosts_file: AbsolutePath | None = Field(
        default=None,
        description="File of known host keys. Default for a host with roles: the one that `leitstand apply` "
        "keeps; otherwise that of the user who runs the backup.",
    )


class ExporterAccess(Model):
    """How Prometheus and the inventory connect to an exporter whose ``web.yml`` requires TLS or a password.

    Both must be able to read the files.
    """

    tls: bool = Field(default=False, description="Use HTTPS.")
    ca_file: AbsolutePath | None = Field(
        default=None, description="CA certificates for its certificate; default: those of the system."
    )
    server_name: Line | None = Field(
        default=None, min_length=1, description="Name in its certificate, if that is not the address."
    )
    cert_file: AbsolutePath | None = Field(default=None, description="Client certificate to present.")
    key_file: AbsolutePath | None = Field(default=None, description="Private key of that certificate.")
    username: Line | None = Field(
        default=None, min_length=1, description="User name for basic authentication."
    )
    password_file: AbsolutePath | None = Field(default=None, description="File with the user's password.")

    @model_validator(mode="after")
    def what_belongs_together_is_given_together(self) -> Self:
        for one, other in (("username", "password_file"), ("cert_file", "key_file")):
            if (getattr(self, one) is None) != (getattr(self, other) is None):
                raise SettingError(f"{one} and {other} must be given together", "give both or neither")
        if not self.tls and any((self.ca_file, self.server_name, self.cert_file)):
            raise SettingError("certificates are only used with TLS", "add 'tls: true'")
        return self


class Login(Model):
    """How `leitstand apply` logs in to a host, by OpenSSH; the host's key must be known already."""

    user: UserName = Field(default="root", description="User name to log in with.")
    port: Port | None = Field(default=None, description="Port of its sshd; default: ssh.port, otherwise 22.")
    identity_file: AbsolutePath | None = Field(
        default=None,
        description="Private key, mode 0600; default: ssh.identity_file, otherwise OpenSSH's own.",
    )
    become: Literal["sudo", "su"] = Field(
        default="sudo", description="How a user other than root becomes root."
    )


# Each certificate names the address, so that all exporters are asked in one way.
_WITH_OWN_CA = ExporterAccess(
    tls=True,
    ca_file=CA_FOLDER / "ca.crt",
    cert_file=CA_FOLDER / "prometheus.crt",
    key_file=CA_FOLDER / "prometheus.key",
)


class Host(Model):
    """A machine with an exporter."""

    address: Address = Field(description="IPv4 or IPv6 address or host name, without port.")
    roles: list[Role] = Field(
        default=[],
        description="What `leitstand apply` installs here: 'leitstand' (one host: Prometheus, backups, "
        "status page), 'watched' (the exporter), 'status_page' (the page on this host, too). Default: none; "
        "the host is only monitored.",
    )
    deploy: Login | None = Field(
        default=None, description="How `leitstand apply` logs in; default: as root, with the port of 'ssh'."
    )
    exporter_port: Port = Field(default=EXPORTER_PORT, description="Port of its exporter.")
    exporter: ExporterAccess | None = Field(
        default=None,
        description="How to connect to its exporter. Default for a host with roles: over TLS, with "
        "certificates that `leitstand apply` makes (plain for a loopback address); otherwise plain.",
    )
    ssh: Ssh | None = Field(
        default=None, description="How backups read this host over SSH; without it they read locally."
    )
    runs: list[Part] | None = Field(
        default=None,
        description="Parts of Leitstand that run here: their metrics are accepted from it. Default: all "
        "for a loopback address and the role 'leitstand'; otherwise only this host's backups of itself, "
        "without SSH.",
    )

    @model_validator(mode="after")
    def deploys_what_it_has_roles_for(self) -> Self:
        if self.deploy is not None and not self.roles:
            raise SettingError("deploy is only used for a host with roles", "add 'roles: [watched]'")
        return self

    @property
    def access(self) -> ExporterAccess:
        """How its exporter is asked."""
        if self.exporter is not None:
            return self.exporter
        return _WITH_OWN_CA if self.has_own_certificate else ExporterAccess()

    @property
    def has_own_certificate(self) -> bool:
        """Whether `leitstand apply` makes the certificate of its exporter."""
        return bool(self.roles) and self.exporter is None and not is_loopback(self.address)

    @property
    def login(self) -> Login:
        """How to log in, with every default filled in except OpenSSH's own."""
        given, ssh = self.deploy or Login(), self.ssh or Ssh()
        return given.model_copy(
            update={
                "port": given.port or ssh.port,
                "identity_file": given.identity_file or ssh.identity_file,
            }
        )

    @property
    def known_hosts_file(self) -> Path | None:
        """Where backups look for its host key; None for OpenSSH's own."""
        given = self.ssh.known_hosts_file if self.ssh else None
        return given or (KNOWN_HOSTS if self.roles else None)

    def runs_part(self, part: Part) -> bool:
        """Whether the host runs a part of Leitstand that reports on other hosts, too."""
        if self.runs is not None:
            return part in self.runs
        return is_loopback(self.address) or "leitstand" in self.roles


def is_loopback(address: str) -> bool:
    """Whether an address or host name is this machine itself."""
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return address.lower().rstrip(".") == "localhost"
