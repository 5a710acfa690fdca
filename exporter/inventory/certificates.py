"""TLS certificates on this host: when each expires and for which names it is."""

import datetime
import posixpath
import re
from typing import Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from exporter.inventory.apache import apache_hosts
from exporter.inventory.nginx import nginx_certificates
from exporter.inventory.source import Context, Findings
from exporter.tree import Tree
from leitstand.exposition import Family

PLACES = (
    "/etc/letsencrypt/live/*/cert.pem",
    "/etc/dehydrated/certs/*/cert.pem",
    "/var/lib/dehydrated/certs/*/cert.pem",
    "/var/lib/acme/*/cert.pem",
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
# Where a service is set up -> the setting that names its certificate, or a folder of such.
SETTINGS = {
    "/etc/postfix/main.cf": r"^[ \t]*smtpd_tls_(?:cert_file|chain_files)\s*=\s*(/[^\s,]+)",
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
# What a part of a certificate may raise that nobody checked before it was signed.
_UNREADABLE = (ValueError, TypeError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType)
_DER = b"\x30\x82"  # a sequence of 256 to 65,535 bytes
_PEM = re.compile(
    rb"-----BEGIN (?:TRUSTED )?CERTIFICATE-----[^-]{1,65536}-----END (?:TRUSTED )?CERTIFICATE-----"
)


def read(context: Context) -> Findings:
    """Every certificate that a virtual host or another service uses, or that stands in a usual place.

    Of a chain only the first counts: that is the host's own.
    """
    findings = Findings()
    expiry = Family(
        "leitstand_certificate_expiry_timestamp_seconds",
        "gauge",
        "When a certificate on this host expires.",
        ("path",),
    )
    used = nginx_certificates(context.tree)
    used |= {path for host in apache_hosts(context.tree)[0] for path in host.certificates}
    paths = sorted(used | set(candidates(context.tree)))
    findings.skip(
        len(paths[MAXIMUM_CERTIFICATES:]), f"more than {MAXIMUM_CERTIFICATES} files of certificates"
    )
    for path in paths[:MAXIMUM_CERTIFICATES]:
        try:
            certificate = parse_certificate(context.tree.read(path, FILE_LIMIT))
        except PermissionError:
            findings.skip(reason=f"{path}: not ours to read")
            continue
        except (OSError, ValueError) as error:
            findings.skip(path in used, f"{path}: {error}")
            continue
        if certificate:
            expiry.add(certificate.not_valid_after_utc.timestamp(), path)
            add_certificate(findings, path, certificate)
    findings.families.append(expiry)
    return findings


def candidates(tree: Tree) -> list[str]:
    """Paths in the usual places and in the settings of mail, proxy, database and file servers."""
    found = [path for place in PLACES for path in tree.glob(place) if tree.is_file(path)]
    for pattern, setting in SETTINGS.items():
        for file in tree.glob(pattern):
            text = re.sub(r"(?m)^[ \t]*#.*", "", tree.text_or_empty(file))
            for path in re.findall(setting, text, re.MULTILINE):
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
        return x509.load_pem_x509_certificate(found[0]) if found else None
    except x509.InvalidVersion as error:
        raise ValueError(str(error)) from error


def add_certificate(findings: Findings, path: str, certificate: x509.Certificate) -> None:
    """Add one certificate."""
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
