"""What an application's configuration says of its data; a password stands beside."""

import json
import os
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.inventory import web
from exporter.inventory.application_data import PLACES, data_of, parse
from exporter.inventory.source import Context, Findings, Item

Items = Callable[[Findings, str], list[Item]]
Build = Callable[[dict[str, str | bytes]], Context]
SECRET = "hunter2-secret"
WORDPRESS = (
    f"<?php\n// define('DB_NAME', 'old');\ndefine( 'DB_NAME', 'blog' );\ndefine('DB_PASSWORD', '{SECRET}');\n"
)
NEXTCLOUD = f"<?php\n$CONFIG = array (\n  'dbpassword' => '{SECRET}',\n  'datadirectory' => '/srv/data',\n"
DRUPAL = """<?php
/**
 *   'database' => 'databasename',
 */
# 'database' => 'commented',
$databases['default']['default'] = array (
  'database' => 'drupal',
  'password' => 'hunter2-secret',
  'host' => 'DBHOST',
  'driver' => 'mysql',
);
$databases['migrate']['default'] = array ('database' => 'other', 'driver' => 'mysql');
"""
ENV = f"#DB_DATABASE=old\nDB_CONNECTION=pgsql\nDB_HOST=127.0.0.1\nDB_DATABASE=shop\nDB_PASSWORD={SECRET}\n"
CONFIGURATIONS: list[tuple[str, str, str, list[str] | None, list[str]]] = [
    ("WordPress", "wp-config.php", WORDPRESS, ["mysql:blog"], []),
    ("WordPress", "../wp-config.php", WORDPRESS + "define('DB_HOST', 'localhost:3306');", ["mysql:blog"], []),
    ("WordPress", "wp-config.php", WORDPRESS + "define('DB_HOST', 'db:3307');", ["mysql:blog@db"], []),
    ("WordPress", "wp-config.php", WORDPRESS + 'define("DB_HOST", "/run/mysqld/s");', ["mysql:blog"], []),
    ("WordPress", "wp-config.php", "<?php define('DB_NAME', getenv('DB'));", None, []),
    ("Nextcloud", "config/config.php", NEXTCLOUD + "'dbtype'=>'pgsql', 'dbname'=>'nc', 'dbhost'=>'::1',",
     ["postgresql:nc"], ["/srv/data"]),
    ("Nextcloud", "config/config.php", NEXTCLOUD + "'dbtype' => 'sqlite3',", ["sqlite:/srv/data/owncloud.db"],
     ["/srv/data"]),
    ("MediaWiki", "LocalSettings.php", '$wgDBtype = "mysql";\n$wgDBserver = "::1";\n$wgDBname = "wiki";',
     ["mysql:wiki"], []),
    ("MediaWiki", "LocalSettings.php", '$wgDBtype="sqlite"; $wgDBname="wiki"; $wgSQLiteDataDir = "/srv/w";',
     ["sqlite:/srv/w/wiki.sqlite"], ["/srv/w"]),
    ("Drupal", "sites/default/settings.php", DRUPAL.replace("DBHOST", "localhost"), ["mysql:drupal"], []),
    ("Drupal", "sites/default/settings.php", DRUPAL.replace("DBHOST", "10.0.0.5"),
     ["mysql:drupal@10.0.0.5"], []),
    ("Joomla", "configuration.php", "public $dbtype = 'mysqli';\npublic $host = '::1';\npublic $db = 'j';",
     ["mysql:j"], []),
    ("TYPO3", "config/system/settings.php", "'driver' => 'mysqli', 'dbname' => 't3', 'host' => 'localhost',",
     ["mysql:t3"], []),
    ("Matomo", "config/config.ini.php", f'[database]\nhost = "::1"\npassword = "{SECRET}"\ndbname="matomo"\n',
     ["mysql:matomo"], []),
    ("Moodle", "config.php", "$CFG->dbtype = 'mariadb';\n$CFG->dbname='m';$CFG->dataroot='/srv/moodledata';",
     ["mysql:m"], ["/srv/moodledata"]),
    ("Roundcube", "config/config.inc.php", f"$config['db_dsnw'] = 'mysql://r:{SECRET}@localhost/rc';",
     ["mysql:rc"], []),
    ("Laravel", ".env", ENV, ["postgresql:shop"], []),
    ("Laravel", ".env", "DB_CONNECTION=sqlite\nDB_DATABASE=/srv/app/db\n", ["sqlite:/srv/app/db"], []),
    ("Symfony", ".env", f'DATABASE_URL="mysql://app:{SECRET}@127.0.0.1:3306/app?x=8"', ["mysql:app"], []),
    ("Symfony", ".env", 'DATABASE_URL="sqlite:///%kernel.project_dir%/var/data.db"',
     ["sqlite:/var/www/x/var/data.db"], []),
    ("Symfony", ".env", "DATABASE_URL=postgresql://a:b@db:5432/${NAME}", None, []),
]  # fmt: skip


@pytest.mark.parametrize(("application", "file", "text", "databases", "folders"), CONFIGURATIONS)
def test_the_configuration_names_databases_and_folders(
    host: Build, application: str, file: str, text: str, databases: list[str] | None, folders: list[str]
) -> None:
    context = host({f"/var/www/x/{file}": text, "/var/www/x/index.php": ""})
    found = data_of(context.tree, application, "/var/www/x")
    assert (found.databases, found.folders) == (databases, folders)
    assert SECRET not in str(found)


@given(st.sampled_from(sorted(PLACES)), st.text(max_size=200) | st.from_regex(r"DATABASE_URL=\S{1,30}"))
def test_any_configuration_gives_one_line_names_or_nothing(application: str, text: str) -> None:
    found = parse(text, PLACES[application], "/srv/x")
    for name in found.databases or []:
        assert "\n" not in name
        assert name.split(":")[0] in ("mysql", "postgresql", "sqlite")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
def test_a_configuration_that_is_closed_to_us_is_unknown(host: Build) -> None:
    context = host({"/var/www/x/wp-config.php": WORDPRESS})
    (context.roots.root / "var/www/x/wp-config.php").chmod(0)
    assert data_of(context.tree, "WordPress", "/var/www/x").databases is None


def test_an_application_in_the_inventory_has_its_databases_and_no_password(host: Build, items: Items) -> None:
    context = host(
        {
            "/var/www/x/wp-includes/version.php": "<?php\n$wp_version = '6.8';",
            "/var/www/x/wp-config.php": WORDPRESS,
        }
    )
    findings = web.read(context)
    (found,) = items(findings, "web_application")
    assert (found["databases"], found["data"]) == (["mysql:blog"], [])
    assert SECRET not in json.dumps(findings.items)
