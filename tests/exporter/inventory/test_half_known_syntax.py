"""What a configuration leaves to a variable that is not known is left out: never a literal, never a "no"."""

import re
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.inventory import apache, fpm, nginx, php_ini
from exporter.inventory.source import Context, Findings

Build = Callable[[dict[str, str | bytes]], Context]
WANTED = {
    "/run/systemd/system/x": "",
    "/etc/systemd/system/multi-user.target.wants/php8.2-fpm.service": "",
}


@pytest.mark.parametrize(
    ("server", "root", "folders"),
    [
        ("set $base /srv/app; root $base/public;", "/srv/app/public", []),
        ('set $base "/srv/a b"; root ${base}/public;', "/srv/a b/public", []),
        ("set $a /srv; set $b $a/x; root $b;", "/srv/x", []),
        ("set $a /old; set $a /new; root $a;", "/new", []),
        ("root $b; set $a /srv; set $b $a;", "/srv", []),
        ("server_name a.example *.a; root /srv/$server_name;", "/srv/a.example", []),
        ("server_name ~^(?<n>.+)$; root /srv/$n/$server_name;", "", []),
        ("root /srv/$host;", "", []),
        ("root $mapped;", "", []),
        ("set $base /a; if ($host = x) { set $base /b; } root $base;", "", []),
        ("set $base /a; set_by_lua_block $base { return '}' } root $base;", "", []),
        ("set $base $host; root $base;", "", []),
        ("set $base /a; location /x { set $base /b; root $base; } root $base;", "/a", ["/b/x"]),
        (
            "set $d /srv; root /r; location /w { alias $d/wiki/; } location /z { alias $z; }",
            "/r",
            ["/srv/wiki"],
        ),
        ("root /r; location / { location /in { root /deep; } }", "/r", ["/deep/in"]),
    ],
)
def test_nginxs_variables_are_filled_in_where_a_server_sets_them_once_for_all(
    host: Build, server: str, root: str, folders: list[str]
) -> None:
    text = f"http {{ root /all; map $host $mapped {{ default /m; }} server {{ {server} }} }}"
    ((found,), skipped) = nginx.nginx_hosts(host({"/etc/nginx/nginx.conf": text}).tree)
    assert (found.root, found.folders, skipped) == (root, folders, 0)


def test_nginxs_variables_name_backends_certificates_and_names_or_are_left_out(host: Build) -> None:
    text = """http { map $host $php { default unix:/x; }
      upstream pool { server unix:/run/pool.sock; }
      server { server_name a $hostname; ssl_certificate /c/$ssl_server_name;
        set $b unix:/run/a.sock; set $u pool;
        location ~ a { fastcgi_pass $b; } location ~ b { fastcgi_pass $u; }
        location ~ c { fastcgi_pass $php; }
      } }"""
    ((found,), _) = nginx.nginx_hosts(host({"/etc/nginx/nginx.conf": text}).tree)
    assert (found.names, found.certificates) == (["a"], [])
    assert found.backends == ["/run/a.sock", "/run/pool.sock"]


LUA = st.lists(
    st.sampled_from(
        [
            'ngx.say("}")',
            "ngx.say('{')",
            "-- a } in a comment\n",
            "--[[ } ]]",
            "[==[ }]] } ]==]",
            "local t = { a = { 1 } }",
            r'"\"}"',
        ]
    ),
    max_size=8,
)


@settings(max_examples=200, derandomize=True)
@given(LUA, st.sampled_from(["content_by_lua_block {", "set_by_lua_block $x {", "init_by_lua_block{"]))
def test_braces_in_lua_hide_no_server_after_it(code: list[str], directive: str) -> None:
    text = (
        f"http {{ server {{ server_name a; {directive} {' '.join(code)} }} }} server {{ server_name b; }} }}"
    )
    hosts = nginx.servers(nginx.parse(text, "file"), "/etc/nginx")
    assert [entry.names for entry in hosts] == [["a"], ["b"]]


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        (r"a\"b", 'a"b'),
        (r'"a\"b c"', 'a"b c'),
        ("'a\\'b'", "a'b"),
        ("a}b", "a}b"),
        ('a"b', 'a"b'),
        ("${x}y", ""),
    ],
)
def test_nginxs_words_are_read_as_nginx_reads_them(word: str, expected: str) -> None:
    (found,) = nginx.servers(nginx.parse(f"http {{ server {{ root {word}; }} }}", "f"), "/etc/nginx")
    assert found.root == expected


MACROS = """
<Macro VHost $name $dir>
  <VirtualHost *:8123>
    ServerName $name.${zone}
    ServerAlias "www.$name.${zone}" $names.x
    DocumentRoot {root}/$dir
    Use Extra $name
  </VirtualHost>
</Macro>
<macro Extra $n>
  ServerAlias extra.$n
</macro>
Use VHost one srv
use vhost two "srv"
<IfDefine !Missing>
<VirtualHost *:8123>
  ServerName three
  Define inner four
</VirtualHost>
</IfDefine>
<IfDefine Missing>
  <IfDefine inner>
    Use VHost no srv
  </IfDefine>
</IfDefine>
<IfDefine inner>
<VirtualHost *:8123>
  ServerName ${inner}
</VirtualHost>
</IfDefine>
UnDefine inner
<IfDefine inner>
<VirtualHost *:8123>
  ServerName five
</VirtualHost>
</IfDefine>
<IfModule !mod_macro.c>
<VirtualHost *:8123>
  ServerName six
</VirtualHost>
</IfModule>
<IfFile conf/there>
<IfModule mod_macro.c>
<VirtualHost *:8123>
  ServerName seven
  ServerAlias "quo\\"ted"
</VirtualHost>
</IfModule>
</IfFile>
<IfFile !conf/there>
  Use VHost no srv
</IfFile>
UndefMacro Extra
<Macro Quoted @a %b>
<VirtualHost *:8123>
  ServerName host-%b
  ServerAlias @a
</VirtualHost>
</Macro>
Use Quoted "one two" three
"""


def test_macros_and_conditions_give_the_virtual_hosts_that_apache_itself_lists(
    host: Build, tmp_path: Path
) -> None:
    modules = "\n".join(
        f"LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so"
        for name in ("mpm_event", "authz_core", "macro")
    )
    (tmp_path / "root/srv").mkdir(parents=True)
    head = f"{modules}\nErrorLog /dev/null\nServerName main\nListen 127.0.0.1:8123\nDefine zone example.org\n"
    files = {
        "/conf/there": "",
        "/etc/apache2/apache2.conf": f"ServerRoot /\n{head}{MACROS.replace('{root}', '')}",
    }
    context = host(dict(files))
    real = tmp_path / "real.conf"
    real.write_text(f"ServerRoot {tmp_path}/root\n{head}{MACROS.replace('{root}', f'{tmp_path}/root')}")
    server = ["/usr/sbin/apache2", "-S", "-d", str(tmp_path), "-f", str(real)]
    listed = subprocess.run(server, check=True, capture_output=True, text=True).stdout
    expected = [name.strip() for name in re.findall(r"(?:namevhost|alias) ([^(\n]+)", listed)]
    hosts, skipped = apache.apache_hosts(context.tree)
    assert [name for entry in hosts for name in entry.names] == expected
    assert len(expected) == 14
    assert {entry.root for entry in hosts[:2]} == {"/srv"}
    assert skipped == 0


def test_an_unknown_or_recursive_macro_affects_no_other(host: Build) -> None:
    text = "Use Unknown a\n<Macro Loop>\nUse Loop\nUse Loop\n</Macro>\nUse Loop\n"
    text += (
        "<Macro Two $a $b>\nListen $a\n</Macro>\nUse Two 1\n<VirtualHost *>\nServerName a\n</VirtualHost>\n"
    )
    (found,), skipped = apache.apache_hosts(host({"/etc/apache2/apache2.conf": text}).tree)
    assert found.names == ["a"]
    assert skipped > 2


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/etc/apache2/envvars", 'export APACHE_ARGUMENTS="-D SSL"'),
        ("/etc/sysconfig/httpd", "OPTIONS='-DSSL -DX'"),
        ("/etc/sysconfig/apache2", 'APACHE_SERVER_FLAGS="X SSL"'),
    ],
)
def test_definitions_on_the_command_line_of_apache_count(host: Build, path: str, text: str) -> None:
    files = {
        path: text,
        "/etc/apache2/apache2.conf": "<IfDefine SSL>\nServerName a\nDocumentRoot /a\n</IfDefine>",
    }
    (found,), _ = apache.apache_hosts(host(dict(files)).tree)
    assert found.names == ["a"]


def test_growing_and_endless_files_cost_no_time_and_no_memory(host: Build) -> None:
    doubling = "".join(f"set $v{at + 1} $v{at}$v{at};" for at in range(100))
    lua = ["[[" * 200_000, "[=[" * 200_000, '"' + '\\" ' * 300_000, "--" * 300_000]
    blocks = "".join(f"server {{ access_by_lua_block {{ {code} }} }}\n" for code in lua)
    server = f"server {{ server_name a; set $v0 x; {doubling} root /srv/$v100; }}"
    files = {f"/etc/nginx/{at}": block for at, block in enumerate(blocks.splitlines())}
    context = host({**files, "/etc/nginx/nginx.conf": f"http {{ {server} include [0-9]*; }}"})
    hosts, _ = nginx.nginx_hosts(context.tree)
    assert (hosts[0].names, hosts[0].root) == (["a"], "")
    macros = [f"<Macro M{at} $x>\nUse M{at + 1} $x$x\n</Macro>\n" for at in range(60)]
    text = "".join(macros) + "<Macro M60 $x>\nServerName $x\n</Macro>\nDocumentRoot /a\nUse M0 xx\n"
    (found,), _ = apache.apache_hosts(host({"/etc/apache2/apache2.conf": text}).tree)
    assert len(found.names[0]) <= apache.MAXIMUM_LINE


def test_the_environment_of_debians_apache_is_filled_in(host: Build) -> None:
    files = {
        "/etc/apache2/envvars": "export BASE=/srv/web\nexport LOGS=/var/log/apache2$SUFFIX\nunset HOME\n",
        "/etc/apache2/apache2.conf": "<IfDefine BASE>\nServerName no\n</IfDefine>\n"
        "<VirtualHost *>\nServerName ${LOGS}\nDocumentRoot ${BASE}/public\n</VirtualHost>\n",
    }
    (found,), _ = apache.apache_hosts(host(dict(files)).tree)
    assert (found.names, found.root) == ([], "/srv/web/public")


@pytest.mark.parametrize(
    ("module", "content"),
    [
        ("modules/libphp.so", b"X-Powered-By: PHP/8.2.29\0"),
        ("/usr/lib64/apache2/mod_php8.so", b"X-Powered-By: PHP/8.2.29\0"),
        ("/usr/lib/apache2/mod_php82.so", b""),
        ("/usr/lib/apache2/modules/libphp8.2.so", b""),
        ("/usr/lib/apache2/modules/libphp8.2.so\nSetHandler application/x-httpd-php", b""),
    ],
)
def test_the_branch_of_phps_module_is_read_from_its_name_or_content(
    host: Build, module: str, content: bytes
) -> None:
    text = f"ServerRoot /etc/httpd\nLoadModule php_module {module}\n"
    text += "<VirtualHost *>\nDocumentRoot /a\n</VirtualHost>\n"
    path = module.split()[0] if module.startswith("/") else f"/etc/httpd/{module}"
    (found,), _ = apache.apache_hosts(host({"/etc/httpd/conf/httpd.conf": text, path: content}).tree)
    assert found.php == "8.2"


@pytest.mark.parametrize("name", ["httpd-ea-php82", "httpd-alt-php82", "lsphp82", "httpd-php82"])
def test_the_branch_of_php_is_taken_from_a_handler_that_names_it(host: Build, name: str) -> None:
    text = f"AddHandler application/x-{name} .php\n<VirtualHost *>\nDocumentRoot /a\n</VirtualHost>\n"
    (found,), _ = apache.apache_hosts(host({"/etc/apache2/conf/httpd.conf": text}).tree)
    assert found.php == "8.2"


def test_values_known_only_to_apaches_environment_or_a_request_are_left_out(host: Build) -> None:
    text = """DocumentRoot /main
    <VirtualHost ${IP}:80 *:80>
    ServerName ${NAME}
    ServerAlias known.example
    DocumentRoot ${BASE}/public
    Alias /x ${BASE}/x
    SSLCertificateFile /etc/${NAME}.pem
    SetHandler "proxy:unix:${SOCKET}|fcgi://localhost"
    </VirtualHost>
    <VirtualHost *>
    VirtualDocumentRoot /srv/%0/public
    </VirtualHost>
    """
    first, second = apache.apache_hosts(host({"/etc/apache2/apache2.conf": text}).tree)[0]
    assert (first.names, first.listen, first.root) == (["known.example"], ["*:80"], "")
    assert (first.folders, first.certificates, first.backends) == ([], [], [])
    assert second.root == ""


def fpm_of(host: Build, pool: str, **more: str) -> tuple[dict[str, str], dict[str, list[float]], Findings]:
    """(settings of the pool, figures) of a configuration whose service is to run and does not."""
    files = {**WANTED, "/etc/php/8.2/fpm/php-fpm.conf": f"[global]\npid = x\n[www]\nuser = w\n{pool}\n"}
    files |= {f"/usr/etc/{name}.conf": text for name, text in more.items()}
    context = host(dict(files))
    ((_, _, values),) = fpm.all_pools(context.tree, Findings())
    findings = fpm.read(context)
    figures = {family.name: [value for _, value in family.rows] for family in findings.metrics}
    return values, figures, findings


@pytest.mark.parametrize(
    ("pool", "listen", "up"),
    [
        ("prefix = /srv/$pool\nlisten = run/fpm.sock", "/srv/www/run/fpm.sock", [0]),
        ("prefix = /srv\nlisten = $pool.sock", "/srv/www.sock", [0]),
        ("listen = /run/$pool.sock", "/run/www.sock", [0]),
        ("listen = '/run/a b.sock' ; comment", "/run/a b.sock", [0]),
        ("listen = run/fpm.sock", "", []),
        ("listen = ${FPM_LISTEN}", "", []),
        ('listen = "/run/"${NAME}".sock"', "", []),
        ("listen = ${FPM_LISTEN:-/run/a.sock}", "", []),
        ("listen = /old.sock\nlisten = ${FPM_LISTEN}", "", []),
        ("pm = static", "", []),
        ('listen = "/run/torn.sock', "", []),
        ("include = etc/common.conf", "/run/www.common", [0]),
        ("include = ${X}/*.conf", "", []),
        ("listen = 127.0.0.1:99999", "127.0.0.1:99999", []),
        ("listen = php.example:9000", "php.example:9000", []),
        ("listen = localhost:1", "localhost:1", [0]),
        ("listen = *:1", "*:1", [0]),
    ],
)
def test_a_pool_is_down_only_where_its_address_is_known(
    host: Build, pool: str, listen: str, up: list[int]
) -> None:
    values, figures, findings = fpm_of(host, pool, common="listen = /run/$pool.common\n")
    assert values.get("listen", "") == listen
    assert figures["leitstand_php_fpm_up"] == up
    assert findings.skipped >= (not up)


@pytest.mark.parametrize("host_of_pool", ["localhost:", "*:", ""])
def test_a_pool_that_has_the_ipv6_address_of_this_host_alone_is_up(host: Build, host_of_pool: str) -> None:
    """Where /etc/hosts has localhost for both, PHP-FPM listens on the first address alone, which is ::1."""
    try:
        server = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError:
        pytest.skip("this machine has no IPv6")
    with server:
        _, figures, _ = fpm_of(host, f"listen = {host_of_pool}{server.getsockname()[1]}")
        assert figures["leitstand_php_fpm_up"] == [1]


def test_a_status_page_whose_address_is_a_name_is_not_reported_as_silent(host: Build) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        pool = f"listen = 127.0.0.1:{server.getsockname()[1]}\npm.status_path = /status\n"
        _, figures, _ = fpm_of(host, f"{pool}pm.status_listen = status.example:9001\n")
        assert (figures["leitstand_php_fpm_up"], figures["leitstand_php_fpm_status_up"]) == ([1], [])


def test_a_relative_socket_that_is_there_is_the_pools(host: Build) -> None:
    """Left behind by a PHP-FPM that has ended: nobody answers on it."""
    context = host(
        {**WANTED, "/etc/php/8.2/fpm/php-fpm.conf": "[www]\nlisten = run/fpm.sock\n", "/usr/run/x": ""}
    )
    script = "import socket, sys; socket.socket(socket.AF_UNIX).bind(sys.argv[1])"
    subprocess.run(["python3", "-c", script, f"{context.roots.root}/usr/run/fpm.sock"], check=True)
    (up, *_) = fpm.read(context).metrics
    assert up.rows == [(("www", "8.2"), 0)]


def test_a_service_without_a_branch_is_that_of_the_php_without_one(host: Build) -> None:
    """Red Hat's own PHP-FPM is to run, and one of Remi's is installed besides, and is not."""
    files = {
        "/run/systemd/system/x": "",
        "/etc/systemd/system/multi-user.target.wants/php-fpm.service": "",
        "/etc/php-fpm.conf": "[www]\nlisten = /run/a.sock\n",
        "/usr/sbin/php-fpm": "X-Powered-By: PHP/8.0.30\0",
        "/etc/opt/remi/php82/php-fpm.conf": "[www]\nlisten = /run/b.sock\n",
    }
    (up, *_) = fpm.read(host(dict(files))).metrics
    assert up.rows == [(("www", "8.0"), 0)]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("memory_limit = 1G ; note", "1G"),
        ("memory_limit = \"1\"'G'", "1G"),
        ("memory_limit = '${X}'", "${X}"),
        ("memory_limit = ${PHP_MEMORY_LIMIT}", None),
        ('memory_limit = "${A}M"', None),
        ("memory_limit =", ""),
    ],
)
def test_a_setting_that_phps_environment_decides_is_left_out(
    host: Build, line: str, expected: str | None
) -> None:
    context = host({"/a.ini": "memory_limit = 128M\n", "/b.ini": f"{line}\n"})
    values, _, skipped = php_ini.settings(context.tree, ["/a.ini", "/b.ini"])
    assert (values.get("memory_limit"), skipped) == (expected, 0)
