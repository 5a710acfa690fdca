"""The fleet's own small CA: certificates by which exporters and Prometheus recognise each other.

    FOLDER/ca.crt, ca.key            the CA; its key never leaves the folder
    FOLDER/prometheus.crt, .key      what Prometheus and the inventory present
    FOLDER/hosts/NAME.crt, .key      what the exporter of a host presents

The CA does not expire. No certificate begins at a time that a wrong clock could reach. Each has a serial
number from a counter and is renewed 30 days before its end; its key stays.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from leitstand.errors import LeitstandError
from leitstand.files import make_private_folder, make_public_folder, write_atomically
from leitstand.settings.fields import is_ip_address
from leitstand.trust import exposed

CLIENT = "prometheus"
LIFETIME, RENEWAL = timedelta(days=365), timedelta(days=30)
_BEGINNING = datetime(2020, 1, 1, tzinfo=UTC)
_NO_END = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)  # RFC 5280, 4.1.2.5
_CA_NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Leitstand")])
Key = ec.EllipticCurvePrivateKey


@dataclass(frozen=True)
class _Wanted:
    """A certificate to make: for which names and addresses, and for which side of a connection."""

    stem: str
    names: tuple[str, ...]
    usage: ObjectIdentifier


@dataclass(frozen=True)
class _Authority:
    folder: Path
    key: Key
    certificate: x509.Certificate


def ensure_certificates(folder: Path, hosts: Mapping[str, str], now: datetime) -> list[str]:
    """Make what is missing and renew what ends soon; ``hosts`` is name -> address, of every host.

    Returns the certificates that are new, as paths below ``folder`` without suffix. Those of other hosts are
    removed. Raises LeitstandError if the CA's files cannot be used; nothing is replaced then.
    """
    try:
        make_public_folder(folder)  # Prometheus, another user, reads its own files in it
        make_private_folder(folder / "hosts")
        authority = _authority(folder)
        _remove_others(folder / "hosts", hosts)
        return [each.stem for each in _wanted(hosts) if _ensure(authority, each, now)]
    except OSError as error:
        hint = "run this as root, on the leitstand host"
        raise LeitstandError(f"{error.filename}: {error.strerror}", hint) from error


def _wanted(hosts: Mapping[str, str]) -> Iterator[_Wanted]:
    yield _Wanted(CLIENT, (CLIENT,), ExtendedKeyUsageOID.CLIENT_AUTH)
    for name, address in hosts.items():
        names = tuple(dict.fromkeys((name, address.rstrip("."))))
        yield _Wanted(f"hosts/{name}", names, ExtendedKeyUsageOID.SERVER_AUTH)


def _authority(folder: Path) -> _Authority:
    key_file, certificate_file = folder / "ca.key", folder / "ca.crt"
    if not key_file.exists() and not certificate_file.exists():
        _write_key(key_file, ec.generate_private_key(ec.SECP256R1()))
    if found := exposed(key_file):
        raise LeitstandError(f"{found.place} {found.what}", found.cure)
    key = _read_key(key_file) if key_file.exists() else None
    if key is None:
        hint = f"restore it from a backup; or remove {folder}, and every exporter gets a new certificate"
        raise LeitstandError(f"{key_file}: the key of the CA is missing or damaged", hint)
    certificate = _read_certificate(certificate_file)
    if certificate is None or certificate.public_key() != key.public_key():
        certificate = _own_certificate(key)
        _write_certificate(certificate_file, certificate)
    return _Authority(folder, key, certificate)


def _own_certificate(key: Key) -> x509.Certificate:
    return (
        x509.CertificateBuilder(_CA_NAME, _CA_NAME, key.public_key(), 1, _BEGINNING, _NO_END)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, SHA256())
    )


def _ensure(authority: _Authority, wanted: _Wanted, now: datetime) -> bool:
    """Whether a new certificate had to be written."""
    path = authority.folder / wanted.stem
    key_file, certificate_file = path.with_name(f"{path.name}.key"), path.with_name(f"{path.name}.crt")
    key, present = _own_key(key_file), _read_certificate(certificate_file)
    if present is not None and _is_good(authority, wanted, present, key, now):
        return False
    _write_certificate(certificate_file, _signed(authority, wanted, key, now))
    return True


def _is_good(
    authority: _Authority, wanted: _Wanted, present: x509.Certificate, key: Key, now: datetime
) -> bool:
    try:
        present.verify_directly_issued_by(authority.certificate)
    except (ValueError, TypeError, InvalidSignature):
        return False
    names = present.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return (
        present.public_key() == key.public_key()
        and names == _alternative_names(wanted)
        and now < present.not_valid_after_utc - RENEWAL
    )


def _signed(authority: _Authority, wanted: _Wanted, key: Key, now: datetime) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, wanted.names[0])])
    number, end = _next_serial(authority.folder), now.replace(microsecond=0) + LIFETIME
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key())
    return (
        x509.CertificateBuilder(_CA_NAME, subject, key.public_key(), number, _BEGINNING, end)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([wanted.usage]), critical=False)
        .add_extension(_alternative_names(wanted), critical=False)
        .add_extension(issuer, critical=False)
        .sign(authority.key, SHA256())
    )


def _alternative_names(wanted: _Wanted) -> x509.SubjectAlternativeName:
    return x509.SubjectAlternativeName(
        [
            x509.IPAddress(ip_address(name)) if is_ip_address(name) else x509.DNSName(name)
            for name in wanted.names
        ]
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _next_serial(folder: Path) -> int:
    """A number that no certificate of this CA has: one more than the largest, of which a file is kept."""
    counter = folder / "serial"
    text = counter.read_text() if counter.exists() else ""
    present = [_read_certificate(path) for path in folder.rglob("*.crt")]
    largest = max((each.serial_number for each in present if each), default=1)
    number = max(largest, int(text) if text.strip().isdecimal() else 0) + 1
    write_atomically(counter, f"{number}\n", 0o600)
    return number


def _remove_others(folder: Path, hosts: Mapping[str, str]) -> None:
    for path in [*folder.glob("*.crt"), *folder.glob("*.key")]:
        if path.stem not in hosts:
            path.unlink()


def _own_key(path: Path) -> Key:
    """The key of a certificate; a new one if there is none or it is damaged, as it can be replaced."""
    key = _read_key(path) if path.exists() else None
    if key is None:
        key = ec.generate_private_key(ec.SECP256R1())
        _write_key(path, key)
    return key


def _read_key(path: Path) -> Key | None:
    """The key; None if the file holds none of this CA's kind."""
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except (ValueError, TypeError):
        return None
    return key if isinstance(key, Key) else None


def _read_certificate(path: Path) -> x509.Certificate | None:
    """The certificate; None if there is none or it is damaged, as it can be made again."""
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return None


def _write_key(path: Path, key: Key) -> None:
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    write_atomically(path, pem, 0o600)


def _write_certificate(path: Path, certificate: x509.Certificate) -> None:
    write_atomically(path, certificate.public_bytes(Encoding.PEM), 0o644)
