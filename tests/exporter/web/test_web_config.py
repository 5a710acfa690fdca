"""The web configuration file: what is refused, naming the key, and what each key does."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from exporter.web.config import load_web_config
from exporter.web.settings import CIPHER_SUITES
from leitstand.errors import EXIT_USAGE
from leitstand.settings.problems import ConfigError

Pki = object
USER_HASH = "$2b$04$XvBZ6nGwi8yvzGukgE6eMe3bsznxRXprE5kU1aY2SpaQ56tGHIzZ2"
TLS = "tls_server_config:\n  cert_file: {cert}\n  key_file: {key}\n"

# Name of the case: the file, the key its refusal names, words of the reason.
BROKEN = {
    "no mapping": ("- tls_server_config\n", "", "sections"),
    "no YAML": ("tls_server_config: [\n", "", ""),
    "binary": ("\x00\x01", "", ""),
    "unknown section": ("tls_config: {}\n", "tls_config", "unknown key"),
    "unknown key in tls": (TLS + "  certfile: x\n", "tls_server_config.certfile", "unknown key"),
    "unknown key in http": ("http_server_config: {http3: true}\n", "http_server_config.http3", "unknown key"),
    "key given twice": ("rate_limit: {burst: 1}\nrate_limit: {burst: 2}\n", "rate_limit", "given twice"),
    "user given twice": (
        f"basic_auth_users:\n  a: {USER_HASH}\n  a: {USER_HASH}\n",
        "basic_auth_users.a",
        "given twice",
    ),
    "section is a text": ("tls_server_config: on\n", "tls_server_config", ""),
    "certificate without key": (
        'tls_server_config: {cert_file: "{cert}"}\n',
        "tls_server_config.key_file",
        "missing",
    ),
    "key without certificate": (
        'tls_server_config: {key_file: "{key}"}\n',
        "tls_server_config.cert_file",
        "missing",
    ),
    "empty names of files": (
        'tls_server_config: {cert_file: "", key_file: "", client_auth_type: RequireAndVerifyClientCert}\n',
        "tls_server_config.cert_file",
        "missing",
    ),
    "certificate file not there": (
        'tls_server_config: {cert_file: none.pem, key_file: "{key}"}\n',
        "tls_server_config.cert_file",
        "none.pem cannot be read: No such file",
    ),
    "key file not there": (
        'tls_server_config: {cert_file: "{cert}", key_file: none.key}\n',
        "tls_server_config.key_file",
        "cannot be read",
    ),
    "key of another certificate": (
        'tls_server_config: {cert_file: "{cert}", key_file: "{other_key}"}\n',
        "tls_server_config.key_file",
        "not the private key of cert_file",
    ),
    "key with a password": (
        'tls_server_config: {cert_file: "{cert}", key_file: "{encrypted}"}\n',
        "tls_server_config.key_file",
        "without a password",
    ),
    "certificate file is the key": (
        'tls_server_config: {cert_file: "{key}", key_file: "{key}"}\n',
        "tls_server_config.cert_file",
        "no certificate",
    ),
    "key file is the certificate": (
        'tls_server_config: {cert_file: "{cert}", key_file: "{cert}"}\n',
        "tls_server_config.key_file",
        "no private key",
    ),
    "inline junk": (
        "tls_server_config: {cert: junk, key: junk}\n",
        "tls_server_config.cert",
        "no certificate",
    ),
    "client authority without a policy": (
        TLS + "  client_ca_file: {ca}\n",
        "tls_server_config.client_ca_file",
        "does not request a certificate",
    ),
    "inline authority without a policy": (
        TLS + "  client_ca: x\n",
        "tls_server_config.client_ca",
        "does not request a certificate",
    ),
    "client authority not there": (
        TLS + "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: none.pem\n",
        "tls_server_config.client_ca_file",
        "cannot be read",
    ),
    "client authority without certificates": (
        TLS + "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: {key}\n",
        "tls_server_config.client_ca_file",
        "no certificate",
    ),
    "unknown policy": (TLS + "  client_auth_type: Maybe\n", "tls_server_config.client_auth_type", ""),
    "any certificate": (
        TLS + "  client_auth_type: RequireAnyClientCert\n",
        "tls_server_config.client_auth_type",
        "any certificate",
    ),
    "names without certificates": (
        TLS + "  client_allowed_sans: [a.example.org]\n",
        "tls_server_config.client_allowed_sans",
        "without a certificate",
    ),
    "names with optional certificates": (
        TLS + "  client_auth_type: VerifyClientCertIfGiven\n  client_allowed_sans: [a.example.org]\n",
        "tls_server_config.client_allowed_sans",
        "without a certificate",
    ),
    "unknown TLS version": (TLS + "  min_version: TLS14\n", "tls_server_config.min_version", ""),
    "SSL version": (TLS + "  max_version: SSL30\n", "tls_server_config.max_version", ""),
    "versions the wrong way round": (
        TLS + "  min_version: TLS13\n  max_version: TLS12\n",
        "tls_server_config.min_version",
        "above",
    ),
    "unknown cipher suite": (
        TLS + "  cipher_suites: [TLS_RSA_WITH_RC4_128_SHA]\n",
        "tls_server_config.cipher_suites[0]",
        "unknown cipher",
    ),
    "no suite for HTTP/2": (
        TLS + "  cipher_suites: [TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384]\n",
        "tls_server_config.cipher_suites",
        "HTTP/2",
    ),
    "unknown curve": (
        TLS + "  curve_preferences: [CurveP256, Curve25519]\n",
        "tls_server_config.curve_preferences[1]",
        "unknown curve",
    ),
    "preference is a number": (
        TLS + "  prefer_server_cipher_suites: 7\n",
        "tls_server_config.prefer_server_cipher_suites",
        "",
    ),
    "users are a list": ("basic_auth_users: [a, b]\n", "basic_auth_users", ""),
    "password in the clear": ("basic_auth_users: {alice: swordfish}\n", "basic_auth_users.alice", "bcrypt"),
    "hash cut short": (
        f"basic_auth_users: {{alice: {USER_HASH[:-5]}}}\n",
        "basic_auth_users.alice",
        "bcrypt",
    ),
    "hash nobody can compare with": (
        f"basic_auth_users: {{alice: $2b$04${'z' * 53}}}\n",
        "basic_auth_users.alice",
        "bcrypt",
    ),
    "hash of another kind": (
        "basic_auth_users: {alice: $6$salt$swordfish}\n",
        "basic_auth_users.alice",
        "bcrypt",
    ),
    "hash is a number": ("basic_auth_users: {alice: 12345}\n", "basic_auth_users.alice", "bcrypt"),
    "colon in a name": (f'basic_auth_users: {{"a:b": "{USER_HASH}"}}\n', "basic_auth_users.a:b", "colon"),
    "header of another kind": (
        "http_server_config: {headers: {Server: x}}\n",
        "http_server_config.headers.Server",
        "cannot be configured",
    ),
    "header in small letters": (
        "http_server_config: {headers: {x-frame-options: deny}}\n",
        "http_server_config.headers.x-frame-options",
        "cannot be configured",
    ),
    "header with a wrong value": (
        "http_server_config: {headers: {X-Frame-Options: allow}}\n",
        "http_server_config.headers.X-Frame-Options",
        "deny or sameorigin",
    ),
    "type options with a wrong value": (
        "http_server_config: {headers: {X-Content-Type-Options: sniff}}\n",
        "http_server_config.headers.X-Content-Type-Options",
        "nosniff",
    ),
    "header that adds a header": (
        'http_server_config: {headers: {X-XSS-Protection: "0\\r\\nSet-Cookie: a"}}\n',
        "http_server_config.headers.X-XSS-Protection",
        "one line",
    ),
    "http2 is a text": ("http_server_config: {http2: perhaps}\n", "http_server_config.http2", ""),
    "interval without a unit": ("rate_limit: {interval: 5, burst: 1}\n", "rate_limit.interval", "duration"),
    "interval with an unknown unit": (
        "rate_limit: {interval: 1d, burst: 1}\n",
        "rate_limit.interval",
        "duration",
    ),
    "interval beyond all time": (
        f"rate_limit: {{interval: {'9' * 400}h, burst: 1}}\n",
        "rate_limit.interval",
        "duration",
    ),
    "burst no float holds": (
        f"rate_limit: {{interval: 1s, burst: {'9' * 400}}}\n",
        "rate_limit.burst",
        "whole",
    ),
    "a word in place of a list": (
        TLS + "  client_allowed_sans: a.example.org\n",
        "tls_server_config.client_allowed_sans",
        "list",
    ),
    "negative burst": ("rate_limit: {interval: 1s, burst: -1}\n", "rate_limit.burst", ""),
    "no burst": ("rate_limit: {interval: 1s}\n", "rate_limit.burst", "no request would ever"),
}

GOOD = {
    "empty": "",
    "comment alone": "# nothing yet\n",
    "empty sections": "tls_server_config:\nbasic_auth_users:\nhttp_server_config:\nrate_limit:\n",
    "plain TLS": TLS,
    "relative names of files": "tls_server_config: {cert_file: server.pem, key_file: server.key}\n",
    "a version alone is no TLS": "tls_server_config: {min_version: TLS13}\n",
    "everything": TLS + "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: {ca}\n"
    "  client_allowed_sans: [prometheus.example.org]\n  min_version: TLS12\n  max_version: TLS13\n"
    "  cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, TLS_AES_128_GCM_SHA256]\n"
    "  curve_preferences: [X25519, CurveP256]\n  prefer_server_cipher_suites: false\n"
    "http_server_config:\n  http2: yes\n"
    "  headers:\n    X-Frame-Options: deny\n    Content-Security-Policy: ''\n"
    f"basic_auth_users:\n  prometheus: {USER_HASH}\n  'no': {USER_HASH}\n"
    "rate_limit: {interval: 100ms, burst: 20}\n",
    "system authorities": TLS + "  client_auth_type: RequireAndVerifyClientCert\n",
    "one curve": TLS + "  curve_preferences: [X25519]\n",
    "suites without HTTP/2": TLS + "  cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA]\n"
    "http_server_config: {http2: false}\n",
    "suites of TLS 1.3 alone": TLS + "  min_version: TLS13\n  cipher_suites: [TLS_AES_256_GCM_SHA384]\n",
    "old versions": TLS + "  min_version: TLS10\n  max_version: TLS11\n",
    "a hash of PHP's": f"basic_auth_users: {{alice: {USER_HASH.replace('2b', '2y')}}}\n",
    "a header that YAML takes for a number": "http_server_config: {headers: {X-XSS-Protection: 1}}\n",
    "no rate limit": "rate_limit: {interval: 0, burst: 0}\n",
    "an interval as Go writes it": "rate_limit: {interval: 1m0.5s500us, burst: 1}\n",
}


@pytest.fixture
def write(tmp_path: Path, pki: object) -> Callable[[str], Path]:
    """Write a file whose names in braces are those of certificates."""

    def write(text: str) -> Path:
        files = {
            "cert": pki.server[0],
            "key": pki.server[1],
            "other_key": pki.renewed[1],
            "encrypted": pki.encrypted_key,
            "ca": pki.ca,
        }
        text = re.sub(r"\{(cert|key|other_key|encrypted|ca)\}", lambda found: str(files[found[1]]), text)
        (tmp_path / "server.pem").write_bytes(pki.server[0].read_bytes())
        (tmp_path / "server.key").write_bytes(pki.server[1].read_bytes())
        path = tmp_path / "web.yml"
        path.write_text(text)
        return path

    return write


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_file_is_refused_naming_the_key(write: Callable[[str], Path], case: str) -> None:
    text, key, words = BROKEN[case]
    path = write(text)
    with pytest.raises(ConfigError) as refused:
        load_web_config(path)
    assert refused.value.exit_code == EXIT_USAGE
    problem = next((p for p in refused.value.problems if p.path == key), None)
    assert problem is not None, refused.value.message
    assert problem.file == path
    assert words in f"{problem.what}; {problem.hint}"


@pytest.mark.parametrize("case", GOOD)
def test_a_good_file_is_taken(write: Callable[[str], Path], case: str) -> None:
    load_web_config(write(GOOD[case]))


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Exception, match=r"none\.yml: cannot be read: No such file") as refused:
        load_web_config(tmp_path / "none.yml")
    assert refused.value.exit_code == EXIT_USAGE


def test_checking_a_file_needs_little_memory() -> None:
    """pydantic alone would take the server beyond the 40 MiB it may have."""
    command = "import sys, exporter.web.config; print('pydantic' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", command], capture_output=True, check=True).stdout == b"False\n"
    )


def test_the_refusal_of_any_certificate_has_a_reason_and_a_hint(write: Callable[[str], Path]) -> None:
    with pytest.raises(
        ConfigError, match=r"even one the client made itself.*; write RequireAndVerifyClientCert"
    ):
        load_web_config(write(TLS + "  client_auth_type: RequireAnyClientCert\n"))


def test_suites_that_this_openssl_lacks_are_a_refusal(
    write: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(CIPHER_SUITES, "TLS_RSA_WITH_AES_128_CBC_SHA", "REMOVED-BY-ITS-BUILDER")
    text = TLS + "  cipher_suites: [TLS_RSA_WITH_AES_128_CBC_SHA]\nhttp_server_config: {http2: false}\n"
    with pytest.raises(ConfigError, match="no suite that this host's OpenSSL supports"):
        load_web_config(write(text))


def test_several_problems_are_reported_at_once(write: Callable[[str], Path]) -> None:
    text = "http_server_config: {http3: true}\nbasic_auth_users: {a: b}\nrate_limit: {burst: x}\n"
    path = write(
        f"{text}tls_server_config: {{min_version: TLS13, max_version: TLS12, cert_file: server.pem}}\n"
    )
    with pytest.raises(ConfigError) as refused:
        load_web_config(path)
    assert [problem.line for problem in refused.value.problems] == [1, 2, 3, 4, 4]


def test_inline_certificates_leave_no_file(tmp_path: Path, pki: object) -> None:
    certificate, key = (path.read_text().replace("\n", "\n    ") for path in pki.server)
    path = tmp_path / "web.yml"
    path.write_text(f"tls_server_config:\n  cert: |\n    {certificate}\n  key: |\n    {key}\n")
    rules, watched = load_web_config(path)
    assert rules.context is not None
    assert watched == [path]


@pytest.mark.parametrize("case", [name for name in BROKEN if name.startswith(("password", "hash"))])
def test_no_refusal_contains_a_secret(write: Callable[[str], Path], case: str) -> None:
    path = write(BROKEN[case][0])
    with pytest.raises(ConfigError) as refused:
        load_web_config(path)
    for form in (refused.value.message, repr(refused.value), str(refused.value.__cause__)):
        assert not re.search(r"swordfish|12345|\$2b", form), form


def test_rules_do_not_show_their_secrets(write: Callable[[str], Path]) -> None:
    rules, _ = load_web_config(write(GOOD["everything"]))
    assert "$2b" not in repr(rules)
