"""The web configuration file's keys: those of Prometheus' exporter-toolkit, whose documentation applies.

Source: prometheus/exporter-toolkit, docs/web-configuration.md.
"""

import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Annotated, Any, Literal

import bcrypt
from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, model_validator

from leitstand.models import Model, parse_duration

# Go's names of the suites it offers, and OpenSSL's of the same. None: TLS 1.3, where nobody chooses.
CIPHER_SUITES: dict[str, str | None] = {
    "TLS_AES_128_GCM_SHA256": None,
    "TLS_AES_256_GCM_SHA384": None,
    "TLS_CHACHA20_POLY1305_SHA256": None,
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA": "ECDHE-ECDSA-AES128-SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA": "ECDHE-ECDSA-AES256-SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA": "ECDHE-RSA-AES128-SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA": "ECDHE-RSA-AES256-SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256": "ECDHE-ECDSA-AES128-GCM-SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384": "ECDHE-ECDSA-AES256-GCM-SHA384",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256": "ECDHE-RSA-AES128-GCM-SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384": "ECDHE-RSA-AES256-GCM-SHA384",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-RSA-CHACHA20-POLY1305",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-ECDSA-CHACHA20-POLY1305",
    "TLS_RSA_WITH_AES_128_CBC_SHA": "AES128-SHA",
    "TLS_RSA_WITH_AES_256_CBC_SHA": "AES256-SHA",
    "TLS_RSA_WITH_AES_128_GCM_SHA256": "AES128-GCM-SHA256",
    "TLS_RSA_WITH_AES_256_GCM_SHA384": "AES256-GCM-SHA384",
}
# RFC 9113 9.2.2: a server that speaks HTTP/2 over TLS 1.2 must offer one of these.
HTTP2_SUITES = ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256")
CURVES = {"CurveP256": "prime256v1", "CurveP384": "secp384r1", "CurveP521": "secp521r1", "X25519": "X25519"}
# Header and the values it may have; empty: any.
HEADERS: dict[str, tuple[str, ...]] = {
    "Strict-Transport-Security": (),
    "X-Content-Type-Options": ("nosniff",),
    "X-Frame-Options": ("deny", "sameorigin"),
    "X-XSS-Protection": (),
    "Content-Security-Policy": (),
}
_BCRYPT = re.compile(r"\$2[abxy]\$(?:0[4-9]|[12][0-9]|3[01])\$([./A-Za-z0-9]{53})")
_HEADER_VALUE = re.compile(r"[\t -~]*")

KeyPath = tuple[str | int, ...]
Finding = tuple[KeyPath, str, str]


def _known_suite(name: str) -> str:
    if name not in CIPHER_SUITES:
        raise ValueError(f"unknown cipher suite '{name[:64]}'")
    return name


def _known_curve(name: str) -> str:
    if name not in CURVES:
        raise ValueError(f"unknown curve '{name[:64]}'; known: {', '.join(CURVES)}")
    return name


def _is_bcrypt(secret: SecretStr) -> SecretStr:
    match = _BCRYPT.fullmatch(secret.get_secret_value())
    if not match:
        raise ValueError("not a bcrypt hash")
    # Not every text of this form can be compared with; the cheapest comparison tells (a ValueError, too).
    bcrypt.checkpw(b"", f"$2b$04${match[1]}".encode())
    return secret


def _interval(value: Any) -> timedelta:
    return timedelta() if str(value).strip() == "0" else parse_duration(value)


def _yes_or_no(value: Any) -> Any:
    # exporter-toolkit reads YAML 1.1, in which these words are booleans; here they are texts.
    words = {"yes": True, "on": True, "y": True, "no": False, "off": False, "n": False}
    return words.get(value.lower(), value) if isinstance(value, str) else value


Switch = Annotated[bool, BeforeValidator(_yes_or_no)]
Bcrypt = Annotated[SecretStr, AfterValidator(_is_bcrypt)]


class _Section(Model):
    """A key that is written but empty means the same as one that is not there."""

    @model_validator(mode="before")
    @classmethod
    def _without_empty_keys(cls, data: Any) -> Any:
        return (
            {key: value for key, value in data.items() if value is not None}
            if isinstance(data, dict)
            else data
        )


class TlsSettings(_Section):
    """``tls_server_config``. File names are relative to the configuration file's folder."""

    cert: str = ""
    key: SecretStr = SecretStr("")
    client_ca: str = ""
    cert_file: str = ""
    key_file: str = ""
    client_ca_file: str = ""
    client_auth_type: Literal[
        "",
        "NoClientCert",
        "RequestClientCert",
        "RequireAnyClientCert",
        "RequireClientCert",
        "VerifyClientCertIfGiven",
        "RequireAndVerifyClientCert",
    ] = ""
    client_allowed_sans: list[str] = Field(default_factory=list)
    min_version: Literal["TLS10", "TLS11", "TLS12", "TLS13"] = "TLS12"
    max_version: Literal["TLS10", "TLS11", "TLS12", "TLS13"] = "TLS13"
    cipher_suites: list[Annotated[str, AfterValidator(_known_suite)]] = Field(default_factory=list)
    curve_preferences: list[Annotated[str, AfterValidator(_known_curve)]] = Field(default_factory=list)
    prefer_server_cipher_suites: Switch = True

    @property
    def is_on(self) -> bool:
        """Whether anything here asks for TLS; a version alone does not."""
        return any((
            self.cert, self.key.get_secret_value(), self.client_ca, self.cert_file, self.key_file,
            self.client_ca_file, self.client_auth_type,
        ))  # fmt: skip

    def findings(self) -> Iterator[Finding]:
        """What is wrong between keys."""
        if not (self.cert or self.cert_file):
            yield ("cert_file",), "is missing", "name the server's certificate (or give it as 'cert')"
        if not (self.key.get_secret_value() or self.key_file):
            yield ("key_file",), "is missing", "name the certificate's private key (or give it as 'key')"
        if self.min_version > self.max_version:
            yield ("min_version",), "is above max_version", "swap them"
        yield from self._client_findings()

    def _client_findings(self) -> Iterator[Finding]:
        kind = self.client_auth_type or "NoClientCert"
        if kind in ("RequireAnyClientCert", "RequireClientCert"):
            yield (
                ("client_auth_type",),
                f"{kind} lets in any certificate, also one the client made itself; that is not offered",
                "write RequireAndVerifyClientCert and name client_ca_file",
            )
        elif kind == "NoClientCert" and (self.client_ca or self.client_ca_file):
            key = "client_ca_file" if self.client_ca_file else "client_ca"
            yield (
                (key,),
                "client_auth_type does not ask for it",
                "add client_auth_type: RequireAndVerifyClientCert",
            )
        elif self.client_allowed_sans and kind != "RequireAndVerifyClientCert":
            yield (
                ("client_allowed_sans",),
                "a client may come without a certificate",
                "set client_auth_type: RequireAndVerifyClientCert",
            )


def _as_written(value: Any) -> Any:
    """YAML takes the 1 of ``X-XSS-Protection: 1`` for a number."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


class HttpSettings(_Section):
    """``http_server_config``. HTTP/2 may be asked for and is never spoken: clients then use HTTP/1.1."""

    http2: Switch = True
    headers: dict[str, Annotated[str, BeforeValidator(_as_written)]] = Field(default_factory=dict)

    def findings(self) -> Iterator[Finding]:
        """Headers that cannot be set, or not to this."""
        for name, value in self.headers.items():
            allowed = HEADERS.get(name)
            if allowed is None:
                yield ("headers", name), "cannot be configured", f"only {', '.join(HEADERS)}"
            elif allowed and value not in allowed:
                yield ("headers", name), "has a wrong value", f"write {' or '.join(allowed)}"
            elif not _HEADER_VALUE.fullmatch(value):
                yield ("headers", name), "must be one line of ASCII text", ""


class RateLimit(_Section):
    """``rate_limit``: one request an ``interval`` in the long run, ``burst`` at once; 0: no limit."""

    interval: Annotated[timedelta, BeforeValidator(_interval)] = timedelta()
    burst: int = Field(default=0, ge=0)

    def findings(self) -> Iterator[Finding]:
        """A limit that lets nobody in, ever."""
        if self.interval and not self.burst:
            yield ("burst",), "is 0: no request would ever be answered", "write how many may come at once"


class WebSettings(_Section):
    """The whole file."""

    tls_server_config: TlsSettings = TlsSettings()
    http_server_config: HttpSettings = HttpSettings()
    basic_auth_users: dict[str, Bcrypt] = Field(default_factory=dict)
    rate_limit: RateLimit = RateLimit()

    def findings(self) -> Iterator[Finding]:
        """What is wrong although each key by itself has a possible value."""
        tls = self.tls_server_config
        sections: list[tuple[str, HttpSettings | RateLimit | TlsSettings]] = [
            ("http_server_config", self.http_server_config),
            ("rate_limit", self.rate_limit),
        ]
        if tls.is_on:
            sections.append(("tls_server_config", tls))
            yield from self._http2_findings()
        for name, section in sections:
            for path, what, hint in section.findings():
                yield (name, *path), what, hint
        for user in self.basic_auth_users:
            if ":" in user:
                yield ("basic_auth_users", user), "a user's name holds no colon (RFC 7617)", ""

    def _http2_findings(self) -> Iterator[Finding]:
        tls = self.tls_server_config
        restricted = tls.cipher_suites and tls.min_version != "TLS13" and self.http_server_config.http2
        if restricted and not set(HTTP2_SUITES) & set(tls.cipher_suites):
            yield (
                ("tls_server_config", "cipher_suites"),
                "has no suite that HTTP/2 requires",
                f"add {HTTP2_SUITES[0]}, or set http_server_config.http2: false",
            )
