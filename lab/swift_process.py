"""A real Swift on loopback, over http or https, for tests."""

import ctypes
import datetime
import ipaddress
import json
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

REPOSITORY = Path(__file__).resolve().parents[1]
SWIFT_PYTHON = REPOSITORY / ".venv-swift" / "bin" / "python"
LIBC = ctypes.CDLL(None)  # before any fork: another thread may hold the loader's lock then
PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Swift:
    """A running Swift: where it is and how to get in."""

    endpoint: str
    access_key: str
    secret_key: str
    credentials_file: Path
    ca_file: Path | None = None
    users: dict[str, str] = field(default_factory=dict)
    log: Path = Path("/dev/null")

    def settings(self, **more: Any) -> dict[str, Any]:
        """An entry for ``stores:``."""
        own = {"type": "s3", "endpoint": self.endpoint, "bucket": "backups"}
        tls = {"ca_file": str(self.ca_file)} if self.ca_file else {}
        return {**own, "credentials_file": str(self.credentials_file), **tls, **more}


def end_with_parent() -> None:
    """For a child after its fork: to be ended with the process that started it."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


@contextmanager
def start_swift(
    folder: Path,
    *options: str,
    ca_file: Path | None = None,
    command: Callable[[list[str]], list[str]] = list,
) -> Iterator[Swift]:
    """A Swift of its own, with its data below ``folder``, for as long as the block lasts.

    ``command`` makes the arguments that start it elsewhere, such as in another network.
    """
    script = REPOSITORY / "lab" / "swift_server.py"
    argv = [str(SWIFT_PYTHON), str(script), str(folder / "data"), "--user", "backup:upload", *options]
    log = folder / "log"
    with (
        log.open("w") as errors,
        subprocess.Popen(
            command(argv), stdout=subprocess.PIPE, stderr=errors, text=True, preexec_fn=end_with_parent
        ) as process,
    ):
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, log.read_text()
        ready = json.loads(line)
        credentials = folder / "swift.ini"
        credentials.touch(mode=0o600)
        credentials.write_text(
            f"[default]\naccess_key = {ready['access_key']}\nsecret_key = {ready['secret_key']}\n"
        )
        keys = (ready["access_key"], ready["secret_key"], credentials)
        try:
            yield Swift(ready["endpoint"], *keys, ca_file, ready["users"], log)
        finally:
            process.terminate()


def make_certificates(folder: Path, address: str = "127.0.0.1", *names: str) -> tuple[Path, Path, Path]:
    """An authority of our own and a certificate for an address and names: paths of CA, certificate, key."""
    authority_key, server_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    authority_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test authority")])
    authority = (
        _certificate(authority_name, authority_name, authority_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(authority_key.public_key()), critical=False)
        .add_extension(
            x509.KeyUsage(True, False, False, False, False, True, True, False, False), critical=True
        )
        .sign(authority_key, hashes.SHA256())
    )
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, address)])
    subjects = x509.SubjectAlternativeName(
        [x509.IPAddress(ipaddress.ip_address(address)), *map(x509.DNSName, names)]
    )
    server = (
        _certificate(name, authority_name, server_key.public_key())
        .add_extension(subjects, critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False
        )
        .sign(authority_key, hashes.SHA256())
    )
    paths = (folder / "ca.pem", folder / "server.pem", folder / "server.key")
    paths[0].write_bytes(authority.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(server.public_bytes(serialization.Encoding.PEM))
    pem = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    paths[2].write_bytes(server_key.private_bytes(*pem))
    return paths


def _certificate(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> Any:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
    )
