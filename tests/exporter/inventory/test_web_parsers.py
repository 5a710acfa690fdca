import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.inventory import apache, applications, nginx, php, php_ini, web
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
            server_name "one.example" 'two.example' _; # server_name three.example;
            listen [::]:443 ssl http2; listen 80;
            root "/var/www/with space";
            location ~* \\.(php|phtml)$ { fastcgi_pass unix:/run/php.sock; }
            location ~ "^/x{2}" { return 200 "a;b}"; }
          }
        }""",
    )
    assert found.names == ["one.example", "two.example"]
    assert found.listen == ["[::]:443", "80"]
    assert found.root == "/var/www/with space"
    assert found.backends == ["/run/php.sock"]


def test_what_a_server_does_not_say_comes_from_around_it(host: Build) -> None:
    (found,) = nginx_of(
        host,
        main="""http { root /srv/all; ssl_certificate /etc/all.pem;
        upstream pool { server 127.0.0.1:9000 weight=2; server unix:/b.sock; }
        server { server_name a; location / { fastcgi_pass pool; } } }""",
    )
    assert (found.root, found.certificates, found.listen) == ("/srv/all", ["/etc/all.pem"], ["80"])
    assert found.backends == ["/b.sock", "127.0.0.1:9000"]


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
        nginx.servers(nginx.parse(text[:length], "file"))


def test_blocks_nested_without_end_do_not_break_the_reader() -> None:
    nginx.values(nginx.parse("a {" * 100_000, "file"), "a")
    nginx.values(nginx.parse("{" * 100_000 + "}" * 200_000, "file"), "a")


@settings(max_examples=300, derandomize=True)
@given(CONFIGURATION_TEXT)
def test_any_text_passes_the_web_servers_parsers(text: str) -> None:
    nginx.servers(nginx.parse(f"http {{ server {{ {text}", "file"))
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


def test_the_virtual_hosts_are_those_that_apache_itself_lists(host: Build, tmp_path: Path) -> None:
    modules = "\n".join(
        f"LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so"
        for name in ("mpm_event", "authz_core")
    )
    folder = tmp_path / "root/etc/apache2"
    files: dict[str, str | bytes] = {
        "/etc/apache2/apache2.conf": f"ServerRoot {folder}\n{modules}\nErrorLog /dev/null\nServerName main\n"
        "Listen 127.0.0.1:8123\nDefine zone example.org\nIncludeOptional sites-enabled/*.conf\n",
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
    assert sorted(found) == sorted(expected) == ["alias.example.org", "one.example.org", "two.example.org"]


def test_variables_that_name_each_other_are_filled_in_once(host: Build) -> None:
    text = "Define a ${b}${b}\nDefine b ${a}${a}\n<VirtualHost *>\nServerName ${a}\n</VirtualHost>"
    (found,) = apache.apache_hosts(host({"/etc/apache2/apache2.conf": text}).tree)[0]
    assert found.names == ["${b}${b}"]


def test_each_application_is_served_by_the_php_of_its_virtual_host(host: Build, items: Items) -> None:
    files: dict[str, str | bytes] = {
        **APACHE,
        "/etc/php/8.3/fpm/php-fpm.conf": "[global]\ninclude=/etc/php/8.3/fpm/pool.d/*.conf\n",
        "/etc/php/8.3/fpm/pool.d/www.conf": "[www]\nlisten = /run/php/php8.3-fpm.sock ; here\n",
        "/var/www/fpm/wp-includes/version.php": "<?php\n$wp_version = '6.1';",
        "/var/www/a b/sub/program/include/iniset.php": "<?php define('RCMAIL_VERSION', '1.6.9');",
        "/srv/unserved/core/Version.php": "class Version { const VERSION = '5.1.0'; }",
        "/srv/unserved/matomo.php": "",
    }
    found = items(web.read(host(files)), "web_application")
    assert sorted((item["name"], item["version"], item["php"], item["hosts"]) for item in found) == [
        ("Matomo", "5.1.0", [], []),
        ("Roundcube", "1.6.9", ["8.2"], ["www.example.org"]),
        ("WordPress", "6.1", ["8.3"], ["fpm.example.org"]),
    ]


# Application -> the files that a release has, shortened to what matters.
TREES = {
    ("WordPress", "6.4.2"): {"wp-includes/version.php": "<?php\n/** x */\n$wp_version = '6.4.2';\n"},
    ("Nextcloud", "28.0.1"): {
        "version.php": "<?php\n$OC_Version = array(28,0,1,1);\n$OC_VersionString = '28.0.1';\n",
        "lib/private/Server.php": "",
    },
    ("MediaWiki", "1.39.5"): {"includes/Defines.php": "<?php\ndefine( 'MW_VERSION', '1.39.5' );\n"},
    ("MediaWiki", "1.31.0"): {"includes/DefaultSettings.php": "<?php\n$wgVersion = '1.31.0';\n"},
    ("Drupal", "10.2.1"): {"core/lib/Drupal.php": "class Drupal {\n  const VERSION = '10.2.1';\n"},
    ("Drupal", "7.98"): {
        "includes/bootstrap.inc": "<?php\ndefine('VERSION', '7.98');\n",
        "modules/system/system.module": "",
    },
    ("Joomla", "5.0.2"): {
        "libraries/src/Version.php": "public const MAJOR_VERSION = 5;\npublic const MINOR_VERSION = 0;\n"
        "public const PATCH_VERSION = 2;\n"
    },
    ("Joomla", "3.4.8"): {
        "libraries/cms/version/version.php": "public $RELEASE = '3.4';\npublic $DEV_LEVEL = '8';\n"
    },
    ("TYPO3", "12.4.10"): {
        "typo3/sysext/core/Classes/Information/Typo3Version.php": "protected const VERSION = '12.4.10';\n"
    },
    ("TYPO3", "13.1.0"): {
        "vendor/typo3/cms-core/Classes/Information/Typo3Version.php": "protected const VERSION = '13.1.0';\n"
    },
    ("phpMyAdmin", "5.2.1"): {
        "libraries/classes/Version.php": "public const VERSION = '5.2.1' . VERSION_SUFFIX;\n"
    },
    ("Matomo", "4.16.0"): {"core/Version.php": "const VERSION = '4.16.0';\n", "matomo.php": ""},
    ("Roundcube", "1.6.5"): {"program/include/iniset.php": "define('RCMAIL_VERSION', '1.6.5');\n"},
    ("Moodle", "4.1.2"): {
        "version.php": "$version  = 2022112802.00;\n$release  = '4.1.2 (Build: 20230313)';\n",
        "lib/moodlelib.php": "",
    },
    ("GitLab", "16.7.0-ee"): {"VERSION": "16.7.0-ee\n", "app/models/merge_request.rb": ""},
}


@pytest.mark.parametrize(("application", "files"), TREES.items(), ids=lambda value: str(value)[:40])
def test_every_application_is_known_by_its_files(
    host: Build, application: tuple[str, str], files: dict[str, str]
) -> None:
    context = host({f"/var/www/x/{name}": text for name, text in files.items()})
    assert list(applications.identify(context.tree, "/var/www/x")) == [application]


def test_a_file_of_the_same_name_is_no_application(host: Build) -> None:
    context = host(
        {"/x/version.php": "<?php $release = 'mine';", "/x/VERSION": "1.0", "/x/core/Version.php": "x"}
    )
    assert list(applications.identify(context.tree, "/x")) == []


def test_a_huge_version_file_gives_no_version_rather_than_memory(host: Build) -> None:
    context = host({"/x/wp-includes/version.php": b"$wp_version = '1';" + b" " * (applications.LIMIT + 1)})
    assert list(applications.identify(context.tree, "/x")) == []


def test_a_hostile_version_is_cut_to_what_a_version_can_be(host: Build) -> None:
    text = f"$wp_version = '6.0{'9' * 500}\n\x00\"evil';"
    context = host({"/x/wp-includes/version.php": text})
    ((_, version),) = applications.identify(context.tree, "/x")
    assert len(version) <= 64 and version.isalnum() is False and "\n" not in version


def test_later_ini_files_win_and_sections_of_paths_do_not_count(host: Build) -> None:
    context = host(
        {
            "/etc/php/8.2/fpm/php.ini": "[PHP]\nmemory_limit = 128M ; default\ndisplay_errors=Off\n"
            "[PATH=/var/www]\nmemory_limit = 9G\n",
            "/etc/php/8.2/fpm/conf.d/10-opcache.ini": "zend_extension=opcache.so\n",
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


def test_only_listening_sockets_of_the_kernels_table_count() -> None:
    table = (
        "Num       RefCount Protocol Flags    Type St Inode Path\n"
        "0000: 00000002 00000000 00010000 0001 01 101 /run/php/a b.sock\n"
        "0000: 00000003 00000000 00000000 0001 03 102 /run/php/connected.sock\n"
        "0000: 00000002 00000000 00010000 0001 01 103\n"
    )
    assert parse_listening(table) == {"/run/php/a b.sock"}


@settings(max_examples=100, derandomize=True)
@given(st.text(max_size=60))
def test_a_status_page_of_another_kind_is_refused(text: str) -> None:
    try:
        assert set(parse_status(text)) <= {"idle processes"}
    except ValueError:
        return
