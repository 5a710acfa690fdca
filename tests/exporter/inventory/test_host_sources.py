import os
import socket
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter import netlink
from exporter.inventory import (
    addresses,
    libraries,
    listeners,
    reboot,
    systemd,
)
from exporter.inventory import (
    host as host_source,
)
from exporter.inventory.processes import parse_unit
from exporter.inventory.source import Context, Findings, Item

Items = Callable[[Findings, str], list[Item]]
Build = Callable[[dict[str, str | bytes]], Context]


def test_the_addresses_are_those_the_system_library_reports(real_host: Context, items: Items) -> None:
    for _ in range(5):
        before, findings, after = reported_addresses(), addresses.read(real_host), reported_addresses()
        if before == after:  # not just when one came or went
            break
    (family,) = findings.metrics
    assert {(labels[0], labels[2]) for labels, _ in family.rows} == before
    loopback = next(item for item in items(findings, "address") if item["address"] == "127.0.0.1")
    assert (loopback["prefix"], loopback["scope"], loopback["family"]) == (8, "host", "inet")


def reported_addresses() -> set[tuple[str, str]]:
    return {
        (name, entry.address.partition("%")[0])
        for name, entries in psutil.net_if_addrs().items()
        for entry in entries
        if entry.family in (socket.AF_INET, socket.AF_INET6)
    }


def test_temporary_addresses_are_shown_but_are_no_lasting_content() -> None:
    findings = Findings()
    found = [
        netlink.Address(2, "inet6", "2001:db8::1", 64, "global", temporary) for temporary in (False, True)
    ]
    addresses.add_addresses(findings, found, {2: "eth0"})
    assert len(findings.items) == 1
    assert len(findings.metrics[0].rows) == 2


@settings(max_examples=200, derandomize=True)
@given(st.binary(max_size=200))
def test_any_answer_of_the_kernel_passes_the_parser(data: bytes) -> None:
    netlink.parse_addresses(data)
    netlink.parse_address(data)
    list(netlink.parse_links(data))


def test_a_message_of_the_kernel_cut_anywhere_is_left_out() -> None:
    payload = (
        netlink.ADDRESS.pack(socket.AF_INET, 24, 0, 0, 2)
        + netlink.ATTRIBUTE.pack(8, 2)
        + bytes([192, 0, 2, 9])
    )
    data = netlink.HEADER.pack(16 + len(payload), netlink.RTM_NEWADDR, 0, 1, 0) + payload
    assert netlink.parse_addresses(data) == [netlink.Address(2, "inet", "192.0.2.9", 24, "global", False)]
    for length in range(len(data)):
        assert netlink.parse_addresses(data[:length]) == []


ROUTES = """Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t0102A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0
wg0\t00000000\t00000000\t0001\t0\t0\t0\t00000000\t0\t0\t0
eth0\t0002A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
half\t00000000
"""
ROUTES6 = (
    f"{'0' * 32} 00 {'0' * 32} 00 fe800000000000000000000000000001 00000400 00000001 00000000 00000003 "
    "    eth0\n"
    f"{'0' * 32} 00 {'0' * 32} 00 {'0' * 32} ffffffff 00000001 00000000 00200200       lo\n"
)


def test_default_routes_are_read_and_others_left_out() -> None:
    assert list(addresses.parse_routes(ROUTES)) == [
        addresses.Route("inet", "192.168.2.1", "eth0", 100),
        addresses.Route("inet", "", "wg0", 0),
    ]
    assert list(addresses.parse_routes6(ROUTES6)) == [addresses.Route("inet6", "fe80::1", "eth0", 1024)]


@pytest.mark.parametrize(
    ("files", "servers"),
    [
        (
            {"/etc/resolv.conf": "nameserver 192.0.2.1\nnameserver 2001:db8::1 # x\n"},
            ["192.0.2.1", "2001:db8::1"],
        ),
        ({"/etc/resolv.conf": "nameserver 127.0.0.53\n"}, ["127.0.0.53"]),
        (
            {
                "/etc/resolv.conf": "nameserver 127.0.0.53\n",
                "/run/systemd/resolve/resolv.conf": "nameserver 192.0.2.7\n",
            },
            ["192.0.2.7"],
        ),
        ({}, []),
    ],
)
def test_name_servers_are_those_really_asked(
    host: Build, files: dict[str, str | bytes], servers: list[str]
) -> None:
    assert addresses.name_servers(host(files).tree) == servers


@settings(max_examples=150, derandomize=True)
@given(st.text(max_size=200))
def test_any_text_passes_the_parsers_of_the_host(text: str) -> None:
    list(addresses.parse_routes(f"head\n{text}"))
    list(addresses.parse_routes6(text))
    addresses.parse_resolvers(text)
    host_source.parse_os_release(text)
    host_source.names_of("web1", text, text)
    libraries.parse_deleted(text.encode())
    systemd.parse_units(text)
    systemd.parse_properties(text)
    parse_unit(text)
    reboot.newest_kernel(text, [text, "6.1.0-1-amd64"])


@pytest.mark.parametrize(
    ("hosts", "resolver", "expected"),
    [
        ("127.0.0.1 localhost\n192.0.2.1 web1.example.org web1 www # x", "", ("web1.example.org", ["www"])),
        ("127.0.1.1 web1\n", "search example.net other\n", ("web1.example.net", [])),
        ("127.0.0.1 localhost", "", ("", [])),
        ("192.0.2.1 web1.example.org\n192.0.2.2 web10.example.org", "", ("web1.example.org", [])),
    ],
)
def test_the_full_name_comes_from_the_hosts_file_or_the_search_domain(
    hosts: str, resolver: str, expected: tuple[str, list[str]]
) -> None:
    assert host_source.names_of("web1", hosts, resolver) == expected


def test_the_host_is_described_by_its_own_files(host: Build, items: Items) -> None:
    context = host(
        {
            "/etc/os-release": 'PRETTY_NAME="Debian GNU/Linux 13 (trixie)"\nID=debian\nVERSION_ID="13"\n',
            "/etc/machine-id": "0123456789abcdef0123456789abcdef\n",
            "/usr/share/zoneinfo/Europe/Berlin": "TZif",
            "/etc/timezone": "Etc/UTC\n",  # left behind when the link was changed by hand
        }
    )
    (context.roots.root / "etc/localtime").symlink_to("/usr/share/zoneinfo/Europe/Berlin")
    dmi = context.roots.sys / "class/dmi/id"
    dmi.mkdir(parents=True)
    (dmi / "sys_vendor").write_text("QEMU\n")
    (dmi / "product_name").write_text("Standard PC (Q35 + ICH9, 2009)\n")
    (found,) = items(host_source.read(context), "host")
    assert found["distribution_name"] == "Debian GNU/Linux 13 (trixie)"
    assert (found["distribution"], found["distribution_version"]) == ("debian", "13")
    assert found["time_zone"] == "Europe/Berlin"
    assert (found["virtualisation"], found["hardware_vendor"]) == ("qemu", "QEMU")


LXCFS = (
    "700 690 0:60 /proc/cpuinfo /proc/cpuinfo rw,nosuid,nodev,relatime - fuse.lxcfs lxcfs "
    "rw,user_id=0,group_id=0,allow_other\n"
)


@pytest.mark.parametrize(
    ("files", "kernel", "expected"),
    [
        ({}, {"1/cgroup": "0::/\n"}, ""),
        (
            {},
            {"1/cgroup": "0::/init.scope\n", "1/mountinfo": LXCFS.replace("/proc/cpuinfo", "/var/lib/lxcfs")},
            "",
        ),
        ({}, {"1/cgroup": "0::/\n", "1/mountinfo": f"1 0 0:1 / / rw - zfs x rw\n{LXCFS}"}, "lxc"),
        ({}, {"1/cgroup": "0::/\n", "1/environ": "TERM=linux\0container=lxc\0"}, "lxc"),
        ({}, {"1/environ": "container=systemd-nspawn\0"}, "systemd-nspawn"),
        ({}, {"1/environ": "MY_container=lxc\0"}, ""),
        ({}, {"1/cgroup": "12:pids:/lxc/web\n"}, "lxc"),
        ({"/run/systemd/container": "lxc\n"}, {}, "lxc"),
        ({"/run/host/container-manager": "lxc\n"}, {}, "lxc"),
        ({"/.dockerenv": ""}, {"1/environ": "container=oci\0"}, "docker"),
        ({}, {"vz/version": "2.7\n"}, "openvz"),
        ({}, {"vz/version": "2.7\n", "bc/0/resources": ""}, ""),
        ({}, {"sys/kernel/osrelease": "6.6.87.2-microsoft-standard-WSL2\n"}, "wsl"),
        ({}, {"sys/kernel/osrelease": "6.8.0-1015-azure\n", "1/cgroup": "0::/\n"}, ""),
    ],
)
def test_a_container_is_recognised_by_the_files_of_its_manager(
    host: Build, files: dict[str, str | bytes], kernel: dict[str, str], expected: str
) -> None:
    modules = ("9.9.9-9-amd64", "9.9.9-9-azure", "9.9.9-microsoft-standard-WSL2")
    context = host({**files, **{f"/lib/modules/{name}/modules.builtin": "" for name in modules}})
    for name, content in {"sys/kernel/osrelease": "6.1.0-1-amd64\n", **kernel}.items():
        path = context.roots.proc / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    assert host_source.container_manager(context.tree, context.roots.proc) == expected
    # In a container, the kernel is none of its packages'.
    assert bool(reboot.read(context).items) == (not expected)


def test_the_real_host_has_its_real_name_and_kernel(real_host: Context, items: Items) -> None:
    (found,) = items(host_source.read(real_host), "host")
    assert (found["hostname"], found["kernel"]) == (os.uname().nodename, os.uname().release)
    assert found["architecture"] == os.uname().machine


def test_a_program_whose_library_was_replaced_is_found(
    real_host: Context, items: Items, tmp_path: Path
) -> None:
    library = Path("/usr/local/lib") / f"leitstand-test-{os.getpid()}.so"
    if not os.access(library.parent, os.W_OK):
        pytest.skip("needs root: only files of system folders count")
    source = next(Path("/lib").glob("*-linux-gnu*/libz.so.1"))
    library.write_bytes(source.read_bytes())
    script = f"import ctypes; ctypes.CDLL({str(library)!r}); print('loaded', flush=True); input()"
    process = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert process.stdout and process.stdout.readline() == b"loaded\n"
        before = items(libraries.read(real_host), "stale_library")
        library.unlink()
        after = items(libraries.read(real_host), "stale_library")
    finally:
        library.unlink(missing_ok=True)
        process.communicate(b"\n")
    assert str(library) not in str(before)
    (found,) = [item for item in after if str(library) in str(item["files"])]
    assert str(found["program"]).startswith("python")


def test_deleted_files_that_no_update_replaces_are_left_out() -> None:
    maps = "".join(
        f"7f00-7f01 {rights} 00000000 fe:00 {inode} {' ' * 20}{path} (deleted)\n"
        for rights, inode, path in [
            ("r-xp", 12, "/usr/lib/libssl.so.3"),
            ("rw-p", 12, "/usr/lib/libdata.so"),
            ("r-xp", 12, "/memfd:jit"),
            ("r-xp", 12, "/tmp/scratch.so"),
            ("r-xs", 12, "/dev/zero"),
        ]
    )
    assert libraries.parse_deleted(maps.encode()) == {"/usr/lib/libssl.so.3"}


@pytest.mark.parametrize(
    ("cgroup", "unit"),
    [
        ("0::/system.slice/nginx.service\n", "nginx.service"),
        ("0::/system.slice/system-php.slice/php8.2-fpm.service\n", "php8.2-fpm.service"),
        ("0::/user.slice/user-0.slice/session-3.scope\n", "session-3.scope"),
        ("12:pids:/system.slice/ssh.service\n1:name=systemd:/system.slice/ssh.service\n", "ssh.service"),
        ("0::/\n", ""),
    ],
)
def test_the_unit_of_a_process_is_the_innermost(cgroup: str, unit: str) -> None:
    assert parse_unit(cgroup) == unit


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_a_listening_socket_is_found_with_its_program(real_host: Context, items: Items, address: str) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        server = socket.create_server((address, 0), family=family)
    except OSError:
        pytest.skip("this machine has no IPv6")
    with server:
        port = server.getsockname()[1]
        found = [
            item
            for item in items(listeners.read(real_host), "listening_socket")
            if (item["port"], item["address"]) == (port, address)
        ]
    own = Path("/proc/self/comm").read_text().strip()
    assert [(item["protocol"], item["program"]) for item in found] == [("tcp", own)]


LISTEN = """
import socket
server = socket.create_server(("127.0.0.1", 0))
print(server.getsockname()[1], flush=True)
input()
"""


def test_the_name_of_a_program_is_whole(real_host: Context, items: Items, tmp_path: Path) -> None:
    """The kernel keeps 15 letters: three programs of one maker would be one."""
    named = tmp_path / "prometheus-alertmanager-of-a-test"
    named.symlink_to(sys.executable)
    with subprocess.Popen(
        [named, "-c", LISTEN], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        port = int(process.stdout.readline())
        found = items(listeners.read(real_host), "listening_socket")
        assert Path(f"/proc/{process.pid}/comm").read_text().strip() == named.name[:15]
        process.communicate("\n")
    assert [item["program"] for item in found if item["port"] == port] == [named.name]


HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
SOCKET = "   0: {address}:{port:04X} {zero}:0000 {state} 00000000:00000000 00:00000000 00000000 0 0 7 1 0\n"


def kernel_tables(context: Context, **spoilt: str) -> None:
    for name, address, state in (
        ("tcp", "0100007F", "0A"),
        ("tcp6", "0" * 32, "0A"),
        ("udp", "00000000", "07"),
        ("udp6", f"{'0' * 24}01000000", "07"),
    ):
        rows = [
            SOCKET.format(address=address, zero="0" * len(address), state=state, port=port)
            for port in (25, 123, 40_000)
        ]
        path = context.roots.proc / "net" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("".join([HEAD, *rows, spoilt.get(name, "")]))
    ports = context.roots.proc / "sys/net/ipv4/ip_local_port_range"
    ports.parent.mkdir(parents=True, exist_ok=True)
    ports.write_text("32768\t60999\n")


def test_sockets_are_those_of_the_tables_below_the_root_without_the_clients_of_udp(
    host: Build, items: Items
) -> None:
    context = host({})
    kernel_tables(context)
    found = items(listeners.read(context), "listening_socket")
    rows = {(item["protocol"], item["address"], item["port"], item["program"]) for item in found}
    tcp = {("tcp", address, port, "") for address in ("127.0.0.1", "::") for port in (25, 123, 40_000)}
    assert rows == tcp | {("udp", address, port, "") for address in ("0.0.0.0", "::1") for port in (25, 123)}
    assert psutil.PROCFS_PATH == "/proc"


@pytest.mark.parametrize("line", ["7: torn\n", "\x00\n", SOCKET.replace("{state}", "QQ"), "x" * 200])
def test_a_table_of_another_form_costs_no_other_table(host: Build, items: Items, line: str) -> None:
    context = host({})
    kernel_tables(context, tcp=line.format(address="0100007F", zero="0" * 8, port=1))
    findings = listeners.read(context)
    assert {item["protocol"] for item in items(findings, "listening_socket")} == {"tcp", "udp"}
    assert findings.skipped == 1


def test_the_structure_of_netlink_is_that_of_the_kernel_headers() -> None:
    assert (netlink.HEADER.size, netlink.ADDRESS.size, netlink.ATTRIBUTE.size) == (16, 8, 4)
    assert netlink.LINK.size == 16
    assert struct.calcsize("=I") == 4
