"""The web configuration file's keys: those of Prometheus' exporter-toolkit, whose documentation applies.

Source: prometheus/exporter-toolkit, docs/web-configuration.md.
"""

import math
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import bcrypt

from exporter.web.values import (
    Finding,
    WrongValue,
    list_of,
    mapping_of,
    one,
    one_of,
    read_by,
    section,
    switch,
    text,
    whole_number,
)

# Go's names of its cipher suites, and OpenSSL's. None: TLS 1.3, where they cannot be selected.
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
# Header and its allowed values; empty: any.
HEADERS: dict[str, tuple[str, ...]] = {
    "Strict-Transport-Security": (),
    "X-Content-Type-Options": ("nosniff",),
    "X-Frame-Options": ("deny", "sameorigin"),
    "X-XSS-Protection": (),
    "Content-Security-Policy": (),
}
_BCRYPT = re.compile(r"\$2[abxy]\$(?:0[4-9]|[12][0-9]|3[01])\$([./A-Za-z0-9]{53})")
_HEADER_VALUE = re.compile(r"[\t -~]*")

# Go's time.ParseDuration, and the seconds in each of its units.
_INTERVAL = re.compile(r"(?:[0-9]+(?:\.[0-9]*)?(?:ns|us|µs|ms|[smh]))+", re.ASCII)
_INTERVAL_PART = re.compile(r"([0-9.]+)(ns|us|µs|ms|[smh])", re.ASCII)
_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_LONGEST_INTERVAL = 2562047 * 3600.0  # seconds; as Go
_VERSIONS = ("TLS10", "TLS11", "TLS12", "TLS13")
_CLIENT_AUTH = (
    *("", "NoClientCert", "RequestClientCert", "RequireAnyClientCert", "RequireClientCert"),
    *("VerifyClientCertIfGiven", "RequireAndVerifyClientCert"),
)


def _known_suite(given: Any) -> str:
    name = text(given)
    if name not in CIPHER_SUITES:
        raise WrongValue(f"unknown cipher suite '{name[:64]}'")
    return name


def _known_curve(given: Any) -> str:
    name = text(given)
    if name not in CURVES:
        raise WrongValue(f"unknown curve '{name[:64]}'", f"known: {', '.join(CURVES)}")
    return name


def _bcrypt(given: Any) -> bytes:
    wrong = WrongValue("must be a bcrypt hash", "create one: htpasswd -nBC 10 ''")
    match = _BCRYPT.fullmatch(given) if isinstance(given, str) else None
    if not match:
        raise wrong
    try:
        # Not every text of this form is a valid hash; the cheapest comparison shows it.
        bcrypt.checkpw(b"", f"$2b$04${match[1]}".encode())
    except ValueError:
        raise wrong from None
    return match[0].encode()


def _interval(given: Any) -> float:
    """Seconds."""
    written = str(given).strip()
    if written == "0":
        return 0.0
    if not _INTERVAL.fullmatch(written):
        raise WrongValue("a duration is a number with its unit", "write it as 100ms, 1s or 1m30s")
    seconds = sum(float(number) * _UNITS[unit] for number, unit in _INTERVAL_PART.findall(written))
    if not math.isfinite(seconds) or seconds > _LONGEST_INTERVAL:
        raise WrongValue("a duration is at most 2562047h", "is the unit the right one?")
    return seconds


@dataclass(frozen=True)
class TlsSettings:
    """``tls_server_config``. File names are relative to the configuration file's folder."""

    cert: str = field(repr=False, default="", metadata=read_by(one(text)))
    key: str = field(repr=False, default="", metadata=read_by(one(text)))
    client_ca: str = field(default="", metadata=read_by(one(text)))
    cert_file: str = field(default="", metadata=read_by(one(text)))
    key_file: str = field(default="", metadata=read_by(one(text)))
    client_ca_file: str = field(default="", metadata=read_by(one(text)))
    client_auth_type: str = field(default="", metadata=read_by(one(one_of(*_CLIENT_AUTH))))
    client_allowed_sans: list[str] = field(default_factory=list, metadata=read_by(list_of(text)))
    min_version: str = field(default="TLS12", metadata=read_by(one(one_of(*_VERSIONS))))
    max_version: str = field(default="TLS13", metadata=read_by(one(one_of(*_VERSIONS))))
    cipher_suites: list[str] = field(default_factory=list, metadata=read_by(list_of(_known_suite)))
    curve_preferences: list[str] = field(default_factory=list, metadata=read_by(list_of(_known_curve)))
    prefer_server_cipher_suites: bool = field(default=True, metadata=read_by(one(switch)))

    @property
    def is_on(self) -> bool:
        """Whether any setting enables TLS; a version alone does not."""
        return any((
            self.cert, self.key, self.client_ca, self.cert_file, self.key_file,
            self.client_ca_file, self.client_auth_type,
        ))  # fmt: skip

    def findings(self) -> Iterator[Finding]:
        """Problems between keys."""
        if not (self.cert or self.cert_file):
            yield ("cert_file",), "is missing", "name the server's certificate (or give it as 'cert')"
        if not (self.key or self.key_file):
            yield ("key_file",), "is missing", "name the certificate's private key (or give it as 'key')"
        if self.min_version > self.max_version:
            yield ("min_version",), "is above max_version", "swap them"
        yield from self._client_findings()

    def _client_findings(self) -> Iterator[Finding]:
        kind = self.client_auth_type or "NoClientCert"
        if kind in ("RequireAnyClientCert", "RequireClientCert"):
            yield (
                ("client_auth_type",),
                f"{kind} accepts any certificate, even one the client made itself; that is not supported",
                "write RequireAndVerifyClientCert and name client_ca_file",
            )
        elif kind == "NoClientCert" and (self.client_ca or self.client_ca_file):
            key = "client_ca_file" if self.client_ca_file else "client_ca"
            yield (
                (key,),
                "client_auth_type does not request a certificate",
                "add client_auth_type: RequireAndVerifyClientCert",
            )
        elif self.client_allowed_sans and kind != "RequireAndVerifyClientCert":
            yield (
                ("client_allowed_sans",),
                "a client may connect without a certificate",
                "set client_auth_type: RequireAndVerifyClientCert",
            )


def _header_value(given: Any) -> str:
    """YAML reads the 1 of ``X-XSS-Protection: 1`` as a number."""
    return text(str(given) if isinstance(given, int) and not isinstance(given, bool) else given)


@dataclass(frozen=True)
class HttpSettings:
    """``http_server_config``. HTTP/2 may be enabled but is never used: clients fall back to HTTP/1.1."""

    http2: bool = field(default=True, metadata=read_by(one(switch)))
    headers: dict[str, str] = field(default_factory=dict, metadata=read_by(mapping_of(_header_value)))

    def findings(self) -> Iterator[Finding]:
        """Headers that cannot be set, or not to this value."""
        for name, value in self.headers.items():
            allowed = HEADERS.get(name)
            if allowed is None:
                yield ("headers", name), "cannot be configured", f"only {', '.join(HEADERS)}"
            elif allowed and value not in allowed:
                yield ("headers", name), "has a wrong value", f"write {' or '.join(allowed)}"
            elif not _HEADER_VALUE.fullmatch(value):
                yield ("headers", name), "must be one line of ASCII text", ""


@dataclass(frozen=True)
class RateLimit:
    """``rate_limit``: one request per ``interval`` (seconds; 0: no limit), and up to ``burst`` at once."""

    interval: float = field(default=0.0, metadata=read_by(one(_interval)))
    burst: int = field(default=0, metadata=read_by(one(whole_number)))

    def findings(self) -> Iterator[Finding]:
        """A limit that would refuse every request."""
        if self.interval and not self.burst:
            yield (
                ("burst",),
                "is 0: no request would ever be answered",
                "set the number of requests allowed at once",
            )


@dataclass(frozen=True)
class WebSettings:
    """The whole file. ``basic_auth_users`` have their hashes."""

    tls_server_config: TlsSettings = field(
        default_factory=TlsSettings, metadata=read_by(section(TlsSettings))
    )
    http_server_config: HttpSettings = field(
        default_factory=HttpSettings, metadata=read_by(section(HttpSettings))
    )
    basic_auth_users: dict[str, bytes] = field(
        repr=False, default_factory=dict, metadata=read_by(mapping_of(_bcrypt))
    )
    rate_limit: RateLimit = field(default_factory=RateLimit, metadata=read_by(section(RateLimit)))

    def findings(self, wrong: Collection[str] = ()) -> Iterator[Finding]:
        """Problems although each value alone is valid; ``wrong`` are sections with invalid values."""
        tls = self.tls_server_config
        sections: list[tuple[str, HttpSettings | RateLimit | TlsSettings]] = [
            ("http_server_config", self.http_server_config),
            ("rate_limit", self.rate_limit),
        ]
        if tls.is_on and "tls_server_config" not in wrong:
            sections.append(("tls_server_config", tls))
            yield from self._http2_findings()
        for name, settings in sections:
            for path, what, hint in settings.findings() if name not in wrong else ():
                yield (name, *path), what, hint
        for user in self.basic_auth_users:
            if ":" in user:
                yield ("basic_auth_users", user), "a user name must not contain a colon (RFC 7617)", ""

    def _http2_findings(self) -> Iterator[Finding]:
        tls = self.tls_server_config
        restricted = tls.cipher_suites and tls.min_version != "TLS13" and self.http_server_config.http2
        if restricted and not set(HTTP2_SUITES) & set(tls.cipher_suites):
            yield (
                ("tls_server_config", "cipher_suites"),
                "lacks a suite that HTTP/2 requires",
                f"add {HTTP2_SUITES[0]}, or set http_server_config.http2: false",
            )


def read_settings(data: Mapping[str, Any]) -> tuple[WebSettings, list[Finding]]:
    """The settings of a file, and every problem; with problems the settings must not be used."""
    findings: list[Finding] = []
    settings: WebSettings = section(WebSettings)(data, (), findings)
    wrong = {str(path[0]) for path, _, _ in findings if path}
    return settings, [*findings, *settings.findings(wrong)]
