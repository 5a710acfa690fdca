"""TLS certificates on this host: when each expires and for which names it is."""

import base64
import datetime
import posixpath
import re
from collections.abc import Iterator
from typing import Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from exporter.inventory.apache import apache_hosts
from exporter.inventory.nginx import nginx_certificates
from exporter.inventory.source import Context, Findings, Metric
from exporter.inventory.text import load_json, text_of
from exporter.tree import Tree

# Homes of people and services, below which programs keep what they got from a certificate authority.
HOMES = ("/root", "/home/*")
PLACES = (
    "/etc/letsencrypt/live/*/cert.pem",
    "/etc/dehydrated/certs/*/cert.pem",
    "/var/lib/dehydrated/certs/*/cert.pem",
    "/var/lib/acme/*/cert.pem",
    "/var/lib/acme/live/*/cert",  # acmetool
    "/etc/ssl/uacme/*/cert.pem",
    *(f"{home}/.acme.sh/*/fullchain.cer" for home in (*HOMES, "/opt", "/var/lib/acme")),
    "/etc/acme.sh/*/fullchain.cer",
    *(f"{home}/.getssl/*/*.crt" for home in HOMES),
    *(f"{home}/.lego/certificates/*.crt" for home in HOMES),
    "/etc/lego/certificates/*.crt",
    "/var/lib/lego/certificates/*.crt",
    "/opt/bitnami/letsencrypt/certificates/*.crt",
    # Caddy: issuer, name, file
    *(f"{home}/.local/share/caddy/certificates/*/*/*.crt" for home in (*HOMES, "/var/lib/caddy")),
    "/data/caddy/certificates/*/*/*.crt",
    "/var/lib/docker/volumes/*/_data/caddy/certificates/*/*/*.crt",
    # Traefik
    "/etc/traefik/acme*.json",
    "/etc/traefik/*/acme*.json",
    "/var/lib/traefik/acme*.json",
    "/opt/traefik/acme*.json",
    "/opt/traefik/*/acme*.json",
    "/srv/traefik/acme*.json",
    "/srv/traefik/*/acme*.json",
    "/letsencrypt/acme*.json",
    "/var/lib/docker/volumes/*/_data/acme*.json",
    # Apache's mod_md
    "/etc/apache2/md/domains/*/pubcert.pem",
    "/var/lib/apache2/md/domains/*/pubcert.pem",
    "/etc/httpd/md/domains/*/pubcert.pem",
    "/etc/httpd/state/md/domains/*/pubcert.pem",
    # Proxmox: this node's, then its other products
    "/etc/pve/local/pve-ssl.pem",
    "/etc/pve/local/pveproxy-ssl.pem",
    "/etc/proxmox-backup/proxy.pem",
    "/etc/pmg/pmg-*.pem",
    "/etc/proxmox-datacenter-manager/auth/api.pem",
    # Hosting panels: cPanel, DirectAdmin, Hestia, ISPConfig, aaPanel, Webmin
    "/var/cpanel/ssl/apache_tls/*/certificates",
    "/var/cpanel/ssl/cpanel/*cpanel.pem",
    "/usr/local/directadmin/data/users/*/domains/*.cert",
    "/usr/local/directadmin/conf/cacert.pem",
    "/usr/local/hestia/ssl/certificate.crt",
    "/usr/local/ispconfig/interface/ssl/ispserver.crt",
    "/www/server/panel/vhost/cert/*/fullchain.pem",
    "/etc/webmin/miniserv.pem",
    "/etc/cockpit/ws-certs.d/*.c*rt",
    "/etc/gitlab/ssl/*.crt",
    # Kubernetes
    "/etc/kubernetes/pki/*.crt",
    "/etc/kubernetes/pki/etcd/*.crt",
    "/var/lib/rancher/k3s/server/tls/*.crt",
    # Snaps of Nextcloud
    "/var/snap/nextcloud/current/certs/certbot/config/live/*/cert.pem",
    "/var/snap/nextcloud/current/certs/*/cert.pem",
    "/etc/ssl/private/*.crt",
    "/etc/ssl/local/*.pem",
    "/etc/ssl/certs/ssl-cert-snakeoil.pem",
    "/etc/nginx/ssl/*",
    "/etc/apache2/ssl/*",
    "/etc/pki/tls/certs/localhost.crt",
    "/etc/postfix/*.pem",
    "/etc/dovecot/private/*.pem",
    "/etc/leitstand/*.crt",
    "/etc/leitstand/*/*.crt",
)
# Where a service is set up -> the setting that names its certificate, or a folder of such, or several.
SETTINGS = {
    "/etc/letsencrypt/renewal/*.conf": r"^cert\s*=\s*(/\S+)",
    "/etc/postfix/main.cf": r"^[ \t]*smtpd_tls_(?:cert_file|chain_files)\s*=\s*(/[^\s,]+(?:[\s,]+/[^\s,]+)*)",
    "/etc/dovecot/conf.d/10-ssl.conf": r"^[ \t]*ssl_(?:server_)?cert(?:_file)?\s*=\s*<?\s*(/\S+)",
    "/etc/dovecot/dovecot.conf": r"^[ \t]*ssl_(?:server_)?cert(?:_file)?\s*=\s*<?\s*(/\S+)",
    "/etc/haproxy/haproxy.cfg": r"\bcrt[ \t]+(/\S+)",
    "/etc/exim4/exim4.conf.localmacros": r"^[ \t]*MAIN_TLS_CERTIFICATE\s*=\s*(/\S+)",
    "/etc/postgresql/*/*/postgresql.conf": r"^[ \t]*ssl_cert_file\s*=\s*'?(/[^\s']+)",
    "/etc/mysql/mariadb.conf.d/*.cnf": r"^[ \t]*ssl[-_]cert\s*=\s*(/\S+)",
    "/etc/mysql/mysql.conf.d/*.cnf": r"^[ \t]*ssl[-_]cert\s*=\s*(/\S+)",
    "/etc/redis/redis.conf": r"^[ \t]*tls-cert-file\s+(/\S+)",
    "/etc/vsftpd.conf": r"^[ \t]*rsa_cert_file=(/\S+)",
    "/etc/proftpd/tls.conf": r"^[ \t]*TLS(?:RSA|EC)CertificateFile\s+(/\S+)",
}
FILE_LIMIT = 1024 * 1024
MAXIMUM_CERTIFICATES = 1_000
# Raised for parts of a certificate that were not checked before it was signed.
_UNREADABLE = (ValueError, TypeError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType)
_DER = b"\x30\x82"  # a sequence of 256 to 65,535 bytes
# OpenSSL reads all three; behind a "trusted" one stands what it is trusted for.
_PEM = re.compile(
    rb"-----BEGIN ((?:TRUSTED |X509 )?)CERTIFICATE-----([^-]{1,65536})-----END \1CERTIFICATE-----"
)


def read(context: Context) -> Findings:
    """Every certificate that a virtual host or another service uses, or that stands in a usual place.

    Of a chain only the first counts: that is the host's own.
    """
    findings = Findings()
    expiry = Metric(
        "leitstand_certificate_expiry_timestamp_seconds",
        "gauge",
        "When a certificate on this host expires.",
        ("path",),
    )
    used = nginx_certificates(context.tree)
    used |= {path for host in apache_hosts(context.tree)[0] for path in host.certificates}
    paths = sorted(used | set(candidates(context.tree)))
    closed = sorted(filter(context.tree.stat, context.tree.closed))
    findings.skip(len(closed), "".join(closed[:1]) + ": permission denied")
    findings.skip(
        len(paths[MAXIMUM_CERTIFICATES:]), f"more than {MAXIMUM_CERTIFICATES} files of certificates"
    )
    for path in paths[:MAXIMUM_CERTIFICATES]:
        try:
            content = context.tree.read(path, FILE_LIMIT)
        except PermissionError:
            findings.skip(reason=f"{path}: permission denied")
            continue
        except OSError as error:
            findings.skip(path in used, f"{path}: {error}")
            continue
        for name, data in parts(path, content, findings):
            try:
                certificate = parse_certificate(data)
            except ValueError as error:
                findings.skip(reason=f"{name}: {error}")
                continue
            if certificate:
                expiry.add(certificate.not_valid_after_utc.timestamp(), name)
                add_certificate(findings, name, certificate)
    findings.metrics.append(expiry)
    return findings


def parts(path: str, content: bytes, findings: Findings) -> Iterator[tuple[str, bytes]]:
    """(name, content) of each certificate with its chain: Traefik keeps many in one file, by their names."""
    if not path.endswith(".json"):
        yield path, content
        return
    try:
        stored = parse_acme(content.decode("utf-8", "replace"))
    except ValueError:
        findings.skip(reason=f"{path}: not what Traefik writes")
        return
    seen: set[str] = set()
    for domain, encoded in stored:
        if domain and domain not in seen:
            seen.add(domain)
            yield f"{path}#{domain}", encoded
        else:
            findings.skip(reason=f"{path}: a certificate without a name, or another of that name")


def parse_acme(text: str) -> list[tuple[str, bytes]]:
    """[(main name, PEM)] of Traefik's acme.json: by resolver since version 2, one list in version 1.

    An entry that is none has no name. Raises ValueError for another text.
    """
    raw = load_json(text)
    if not isinstance(raw, dict):
        raise ValueError("not an object")
    resolvers = [raw, *(value for value in raw.values() if isinstance(value, dict))]
    lists = [entries for one in resolvers if isinstance(entries := one.get("Certificates"), list)]
    return [acme_entry(entry) for entries in lists for entry in entries]


def acme_entry(entry: object) -> tuple[str, bytes]:
    """(main name, PEM) of one entry; the name is empty if it is none. Version 1 wrote capitals."""
    fields = {key.lower(): value for key, value in entry.items()} if isinstance(entry, dict) else {}
    domain = fields.get("domain")
    names = {key.lower(): value for key, value in domain.items()} if isinstance(domain, dict) else {}
    try:
        return text_of(names.get("main")), base64.b64decode(text_of(fields.get("certificate")), validate=True)
    except ValueError:
        return "", b""


def candidates(tree: Tree) -> list[str]:
    """Paths in the usual places and in the settings of mail, proxy, database and file servers."""
    found = [path for place in PLACES for path in tree.glob(place) if tree.is_file(path)]
    found = [path for path in found if not path.endswith(".issuer.crt")]  # lego's, of the authority
    for pattern, setting in SETTINGS.items():
        for file in tree.glob(pattern):
            text = re.sub(r"(?m)^[ \t]*#.*", "", tree.text_or_empty(file))
            for path in " ".join(re.findall(setting, text, re.MULTILINE)).replace(",", " ").split():
                names = tree.names(path)
                found += [posixpath.join(path, name) for name in names] if names else [path]
    return found


def parse_certificate(data: bytes) -> x509.Certificate | None:
    """The first certificate of a PEM file, or that of a DER file; None if there is none.

    Raises ValueError if it is broken.
    """
    found = _PEM.search(data)
    try:
        if data.startswith(_DER):
            return x509.load_der_x509_certificate(data)
        return x509.load_der_x509_certificate(first_value(base64.b64decode(found[2]))) if found else None
    except x509.InvalidVersion as error:
        raise ValueError(str(error)) from error


def first_value(data: bytes) -> bytes:
    """The DER value that ``data`` begins with, where that has the length of a certificate."""
    return data[: 4 + int.from_bytes(data[2:4], "big")] if data.startswith(_DER) else data


def add_certificate(findings: Findings, path: str, certificate: x509.Certificate) -> None:
    findings.add(
        "certificate",
        path=path,
        subject=name_of(certificate, "subject"),
        issuer=name_of(certificate, "issuer"),
        names=alternative_names(certificate),
        not_before=timestamp(certificate.not_valid_before_utc),
        not_after=timestamp(certificate.not_valid_after_utc),
        fingerprint=certificate.fingerprint(hashes.SHA256()).hex(),
    )


def name_of(certificate: x509.Certificate, whose: Literal["subject", "issuer"]) -> str:
    """A name in the form of RFC 4514; empty if it cannot be read."""
    try:
        name: x509.Name = getattr(certificate, whose)
        return name.rfc4514_string()
    except _UNREADABLE:
        return ""


def timestamp(moment: datetime.datetime) -> int:
    """Unix time."""
    return int(moment.timestamp())


def alternative_names(certificate: x509.Certificate) -> list[str]:
    """DNS names and addresses the certificate is for; none if the extension is missing or broken."""
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, *_UNREADABLE):
        return []
    names = extension.get_values_for_type(x509.DNSName)
    return sorted({*names, *map(str, extension.get_values_for_type(x509.IPAddress))})
