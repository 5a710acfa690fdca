import json
import time
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from fleet_inventory.database import open_database
from fleet_inventory.document import parse
from tests.rollout.suggest.conftest import Fleet, Items

Make = Callable[..., Fleet]
NGINX = {"server": "nginx", "file": "/etc/nginx/sites-enabled/all", "certificates": [], "listen": ["80"]}
WORDPRESS: Items = {
    "virtual_host": [
        NGINX
        | {
            "name": "blog.example.org",
            "aliases": ["www.blog.example.org"],
            "listen": ["443"],
            "root": "/var/www/blog",
            "certificates": ["/etc/ssl/blog.pem"],
        },
        NGINX | {"name": "blog.example.org", "root": "/var/www/blog", "redirect": True},
    ],
    "web_application": [
        {
            "name": "WordPress",
            "version": "6.8",
            "path": "/var/www/blog",
            "php": ["8.2"],
            "hosts": ["blog.example.org"],
            "databases": ["mysql:blog"],
            "data": [],
        },
    ],
    "database": [
        {
            "name": "MariaDB",
            "version": "10.11",
            "path": "/usr/sbin/mariadbd",
            "running": True,
            "databases": ["blog", "shop", "mysql", "sys"],
        }
    ],
}
JOB = """
backups:
  all:
    host: web1
    sources: [SOURCES]
    stores: [disk]
    keys_file: /etc/leitstand/other-keys
"""


def found(fleet: Fleet, *arguments: str) -> set[tuple[str, str, str]]:
    return {(each["host"], each["kind"], each["item"]) for each in fleet.json(*arguments)["uncovered"]}


def test_a_wordpress_with_its_database_becomes_a_service_and_a_job(fleet: Make) -> None:
    one = fleet()
    one.has("web1", WORDPRESS)
    one.has("db1", {})
    code, output, messages = one()
    assert code == 1, messages
    text = output[output.index("services:") :]
    assert yaml.safe_load(text) == {
        "services": {
            "blog.example.org": {
                "name": "blog.example.org", "url": "https://blog.example.org/", "hosts": ["web1"],
            }
        },
        "backups": {
            "web1-blog": {
                "host": "web1", "sources": [{"files": "/var/www/blog"}, {"mysql": "blog"}],
                "stores": ["disk"], "keys_file": "/etc/leitstand/keys", "schedule": "daily 03:00",
                "keep": {"daily": 7, "weekly": 4, "monthly": 12},
            },
            "web1-shop": {
                "host": "web1", "sources": [{"mysql": "shop"}],
                "stores": ["disk"], "keys_file": "/etc/leitstand/keys", "schedule": "daily 03:00",
                "keep": {"daily": 7, "weekly": 4, "monthly": 12},
            },
        },
    }  # fmt: skip
    assert "# web1: /var/www/blog, WordPress, served as blog.example.org" in text
    assert "# web1: blog.example.org, virtual host of nginx, /etc/nginx/sites-enabled/all" in text


def test_added_entries_pass_check_and_are_not_proposed_again(fleet: Make) -> None:
    one = fleet()
    one.has("web1", WORDPRESS)
    one.has("db1", {})
    assert one("--write")[0] == 0
    code, said = one.check()
    assert code == 0, said
    assert one()[0] == 0
    assert found(one) == set()


@pytest.mark.parametrize(
    ("fields", "url"),
    [
        ({"listen": ["443"], "certificates": ["/c"]}, "https://a.example.org/"),
        ({"listen": ["[::]:443", "80"], "certificates": []}, "https://a.example.org/"),
        ({"listen": ["80"], "certificates": ["/inherited"]}, "http://a.example.org/"),
        ({"listen": ["*:8443"], "certificates": ["/c"]}, "https://a.example.org:8443/"),
        ({"listen": ["8080"]}, "http://a.example.org:8080/"),
        ({"server": "apache", "listen": ["*"]}, "http://a.example.org/"),
        ({"server": "apache", "listen": ["_default_:443"]}, "https://a.example.org/"),
        ({"name": "A.Example.org."}, "http://a.example.org/"),
        ({"name": ".example.org", "aliases": ["x.example.org"]}, "http://example.org/"),
        ({"name": "~^w", "aliases": ["*.example.org", "b.example.org"]}, "http://b.example.org/"),
        ({"name": "localhost"}, None),
        ({"name": "web.localhost"}, None),
        ({"name": "", "aliases": []}, None),
        ({"name": "_"}, None),
        ({"name": "intern"}, None),
        ({"name": "192.0.2.1"}, None),
        ({"name": "[2001:db8::1]"}, None),
        ({"name": "$host.example.org"}, None),
        ({"redirect": True}, None),
        ({"listen": ["127.0.0.1:8080"]}, None),
        ({"listen": ["[::1]:80", "localhost:81", "unix:/run/x.sock"]}, None),
    ],
)
def test_a_virtual_host_is_a_service_where_a_visitor_can_reach_it(
    fleet: Make, fields: dict[str, Any], url: str | None
) -> None:
    one = fleet()
    one.has("web1", {"virtual_host": [NGINX | {"name": "a.example.org", "root": ""} | fields]})
    services = one.json()["entries"]["services"]
    assert [service["url"] for service in services.values()] == ([url] if url else [])


def test_a_title_that_is_known_is_expected_as_it_is_and_a_placeholder_is_not(fleet: Make) -> None:
    one = fleet()
    hosts = [
        NGINX | {"name": "a.example.org", "title": "Prices (in €): 1.50"},
        NGINX | {"name": "b.example.org", "title": "Apache2 Debian Default Page: It works"},
    ]
    one.has("web1", {"virtual_host": hosts})
    services = one.json("--write")["entries"]["services"]
    assert services["a.example.org"]["expect"] == r"Prices \(in €\): 1\.50"
    assert "expect" not in services["b.example.org"]
    assert one.check()[0] == 0


def test_one_name_on_two_hosts_is_one_service_of_both(fleet: Make) -> None:
    one = fleet()
    for host in ("web1", "db1"):
        one.has(host, {"virtual_host": [NGINX | {"name": "a.example.org", "root": ""}]})
    assert one.json()["entries"]["services"]["a.example.org"]["hosts"] == ["web1", "db1"]


def test_a_host_that_is_named_gets_its_own_entries_and_the_service_that_it_shares(fleet: Make) -> None:
    one = fleet()
    shared = NGINX | {"name": "a.example.org", "root": ""}
    many = [{"name": "WordPress", "path": f"/srv/{number}"} for number in range(600)]
    one.has("web1", {"virtual_host": [shared], "web_application": many})
    one.has("db1", {"virtual_host": [shared], "mail_store": [{"program": "Dovecot", "path": "/var/vmail"}]})
    found_now = one.json("db1")
    assert found_now["entries"]["services"]["a.example.org"]["hosts"] == ["web1", "db1"]
    assert list(found_now["entries"]["backups"]) == ["db1-mail"]
    assert found_now["left_out"] == 0


def test_the_status_page_itself_is_watched_already(fleet: Make) -> None:
    one = fleet("site: {url: 'https://status.example.org/'}\n")
    root = "/var/lib/leitstand/status-page"
    one.has("web1", {"virtual_host": [NGINX | {"name": "status.example.org", "root": root}]})
    one.has("db1", {})
    assert found(one) == set()


def test_any_name_of_any_virtual_host_of_a_site_watches_it(fleet: Make) -> None:
    one = fleet("services: {x: {name: x, url: 'http://alias.example.org/'}}\n")
    hosts = [
        NGINX | {"name": "a.example.org", "aliases": ["alias.example.org"]},
        NGINX | {"name": "a.example.org", "listen": ["443"]},
    ]
    one.has("web1", {"virtual_host": hosts})
    one.has("db1", {})
    assert found(one) == set()


@pytest.mark.parametrize("url", ["https://WWW.blog.example.org./x", "http://blog.example.org:81/"])
def test_a_service_with_any_name_of_a_virtual_host_watches_it(fleet: Make, url: str) -> None:
    one = fleet(f"services: {{x: {{name: x, url: '{url}'}}}}\n")
    one.has("web1", WORDPRESS)
    assert not [item for item in found(one) if item[1] == "service"]


@pytest.mark.parametrize(
    ("sources", "uncovered"),
    [
        ("{files: /var/www}", {"mysql:blog", "mysql:shop"}),
        ("{files: /}", {"mysql:blog", "mysql:shop"}),
        ("{files: /var/www, exclude: ['*/cache/*', other]}", {"mysql:blog", "mysql:shop"}),
        ("{files: /var/www, exclude: [blog]}", {"/var/www/blog", "mysql:blog", "mysql:shop"}),
        ("{files: /var, exclude: [/var/www/]}", {"/var/www/blog", "mysql:blog", "mysql:shop"}),
        ("{files: /var/www, include: [shop]}", {"/var/www/blog", "mysql:blog", "mysql:shop"}),
        ("{files: /var/www, include: [blog]}", {"mysql:blog", "mysql:shop"}),
        ("{files: /var/www/blog/wp-content}", {"/var/www/blog", "mysql:blog", "mysql:shop"}),
        ("{files: /var/www/blogs}", {"/var/www/blog", "mysql:blog", "mysql:shop"}),
        ("{mysql: '*'}", {"/var/www/blog"}),
        ("{mysql: blog}, {postgresql: shop}", {"/var/www/blog", "mysql:shop"}),
    ],
)
def test_a_job_covers_what_its_sources_hold_and_do_not_leave_out(
    fleet: Make, sources: str, uncovered: set[str]
) -> None:
    one = fleet(JOB.replace("SOURCES", sources))
    one.has("web1", WORDPRESS)
    assert {item for _, kind, item in found(one) if kind != "service"} == uncovered


def test_the_job_of_another_host_covers_nothing_here(fleet: Make) -> None:
    one = fleet(JOB.replace("SOURCES", "{files: /var/www}, {mysql: '*'}").replace("web1", "db1"))
    one.has("web1", WORDPRESS)
    assert {item for _, kind, item in found(one) if kind != "service"} == {
        "/var/www/blog", "mysql:blog", "mysql:shop",
    }  # fmt: skip


def test_new_jobs_have_the_stores_keys_and_logins_of_those_that_are_there(fleet: Make) -> None:
    one = fleet(JOB.replace("SOURCES", "{mysql: other, defaults_file: /etc/my.cnf}"))
    one.has("web1", WORDPRESS)
    job = one.json()["entries"]["backups"]["web1-blog"]
    assert job["keys_file"] == "/etc/leitstand/other-keys"
    assert job["stores"] == ["disk"]
    assert {"mysql": "blog", "defaults_file": "/etc/my.cnf"} in job["sources"]


def test_databases_whose_names_are_not_known_are_saved_all(fleet: Make) -> None:
    one = fleet()
    servers = [
        {
            "name": "PostgreSQL",
            "path": "/usr/lib/postgresql/15/bin/postgres",
            "running": None,
            "databases": None,
        },
        {
            "name": "PostgreSQL",
            "path": "/usr/lib/postgresql/17/bin/postgres",
            "running": True,
            "databases": None,
        },
        {"name": "MariaDB", "path": "/usr/sbin/mariadbd", "running": False, "databases": None},
        {"name": "Redis", "path": "/usr/bin/redis-server", "running": True, "databases": None},
    ]
    one.has("db1", {"database": servers})
    one.has("web1", {})
    assert found(one) == {("db1", "database", "postgresql:*")}
    assert one.json()["entries"]["backups"]["db1-postgresql"]["sources"] == [{"postgresql": "*"}]


def test_a_database_on_another_host_is_saved_there_and_one_elsewhere_is_named_but_not_proposed(
    fleet: Make,
) -> None:
    one = fleet()
    application = WORDPRESS["web_application"][0]
    databases = ["mysql:one@192.0.2.12", "mysql:two@db1", "postgresql:three@rds.example.net"]
    one.has("web1", {"web_application": [application | {"databases": databases}]})
    one.has("db1", {})
    found_now = one.json()
    assert {(each["host"], each["item"]) for each in found_now["uncovered"]} == {
        ("web1", "/var/www/blog"), ("db1", "mysql:one"), ("db1", "mysql:two"),
        ("web1", "postgresql:three@rds.example.net"),
    }  # fmt: skip
    assert {job["host"] for job in found_now["entries"]["backups"].values()} == {"web1", "db1"}
    (elsewhere,) = [each for each in found_now["uncovered"] if "@" in each["item"]]
    assert "no host of leitstand.yml" in elsewhere["not_proposed"]
    assert one("--write")[0] == 1


def test_an_application_in_the_folder_of_a_site_joins_its_job(fleet: Make) -> None:
    one = fleet()
    one.has(
        "web1",
        {
            "virtual_host": [NGINX | {"name": "a.example.org", "root": "/var/www/html"}],
            "web_application": [
                {
                    "name": "Matomo",
                    "path": "/var/www/html/matomo",
                    "databases": ["mysql:matomo"],
                    "hosts": [],
                },
                {
                    "name": "Nextcloud",
                    "path": "/srv/cloud",
                    "data": ["/data/cloud"],
                    "hosts": [],
                    "databases": ["sqlite:/data/cloud/owncloud.db"],
                },
                {"name": "phpMyAdmin", "path": "/usr/share/phpmyadmin", "hosts": []},
            ],
        },
    )
    jobs = one.json("--write")["entries"]["backups"]
    assert {name: job["sources"] for name, job in jobs.items()} == {
        "web1-a.example.org": [{"files": "/var/www/html"}, {"mysql": "matomo"}],
        "web1-cloud": [
            {"files": "/srv/cloud"}, {"files": "/data/cloud"}, {"sqlite": "/data/cloud/owncloud.db"},
        ],
    }  # fmt: skip
    assert one.check()[0] == 0


def test_mail_and_volumes_are_found(fleet: Make) -> None:
    one = fleet()
    volumes = [
        {"runtime": "docker", "name": "db_data", "path": "/var/lib/docker/volumes/db_data/_data",
         "containers": ["db"], "images": ["postgres:17"]},
        {"runtime": "docker", "name": "", "path": "/srv/app/uploads", "containers": ["app"], "images": []},
        {"runtime": "docker", "name": "", "path": "/etc/app", "containers": ["app"], "images": []},
    ]  # fmt: skip
    one.has(
        "web1", {"mail_store": [{"program": "Dovecot", "path": "/var/vmail"}], "container_volume": volumes}
    )
    one.has("db1", {})
    output = one("--write")[1]
    assert one.check()[0] == 0
    jobs = yaml.safe_load(output[output.index("backups:") :])["backups"]
    assert {name: job["sources"] for name, job in jobs.items()} == {
        "web1-mail": [{"files": "/var/vmail"}],
        "web1-db_data": [{"files": "/var/lib/docker/volumes/db_data/_data"}],
        "web1-uploads": [{"files": "/srv/app/uploads"}],
    }
    assert "a dump is safer" in output


def test_without_a_store_the_table_shows_what_to_do_first(fleet: Make) -> None:
    one = fleet()
    one.config.write_text(one.config.read_text().replace("stores:", "#").replace("  disk:", "#"))
    one.has("web1", WORDPRESS)
    code, output, _ = one("web1")
    assert code == 1
    assert "add one under stores: first" in output
    assert "backups:" not in output


def test_a_host_that_is_not_known_well_is_unknown_and_not_good(fleet: Make) -> None:
    one = fleet()
    one.has("web1", {}, incomplete=("web_application", "package"))
    code, output, messages = one()
    assert code == 1
    assert "web1: unknown: its inventory does not have: web_application" in messages
    assert "db1: unknown: no inventory has been pulled yet" in messages
    assert "everything" not in output
    one.has("web1", {}, age=3 * 86_400)
    one.has("db1", {})
    assert "web1: unknown: its inventory is of 20" in one()[2]
    one.has("web1", {})
    assert one() == (0, "everything that was found is watched and backed up, or has its exception\n", "")


def test_kinds_that_an_older_exporter_does_not_have_are_unknown(fleet: Make) -> None:
    one = fleet()
    older = (
        b'{"schema_version": 1, "sha256": "x", "incomplete": [], "items": {"virtual_host": [], "host": []}}'
    )
    one.has("db1", {})
    with open_database(one.database) as database:
        database.take("web1", "", parse(older), time.time())
    code, _, messages = one()
    assert code == 1
    assert "web1: unknown: its inventory does not have: web_application, database, mail_store" in messages


def test_no_pulled_inventory_at_all_is_a_failure(fleet: Make) -> None:
    code, _, messages = fleet()()
    assert code == 3
    assert "no inventory has been pulled yet" in messages
    assert "leitstand inventory pull" in messages


def test_an_unknown_host_is_named_with_those_that_there_are(fleet: Make) -> None:
    code, _, messages = fleet()("web2")
    assert code == 2
    assert "db1, web1" in messages


def test_json_has_what_the_table_has(fleet: Make) -> None:
    one = fleet()
    one.has("web1", WORDPRESS)
    shown = one("web1")[1]
    for each in one.json("web1")["uncovered"]:
        assert f"{each['host']}  {each['kind']}" in shown
        assert each["item"] in shown
    assert json.dumps(one.json("db1")["uncovered"]) == "[]"
