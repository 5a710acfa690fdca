import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.inventory import SOURCES, apache, fpm, nginx, php, php_ini
from exporter.inventory.fpm import all_pools, parse_listening, parse_status
from exporter.inventory.source import Context, Findings, Item
from exporter.inventory.virtual_host import VirtualHost

Items = Callable[[Findings, str], list[Item]]
Build = Callable[[dict[str, str | bytes]], Context]
CONFIGURATION_TEXT = st.text(alphabet="ab {};\"'\\#$\n<>/=[]", max_size=200)


def nginx_of(host: Build, **files: str) -> list[VirtualHost]:
    found = {f"/etc/nginx/{name.replace('__', '/')}": text for name, text in files.items()}
    if "main" in files:
        found["/etc/nginx/nginx.conf"] = found.pop("/etc/nginx/main")
    return nginx.nginx_hosts(host(dict(found)).tree)[0]


def test_a_server_is_read_with_quotes_comments_and_escapes(host: Build) -> None:
    (found,) = nginx_of(
        host,
        main="""http { # } a comment
          server {
            server_name "one.example" 'two.example' _ "~^(.+)\\.x\\"$"; # server_name three.example;
            listen [::]:443 ssl http2; listen 80;
            root "/var/www/with space";
            location ~* \\.(php|phtml)$ { fastcgi_pass unix:/run/php.sock; }
            location ~ "^/x{2}" { return 200 "a;b}"; }
          }
        }""",
    )
    assert found.names == ["one.example", "two.example", '~^(.+)\\.x"$']
    assert found.listen == ["[::]:443", "80"]
    assert found.root == "/var/www/with space"
    assert found.backends == ["/run/php.sock"]


def test_settings_missing_in_a_server_come_from_its_surroundings(host: Build) -> None:
    (found,) = nginx_of(
        host,
        main="""http { root /srv/all; ssl_certificate /etc/all.pem;
        upstream pool { server 127.0.0.1:9000 weight=2; server unix:/b.sock; }
        server { server_name a; location / { fastcgi_pass pool; } } }""",
    )
    assert (found.root, found.certificates, found.listen) == ("/srv/all", ["/etc/all.pem"], ["80"])
    assert found.backends == ["/b.sock", "127.0.0.1:9000"]


def test_certificates_are_found_relative_to_the_configuration_and_outside_of_http(host: Build) -> None:
    text = """
    http { ssl_certificate all.pem;
      server { listen 443 ssl; ssl_certificate ssl/a.pem; ssl_certificate /etc/b.pem; }
      server { listen 443 ssl; } server { ssl_certificate $ssl_server_name.pem; } }
    stream { server { listen 993 ssl; ssl_certificate data:$pem; ssl_certificate ssl/imap.pem; } }
    """
    tree = host({"/etc/nginx/nginx.conf": text}).tree
    assert [entry.certificates for entry in nginx.nginx_hosts(tree)[0]] == [
        ["/etc/nginx/ssl/a.pem", "/etc/b.pem"],
        ["/etc/nginx/all.pem"],
        ["/etc/nginx/all.pem"],
    ]
    names = {"/etc/b.pem", *(f"/etc/nginx/{name}.pem" for name in ("all", "ssl/a", "ssl/imap"))}
    assert nginx.nginx_certificates(tree) == names


def test_included_files_are_read_in_their_place_and_relative_to_the_configuration(host: Build) -> None:
    found = nginx_of(
        host,
        main="http { include sites-enabled/*.conf; include missing.conf; }",
        **{"sites-enabled__b.conf": "server { server_name b; include snippet; }"},
        **{"sites-enabled__a.conf": "server { server_name a; }"},
        snippet="root /srv/b;",
    )
    assert [(entry.names, entry.root) for entry in found] == [(["a"], ""), (["b"], "/srv/b")]


def test_an_include_that_includes_itself_comes_to_an_end(host: Build) -> None:
    context = host({"/etc/nginx/nginx.conf": "http { server { server_name a; } } include nginx.conf;"})
    hosts, skipped = nginx.nginx_hosts(context.tree)
    assert len(hosts) == nginx.MAXIMUM_DEPTH + 1
    assert skipped == 1


def test_files_that_double_themselves_by_includes_are_bounded(host: Build) -> None:
    context = host({"/etc/nginx/nginx.conf": "include nginx.conf; include nginx.conf;"})
    _, skipped = nginx.nginx_hosts(context.tree)
    assert skipped > 1
    context = host({"/etc/apache2/apache2.conf": "Include apache2.conf\nInclude apache2.conf\n"})
    _, skipped = apache.apache_hosts(context.tree)
    assert skipped > 1


def test_an_include_through_a_link_out_of_the_root_finds_nothing(host: Build, tmp_path: Path) -> None:
    outside = tmp_path / "secret.conf"
    outside.write_text("server { server_name secret; }")
    context = host({"/etc/nginx/nginx.conf": "http { include link.conf; include ../../../secret.conf; }"})
    (context.roots.root / "etc/nginx/link.conf").symlink_to(outside)
    assert nginx.nginx_hosts(context.tree)[0] == []


def test_a_configuration_cut_anywhere_gives_no_error() -> None:
    text = 'http { server { server_name "a b"; listen 80; location / { root /x; } } }'
    for length in range(len(text)):
        nginx.servers(nginx.parse(text[:length], "file"), "/etc/nginx")


def test_endlessly_nested_blocks_do_not_break_the_reader() -> None:
    nginx.values(nginx.parse("a {" * 100_000, "file"), "a")
    nginx.values(nginx.parse("{" * 100_000 + "}" * 200_000, "file"), "a")


@settings(max_examples=300, derandomize=True)
@given(CONFIGURATION_TEXT)
def test_any_text_passes_the_web_servers_parsers(text: str) -> None:
    nginx.servers(nginx.parse(f"http {{ server {{ {text}", "file"), "/etc/nginx")
    apache.virtual_hosts(apache.parse(text, "file"))
    list(php_ini.parse(text))


APACHE = {
    "/etc/apache2/apache2.conf": """
ServerName main.example
Include ports.conf
IncludeOptional mods-enabled/*.load
IncludeOptional sites-enabled/*.conf
""",
    "/etc/apache2/ports.conf": "Listen 80\n",
    "/etc/apache2/mods-enabled/php8.2.load": "LoadModule php_module /usr/lib/apache2/modules/libphp8.2.so\n",
    "/etc/apache2/sites-enabled/a.conf": """
Define domain example.org
<VirtualHost *:443 [::]:443>
    ServerName https://www.${domain}:443
    ServerAlias ${domain} \\
        old.${domain}
    DocumentRoot "/var/www/a b/"
    # SSLCertificateFile /etc/comment.pem
    <IfModule mod_ssl.c>
        SSLCertificateFile /etc/ssl/a.pem
    </IfModule>
</VirtualHost>
<virtualhost *:80>
    servername fpm.example.org
    documentroot /var/www/fpm
    <FilesMatch "\\.php$">
        SetHandler "proxy:unix:/run/php/php8.3-fpm.sock|fcgi://localhost"
    </FilesMatch>
</virtualhost>
""",
}


def test_apaches_virtual_hosts_are_read_with_variables_and_conditions(host: Build) -> None:
    first, second = apache.apache_hosts(host(dict(APACHE)).tree)[0]
    assert first.names == ["www.example.org", "example.org", "old.example.org"]
    assert first.listen == ["*:443", "[::]:443"]
    assert (first.root, first.certificates, first.php) == ("/var/www/a b", ["/etc/ssl/a.pem"], "8.2")
    assert (second.names, second.root) == (["fpm.example.org"], "/var/www/fpm")
    assert (second.backends, second.php) == (["/run/php/php8.3-fpm.sock"], "")


def test_a_virtual_host_in_a_macro_counts_where_the_macro_is_used(host: Build) -> None:
    text = "<Macro Site $name>\n<VirtualHost *>\nServerName $name\n</VirtualHost>\n</Macro>\n"
    text += "Use Site a\n<VirtualHost *>\nServerName b\n</VirtualHost>\n"
    found = apache.apache_hosts(host({"/etc/apache2/apache2.conf": text}).tree)[0]
    assert [entry.names for entry in found] == [["a"], ["b"]]


def test_apaches_paths_may_be_relative_to_its_root(host: Build) -> None:
    text = "ServerRoot /srv/httpd\n<VirtualHost *>\nDocumentRoot sites/a\nSSLCertificateFile tls/a.pem\n"
    text += "</VirtualHost>\n<VirtualHost *>\nDocumentRoot ${SITES}/b\nSSLCertificateFile pkcs11:id=1\n"
    first, second = apache.apache_hosts(host({"/etc/apache2/apache2.conf": text}).tree)[0]
    assert (first.root, first.certificates) == ("/srv/httpd/sites/a", ["/srv/httpd/tls/a.pem"])
    assert (second.root, second.certificates) == ("", [])


def test_php_fpm_set_for_the_whole_server_serves_every_host_unless_php_is_a_module(host: Build) -> None:
    fpm = '<FilesMatch "php">\nSetHandler "proxy:unix:/run/php/php8.2-fpm.sock|fcgi://localhost"\n</FilesMatch>\n'
    text = f"{fpm}Alias /wiki /srv/wiki/\n<VirtualHost *>\nDocumentRoot /srv/a\n</VirtualHost>\n"
    (served,) = apache.apache_hosts(host({"/etc/apache2/apache2.conf": text}).tree)[0]
    assert (served.backends, served.php, served.folders) == (["/run/php/php8.2-fpm.sock"], "", ["/srv/wiki"])
    text += "LoadModule php_module modules/libphp8.1.so\n"
    (served,) = apache.apache_hosts(host({"/etc/apache2/apache2.conf": text}).tree)[0]
    assert (served.backends, served.php) == ([], "8.1")


def test_the_virtual_hosts_are_those_that_apache_itself_lists(host: Build, tmp_path: Path) -> None:
    modules = "\n".join(
        f"LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so"
        for name in ("mpm_event", "authz_core")
    )
    folder = tmp_path / "root/etc/apache2"
    files: dict[str, str | bytes] = {
        "/etc/apache2/apache2.conf": f"ServerRoot {folder}\n{modules}\nErrorLog /dev/null\nServerName main\n"
        "Listen 127.0.0.1:8123\nDefine zone example.org\nIncludeOptional sites-enabled/*.conf\n"
        "Include more\n",
        "/etc/apache2/more/a/b.conf": "<VirtualHost *:8123>\nServerName three.${zone}\n</VirtualHost>\n",
        "/etc/apache2/sites-enabled/1.conf": "<VirtualHost *:8123>\nServerName one.${zone}\nServerAlias \\\n"
        "  alias.${zone}\n</VirtualHost>\n<VirtualHost *:8123>\n<IfModule mpm_event_module>\n"
        "ServerName two.${zone}\n</IfModule>\n</VirtualHost>\n",
    }
    context = host(files)
    server = ["/usr/sbin/apache2", "-S", "-d", str(folder), "-f", str(folder / "apache2.conf")]
    listed = subprocess.run(server, check=True, capture_output=True, text=True).stdout
    expected = re.findall(r"(?:namevhost|alias) (\S+)", listed)
    # Seen from the root of the tree, the ServerRoot is where the tree has it.
    main = context.roots.root / "etc/apache2/apache2.conf"
    main.write_text(main.read_text().replace(str(folder), "/etc/apache2"))
    found = [name for entry in apache.apache_hosts(context.tree)[0] for name in entry.names]
    assert (
        sorted(found)
        == sorted(expected)
        == [f"{name}.example.org" for name in ("alias", "one", "three", "two")]
    )


def test_variables_that_name_each_other_are_filled_in_once(host: Build) -> None:
    text = "Define a ${b}${b}\nDefine b ${a}${a}\n<VirtualHost *>\nServerName ${a}\n</VirtualHost>"
    text += "\n<VirtualHost *>\nServerName x\n</VirtualHost>"
    first, second = apache.apache_hosts(host({"/etc/apache2/apache2.conf": text}).tree)[0]
    assert (first.names, second.names) == ([], ["x"])


def test_later_ini_files_win_and_sections_of_paths_do_not_count(host: Build) -> None:
    context = host(
        {
            "/etc/php/8.2/fpm/php.ini": "[PHP]\nmemory_limit = 128M ; default\ndisplay_errors=Off\n"
            "[PATH=/var/www]\nmemory_limit = 9G\n[PHP]\nexpose_php = On\n",
            "/etc/php/8.2/fpm/conf.d/10-opcache.ini": "zend_extension=opcache.so\n"
            "[host = a.example]\nmemory_limit = 9G\nextension=no\n",
            "/etc/php/8.2/fpm/conf.d/99-own.ini": 'memory_limit = "512M"\nextension=/usr/lib/php/redis.so\n'
            "session.save_path = tcp://secret\n;extension=off\n",
        }
    )
    files = php_ini.ini_files(context.tree, "/etc/php/8.2/fpm/php.ini", "/etc/php/8.2/fpm/conf.d")
    values, extensions, skipped = php_ini.settings(context.tree, files)
    assert values == {"memory_limit": "512M", "display_errors": "Off"}
    assert extensions == ["opcache", "redis"]
    assert skipped == 0


def test_php_is_found_in_a_mounted_system_without_being_run(host: Build, items: Items) -> None:
    binary = b"\x7fELF\x00X-Powered-By: PHP/7.4.33-custom\x00" + bytes(1000)
    context = host(
        {
            "/usr/bin/php7.4": binary,
            "/usr/sbin/php-fpm7.4": binary,
            "/usr/bin/php81": binary.replace(b"7.4.33-custom", b"8.1.2"),
            "/usr/bin/php8.9": b"#!/bin/sh\n",
            "/etc/php/7.4/cli/conf.d/20-curl.ini": "extension=curl\n",
        }
    )
    (context.roots.root / "usr/bin/php").symlink_to("php7.4")
    findings = php.read(context)
    rows = {
        (item["version"], item["branch"], item["sapi"], item["end_of_life"])
        for item in items(findings, "php")
    }
    assert rows == {
        ("7.4.33-custom", "7.4", "cli", "2022-11-28"),
        ("7.4.33-custom", "7.4", "fpm", "2022-11-28"),
        ("8.1.2", "8.1", "cli", "2025-12-31"),
    }
    assert [(item["name"], item["version"]) for item in items(findings, "php_extension")] == [("curl", "")]
    assert findings.skipped == 1


def test_pools_are_read_with_includes_and_the_pools_name(host: Build) -> None:
    context = host(
        {
            "/etc/php/8.2/fpm/php-fpm.conf": "[global]\npid = /x\ninclude=/etc/php/8.2/fpm/pool.d/*.conf\n",
            "/etc/php/8.2/fpm/pool.d/a.conf": "[a]\nlisten = /run/$pool.sock\n",
            "/etc/php/8.2/fpm/pool.d/loop.conf": "include=/etc/php/8.2/fpm/pool.d/*.conf\n[b]\nlisten=9000\n",
        }
    )
    found = {name: (branch, values["listen"]) for branch, name, values in all_pools(context.tree, Findings())}
    assert found == {"a": ("8.2", "/run/a.sock"), "b": ("8.2", "9000")}


def test_a_number_sign_is_no_comment_in_a_value(host: Build) -> None:
    """As PHP itself reads it since 7.0: only a semicolon begins a comment there."""
    files: dict[str, str | bytes] = {"/etc/php/8.2/fpm/php-fpm.conf": "[a]\nlisten = /run/a#1.sock ; one\n"}
    ((_, _, values),) = all_pools(host(files).tree, Findings())
    assert values == {"listen": "/run/a#1.sock"}


def test_pools_of_a_distribution_with_one_php_have_the_branch_of_its_program(host: Build) -> None:
    files: dict[str, str | bytes] = {
        "/etc/php-fpm.conf": "[www]\nlisten = 9000\n",
        "/usr/sbin/php-fpm": b"\x7fELF X-Powered-By: PHP/8.0.30\0",
    }
    assert [row[:2] for row in all_pools(host(files).tree, Findings())] == [("8.0", "www")]


def test_pools_of_one_name_are_one_series(host: Build) -> None:
    twins = {f"/etc/{name}/php-fpm.conf": "[www]\nlisten = 9000\n" for name in ("php/8.2/fpm", "php82")}
    findings = Findings()
    assert len(all_pools(host(dict(twins)).tree, findings)) == findings.skipped == 1


@pytest.mark.parametrize(
    ("system", "link", "expected"),
    [
        ("systemd/system", "/etc/systemd/system/multi-user.target.wants/php8.2-fpm.service", [0]),
        ("systemd/system", "/etc/systemd/system/multi-user.target.wants/php8.1-fpm.service", []),
        ("systemd/system", "/etc/systemd/system/multi-user.target.wants/php-fpm.service", [0]),
        ("openrc", "/etc/runlevels/default/php-fpm82", [0]),
        ("openrc", "/etc/systemd/system/multi-user.target.wants/php8.2-fpm.service", []),
        ("systemd/system", "/etc/x", []),
    ],
)
def test_a_pool_without_listener_is_down_only_where_its_service_is_to_run(
    host: Build, system: str, link: str, expected: list[int]
) -> None:
    pool = "[www]\nlisten = /run/nobody.sock\n"
    context = host({"/etc/php/8.2/fpm/php-fpm.conf": pool, link: "", f"/run/{system}/x": ""})
    figures = {family.name: [value for _, value in family.rows] for family in fpm.read(context).metrics}
    assert figures["leitstand_php_fpm_up"] == expected
    masked = context.roots.root / "etc/systemd/system/php8.2-fpm.service"
    masked.parent.mkdir(parents=True, exist_ok=True)
    masked.symlink_to("/dev/null")
    if "8.2" in link:
        assert fpm.wanted_branches(context.tree) == set()


@pytest.mark.parametrize("pools", [1, 8, 40, fpm.MAXIMUM_POOLS])
def test_pools_that_all_hang_leave_the_source_its_time(pools: int) -> None:
    shares = [0.0]
    patience = fpm.Patience(pools, lambda: sum(shares))
    for _ in range(pools):
        # Each takes its time twice: to connect, and to answer.
        shares += [patience.share()] * 2
    assert sum(shares) < SOURCES["php_fpm"].limit * 0.9
    assert max(shares) == min(fpm.TIME_LIMIT, fpm.TIME_FOR_ALL / pools)


def test_only_listening_sockets_of_the_kernels_table_count() -> None:
    table = (
        "Num       RefCount Protocol Flags    Type St Inode Path\n"
        "0000: 00000002 00000000 00010000 0001 01 101 /run/php/a b.sock\n"
        "0000: 00000003 00000000 00000000 0001 03 102 /run/php/connected.sock\n"
        "0000: 00000002 00000000 00010000 0001 01 103\n"
    )
    assert parse_listening(table) == {"/run/php/a b.sock"}


def test_figures_of_a_status_page_that_no_metric_can_hold_are_left_out() -> None:
    text = '{"listen queue": 1, "idle processes": %s, "active processes": NaN, "slow requests": -1e999}'
    assert parse_status(text % ("9" * 400)) == {"listen queue": 1}


@settings(max_examples=100, derandomize=True)
@given(st.text(max_size=60))
def test_a_status_page_of_another_kind_is_refused(text: str) -> None:
    try:
        assert set(parse_status(text)) <= {"idle processes"}
    except ValueError:
        return
