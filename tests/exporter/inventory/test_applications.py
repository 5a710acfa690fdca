import json
import os
import subprocess
import sys
from collections.abc import Callable

import pytest

from exporter.inventory import applications, web
from exporter.inventory.source import Context, Findings, Item
from exporter.tree import Tree

Items = Callable[[Findings, str], list[Item]]
Build = Callable[[dict[str, str | bytes]], Context]


def known(tree: Tree, folder: str) -> list[tuple[str, str]]:
    """(name, version) of the applications in a folder."""
    return [(name, version) for name, version, _ in applications.identify(tree, folder, set())]


def rows(found: list[Item]) -> list[tuple[object, ...]]:
    return sorted((item["name"], item["path"], item["php"], item["hosts"]) for item in found)


def test_each_application_is_served_by_the_php_of_its_virtual_host(host: Build, items: Items) -> None:
    files: dict[str, str | bytes] = {
        "/etc/apache2/apache2.conf": "LoadModule php_module modules/libphp8.2.so\n"
        '<VirtualHost *>\nServerName www.example.org\nDocumentRoot "/var/www/a b/"\n</VirtualHost>\n'
        "<VirtualHost *>\nServerName fpm.example.org\nDocumentRoot /var/www/fpm\n"
        'SetHandler "proxy:unix:/run/php/php8.3-fpm.sock|fcgi://localhost"\n</VirtualHost>\n',
        "/etc/php/8.3/fpm/php-fpm.conf": "[global]\ninclude=/etc/php/8.3/fpm/pool.d/*.conf\n",
        "/etc/php/8.3/fpm/pool.d/www.conf": "[www]\nlisten = /run/php/php8.3-fpm.sock ; here\n",
        "/var/www/fpm/wp-includes/version.php": "<?php\n$wp_version = '6.1';",
        "/var/www/a b/sub/program/include/iniset.php": "<?php define('RCMAIL_VERSION', '1.6.9');",
        "/srv/unserved/core/Version.php": "namespace Piwik;\nclass Version { const VERSION = '5.1.0'; }",
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
        "version.php": "<?php\n$OC_Version = array(28,0,1,1);\n$OC_VersionString = '28.0.1';\n"
        "$vendor = 'nextcloud';\n",
    },
    ("MediaWiki", "1.39.5"): {"includes/Defines.php": "<?php\ndefine( 'MW_VERSION', '1.39.5' );\n"},
    ("MediaWiki", "1.31.0"): {"includes/DefaultSettings.php": "<?php\n$wgVersion = '1.31.0';\n"},
    ("Drupal", "10.2.1"): {"core/lib/Drupal.php": "class Drupal {\n  const VERSION = '10.2.1';\n"},
    ("Drupal", "7.98"): {
        "includes/bootstrap.inc": "<?php\ndefine('VERSION', '7.98');\n",
        "modules/system/system.module": "",
    },
    ("Drupal", "6.38"): {"modules/system/system.module": "<?php\ndefine('VERSION', '6.38');\n"},
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
    ("TYPO3", "14.0.1"): {
        "typo3/sysext/core/Classes/Information/Typo3Version.php": "const string VERSION = '14.0.1';\n"
    },
    ("TYPO3", "13.1.0"): {
        "vendor/typo3/cms-core/Classes/Information/Typo3Version.php": "protected const VERSION = '13.1.0';\n"
    },
    ("phpMyAdmin", "5.2.1"): {
        "libraries/classes/Version.php": "public const VERSION = '5.2.1' . VERSION_SUFFIX;\n"
    },
    ("phpMyAdmin", "6.0.0"): {
        "src/Version.php": "public const VERSION = '6.0.0' . VERSION_SUFFIX;\n",
        "resources/templates/login/form.twig": "",
    },
    ("phpMyAdmin", "4.4.15.10"): {"libraries/Config.class.php": "$this->set('PMA_VERSION', '4.4.15.10');\n"},
    ("Matomo", "1.5.2"): {
        "core/Version.php": "<?php\nfinal class Piwik_Version\n{\n\tconst VERSION = '1.5.2';\n}\n"
    },
    ("Matomo", "4.16.0"): {
        "core/Version.php": "<?php\nnamespace Piwik;\nclass Version\n{\n    const VERSION = '4.16.0';\n}\n"
    },
    ("Roundcube", "1.6.5"): {"program/include/iniset.php": "define('RCMAIL_VERSION', '1.6.5');\n"},
    ("Moodle", "4.1.2"): {
        "version.php": "$version  = 2022112802.00;\n$release  = '4.1.2 (Build: 20230313)';\n",
        "lib/moodlelib.php": "",
    },
    ("Moodle", "5.1+"): {
        "public/version.php": "$release  = '5.1+ (Build: 20251205)';\n",
        "public/lib/moodlelib.php": "",
    },
    ("Laravel", "11.9.2"): {
        "vendor/laravel/framework/src/Illuminate/Foundation/Application.php": "const VERSION = '11.9.2';\n",
        "artisan": "",
    },
    ("Symfony", "7.1.3"): {
        "vendor/symfony/http-kernel/Kernel.php": "    public const VERSION = '7.1.3';\n",
        "bin/console": "",
    },
    ("GitLab", "16.7.0-ee"): {"VERSION": "16.7.0-ee\n", "app/models/merge_request.rb": ""},
}


@pytest.mark.parametrize(("application", "files"), TREES.items(), ids=lambda value: str(value)[:40])
def test_every_application_is_known_by_its_files(
    host: Build, application: tuple[str, str], files: dict[str, str]
) -> None:
    context = host({f"/var/www/x/{name}": text for name, text in files.items()})
    assert known(context.tree, "/var/www/x") == [application]


def test_an_application_behind_an_alias_is_served_by_the_hosts_that_have_it(
    host: Build, items: Items
) -> None:
    files: dict[str, str | bytes] = {
        "/etc/apache2/apache2.conf": "LoadModule php_module modules/libphp8.2.so\nAlias /wiki /var/lib/wiki\n"
        "<VirtualHost *>\nServerName a\nDocumentRoot /var/www/a\n</VirtualHost>\n",
        "/etc/nginx/nginx.conf": "http { server { server_name n; root /var/www/n;"
        "location ^~ /mail/ { alias /var/lib/mail/public_html/; }"
        "location /admin { root /usr/share; location ~ php { fastcgi_pass unix:/var/run/f.sock; } } } }",
        "/etc/php/8.3/fpm/php-fpm.conf": "[www]\nlisten = /run/f.sock\n",
        "/run/f.sock": "",
        "/var/lib/wiki/includes/Defines.php": "define( 'MW_VERSION', '1.43.6' );",
        "/var/lib/mail/program/include/iniset.php": "define('RCMAIL_VERSION', '1.6.9');",
        "/usr/share/admin/libraries/classes/Version.php": "const VERSION = '5.2.1';",
    }
    context = host(files)
    (context.roots.root / "var/run").symlink_to("/run")
    assert rows(items(web.read(context), "web_application")) == [
        ("MediaWiki", "/var/lib/wiki", ["8.2"], ["a"]),
        ("Roundcube", "/var/lib/mail", ["8.3"], ["n"]),
        ("phpMyAdmin", "/usr/share/admin", ["8.3"], ["n"]),
    ]


def test_one_installation_is_one_item_however_many_ways_lead_to_it(host: Build, items: Items) -> None:
    """Debian's /var/lib/mediawiki is links to /usr/share/mediawiki; Moodle's public/ has the version, too."""
    files: dict[str, str | bytes] = {
        "/usr/share/mediawiki/includes/Defines.php": "define( 'MW_VERSION', '1.39.17' );",
        "/var/lib/mediawiki/x": "",
        "/etc/nginx/nginx.conf": "http { server { server_name m; root /srv/moodle/public; } }",
        "/srv/moodle/public/version.php": "$release  = '5.1';",
        "/srv/moodle/public/lib/moodlelib.php": "",
    }
    context = host(files)
    (context.roots.root / "var/lib/mediawiki/includes").symlink_to("/usr/share/mediawiki/includes")
    assert rows(items(web.read(context), "web_application")) == [
        ("MediaWiki", "/usr/share/mediawiki", [], []),
        ("Moodle", "/srv/moodle", [], ["m"]),
    ]


def test_sites_that_share_their_code_by_links_are_each_an_application(host: Build, items: Items) -> None:
    sites = [f"server {{ server_name {name}; root /srv/{name}; }}" for name in ("a", "b")]
    version = "typo3/sysext/core/Classes/Information/Typo3Version.php"
    context = host(
        {
            "/etc/nginx/nginx.conf": f"http {{ {' '.join(sites)} }}",
            f"/opt/source/{version}": "const VERSION = '12.4.1';",
            "/srv/a/x": "",
            "/srv/b/x": "",
        }
    )
    for name in ("a", "b"):
        (context.roots.root / f"srv/{name}/typo3").symlink_to("/opt/source/typo3")
    assert rows(items(web.read(context), "web_application")) == [
        ("TYPO3", "/srv/a", [], ["a"]),
        ("TYPO3", "/srv/b", [], ["b"]),
    ]


def test_a_relative_of_another_name_is_not_taken_for_it(host: Build) -> None:
    text = "$OC_VersionString = '10.15.0';\n$vendor = 'owncloud';\n"
    assert known(host({"/x/version.php": text, "/x/lib/private/Server.php": ""}).tree, "/x") == []


def test_a_file_of_the_same_name_is_no_application(host: Build) -> None:
    context = host(
        {"/x/version.php": "<?php $release = 'mine';", "/x/VERSION": "1.0", "/x/core/Version.php": "x"}
    )
    assert known(context.tree, "/x") == []


def test_a_huge_version_file_is_counted_rather_than_read(host: Build) -> None:
    context = host({"/x/wp-includes/version.php": b"$wp_version = '1';" + b" " * (applications.LIMIT + 1)})
    unread: set[str] = set()
    assert list(applications.identify(context.tree, "/x", unread)) == []
    assert unread == {"/x/wp-includes/version.php"}


LOOK = """
import json, pathlib, sys, time
from exporter.roots import Roots
from exporter.inventory import web
from exporter.inventory.source import Context
from exporter.tree import Tree
roots = Roots(*map(pathlib.Path, sys.argv[1:]))
findings = web.read(Context(roots, Tree(roots.root), time.time()))
print(json.dumps([[kind for kind, _ in findings.items], findings.skipped]))
"""


def test_virtual_hosts_with_an_unreadable_root_are_counted(host: Build) -> None:
    roots = host(
        {
            "/etc/nginx/nginx.conf": "http { server { root /srv/a; } server { root /srv/b/; } }",
            "/srv/a/index.php": "",
            "/srv/b/wp-includes/version.php": "$wp_version = '6.0';",
            "/home/anna/www/index.php": "",
        }
    ).roots
    for name in ("srv/a", "srv/b/wp-includes/version.php", "home/anna"):
        (roots.root / name).chmod(0)
    as_nobody_special = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"]
    places = [str(roots.proc), str(roots.sys), str(roots.root)]
    command = [*(as_nobody_special if os.geteuid() == 0 else []), sys.executable, "-c", LOOK, *places]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    for name in ("srv/a", "home/anna"):
        (roots.root / name).chmod(0o755)
    assert json.loads(done.stdout) == [["virtual_host", "virtual_host"], 2]


def test_a_hostile_version_is_cut_to_what_a_version_can_be(host: Build) -> None:
    text = f"$wp_version = '6.0{'9' * 500}\n\x00\"evil';"
    context = host({"/x/wp-includes/version.php": text})
    ((_, version),) = known(context.tree, "/x")
    assert len(version) <= 64 and version.isalnum() is False and "\n" not in version
