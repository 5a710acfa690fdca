"""Every source over roots full of what nobody would write: each fails or skips, none hangs or escapes."""

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from exporter.inventory import SOURCES
from exporter.inventory.order import Order
from exporter.inventory.part import render_part, to_wire
from exporter.inventory.readers import READERS
from exporter.inventory.runner import WorkerProcess
from exporter.inventory.source import Context
from exporter.roots import NoData

Build = Callable[[dict[str, str | bytes]], Context]
# Every file that some source reads, with a sound beginning.
SOUND: dict[str, str] = {
    "/var/lib/dpkg/status": "Package: a\nStatus: install ok installed\nVersion: 1\nArchitecture: all\n\n",
    "/var/lib/apt/extended_states": "Package: a\nArchitecture: amd64\nAuto-Installed: 1\n\n",
    "/var/lib/apt/lists/x_dists_y_InRelease": "Suite: y\nCodename: y-security\n",
    "/var/lib/apt/lists/x_dists_y_main_Packages": "Package: a\nVersion: 2\nArchitecture: all\n\n",
    "/var/lib/apt/lists/x_dists_y_other_Packages.xz": "x",
    "/lib/apk/db/installed": "P:a\nV:1\n\n",
    "/etc/apk/world": "a\n",
    "/usr/lib/python3/dist-packages/a-1.dist-info/METADATA": "Name: a\nVersion: 1\n",
    "/usr/lib/node_modules/a/package.json": '{"name": "a", "version": "1"}',
    "/var/www/a/vendor/composer/installed.json": '{"packages": [{"name": "a/a", "version": "1"}]}',
    "/snap/a/current/meta/snap.yaml": "name: a\nversion: 1\n",
    "/usr/bin/php8.2": "X-Powered-By: PHP/8.2.1\0",
    "/usr/sbin/php-fpm8.2": "X-Powered-By: PHP/8.2.1\0",
    "/etc/php/8.2/cli/php.ini": "memory_limit = 1M\nextension=a\n",
    "/etc/php/8.2/fpm/php-fpm.conf": "[a]\nlisten = /run/a.sock\npm.status_path = /s\n",
    "/etc/nginx/nginx.conf": "http { server { server_name a; root /var/www/a; } }",
    "/etc/apache2/apache2.conf": "<VirtualHost *>\nServerName a\nDocumentRoot /var/www/a\n</VirtualHost>\n",
    "/var/www/a/wp-includes/version.php": "$wp_version = '6.0';\n",
    "/etc/letsencrypt/live/a/cert.pem": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    "/etc/passwd": "a:x:1:1::/home/a:/bin/sh\n",
    "/etc/group": "sudo:x:27:a\n",
    "/etc/sudoers": "%sudo ALL=(ALL) ALL\n",
    "/home/a/.ssh/authorized_keys": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB x\n",
    "/etc/os-release": "ID=debian\n",
    "/etc/hosts": "127.0.0.1 a\n",
    "/etc/resolv.conf": "nameserver 192.0.2.1\n",
    "/etc/timezone": "Europe/Berlin\n",
    "/run/reboot-required.pkgs": "a\n",
    "/usr/sbin/mariadbd": "",
}


def binary(sound: bytes) -> bytes:
    return random.Random(len(sound)).randbytes(5000)


def truncated(sound: bytes) -> bytes:
    return sound[: len(sound) * 2 // 3]


def repeated(sound: bytes) -> bytes:
    return sound * (300_000 // max(len(sound), 1))


def one_line(sound: bytes) -> bytes:
    return sound.replace(b"\n", b" ") * (100_000 // max(len(sound), 1))


def escaped(sound: bytes) -> bytes:
    return sound.replace(b"a", b'"\\\x00\xff\x1b[2J}')


def network_of_proc(context: Context) -> None:
    """What the kernel writes of itself is no file of the root; it stays sound."""
    (context.roots.proc / "net").mkdir(exist_ok=True)
    (context.roots.proc / "sys/net/ipv4").mkdir(parents=True, exist_ok=True)
    (context.roots.proc / "sys/net/ipv4/ip_local_port_range").write_text("32768 60999\n")


@pytest.mark.parametrize("spoil", [binary, truncated, repeated, one_line, escaped])
@pytest.mark.parametrize("source", SOURCES)
def test_damaged_files_are_skipped_or_a_clear_failure(
    host: Build, source: str, spoil: Callable[[bytes], bytes]
) -> None:
    context = host({path: spoil(text.encode()) for path, text in SOUND.items()})
    network_of_proc(context)
    try:
        findings = READERS[source](context)
    except (NoData, OSError, ValueError):
        return
    part = render_part(findings, ())
    to_wire(part)
    for kind, content in part.kinds.items():
        assert content.series.isprintable() or all(
            line.isprintable() for line in content.series.split("\n")
        ), kind
        assert all(line.startswith("leitstand_") for line in content.series.splitlines())


def test_endless_openings_cost_no_source_its_time(host: Build) -> None:
    context = host(
        {
            **SOUND,
            "/etc/nginx/nginx.conf": "http { server { ssl_certificate /home/a/it.pem; include more; } }",
            "/etc/nginx/more": "${" * 200_000,
            "/home/a/it.pem": "-----BEGIN CERTIFICATE-----\n" * 37_000,
            "/etc/resolv.conf": "\n" * 400_000,
            "/etc/apt/apt.conf": "\n" * 400_000,
            "/var/lib/apt/lists/x_dists_y_InRelease": "Suite:" + " " * 400_000,
            "/etc/sudoers": f"a{' ' * 400_000}b\n",
        }
    )
    (context.roots.proc / "sys/kernel").mkdir(parents=True)
    (context.roots.proc / "sys/kernel/hostname").write_text("a\n")
    order = Order(["web", "certificates", "host", "apt", "users"], context.roots, ())
    outcomes = WorkerProcess().run(order)
    assert {outcome.source: outcome.error for outcome in outcomes} == dict.fromkeys(order.sources, "")


@pytest.mark.parametrize("source", SOURCES)
def test_a_fifo_or_device_in_place_of_a_file_does_not_block(host: Build, source: str) -> None:
    context = host({})
    for path in SOUND:
        fifo = context.roots.root / path.lstrip("/")
        fifo.parent.mkdir(parents=True, exist_ok=True)
        os.mkfifo(fifo)
    network_of_proc(context)
    try:
        findings = READERS[source](context)
    except NoData:
        return
    except OSError as error:
        assert "not a regular file" in str(error)
        return
    assert {kind for kind, _ in findings.items} <= {"host", "address", "default_route", "reboot_reason"}
    assert findings.skipped or source not in ("web", "php_fpm")


@pytest.mark.parametrize("source", SOURCES)
def test_files_that_are_links_out_of_the_root_reveal_nothing(
    host: Build, source: str, tmp_path: Path
) -> None:
    sound = host({path: text.replace("a", "secret") for path, text in SOUND.items()})
    outside = tmp_path / "outside"
    shutil.move(sound.roots.root, outside)
    context = host({})
    for path in SOUND:
        link = context.roots.root / path.lstrip("/")
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(outside / path.lstrip("/"))
    network_of_proc(context)
    try:
        findings = READERS[source](context)
    except (NoData, OSError):
        return
    assert "secret" not in str(findings.items)
