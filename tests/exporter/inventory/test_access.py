import base64
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.inventory import (
    certificates,
    users,
)
from exporter.inventory.source import Context, Findings, Item
from exporter.inventory.sudo import parse_subjects

Items = Callable[[Findings, str], list[Item]]
Build = Callable[[dict[str, str | bytes]], Context]


PASSWD = """root:x:0:0:root:/root:/bin/bash
daemon:x:1:1::/usr/sbin:/usr/sbin/nologin
anna:x:1000:1000:Anna,,,:/home/anna:/bin/zsh
bert:x:1001:1001::/home/bert:/bin/bash
carl:x:1002:27::/home/carl:/bin/bash
broken line
"""
SUDOERS = """Defaults env_reset
# bert ALL=(ALL) ALL
User_Alias ADMINS = bert
root ALL=(ALL:ALL) ALL
%sudo ALL=(ALL:ALL) ALL
@includedir /etc/sudoers.d
"""


def test_logins_are_listed_with_their_right_to_sudo(host: Build, items: Items) -> None:
    files: dict[str, str | bytes] = {
        "/etc/passwd": PASSWD,
        "/etc/group": "sudo:x:27:\nanna:x:1000:\n",
        "/etc/sudoers": SUDOERS,
        "/etc/sudoers.d/anna": "anna ALL=(ALL) NOPASSWD: \\\n  ALL\n",
        "/etc/sudoers.d/off.bak": "bert ALL=(ALL) ALL\n",
    }
    findings = users.read(host(files))
    found = {item["name"]: item["sudo"] for item in items(findings, "user")}
    assert found == {"root": True, "anna": True, "bert": False, "carl": True}
    assert findings.skipped == 1


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("anna ALL=(ALL) ALL", {"anna"}),
        ("zoe, anna  ,bert ALL = NOPASSWD: /bin/ls", {"anna", "bert"}),
        ("User_Alias A = anna, \\\n  B : B = bert\nA ALL=ALL", {"anna", "bert"}),
        ("User_Alias A = A, B\nUser_Alias B = A, bert\nA ALL=ALL", {"bert"}),
        ("%ops web1 = /bin/ls", {"bert"}),
        ("%#500 ALL=ALL", {"bert"}),
        ("#1000 ALL=ALL", {"anna"}),
        ("#anna,bert ALL=ALL", set()),
        ("Cmnd_Alias anna = /bin/a\nDefaults:bert env_keep = X", set()),
        ("@include /etc/more", {"anna"}),
        ("#includedir more.d", {"bert"}),
        ("ALL ALL=ALL", {"anna", "bert"}),
    ],
)
def test_users_matched_by_a_rule_may_use_sudo(
    host: Build, items: Items, rule: str, expected: set[str]
) -> None:
    files: dict[str, str | bytes] = {
        "/etc/passwd": "anna:x:1000:1000::/home/anna:\nbert:x:1001:1001::/home/bert:/bin/sh\n",
        "/etc/group": "ops:x:500:bert\n",
        "/etc/sudoers": f"{rule}\n",
        "/etc/more": "anna ALL=ALL\n@include /etc/more\n",
        "/etc/more.d/one": "bert ALL=ALL",
        "/etc/more.d/two~": "anna ALL=ALL",
    }
    found = items(users.read(host(files)), "user")
    assert [item["shell"] for item in found] == ["/bin/sh", "/bin/sh"]
    assert {item["name"] for item in found if item["sudo"]} == expected


def test_rules_that_cannot_be_read_leave_it_open(host: Build, items: Items) -> None:
    rules = "anna ALL=ALL\n@include /etc/more.d\n"  # a folder, which is as unreadable as it is to root
    context = host({"/etc/passwd": PASSWD, "/etc/sudoers": rules, "/etc/more.d/one": ""})
    found = {item["name"]: item["sudo"] for item in items(users.read(context), "user")}
    assert found == {"root": True, "anna": None, "bert": None, "carl": None}


def test_keys_are_looked_for_where_sshd_does(host: Build, items: Items) -> None:
    key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA {}\n"
    files: dict[str, str | bytes] = {
        "/etc/passwd": PASSWD,
        "/etc/ssh/sshd_config": 'AuthorizedKeysFile "/etc/ssh/keys/%u" %h/k keys-%U%%\n'
        "AuthorizedKeysFile .ssh/later\nMatch User bert\nAuthorizedKeysFile /etc/ssh/other\n",
        "/etc/ssh/keys/anna": key.format("b"),
        "/home/anna/k": key.format("c"),
        "/home/bert/keys-1001%": key.format("d"),
        "/home/bert/.ssh/authorized_keys": key.format("e"),
    }
    found = items(users.read(host(files)), "ssh_key")
    assert [item["path"] for item in found] == ["/etc/ssh/keys/anna", "/home/anna/k", "/home/bert/keys-1001%"]


def test_a_file_of_a_million_keys_is_counted_not_read(host: Build) -> None:
    line = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB x\n"
    files: dict[str, str | bytes] = {"/etc/passwd": PASSWD.replace("broken line\n", "")}
    findings = users.read(host({**files, "/home/anna/.ssh/authorized_keys": line * 1_000_000}))
    assert [kind for kind, _ in findings.items if kind == "ssh_key"] == []
    assert findings.skipped == 1


def test_a_full_name_with_unusual_letters_hides_no_user() -> None:
    found, malformed = users.parse_passwd("eve:x:1000:1000:E\x0cv\x85e\u2028:/home/eve:/bin/bash\n")
    assert ([user.name for user in found], malformed) == (["eve"], 0)


def test_lines_that_ask_nis_are_no_users_and_no_groups() -> None:
    passwd = (
        "+::0:0:::\n+@staff::0:0:::/bin/bash\n-eve::0:0:::\n+::::::\neve:x:1000:1000::/home/eve:/bin/sh\n"
    )
    assert [[user.name for user in found] for found in users.parse_passwd(passwd)[:1]] == [["eve"]]
    assert users.parse_groups("+::0:\n+:::\n-ops::0:eve\nops:x:5:eve\n") == ({"ops": (5, {"eve"})}, 0)


def test_fingerprints_are_those_that_ssh_keygen_prints(host: Build, items: Items, tmp_path: Path) -> None:
    lines, printed = [], []
    for kind in ("ed25519", "rsa", "ecdsa"):
        make = ["ssh-keygen", "-q", "-t", kind, "-N", "", "-C", f"me {kind}", "-f", str(tmp_path / kind)]
        subprocess.run(make, check=True)
        lines.append((tmp_path / f"{kind}.pub").read_text())
        show = ["ssh-keygen", "-l", "-f", str(tmp_path / f"{kind}.pub")]
        printed.append(subprocess.run(show, check=True, capture_output=True, text=True).stdout.split()[1])
    lines[1] = f'from="192.0.2.0/24",command="echo \\"ssh-rsa AAAA\\"" {lines[1]}'
    text = "# a comment\n" + "".join(lines) + "not a key\n"
    findings = users.read(host({"/etc/passwd": PASSWD, "/home/anna/.ssh/authorized_keys": text}))
    found = items(findings, "ssh_key")
    assert [item["fingerprint"] for item in found] == printed
    assert [item["comment"] for item in found] == ["me ed25519", "me rsa", "me ecdsa"]
    assert {item["user"] for item in found} == {"anna"}
    assert findings.skipped == 2


def test_a_key_file_that_leads_out_of_the_root_is_not_read(host: Build, tmp_path: Path) -> None:
    (tmp_path / "outside").write_text("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB x\n")
    context = host({"/etc/passwd": PASSWD, "/home/anna/.ssh/x": ""})
    (context.roots.root / "home/anna/.ssh/authorized_keys").symlink_to(tmp_path / "outside")
    assert [kind for kind, _ in users.read(context).items if kind == "ssh_key"] == []


@pytest.mark.parametrize(
    ("rule", "sources", "sudo"),
    [
        ("+admins ALL=(ALL) ALL", "", None),
        ("%:ldap ALL=(ALL) ALL", "", None),
        ("anna ALL=(ALL) ALL", "sudoers: files sss", True),
        ("", "passwd: files sss", False),
        ("", "sudoers:\tfiles # sss", False),
        ("", "sudoers:\tfiles sss", None),
    ],
)
def test_members_of_groups_of_a_directory_are_not_reported_without_sudo(
    host: Build, items: Items, rule: str, sources: str, sudo: bool | None
) -> None:
    files = {"/etc/passwd": "anna:x:1000:1000::/home/anna:/bin/sh\n", "/etc/sudoers": f"{rule}\n"}
    context = host({**files, "/etc/nsswitch.conf": f"{sources}\n"})
    (found,) = items(users.read(context), "user")
    assert found["sudo"] is sudo


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user, which root alone may")
def test_a_folder_of_certificates_that_is_not_ours_to_list_is_counted() -> None:
    look = (
        "import os, pathlib, sys; from exporter.inventory import certificates as c, source; os.setuid(65534);"
        "from exporter.tree import Tree; from exporter.roots import Roots;"
        "root = pathlib.Path(sys.argv[1]); found = c.read(source.Context(Roots(root=root), Tree(root), 0.0));"
        "print(found.skipped, found.reason)"
    )
    with tempfile.TemporaryDirectory() as root:
        Path(root).chmod(0o755)
        folder = Path(root) / "etc/letsencrypt/live"
        folder.mkdir(parents=True)
        folder.chmod(0o700)
        command = [sys.executable, "-c", look, root]
        here = Path(__file__).parents[3]
        shown = subprocess.run(command, check=True, capture_output=True, text=True, cwd=here).stdout
    assert shown.strip() == "1 /etc/letsencrypt/live: permission denied"


def test_certificates_of_other_services_are_found_by_their_settings(host: Build, items: Items) -> None:
    pem = certificate_of("mail.example").decode()
    files: dict[str, str | bytes] = {
        "/etc/haproxy/haproxy.cfg": "bind :443 ssl crt /etc/one.pem crt /etc/haproxy/certs/ alpn h2\n"
        " # crt /etc/off.pem\n",
        "/etc/postgresql/15/main/postgresql.conf": "ssl_cert_file = '/etc/db.pem'\t# comment\n",
        "/etc/postfix/main.cf": "smtpd_tls_chain_files = /etc/smtp.key,\n  /etc/smtp.pem\n"
        "myhostname = /etc/off.pem\n",
        "/etc/smtp.key": "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        "/etc/dovecot/conf.d/10-ssl.conf": "#ssl_cert = </etc/off.pem\nssl_cert = </etc/imap.pem\n",
        **dict.fromkeys(
            [
                "/etc/haproxy/certs/a.pem",
                "/etc/haproxy/certs/b.pem",
                "/etc/db.pem",
                "/etc/imap.pem",
                "/etc/one.pem",
                "/etc/smtp.pem",
            ],
            pem,
        ),
        "/etc/off.pem": pem,
    }
    found = items(certificates.read(host(files)), "certificate")
    assert [item["path"] for item in found] == [
        "/etc/db.pem",
        "/etc/haproxy/certs/a.pem",
        "/etc/haproxy/certs/b.pem",
        "/etc/imap.pem",
        "/etc/one.pem",
        "/etc/smtp.pem",
    ]
    assert {item["subject"] for item in found} == {"CN=mail.example"}


def certificate_of(name: str) -> bytes:
    make = ["openssl", "req", "-x509", "-newkey", "ed25519", "-nodes", "-subj", f"/CN={name}"]
    return subprocess.run([*make, "-keyout", "/dev/null"], check=True, capture_output=True).stdout


@pytest.mark.parametrize(
    "path",
    [
        "/root/.acme.sh/a.example_ecc/fullchain.cer",
        "/home/anna/.acme.sh/a.example/fullchain.cer",
        "/var/lib/caddy/.local/share/caddy/certificates/acme-v02.api.letsencrypt.org-directory/a/a.crt",
        "/data/caddy/certificates/local/a/a.crt",
        "/root/.lego/certificates/a.example.crt",
        "/etc/pve/local/pve-ssl.pem",
        "/etc/pve/local/pveproxy-ssl.pem",
        "/etc/proxmox-backup/proxy.pem",
        "/etc/apache2/md/domains/a.example/pubcert.pem",
        "/var/cpanel/ssl/apache_tls/a.example/certificates",
        "/usr/local/directadmin/data/users/anna/domains/a.example.cert",
        "/var/snap/nextcloud/current/certs/certbot/config/live/a.example/cert.pem",
        "/etc/kubernetes/pki/apiserver.crt",
        "/srv/letsencrypt/live/a.example/cert.pem",
    ],
)
def test_certificates_are_found_where_programs_keep_them(host: Build, items: Items, path: str) -> None:
    renewal = "version = 2.1.0\narchive_dir = /srv/x\ncert = /srv/letsencrypt/live/a.example/cert.pem\n"
    files: dict[str, str | bytes] = {path: certificate_of("a"), "/etc/letsencrypt/renewal/a.conf": renewal}
    if path.endswith(".lego/certificates/a.example.crt"):
        files[path.replace(".crt", ".issuer.crt")] = certificate_of("the authority")
    found = items(certificates.read(host(files)), "certificate")
    assert [(item["path"], item["subject"]) for item in found] == [(path, "CN=a")]


@pytest.mark.parametrize("version", [1, 2])
def test_traefiks_certificates_are_found_by_their_names_and_a_broken_one_affects_no_other(
    host: Build, items: Items, version: int
) -> None:
    def entry(name: str, content: object) -> dict[str, object]:
        fields = {"domain": {"main": name}, "certificate": content, "key": "c2VjcmV0"}
        return fields if version == 2 else {"Domain": {"Main": name}, "Certificate": content}

    good = {name: base64.b64encode(certificate_of(name)).decode() for name in ("a", "c")}
    entries = [entry("a", good["a"]), entry("b", "!"), None, entry("a", good["a"]), entry("c", good["c"])]
    content = {"Account": {}, "Certificates": entries}
    text = json.dumps({"letsencrypt": content, "other": None} if version == 2 else content)
    findings = certificates.read(host({"/etc/traefik/acme.json": text}))
    found = {item["path"]: item["subject"] for item in items(findings, "certificate")}
    assert found == {"/etc/traefik/acme.json#a": "CN=a", "/etc/traefik/acme.json#c": "CN=c"}
    assert findings.skipped == 3
    assert {labels for labels, _ in findings.metrics[0].rows} == {(path,) for path in found}
    assert certificates.read(host({"/etc/traefik/acme.json": "{"})).skipped == 1


def test_every_heading_of_a_certificate_that_openssl_reads_is_read(
    host: Build, items: Items, tmp_path: Path
) -> None:
    plain = tmp_path / "plain"
    plain.write_bytes(certificate_of("good"))
    command = ["openssl", "x509", "-in", str(plain), "-addtrust", "serverAuth", "-trustout"]
    trusted = subprocess.run(command, check=True, capture_output=True).stdout
    former = plain.read_bytes().replace(b"CERTIFICATE", b"X509 CERTIFICATE")
    assert b"BEGIN TRUSTED CERTIFICATE" in trusted
    findings = certificates.read(host({"/etc/nginx/ssl/a.pem": trusted, "/etc/nginx/ssl/b.pem": former}))
    assert [item["subject"] for item in items(findings, "certificate")] == ["CN=good", "CN=good"]


def test_a_certificate_may_be_in_der_and_have_no_name(host: Build, items: Items) -> None:
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/", "-outform", "DER"]
    der = subprocess.run([*make, "-keyout", "/dev/null"], check=True, capture_output=True).stdout
    findings = certificates.read(host({"/etc/ssl/private/x.crt": der}))
    assert [item["subject"] for item in items(findings, "certificate")] == [""]


@pytest.mark.parametrize(
    ("part", "other", "subjects"),
    [
        (b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x09", []),  # a version that does not exist
        (b"\x82\x03san", b"\xa3\x03san", ["CN=abc"]),  # a kind of name nobody reads
        (b"\x55\x1d\x0e\x04", b"\x55\x1d\x11\x04", ["CN=abc"]),  # one extension twice
        (b"\x0c\x03abc", b"\x0c\x03\xff\xfe\xff", [""]),  # a name that is not UTF-8
    ],
)
def test_an_unusual_certificate_affects_at_most_itself(
    host: Build, items: Items, part: bytes, other: bytes, subjects: list[str]
) -> None:
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=abc", "-outform", "DER"]
    make += ["-addext", "subjectAltName=DNS:san", "-keyout", "/dev/null"]
    der = subprocess.run(make, check=True, capture_output=True).stdout
    assert part in der
    good = certificate_of("good")
    findings = certificates.read(
        host({"/etc/ssl/private/a.crt": der.replace(part, other), "/etc/ssl/private/b.crt": good})
    )
    assert [item["subject"] for item in items(findings, "certificate")] == [*subjects, "CN=good"]


def test_broken_certificates_are_skipped_and_keys_are_no_certificates(host: Build) -> None:
    broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    context = host(
        {
            "/etc/nginx/nginx.conf": (
                "http { server { ssl_certificate /etc/a.pem; ssl_certificate /etc/gone.pem; } }"
            ),
            "/etc/a.pem": broken,
            "/etc/letsencrypt/live/x/cert.pem": bytes(range(256)),
            "/etc/nginx/ssl/x.key": "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        }
    )
    findings = certificates.read(context)
    assert findings.items == []
    assert findings.skipped == 2


@settings(max_examples=200, derandomize=True)
@given(st.text(alphabet=st.sampled_from('aAIL%#!@=,:\\ \n\t"'), max_size=120))
def test_any_text_passes_the_parsers_of_people(text: str) -> None:
    parse_subjects(text.splitlines())
    parse_subjects(f"User_Alias {text}".splitlines())
    users.parse_keys(text)
    users.parse_key_files(f"AuthorizedKeysFile {text}")
    users.parse_passwd(text)
    users.parse_groups(text)


@settings(max_examples=100, derandomize=True)
@given(st.binary(max_size=100))
def test_any_content_is_a_certificate_or_refused(data: bytes) -> None:
    for text in (
        data,
        b"\x30\x82" + data,
        b"-----BEGIN CERTIFICATE-----\n" + data + b"\n-----END CERTIFICATE-----",
    ):
        try:
            certificates.parse_certificate(text)
        except ValueError:
            continue
