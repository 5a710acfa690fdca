"""The server's side of TLS, from ``tls_server_config``."""

import contextlib
import os
import ssl
import warnings
from collections.abc import Iterator
from pathlib import Path

from exporter.web.settings import CIPHER_SUITES, CURVES, TlsSettings

_VERSIONS = {
    "TLS10": ssl.TLSVersion.TLSv1,
    "TLS11": ssl.TLSVersion.TLSv1_1,
    "TLS12": ssl.TLSVersion.TLSv1_2,
    "TLS13": ssl.TLSVersion.TLSv1_3,
}
_VERIFY = {
    "VerifyClientCertIfGiven": ssl.CERT_OPTIONAL,
    "RequireAndVerifyClientCert": ssl.CERT_REQUIRED,
}


class TlsError(Exception):
    """A file or value cannot be used; ``key`` is the setting that names it."""

    def __init__(self, key: str, what: str) -> None:
        super().__init__(what)
        self.key = key
        self.what = what


def server_context(tls: TlsSettings, folder: Path) -> ssl.SSLContext:
    """A context for accepted connections; file names are relative to ``folder``. Raises TlsError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols(["http/1.1"])
    _set_versions(context, tls)
    _set_ciphers(context, tls)
    _load_certificate(context, tls, folder)
    _ask_clients(context, tls, folder)
    return context


def files_of(tls: TlsSettings, folder: Path) -> list[Path]:
    """Every file the settings name."""
    return [folder / name for name in (tls.cert_file, tls.key_file, tls.client_ca_file) if name]


def _set_versions(context: ssl.SSLContext, tls: TlsSettings) -> None:
    with warnings.catch_warnings():
        # Python calls TLS 1.0 and 1.1 deprecated; here the user asked for them explicitly.
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            context.minimum_version = _VERSIONS[tls.min_version]
            context.maximum_version = _VERSIONS[tls.max_version]
        except ValueError as error:
            raise TlsError("min_version", "is not supported by this host's OpenSSL") from error
    if tls.min_version in ("TLS10", "TLS11"):
        # These versions sign with SHA-1, which OpenSSL refuses above security level 0.
        context.set_ciphers("DEFAULT:@SECLEVEL=0")


def _set_ciphers(context: ssl.SSLContext, tls: TlsSettings) -> None:
    if not tls.prefer_server_cipher_suites:
        context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    named = [CIPHER_SUITES[name] for name in tls.cipher_suites]
    older = [name for name in named if name]
    if older:
        level = ":@SECLEVEL=0" if tls.min_version in ("TLS10", "TLS11") else ""
        try:
            context.set_ciphers(":".join(older) + level)
        except ssl.SSLError as error:
            raise TlsError("cipher_suites", "has no suite that this host's OpenSSL supports") from error
    elif named:
        # Only TLS 1.3's suites are allowed: older versions have none.
        context.minimum_version = ssl.TLSVersion.TLSv1_3
    if len(tls.curve_preferences) == 1:
        # `ssl` can set only one curve; with several, OpenSSL's default list, which has all four, stays.
        # Debian 12's Python accepts only NIST curves; X25519 is first in OpenSSL's default list anyway.
        with contextlib.suppress(ssl.SSLError):
            context.set_ecdh_curve(CURVES[tls.curve_preferences[0]])


def _load_certificate(context: ssl.SSLContext, tls: TlsSettings, folder: Path) -> None:
    certificate_key, certificate = _content("cert_file", tls.cert_file, "cert", tls.cert, folder)
    private_key, private = _content("key_file", tls.key_file, "key", tls.key, folder)
    _check_certificate(certificate_key, certificate)
    with _as_file(certificate) as certificate_file, _as_file(private) as private_file:
        try:
            # Without a password here OpenSSL would ask for one on the terminal.
            context.load_cert_chain(certificate_file, private_file, password=lambda: "")
        except ssl.SSLError as error:
            if error.reason == "KEY_VALUES_MISMATCH":
                raise TlsError(private_key, f"is not the private key of {certificate_key}") from error
            raise TlsError(private_key, "contains no private key in PEM format without a password") from error


def _check_certificate(key: str, content: bytes) -> None:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(cadata=content.decode("latin-1"))
    except (ssl.SSLError, ValueError) as error:
        raise TlsError(key, "contains no certificate in PEM format") from error


def _ask_clients(context: ssl.SSLContext, tls: TlsSettings, folder: Path) -> None:
    # RequestClientCert accepts any certificate, or none: not requesting one has the same effect.
    if tls.client_auth_type not in _VERIFY:
        return
    context.verify_mode = _VERIFY[tls.client_auth_type]
    # As in Go: certificates in the list are trusted, even without their root.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    if not (tls.client_ca_file or tls.client_ca):
        context.load_default_certs(ssl.Purpose.CLIENT_AUTH)
        return
    key, content = _content("client_ca_file", tls.client_ca_file, "client_ca", tls.client_ca, folder)
    _check_certificate(key, content)
    context.load_verify_locations(cadata=content.decode("latin-1"))


def _content(file_key: str, file_name: str, inline_key: str, inline: str, folder: Path) -> tuple[str, bytes]:
    """The key in use, for the file or the inline text, and its content."""
    if not file_name:
        return inline_key, inline.encode()
    path = folder / file_name
    try:
        return file_key, path.read_bytes()
    except OSError as error:
        raise TlsError(file_key, f"{path} cannot be read: {error.strerror}") from error


@contextlib.contextmanager
def _as_file(content: bytes) -> Iterator[str]:
    """A file name for bytes that are not on disk: OpenSSL reads private keys only from files."""
    descriptor = os.memfd_create("pem")
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(content)
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)
