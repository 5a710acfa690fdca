"""What `leitstand suggest` needs to know of a host: redirects, titles, databases, mail, volumes."""

from collections.abc import Callable

import pytest

from exporter.inventory import apache, containers, databases, mail, nginx, web
from exporter.inventory.source import Context, Findings, Item

Items = Callable[[Findings, str], list[Item]]
Build = Callable[[dict[str, str | bytes]], Context]


@pytest.mark.parametrize(
    ("server", "redirects"),
    [
        ("return 301 https://$host$request_uri;", True),
        ("return https://www.example.org;", True),
        ("if ($host = a) { return 301 https://$host; } return 404;", True),
        ("rewrite ^ https://www.example.org$request_uri? permanent;", True),
        ("rewrite ^/old /new permanent; root /srv;", False),
        ("location / { return 302 /x; }", True),
        (
            "location /.well-known/acme-challenge/ { root /srv; } location / { return 301 https://$host; }",
            True,
        ),
        ("location / { return 301 https://$host; } location /api { proxy_pass http://x; }", False),
        ("return 200 ok;", False),
        ("root /srv;", False),
        ("location / { if ($x) { return 403; } root /srv; }", False),
    ],
)
def test_a_server_of_nginx_that_only_redirects_is_known(server: str, redirects: bool) -> None:
    (found,) = nginx.servers(
        nginx.parse(f"http {{ server {{ server_name a; {server} }} }}", "f"), "/etc/nginx"
    )
    assert found.redirect is redirects


@pytest.mark.parametrize(
    ("lines", "redirects"),
    [
        ("Redirect permanent / https://a.example.org/", True),
        ("Redirect / https://a.example.org/", True),
        ("RedirectMatch 301 ^/(.*)$ https://a.example.org/$1", True),
        (
            "RewriteCond %{SERVER_NAME} =a\nRewriteRule ^ https://%{SERVER_NAME} [END,NE,R=permanent]",
            True,
        ),
        ("RewriteRule ^(.*)$ /index.php [L]", False),
        ("RewriteRule ^ https://%{SERVER_NAME} [NE]", False),
        ("Redirect /old https://a.example.org/new", False),
        ("DocumentRoot /srv", False),
    ],
)
def test_a_virtual_host_of_apache_that_only_redirects_is_known(lines: str, redirects: bool) -> None:
    (found,) = apache.virtual_hosts(apache.parse(f"<VirtualHost *:80>\n{lines}\n</VirtualHost>", "f"))
    assert found.redirect is redirects


@pytest.mark.parametrize(
    ("server", "files", "title"),
    [
        ("", {}, "Our shop"),
        ("index index.html index.htm;", {}, "Our shop"),
        ("index index.php index.html;", {}, ""),
        ("location / { proxy_pass http://x; }", {}, ""),
        ("location /api { fastcgi_pass unix:/x; }", {}, ""),
        ("auth_basic x;", {}, ""),
        ("", {"/srv/a/index.php": ""}, ""),
        ("", {"/srv/a/index.html": "<title>A &amp; B</title>"}, ""),
        ("", {"/srv/a/index.html": "<title>Two\nlines</title>"}, ""),
        ("", {"/srv/a/index.html": b"\xff\x00"}, ""),
    ],
)
def test_a_title_is_known_only_of_a_page_that_nothing_else_precedes(
    host: Build, items: Items, server: str, files: dict[str, str | bytes], title: str
) -> None:
    tree: dict[str, str | bytes] = {
        "/etc/nginx/nginx.conf": f"http {{ server {{ server_name a; root /srv/a; {server} }} }}",
        "/srv/a/index.html": "<html><head><title> Our shop </title>",
    }
    (found,) = items(web.read(host(tree | files)), "virtual_host")
    assert found["title"] == title


@pytest.mark.parametrize(
    ("files", "names"),
    [
        ({}, None),
        ({"/var/lib/mysql/shop/db.opt": "", "/var/lib/mysql/lost+found/x": ""}, ["shop"]),
        ({"/var/lib/mysql/my@002dshop/db.opt": "", "/var/lib/mysql/#sql/x": ""}, ["my-shop"]),
        (
            {"/etc/mysql/mariadb.conf.d/50-server.cnf": "[mysqld]\ndatadir = /srv/db\n",
             "/srv/db/one/db.opt": "", "/var/lib/mysql/not/db.opt": ""},
            ["one"],
        ),
    ],
)  # fmt: skip
def test_the_databases_of_a_server_are_the_folders_of_its_data(
    host: Build, files: dict[str, str | bytes], names: list[str] | None
) -> None:
    assert databases.schemas(host(files).tree) == names


DOVECOT = "/etc/dovecot/conf.d/10-mail.conf"


@pytest.mark.parametrize(
    ("files", "stores"),
    [
        ({}, []),
        ({"/var/mail/anna": "From x"}, [("spool", "/var/mail")]),
        ({"/var/mail/anna": ""}, []),
        (
            {DOVECOT: "mail_location = maildir:/srv/vmail/%d/%n/Maildir\n", "/srv/vmail/a/b": ""},
            [("Dovecot", "/srv/vmail")],
        ),
        (
            {DOVECOT: "#mail_location = x\n  mail_location = mbox:~/mail:INBOX=/var/mail/%u\n",
             "/home/anna/mail/x": "", "/var/mail/anna": "From x"},
            [("Dovecot", "/home"), ("Dovecot", "/var/mail")],
        ),
        (
            {DOVECOT: "mail_home = /srv/vmail/%{user}\nmail_path = ~/mail\n", "/srv/vmail/x": ""},
            [("Dovecot", "/srv/vmail")],
        ),
        (
            {"/etc/postfix/main.cf": "virtual_mailbox_base=/var/vmail\n#home_mailbox\n", "/var/vmail/a": ""},
            [("Postfix", "/var/vmail")],
        ),
        ({"/etc/postfix/main.cf": "home_mailbox = Maildir/\n", "/home/anna/x": ""}, [("Postfix", "/home")]),
        (
            {"/etc/imapd.conf": "partition-default: /var/spool/cyrus/mail\n", "/var/spool/cyrus/mail/a": ""},
            [("Cyrus", "/var/spool/cyrus/mail")],
        ),
        ({DOVECOT: "mail_location = maildir:/not/there/%u\n"}, []),
    ],
)  # fmt: skip
def test_mail_is_where_the_servers_are_configured_to_keep_it(
    host: Build, items: Items, files: dict[str, str | bytes], stores: list[tuple[str, str]]
) -> None:
    found = [
        (str(item["program"]), str(item["path"])) for item in items(mail.read(host(files)), "mail_store")
    ]
    assert found == stores


def test_volumes_are_named_ones_and_folders_that_containers_write_to(items: Items) -> None:
    findings, unnamed = Findings(), "ab" * 32
    mounts = [
        {"Type": "volume", "Name": "db", "Source": "/v/db/_data", "RW": True},
        {"Type": "volume", "Name": unnamed, "Source": f"/v/{unnamed}/_data", "RW": True},
        {"Type": "bind", "Source": "/srv/uploads", "RW": True},
        {"Type": "bind", "Source": "/srv/read", "RW": False},
        {"Type": "bind", "Source": "/var/run/docker.sock", "RW": True},
        {"Type": "bind", "Source": "/", "RW": True},
        {"Type": "tmpfs", "Source": ""},
        "nonsense",
    ]
    running = [
        {"Names": ["/web"], "Image": "app:1", "Mounts": mounts},
        {"Names": ["/x"], "Mounts": None},
        "nonsense",
    ]
    named = {"/v/db/_data": "db", "/v/old/_data": "old", f"/v/{unnamed}/_data": unnamed, "/v/z": "cd" * 32}
    containers.add_volumes(findings, "docker", named, running)
    found = {
        item["path"]: (item["name"], item["containers"], item["images"])
        for item in items(findings, "container_volume")
    }
    assert found == {
        "/v/db/_data": ("db", ["web"], ["app:1"]),
        "/v/old/_data": ("old", [], []),
        f"/v/{unnamed}/_data": (unnamed, ["web"], ["app:1"]),
        "/srv/uploads": ("", ["web"], ["app:1"]),
    }
