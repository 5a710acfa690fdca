"""How to reach an exporter: TLS, certificates and a password, as leitstand.yml sets them per host."""

import base64
import ssl
from dataclasses import dataclass
from pathlib import Path

from leitstand.ask import Server
from leitstand.errors import UsageError
from leitstand.settings.hosts import ExporterAccess


class AccessError(UsageError):
    """A file that is needed to ask an exporter cannot be used."""


@dataclass(frozen=True)
class Access:
    """TLS if there is a context, basic authentication if there is a user.

    ``name`` is the one in the exporter's certificate; empty if that is the address.
    """

    tls: ssl.SSLContext | None = None
    name: str = ""
    user: str = ""
    password: str = ""

    def __repr__(self) -> str:
        return f"Access(tls={self.tls is not None}, name={self.name!r}, user={self.user!r})"

    def headers(self, etag: str) -> dict[str, str]:
        """Headers of a request; ``etag`` as the host gave it."""
        headers = {"Accept-Encoding": "gzip", "Accept": "application/json"}
        if etag:
            headers["If-None-Match"] = etag
        if self.user:
            pair = base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
            headers["Authorization"] = f"Basic {pair}"
        return headers

    def server(self, address: str, port: int) -> Server:
        return Server(address, port, self.tls, self.name)


def open_access(settings: ExporterAccess) -> Access:
    """Read what the settings name. Raises AccessError."""
    return Access(
        tls_context(settings), settings.server_name or "", settings.username or "", password(settings)
    )


def tls_context(settings: ExporterAccess) -> ssl.SSLContext | None:
    """The authorities to trust and the certificate to show; None without TLS. Raises AccessError."""
    if not settings.tls:
        return None
    try:
        context = ssl.create_default_context(cafile=settings.ca_file)
    except OSError as error:
        raise AccessError(
            f"{settings.ca_file}: {reason(error)}", "name a file of PEM certificates"
        ) from error
    if settings.cert_file:
        try:
            # A key with a passphrase is refused; without a function OpenSSL would ask for it on the terminal.
            context.load_cert_chain(settings.cert_file, settings.key_file, password=lambda: "")
        except OSError as error:
            raise AccessError(
                f"{settings.cert_file}, {settings.key_file}: {reason(error)}",
                "name a PEM certificate and its key, without passphrase",
            ) from error
    return context


def reason(error: OSError) -> str:
    """The message of OpenSSL or the system about a file."""
    return str(getattr(error, "reason", None) or error.strerror or error)


def password(settings: ExporterAccess) -> str:
    """The content of the password file, without the newline at its end. Raises AccessError."""
    path: Path | None = settings.password_file
    try:
        return path.read_text().rstrip("\n") if path else ""
    except (OSError, UnicodeDecodeError) as error:
        words = reason(error) if isinstance(error, OSError) else "not text"
        raise AccessError(f"{path}: {words}", "name a file that holds the password") from error
