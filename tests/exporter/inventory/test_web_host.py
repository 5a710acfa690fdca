"""A real nginx, a real PHP-FPM and a tree like WordPress's, inventoried end to end by the real exporter.

All runs in mount and process namespaces of its own, with the test's folders over /etc/nginx, /var/www and the
pools of PHP-FPM: the exporter looks where it would on any host, and this host stays as it is.
"""

import concurrent.futures
import datetime
import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from prometheus_client.parser import text_string_to_metric_families

from lab.patience import patient
from lab.processes import free_ports

BRANCH = max((path.name.removeprefix("php-fpm") for path in Path("/usr/sbin").glob("php-fpm8.*")), default="")
NOT_AFTER = datetime.datetime(2031, 5, 17, 12, 0, 0, tzinfo=datetime.UTC)
START = """
set -e
mount --bind "$WORK/nginx" /etc/nginx
mount --bind "$WORK/www" /var/www
mount --bind "$WORK/pool.d" "/etc/php/$BRANCH/fpm/pool.d"
mount -t tmpfs none /etc/systemd/system
mount -t tmpfs none /run
mkdir -p /run/systemd/system /etc/systemd/system/multi-user.target.wants
touch "/etc/systemd/system/multi-user.target.wants/php$BRANCH-fpm.service"
export FPM_LISTEN=/var/www/hidden.sock
"/usr/sbin/php-fpm$BRANCH" --allow-to-run-as-root --daemonize --fpm-config "$WORK/php-fpm.conf"
/usr/sbin/nginx -e "$WORK/error.log" -g "pid $WORK/nginx.pid; error_log $WORK/error.log;"
exec "$PYTHON" -m leitstand exporter --web.listen-address "127.0.0.1:$PORT" --inventory.interval 1
"""
FPM = """
[global]
pid = {work}/fpm.pid
error_log = {work}/fpm.log
include = /etc/php/{branch}/fpm/pool.d/*.conf
"""
NGINX = """
user root;
events {{}}
http {{
  access_log off;
  client_body_temp_path {work}/body; proxy_temp_path {work}/body; fastcgi_temp_path {work}/body;
  uwsgi_temp_path {work}/body; scgi_temp_path {work}/body;
  upstream php {{ server unix:/var/www/fpm.sock; }}
  include /etc/nginx/sites-enabled/*;
}}
"""
SITE = """
server {{
  listen 127.0.0.1:{web};
  listen 127.0.0.1:{tls} ssl;
  server_name blog.example.org www.blog.example.org;
  root /var/www/blog;
  ssl_certificate /etc/nginx/blog.pem;
  ssl_certificate_key /etc/nginx/blog.key;
  location ~ \\.php$ {{
    fastcgi_param SCRIPT_FILENAME $document_root$fastcgi_script_name;
    fastcgi_param REQUEST_METHOD $request_method;
    fastcgi_pass php;
    fastcgi_read_timeout 300s;
  }}
}}
server {{
  listen 127.0.0.1:{web};
  server_name wiki.example.org;
  set $base /var/www/wiki;
  root $base/public;
}}
"""
POOLS = """
[blog]
user = root
listen = /var/www/fpm.sock
pm = static
pm.max_children = 2
pm.status_path = /fpm-status
pm.status_listen = /var/www/status.sock
php_admin_value[memory_limit] = 300M

[idle]
include = {pools}/ondemand.inc
listen = /var/www/idle.sock

[prefixed]
prefix = /var/www/$pool
include = {pools}/ondemand.inc
listen = run/fpm.sock

[hidden]
include = {pools}/ondemand.inc
listen = ${{FPM_LISTEN}}
"""


ONDEMAND = """
user = root
pm = ondemand
pm.max_children = 1
"""


@dataclass(frozen=True)
class WebHost:
    """The running host: addresses of the exporter and of the site, and what lets slow.php end."""

    exporter: str
    site: str
    go: Path

    def document(self) -> dict[str, Any]:
        with urllib.request.urlopen(f"{self.exporter}/inventory", timeout=patient(60)) as answer:
            found: dict[str, Any] = json.load(answer)["items"]
        return found

    def items(self, kind: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.document()[kind]
        return found

    def figures(self) -> dict[tuple[str, tuple[str, ...]], float]:
        with urllib.request.urlopen(f"{self.exporter}/metrics", timeout=patient(60)) as answer:
            families = text_string_to_metric_families(answer.read().decode())
            return {
                (sample.name, tuple(sample.labels.values())): sample.value
                for family in families
                for sample in family.samples
            }


def until(condition: Callable[[], Any], seconds: float = 120) -> Any:
    """The first true answer of a condition; its last error if none came."""
    deadline = time.monotonic() + patient(seconds)
    while True:
        try:
            if found := condition():
                return found
        except OSError:
            if time.monotonic() > deadline:
                raise
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.1)


def write_certificate(folder: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "blog.example.org")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC))
        .not_valid_after(NOT_AFTER)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("blog.example.org")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "blog.key").write_bytes(secret)
    (folder / "blog.pem").write_bytes(certificate.public_bytes(pem))


def write_tree(work: Path, web: int, tls: int) -> None:
    for name in (
        "nginx/sites-enabled",
        "www/blog/wp-includes",
        "www/wiki/public",
        "www/wiki/includes",
        "pool.d",
        "body",
    ):
        (work / name).mkdir(parents=True)
    (work / "php-fpm.conf").write_text(FPM.format(work=work, branch=BRANCH))
    (work / "nginx/nginx.conf").write_text(NGINX.format(work=work))
    (work / "nginx/sites-enabled/blog").write_text(SITE.format(web=web, tls=tls))
    write_certificate(work / "nginx")
    (work / "www/prefixed/run").mkdir(parents=True)
    (work / "pool.d/blog.conf").write_text(POOLS.format(pools=f"/etc/php/{BRANCH}/fpm/pool.d"))
    (work / "pool.d/ondemand.inc").write_text(ONDEMAND)
    (work / "www/wiki/includes/Defines.php").write_text("define( 'MW_VERSION', '1.43.1' );\n")
    (work / "www/wiki/public/where.txt").write_text("here")
    (work / "www/blog/wp-includes/version.php").write_text("<?php\n$wp_version = '6.8.3';\n")
    (work / "www/blog/index.php").write_text("<?php echo 'served by PHP ', PHP_VERSION;")
    (work / "www/blog/slow.php").write_text("<?php while (!file_exists('/var/www/go')) usleep(20000);")


@pytest.fixture(scope="module")
def web_host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebHost]:
    assert BRANCH, "the Debian packages nginx and php-fpm are missing"
    work = tmp_path_factory.mktemp("web")
    exporter, web, tls = free_ports("exporter", "web", "tls").values()
    write_tree(work, web, tls)
    values = {"WORK": str(work), "BRANCH": BRANCH, "PORT": str(exporter), "PYTHON": sys.executable}
    apart = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    if os.geteuid() != 0:
        apart.append("--map-root-user")
    with (work / "log").open("wb") as log:
        process = subprocess.Popen(
            [*apart, "sh", "-c", START], env={**os.environ, **values}, stdout=log, stderr=log
        )
    host = WebHost(f"http://127.0.0.1:{exporter}", f"http://127.0.0.1:{web}", work / "www/go")
    try:
        until(lambda: process.poll() is not None or host.items("web_application"))
        assert process.poll() is None, (work / "log").read_text()
        yield host
    finally:
        process.kill()
        process.wait()


def test_the_site_itself_is_served_by_php(web_host: WebHost) -> None:
    with urllib.request.urlopen(f"{web_host.site}/index.php", timeout=patient(60)) as answer:
        assert answer.read().startswith(f"served by PHP {BRANCH}".encode())


def test_the_virtual_host_is_found_with_names_root_certificate_and_php(web_host: WebHost) -> None:
    (found,) = [item for item in web_host.items("virtual_host") if item["name"] == "blog.example.org"]
    assert found["server"] == "nginx"
    assert (found["name"], found["aliases"]) == ("blog.example.org", ["www.blog.example.org"])
    assert found["root"] == "/var/www/blog"
    assert found["certificates"] == ["/etc/nginx/blog.pem"]
    assert found["php"] == [BRANCH]
    assert found["backends"] == ["/var/www/fpm.sock"]


def test_wordpress_is_found_with_the_php_that_serves_it(web_host: WebHost) -> None:
    (found,) = [item for item in web_host.items("web_application") if item["name"] == "WordPress"]
    assert (found["name"], found["version"], found["path"]) == ("WordPress", "6.8.3", "/var/www/blog")
    assert (found["php"], found["hosts"]) == ([BRANCH], ["blog.example.org"])


def test_a_root_that_a_variable_names_is_the_one_that_nginx_serves(web_host: WebHost) -> None:
    request = urllib.request.Request(f"{web_host.site}/where.txt", headers={"Host": "wiki.example.org"})
    with urllib.request.urlopen(request, timeout=patient(60)) as answer:
        assert answer.read() == b"here"
    (found,) = [item for item in web_host.items("virtual_host") if item["name"] == "wiki.example.org"]
    assert found["root"] == "/var/www/wiki/public"
    (found,) = [item for item in web_host.items("web_application") if item["name"] == "MediaWiki"]
    assert (found["path"], found["hosts"]) == ("/var/www/wiki", ["wiki.example.org"])


def test_every_sapi_of_php_is_found_with_the_version_php_reports(web_host: WebHost) -> None:
    reported = subprocess.run(
        [f"php{BRANCH}", "-r", "echo PHP_VERSION;"], check=True, capture_output=True, text=True
    ).stdout
    sapis = {item["sapi"]: item for item in web_host.items("php") if item["branch"] == BRANCH}
    assert sapis["fpm"]["version"] == sapis["cli"]["version"] == reported
    assert f"/etc/php/{BRANCH}/fpm/php.ini" in sapis["fpm"]["ini_files"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's programs are run, and here none is root's")
@pytest.mark.parametrize(("sapi", "program"), [("cli", "/usr/bin/php"), ("fpm", "/usr/sbin/php-fpm")])
def test_extensions_are_those_that_php_lists_with_their_versions(
    web_host: WebHost, sapi: str, program: str
) -> None:
    shown = subprocess.run([f"{program}{BRANCH}", "-m"], check=True, capture_output=True, text=True).stdout
    names = {line.lower() for line in shown.splitlines() if line and not line.startswith("[")}
    found = [
        item for item in web_host.items("php_extension") if (item["sapi"], item["branch"]) == (sapi, BRANCH)
    ]
    assert {item["name"].lower() for item in found} == names
    # FPM's own part tells no version to the command line.
    assert {item["name"] for item in found if not item["version"]} <= {"cgi-fcgi"}


def test_settings_are_those_that_php_itself_works_with(web_host: WebHost) -> None:
    found = {
        item["name"]: item["value"]
        for item in web_host.items("php_setting")
        if item["sapi"] == "cli" and item["branch"] == BRANCH
    }
    for name in ("memory_limit", "post_max_size", "expose_php"):
        script = ["-r", f"echo ini_get('{name}');"]
        told = subprocess.run([f"php{BRANCH}", *script], check=True, capture_output=True, text=True).stdout
        assert {"on": "1", "off": ""}.get(found[name].lower(), found[name]) == told


def test_pools_are_found_with_what_they_override(web_host: WebHost) -> None:
    pools = {item["name"]: item for item in web_host.items("php_pool")}
    assert set(pools) == {"blog", "idle", "prefixed", "hidden"}
    assert pools["blog"]["settings"] == ["memory_limit=300M"]
    assert (pools["blog"]["branch"], pools["blog"]["max_children"]) == (BRANCH, "2")


def test_the_pools_figures_are_those_of_its_status_page(web_host: WebHost) -> None:
    labels = ("blog", BRANCH)
    # On a busy machine, the pool may be asked in vain once in a while.
    figures = until(lambda: answering(web_host.figures(), labels))
    assert figures[("leitstand_php_fpm_up", labels)] == 1
    assert figures[("leitstand_php_fpm_max_children", labels)] == 2
    assert figures[("leitstand_php_fpm_idle_processes", labels)] + figures[
        ("leitstand_php_fpm_active_processes", labels)
    ] in (1, 2)
    assert figures[("leitstand_php_fpm_up", ("idle", BRANCH))] == 1
    assert ("leitstand_php_fpm_status_up", ("idle", BRANCH)) not in figures


def test_a_pool_below_a_prefix_is_up_and_one_whose_address_a_variable_hides_is_not_called_down(
    web_host: WebHost,
) -> None:
    assert Path(f"{web_host.go.parent}/prefixed/run/fpm.sock").is_socket()
    assert Path(f"{web_host.go.parent}/hidden.sock").is_socket()
    figures = web_host.figures()
    assert figures[("leitstand_php_fpm_up", ("prefixed", BRANCH))] == 1
    assert ("leitstand_php_fpm_up", ("hidden", BRANCH)) not in figures
    listen = {item["name"]: item["listen"] for item in web_host.items("php_pool")}
    assert (listen["prefixed"], listen["hidden"]) == ("/var/www/prefixed/run/fpm.sock", "")


def answering(
    figures: dict[tuple[str, tuple[str, ...]], float], labels: tuple[str, str]
) -> dict[tuple[str, tuple[str, ...]], float] | None:
    return figures if figures.get(("leitstand_php_fpm_status_up", labels)) == 1 else None


def test_a_pool_that_starts_its_processes_on_demand_is_not_woken(web_host: WebHost) -> None:
    refreshed = ("leitstand_inventory_source_last_refresh_timestamp_seconds", ("php_fpm",))
    for _ in range(3):
        before = web_host.figures()[refreshed]
        until(lambda before=before: web_host.figures()[refreshed] > before)
        commands = [read_or_nothing(path) for path in Path("/proc").glob("[0-9]*/cmdline")]
        assert any(b"pool blog" in command for command in commands)
        assert not any(b"pool idle" in command for command in commands)


def read_or_nothing(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def test_a_saturated_pool_shows_its_busy_processes_and_leaves_the_document_alone(web_host: WebHost) -> None:
    labels = ("blog", BRANCH)
    # Not the whole document: other programs of the machine open and close sockets meanwhile.
    before = [web_host.items(kind) for kind in ("php_pool", "php", "virtual_host", "web_application")]
    with concurrent.futures.ThreadPoolExecutor(2) as visitors:
        slow = [visitors.submit(visit, f"{web_host.site}/slow.php") for _ in range(2)]
        try:
            until(lambda: web_host.figures().get(("leitstand_php_fpm_active_processes", labels), 0) >= 2)
            after = [web_host.items(kind) for kind in ("php_pool", "php", "virtual_host", "web_application")]
        finally:
            web_host.go.touch()
        assert [future.result() for future in slow] == [200, 200]
    assert after == before


def visit(url: str) -> int:
    with urllib.request.urlopen(url, timeout=patient(300)) as answer:
        status: int = answer.status
    return status


def test_the_certificate_is_found_with_its_end(web_host: WebHost) -> None:
    (found,) = [item for item in web_host.items("certificate") if item["path"] == "/etc/nginx/blog.pem"]
    assert found["names"] == ["blog.example.org"]
    assert found["not_after"] == NOT_AFTER.timestamp()
    expiry = ("leitstand_certificate_expiry_timestamp_seconds", ("/etc/nginx/blog.pem",))
    assert web_host.figures()[expiry] == NOT_AFTER.timestamp()


def test_the_sites_socket_is_found_with_nginx_behind_it(web_host: WebHost) -> None:
    port = int(web_host.site.rpartition(":")[2])
    found = {(item["port"], item["address"], item["program"]) for item in web_host.items("listening_socket")}
    assert (port, "127.0.0.1", "nginx") in found
