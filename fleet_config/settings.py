"""The section ``deploy`` of leitstand.yml: what `leitstand apply` installs beside what the roles say."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Discriminator, Field, Tag

from leitstand.settings.cautions import faulty_files, named_files
from leitstand.settings.fields import MailAddress, Network, is_ip_address
from leitstand.settings.fleet import Fleet, unknown
from leitstand.settings.hosts import is_loopback
from leitstand.settings.models import AbsolutePath, Line, Model, SettingError
from leitstand.settings.problems import Finding
from leitstand.settings.roles import leitstand_host, managed_hosts

_PLAIN = r"^/[A-Za-z0-9_./+@,:=~-]*$"


def _is_plain(path: Path) -> Path:
    # nginx has no way to write '$' in a path, and other letters end its line.
    if not re.fullmatch(_PLAIN, str(path)):
        raise SettingError(
            "nginx takes only letters, digits and . / _ - + @ , : = ~ in this path", "rename the file"
        )
    return path


PlainPath = Annotated[AbsolutePath, AfterValidator(_is_plain), Field(json_schema_extra={"pattern": _PLAIN})]


class CertificateFiles(Model):
    """A certificate that something else renews, on each host with the status page."""

    cert_file: PlainPath = Field(description="PEM file with the certificate and its chain.")
    key_file: PlainPath = Field(description="PEM file with its private key, mode 0600.")


def _is_share(value: str) -> str:
    if not re.fullmatch(r"([1-9][0-9]?|100)%", value):
        raise SettingError("a share of the hosts is 1% to 100%", "such as 25%")
    return value


def _is_item(value: str) -> str:
    host, slash, item = value.partition("/")
    if not (host and slash and item) or not value.isprintable():
        raise SettingError("an exception is named HOST/ITEM", "as `leitstand suggest` prints it")
    return value


def _certificate_tag(value: Any) -> str | None:
    if value in ("acme", "none"):
        return "certificate word"
    return "certificate files" if isinstance(value, dict | Model) else None


Certificate = Annotated[
    Annotated[Literal["acme", "none"], Tag("certificate word")]
    | Annotated[CertificateFiles, Tag("certificate files")],
    Discriminator(
        _certificate_tag,
        custom_error_type="certificate_kind",
        custom_error_message="must be 'acme', 'none' or {cert_file: …, key_file: …}",
    ),
]
Share = Annotated[str, AfterValidator(_is_share), Field(json_schema_extra={"pattern": "^[0-9]+%$"})]
Item = Annotated[str, AfterValidator(_is_item), Field(json_schema_extra={"pattern": "^[^/]+/.+$"})]


class Deploy(Model):
    """What `leitstand apply` sets up on the hosts with roles, and how."""

    certificate: Certificate = Field(
        default="none",
        description="Certificate of the status page: 'acme' (requested from a public CA and renewed), "
        "its files, or 'none' (the page is served on port 80 only).",
    )
    acme_mail: MailAddress | None = Field(
        default=None, description="Address to which the public CA writes before a certificate expires."
    )
    grafana: bool = Field(
        default=False, description="Install Grafana, from its own package repository, on the leitstand host."
    )
    allow: list[Network] = Field(
        default=[],
        description="Addresses and networks that may reach the exporters, beside the leitstand host's "
        "address.",
    )
    max_parallel: Share = Field(
        default="25%", description="Share of the hosts that is changed at once, after the first of each role."
    )
    exceptions: dict[Item, Annotated[Line, Field(min_length=1)]] = Field(
        default={},
        description="What `leitstand suggest` must not propose: HOST/ITEM, and the reason.",
    )


class DeploySettings(Model):
    """The section that this program owns."""

    deploy: Deploy = Deploy()

    def cross_check(self, fleet: Fleet) -> Iterator[Finding]:
        """What a certificate needs; an address that exporters can let in; hosts of exceptions."""
        if self.deploy.certificate == "acme":
            yield from _what_acme_needs(self.deploy, fleet)
        yield from _address_to_admit(self.deploy, fleet)
        for item in self.deploy.exceptions:
            if (host := item.partition("/")[0]) not in fleet.hosts:
                yield unknown(("deploy", "exceptions", item), "host", host, fleet.hosts)


def cautions(fleet: Fleet, settings: DeploySettings) -> Iterator[Finding]:
    """A page without TLS, settings without effect, missing files."""
    path, deploy, managed = ("deploy",), settings.deploy, managed_hosts(fleet.hosts)
    if deploy.model_fields_set - {"exceptions"} and not managed:
        yield path, "has no effect: no host has roles", "add 'roles: [leitstand]' to this machine's entry"
    if managed and deploy.certificate == "none":
        what = "the status page is served without TLS, on port 80"
        yield (*path, "certificate"), what, "write 'certificate: acme' and 'acme_mail: …', or name its files"
    if deploy.acme_mail and deploy.certificate != "acme":
        yield (*path, "acme_mail"), "is only used with 'certificate: acme'", "add that, or remove this line"
    yield from faulty_files(named_files(settings, ()))


def _what_acme_needs(deploy: Deploy, fleet: Fleet) -> Iterator[Finding]:
    path = ("deploy", "certificate")
    url = urlsplit(fleet.site.url or "")
    if not url.hostname:
        yield path, "'acme' needs the name of the page", "add 'url: https://status.example.org/' to 'site:'"
    elif not _is_public_name(url.hostname):
        what = f"a public CA gives no certificate for '{url.hostname}'"
        yield ("site", "url"), what, "use a name that the public DNS knows, such as status.example.org"
    elif url.scheme != "https" or url.port not in (None, 443):
        what = "with a certificate the page is served at port 443"
        yield ("site", "url"), what, f"write https://{url.hostname}/"
    if deploy.acme_mail is None:
        yield path, "'acme' needs a mail address", "add 'acme_mail: admin@example.org' to 'deploy:'"


def _is_public_name(name: str) -> bool:
    private = (".local", ".internal", ".localhost", ".test")
    return not is_ip_address(name) and "." in name.strip(".") and not name.endswith(private)


def _address_to_admit(deploy: Deploy, fleet: Fleet) -> Iterator[Finding]:
    """The other hosts' exporters let the leitstand host in by its address, which a name is not."""
    name = leitstand_host(fleet.hosts)
    if name is None or deploy.allow or len(managed_hosts(fleet.hosts)) == 1:
        return
    address = fleet.hosts[name].address
    if is_loopback(address) or not is_ip_address(address):
        what = (
            "the other hosts' exporters only admit the leitstand host's IP address, which is not given here"
        )
        yield (
            ("hosts", name, "address"),
            what,
            "write the one they see, or add 'allow: [ADDRESS]' to 'deploy:'",
        )
