"""PHP and its applications where distributions, hosting panels and snaps put them."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from exporter.inventory import fpm, php, php_layouts, programs, web
from exporter.inventory.source import Context, Findings, Item
from exporter.tree import Tree

Items = Callable[[Findings, str], list[Item]]
Build = Callable[[dict[str, str | bytes]], Context]


def binary(version: str, options: str = "") -> bytes:
    return b"\x7fELF\0X-Powered-By: PHP/" + version.encode() + b"\0" + options.encode() + b"\0"


# Distribution or panel -> (SAPI -> program), ini file, a file of the folder of further ones, PHP-FPM's
# configuration, what it includes, and the pool's file. The version is 8.2.9 everywhere.
PLACES: dict[str, tuple[dict[str, str], str, str, str, str, str]] = {
    "Debian": (
        {"cli": "/usr/bin/php8.2", "fpm": "/usr/sbin/php-fpm8.2", "cgi": "/usr/bin/php-cgi8.2"},
        "/etc/php/8.2/{sapi}/php.ini",
        "/etc/php/8.2/{sapi}/conf.d/20-a.ini",
        "/etc/php/8.2/fpm/php-fpm.conf",
        "/etc/php/8.2/fpm/pool.d/*.conf",
        "/etc/php/8.2/fpm/pool.d/www.conf",
    ),
    "Alpine": (
        {"cli": "/usr/bin/php82", "fpm": "/usr/sbin/php-fpm82", "litespeed": "/usr/bin/lsphp82"},
        "/etc/php82/php.ini",
        "/etc/php82/conf.d/a.ini",
        "/etc/php82/php-fpm.conf",
        "/etc/php82/php-fpm.d/*.conf",
        "/etc/php82/php-fpm.d/www.conf",
    ),
    "openSUSE": (
        {"cli": "/usr/bin/php8", "fpm": "/usr/sbin/php-fpm"},
        "/etc/php8/{sapi}/php.ini",
        "/etc/php8/conf.d/a.ini",
        "/etc/php8/fpm/php-fpm.conf",
        "/etc/php8/fpm/php-fpm.d/*.conf",
        "/etc/php8/fpm/php-fpm.d/www.conf",
    ),
    "Red Hat": (
        {"cli": "/usr/bin/php", "fpm": "/usr/sbin/php-fpm"},
        "/etc/php.ini",
        "/etc/php.d/a.ini",
        "/etc/php-fpm.conf",
        "/etc/php-fpm.d/*.conf",
        "/etc/php-fpm.d/www.conf",
    ),
    "Arch": (
        {"cli": "/usr/bin/php", "fpm": "/usr/bin/php-fpm"},
        "/etc/php/php.ini",
        "/etc/php/conf.d/a.ini",
        "/etc/php/php-fpm.conf",
        "/etc/php/php-fpm.d/*.conf",
        "/etc/php/php-fpm.d/www.conf",
    ),
    "Arch's older one": (
        {"cli": "/usr/bin/php-legacy", "fpm": "/usr/bin/php-fpm-legacy"},
        "/etc/php-legacy/php.ini",
        "/etc/php-legacy/conf.d/a.ini",
        "/etc/php-legacy/php-fpm.conf",
        "/etc/php-legacy/php-fpm.d/*.conf",
        "/etc/php-legacy/php-fpm.d/www.conf",
    ),
    "Gentoo": (
        {"cli": "/usr/lib64/php8.2/bin/php", "fpm": "/usr/lib64/php8.2/bin/php-fpm"},
        "/etc/php/{sapi}-php8.2/php.ini",
        "/etc/php/{sapi}-php8.2/ext-active/a.ini",
        "/etc/php/fpm-php8.2/php-fpm.conf",
        "/etc/php/fpm-php8.2/fpm.d/*.conf",
        "/etc/php/fpm-php8.2/fpm.d/www.conf",
    ),
    "the official image": (
        {"cli": "/usr/local/bin/php", "fpm": "/usr/local/sbin/php-fpm"},
        "/usr/local/etc/php/php.ini",
        "/usr/local/etc/php/conf.d/a.ini",
        "/usr/local/etc/php-fpm.conf",
        "etc/php-fpm.d/*.conf",
        "/usr/local/etc/php-fpm.d/www.conf",
    ),
    "Remi": (
        {"cli": "/opt/remi/php82/root/usr/bin/php", "fpm": "/opt/remi/php82/root/usr/sbin/php-fpm"},
        "/etc/opt/remi/php82/php.ini",
        "/etc/opt/remi/php82/php.d/a.ini",
        "/etc/opt/remi/php82/php-fpm.conf",
        "/etc/opt/remi/php82/php-fpm.d/*.conf",
        "/etc/opt/remi/php82/php-fpm.d/www.conf",
    ),
    "cPanel": (
        {
            "cli": "/opt/cpanel/ea-php82/root/usr/bin/php",
            "fpm": "/opt/cpanel/ea-php82/root/usr/sbin/php-fpm",
            "litespeed": "/opt/cpanel/ea-php82/root/usr/bin/lsphp",
        },
        "/opt/cpanel/ea-php82/root/etc/php.ini",
        "/opt/cpanel/ea-php82/root/etc/php.d/a.ini",
        "/opt/cpanel/ea-php82/root/etc/php-fpm.conf",
        "/opt/cpanel/ea-php82/root/etc/php-fpm.d/*.conf",
        "/opt/cpanel/ea-php82/root/etc/php-fpm.d/www.conf",
    ),
    "CloudLinux": (
        {"cli": "/opt/alt/php82/usr/bin/php", "fpm": "/opt/alt/php82/usr/sbin/php-fpm"},
        "/opt/alt/php82/etc/php.ini",
        "/opt/alt/php82/link/conf/a.ini",
        "/opt/alt/php82/etc/php-fpm.conf",
        "/opt/alt/php82/etc/php-fpm.d/*.conf",
        "/opt/alt/php82/etc/php-fpm.d/www.conf",
    ),
    "Plesk": (
        {"cli": "/opt/plesk/php/8.2/bin/php", "fpm": "/opt/plesk/php/8.2/sbin/php-fpm"},
        "/opt/plesk/php/8.2/etc/php.ini",
        "/opt/plesk/php/8.2/etc/php.d/a.ini",
        "/opt/plesk/php/8.2/etc/php-fpm.conf",
        "etc/php-fpm.d/*.conf",
        "/opt/plesk/php/8.2/etc/php-fpm.d/www.conf",
    ),
    "ISPConfig": (
        {
            "cli": "/opt/php-8.2/bin/php",
            "fpm": "/opt/php-8.2/sbin/php-fpm",
            "cgi": "/opt/php-8.2/bin/php-cgi",
        },
        "/opt/php-8.2/lib/php.ini",
        "/opt/php-8.2/etc/php.d/a.ini",
        "/opt/php-8.2/etc/php-fpm.conf",
        "/opt/php-8.2/etc/php-fpm.d/*.conf",
        "/opt/php-8.2/etc/php-fpm.d/www.conf",
    ),
    "Bitnami": (
        {"cli": "/opt/bitnami/php/bin/php", "fpm": "/opt/bitnami/php/sbin/php-fpm"},
        "/opt/bitnami/php/etc/php.ini",
        "/opt/bitnami/php/etc/conf.d/a.ini",
        "/opt/bitnami/php/etc/php-fpm.conf",
        "etc/php-fpm.d/*.conf",
        "/opt/bitnami/php/etc/php-fpm.d/www.conf",
    ),
    "DirectAdmin": (
        {"cli": "/usr/local/php82/bin/php", "fpm": "/usr/local/php82/sbin/php-fpm82"},
        "/usr/local/php82/lib/php.ini",
        "/usr/local/php82/lib/php.conf.d/a.ini",
        "/usr/local/php82/etc/php-fpm.conf",
        "/usr/local/directadmin/data/users/*/php/php-fpm82.conf",
        "/usr/local/directadmin/data/users/ann/php/php-fpm82.conf",
    ),
    "LiteSpeed": (
        {"cli": "/usr/local/lsws/lsphp82/bin/php", "litespeed": "/usr/local/lsws/lsphp82/bin/lsphp"},
        "/usr/local/lsws/lsphp82/etc/php/8.2/litespeed/php.ini",
        "/usr/local/lsws/lsphp82/etc/php/8.2/mods-available/a.ini",
        "",
        "",
        "",
    ),
    "a snap": (
        {"cli": "/snap/nextcloud/current/bin/php", "fpm": "/snap/nextcloud/current/sbin/php-fpm"},
        "/snap/nextcloud/current/config/php/php.ini",
        "/snap/nextcloud/current/config/php/conf.d/a.ini",
        "/snap/nextcloud/current/config/php/php-fpm.conf",
        "${SNAP}/config/php/php-fpm.d/*.conf",
        "/snap/nextcloud/current/config/php/php-fpm.d/www.conf",
    ),
}


def files_of(where: str, version: str = "8.2.9") -> dict[str, str | bytes]:
    programs, ini, further, main, include, pool = PLACES[where]
    files: dict[str, str | bytes] = dict.fromkeys(programs.values(), binary(version))
    for sapi in programs:
        files[ini.format(sapi=sapi)] = "memory_limit = 7M\n"
        files[further.format(sapi=sapi)] = "extension=redis.so\n"
    if main:
        files[main] = f"[global]\npid = /x\ninclude={include}\n"
        files[pool] = "[www]\nuser = w\nlisten = /run/www.sock\n"
    return files


@pytest.mark.parametrize("where", PLACES)
def test_php_is_found_with_its_settings_extensions_and_pools(host: Build, items: Items, where: str) -> None:
    context = host(files_of(where))
    programs, ini, further, main, _, _ = PLACES[where]
    findings = php.read(context)
    assert findings.skipped == 0
    found = {item["sapi"]: item for item in items(findings, "php")}
    assert {sapi: item["path"] for sapi, item in found.items()} == programs
    for sapi, item in found.items():
        assert (item["version"], item["branch"]) == ("8.2.9", "8.2")
        assert item["ini_files"] == [ini.format(sapi=sapi), further.format(sapi=sapi)]
    rows = {(item["sapi"], item["name"]) for item in items(findings, "php_extension")}
    assert rows == {(sapi, "redis") for sapi in programs}
    limits = {(item["sapi"], item["value"]) for item in items(findings, "php_setting")}
    assert limits == {(sapi, "7M") for sapi in programs}
    pools = items(fpm.read(context), "php_pool")
    assert [(item["branch"], item["name"], item["listen"]) for item in pools] == (
        [("8.2", "www", "/run/www.sock")] if main else []
    )


def renamed(text: str, version: str) -> str:
    """A path or configuration for another branch than 8.2."""
    branch = version.rpartition(".")[0]
    return (
        text.replace("/8.2/", f"/{branch}/")
        .replace("-8.2", f"-{branch}")
        .replace("82", branch.replace(".", ""))
    )


def test_several_phps_on_one_host_are_kept_apart(host: Build, items: Items) -> None:
    several = {"Debian": "8.2.9", "ISPConfig": "8.3.1", "cPanel": "8.1.2", "the official image": "8.4.5"}
    files: dict[str, str | bytes] = {
        renamed(path, version): renamed(content, version) if isinstance(content, str) else content
        for where, version in several.items()
        for path, content in files_of(where, version).items()
    }
    context = host(files)
    rows = [(item["version"], item["sapi"]) for item in items(php.read(context), "php")]
    assert len(rows) == len(set(rows)) == 11
    pools = {item["branch"]: item["name"] for item in items(fpm.read(context), "php_pool")}
    assert pools == dict.fromkeys(["8.1", "8.2", "8.3", "8.4"], "www")


def test_pools_of_one_name_in_two_phps_of_one_branch_are_both_listed(host: Build, items: Items) -> None:
    files = files_of("ISPConfig")
    files["/opt/php-8.2/etc/php-fpm.d/www.conf"] = "[www]\nlisten = /run/other.sock\n"
    findings = fpm.read(host({**files_of("Debian"), **files}))
    assert {item["listen"] for item in items(findings, "php_pool")} == {"/run/www.sock", "/run/other.sock"}
    for family in findings.metrics:
        assert len({labels for labels, _ in family.rows}) == len(family.rows)


def test_a_program_that_two_layouts_could_have_is_of_the_one_whose_configuration_is_there(
    host: Build, items: Items
) -> None:
    context = host({**files_of("ISPConfig"), "/usr/local/bin/x": ""})
    (context.roots.root / "usr/local/bin/php").symlink_to("/opt/php-8.2/bin/php")
    (context.roots.root / "usr/bin").mkdir(parents=True)
    (context.roots.root / "usr/bin/php").symlink_to("/usr/local/bin/php")
    (found,) = [item for item in items(php.read(context), "php") if item["sapi"] == "cli"]
    assert found["path"] == "/opt/php-8.2/bin/php"
    assert found["ini_files"] == ["/opt/php-8.2/lib/php.ini", "/opt/php-8.2/etc/php.d/a.ini"]


def test_the_build_options_of_php_override_its_location(host: Build, items: Items) -> None:
    options = "'./configure'  '--with-config-file-path=/srv/etc' '--with-config-file-scan-dir=/srv/more'"
    files: dict[str, str | bytes] = {
        "/opt/php-8.2/bin/php": binary("8.2.9", options),
        "/opt/php-8.2/lib/php.ini": "memory_limit = 1M\n",
        "/srv/etc/php.ini": "memory_limit = 2M\n",
        "/srv/more/a.ini": "",
    }
    (found,) = items(php.read(host(files)), "php")
    assert found["ini_files"] == ["/srv/etc/php.ini", "/srv/more/a.ini"]


def test_where_php_was_built_does_not_count_once_it_was_moved(host: Build, items: Items) -> None:
    files = files_of("a snap")
    files["/snap/nextcloud/current/bin/php"] = binary(
        "8.2.9", "'--with-config-file-path=/root/parts/install'"
    )
    found = [item["ini_files"] for item in items(php.read(host(files)), "php") if item["sapi"] == "cli"]
    assert found == [
        ["/snap/nextcloud/current/config/php/php.ini", "/snap/nextcloud/current/config/php/conf.d/a.ini"]
    ]


@pytest.mark.parametrize("snaps", ["/snap", "/var/lib/snapd/snap"])
def test_nextclouds_snap_is_found_with_its_php(host: Build, items: Items, snaps: str) -> None:
    files = {
        f"{snaps}/nextcloud/41/{name}": content
        for name, content in {
            "bin/php": binary("8.3.20"),
            "sbin/php-fpm": binary("8.3.20"),
            "config/php/php.ini": "memory_limit = ${PHP_MEMORY_LIMIT}\npost_max_size = 9M\n",
            "config/php/php-fpm.conf": "[global]\ninclude=${SNAP}/config/php/php-fpm.d/*.conf\n",
            "config/php/php-fpm.d/www.conf": "[www]\nlisten = ${PHP_FPM_SOCKET}\nuser = root\n",
            "htdocs/version.php": "$OC_VersionString = '31.0.5';\n$vendor = 'nextcloud';\n",
        }.items()
    }
    wants = "/etc/systemd/system/multi-user.target.wants/snap.nextcloud.php-fpm.service"
    context = host({**files, wants: "", "/run/systemd/system/x": ""})
    (context.roots.root / snaps.lstrip("/") / "nextcloud/current").symlink_to("41")
    found = {item["sapi"]: item["version"] for item in items(php.read(context), "php")}
    assert found == {"cli": "8.3.20", "fpm": "8.3.20"}
    values = {item["name"]: item["value"] for item in items(php.read(context), "php_setting")}
    assert values == {"post_max_size": "9M"}
    findings = fpm.read(context)
    assert [(item["branch"], item["listen"]) for item in items(findings, "php_pool")] == [("8.3", "")]
    assert findings.metrics[0].rows == []
    (application,) = items(web.read(context), "web_application")
    assert (application["name"], application["version"]) == ("Nextcloud", "31.0.5")
    assert application["path"] == f"{snaps}/nextcloud/current/htdocs"


def test_an_application_two_levels_below_a_root_is_found_with_its_host(host: Build, items: Items) -> None:
    context = host(
        {
            "/etc/nginx/nginx.conf": "http { server { server_name a; root /data/www; } }",
            "/data/www/sites/blog/wp-includes/version.php": "$wp_version = '6.8';\n",
        }
    )
    (found,) = items(web.read(context), "web_application")
    assert (found["path"], found["hosts"]) == ("/data/www/sites/blog", ["a"])


@pytest.mark.parametrize(
    ("path", "branch"),
    [
        ("/etc/php/8.2/fpm/php-fpm.conf", "8.2"),
        ("/www/server/php/82/etc/php-fpm.conf", "8.2"),
        ("ea-php82-php-fpm.service", "8.2"),
        ("alt-php74-fpm.service", "7.4"),
        ("php-fpm82.service", "8.2"),
        ("plesk-php83-fpm.service", "8.3"),
        ("php-8.2-fpm.service", "8.2"),
        ("php-fpm.service", ""),
        ("/etc/php8/fpm/php-fpm.conf", ""),
    ],
)
def test_the_branch_is_read_from_paths_and_names_of_units(path: str, branch: str) -> None:
    assert php_layouts.branch_of(path) == branch


@pytest.mark.skipif(os.geteuid() != 0, reason="makes what root alone may make")
@pytest.mark.parametrize(
    ("path", "change", "expected"),
    [
        ("php/bin/php", None, True),
        ("php/bin/php", 0o777, False),
        ("php/bin", 0o777, False),
        ("php", 0o1777, False),
        ("php/bin/php", 1000, False),
        ("php", 1000, False),
    ],
)
def test_a_program_runs_only_where_root_alone_could_replace_it(
    path: str, change: int | None, expected: bool
) -> None:
    """Below /opt and /usr/local a folder may be somebody's whose files are root's."""
    place = Path("/opt") / f"leitstand-test-{os.getpid()}"
    try:
        (place / "php/bin").mkdir(parents=True)
        (place / "php/bin/php").write_text("#!/bin/sh\n")
        (place / "php/bin/php").chmod(0o755)
        if change == 1000:
            os.chown(place / path, 1000, 0)
        elif change is not None:
            (place / path).chmod(change)
        assert programs.is_roots_alone(Tree(Path("/")), f"{place}/php/bin/php") is expected
    finally:
        for name in ("php/bin/php", "php/bin", "php", ""):
            file = place / name
            file.unlink() if file.is_file() else file.rmdir()
