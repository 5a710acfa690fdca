"""A line that is cut, repeated, blank, missing or garbled costs its own entry, in every list."""

import json
from collections.abc import Callable, Iterable

import pytest

from exporter.exposition import text_page
from exporter.inventory import SOURCES, addresses, containers, nginx, php_ini, rpm, systemd
from exporter.inventory.inventory import InventoryService
from exporter.inventory.order import Order
from exporter.inventory.part import Part
from exporter.inventory.readers import READERS
from exporter.inventory.runner import Outcome
from exporter.inventory.source import Context, Findings
from exporter.tree import Tree

Build = Callable[[dict[str, str | bytes]], Context]
Read = Callable[[Build, str], tuple[set[str], int]]


def by_source(source: str, path: str, kind: str, field: str, **more: str) -> Read:
    """What a source finds where ``path`` holds the list."""

    def read(host: Build, text: str) -> tuple[set[str], int]:
        files = {f"/{name.replace('__', '/')}": content for name, content in more.items()}
        findings = READERS[source](host({**files, path: text}))
        return {str(item[field]) for found, item in findings.items if found == kind}, findings.skipped

    return read


def by_parser(parse: Callable[[str, Findings], Iterable[str]]) -> Read:
    """What a parser finds in the text."""

    def read(_: Build, text: str) -> tuple[set[str], int]:
        findings = Findings()
        return set(parse(text, findings)), findings.skipped

    return read


def of_rpm(text: str, findings: Findings) -> Iterable[str]:
    return [str(package["name"]) for package in findings.known("rpm", rpm.parse_query(text))]


def of_routes(text: str, findings: Findings) -> Iterable[str]:
    return [route.interface for route in addresses.parse_routes(f"Iface Destination\n{text}", findings)]


def of_routes6(text: str, findings: Findings) -> Iterable[str]:
    return [route.interface for route in addresses.parse_routes6(text, findings)]


def of_units(text: str, findings: Findings) -> Iterable[str]:
    return systemd.found_units(findings.known("units", systemd.unit_rows(text)))


def sudoers(host: Build, text: str) -> tuple[set[str], int]:
    accounts = "".join(f"{name}:x:{1000 + at}:1::/:/bin/sh\n" for at, name in enumerate(("ann", "bob", "cy")))
    findings = READERS["users"](host({"/etc/passwd": accounts, "/etc/sudoers": text}))
    return {str(item["name"]) for _, item in findings.items if item.get("sudo")}, findings.skipped


def groups(host: Build, text: str) -> tuple[set[str], int]:
    accounts = "".join(f"{name}:x:{1000 + at}:1::/:/bin/sh\n" for at, name in enumerate(("ann", "bob", "cy")))
    rules = "%ann ALL=(ALL) ALL\n%bob ALL=(ALL) ALL\n%cy ALL=(ALL) ALL\n"
    findings = READERS["users"](host({"/etc/passwd": accounts, "/etc/sudoers": rules, "/etc/group": text}))
    return {str(item["name"]) for _, item in findings.items if item.get("sudo")}, findings.skipped


def key(letter: str) -> str:
    return f"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI{letter * 23} of {letter}\n"


def php_settings(host: Build, text: str) -> tuple[set[str], int]:
    values, _, skipped = php_ini.settings(host({"/php.ini": text}).tree, ["/php.ini"])
    return set(values), skipped


STATUS = "".join(
    f"Package: {name}\nStatus: install ok installed\nArchitecture: all\nVersion: 1\n\n" for name in "abc"
)
# List -> its three entries, what must be found of the first and the last, and how it is read.
LISTS: dict[str, tuple[tuple[str, str, str], set[str], Read]] = {
    "dpkg's packages": (
        tuple(
            f"Package: {name}\nStatus: install ok installed\nVersion: 1\nDescription: x\n more\n\n"
            for name in "abc"
        ),
        {"a", "c"},
        by_source("dpkg", "/var/lib/dpkg/status", "package", "name"),
    ),
    "apt's lists": (
        tuple(f"Package: {name}\nVersion: 2\nArchitecture: all\nSize: 1\n\n" for name in "abc"),
        {"a", "c"},
        by_source(
            "apt",
            "/var/lib/apt/lists/x_dists_y_main_binary-amd64_Packages",
            "update",
            "name",
            var__lib__dpkg__status=STATUS,
        ),
    ),
    "apk's packages": (
        tuple(f"C:Q1x=\nP:{name}\nV:1\nA:x\nF:usr\nR:file\n\n" for name in "abc"),
        {"a", "c"},
        by_source("apk", "/lib/apk/db/installed", "package", "name"),
    ),
    "rpm's packages": (
        tuple(f"{name}\t0\t1-1\tx\t{name}.src.rpm\t1700000000\n" for name in "abc"),
        {"a", "c"},
        by_parser(of_rpm),
    ),
    "accounts": (
        tuple(f"{name}:x:{at}:1::/home/{name}:/bin/sh\n" for at, name in ((1, "a"), (2, "b"), (3, "c"))),
        {"a", "c"},
        by_source("users", "/etc/passwd", "user", "name"),
    ),
    "groups": (
        ("ann:x:1:ann\n", "bob:x:2:bob\n", "cy:x:3:cy\n"),
        {"ann", "cy"},
        groups,
    ),
    "rules of sudo": (
        ("ann ALL=(ALL) ALL\n", "bob ALL=(ALL) ALL\n", "cy ALL=(ALL) ALL\n"),
        {"ann", "cy"},
        sudoers,
    ),
    "keys": (
        (key("A"), key("B"), key("C")),
        {"of A", "of C"},
        by_source(
            "users",
            "/home/a/.ssh/authorized_keys",
            "ssh_key",
            "comment",
            etc__passwd="a:x:1:1::/home/a:/bin/sh\n",
        ),
    ),
    "routes": (
        tuple(
            f"{name}\t00000000\t0101A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\n" for name in ("e0", "e1", "e2")
        ),
        {"e0", "e2"},
        by_parser(of_routes),
    ),
    "routes of IPv6": (
        tuple(
            f"{'0' * 32} 00 {'0' * 32} 00 fe80{'0' * 27}1 00000400 00000001 00000000 00000003 {name}\n"
            for name in ("e0", "e1", "e2")
        ),
        {"e0", "e2"},
        by_parser(of_routes6),
    ),
    "systemd's units": (
        tuple(f"{name}.service loaded failed failed It\n" for name in "abc"),
        {"a.service", "c.service"},
        by_parser(of_units),
    ),
    "PHP-FPM's pools": (
        tuple(f"[{name}]\nlisten = /run/{name}\npm = static\n\n" for name in "abc"),
        {"/run/a", "/run/c"},
        by_source("php_fpm", "/etc/php/8.2/fpm/php-fpm.conf", "php_pool", "listen"),
    ),
    "php.ini": (
        ("memory_limit = 1M\n", "post_max_size = 2M\n", "expose_php = Off\n"),
        {"memory_limit", "expose_php"},
        php_settings,
    ),
    "nginx' servers": (
        tuple(f"server {{\nserver_name {name};\nlocation / {{\ndeny all;\n}}\n}}\n" for name in "abc"),
        {"a", "c"},
        by_source("web", "/etc/nginx/sites/all.conf", "virtual_host", "name", etc__nginx__nginx_conf=""),
    ),
    "Apache's hosts": (
        tuple(f"<VirtualHost *>\nServerName {name}\n</VirtualHost>\n" for name in "abc"),
        {"a", "c"},
        by_source("web", "/etc/apache2/apache2.conf", "virtual_host", "name"),
    ),
}
# Lists of which a line can hold anything: a garbled one cannot be told.
FREE = ("nginx' servers", "apt's lists")


def nginx_servers(host: Build, text: str) -> tuple[set[str], int]:
    tree: Tree = host({"/etc/nginx/nginx.conf": "http {\ninclude all;\n}\n", "/etc/nginx/all": text}).tree
    hosts, skipped = nginx.nginx_hosts(tree)
    return {name for entry in hosts for name in entry.names}, skipped


LISTS["nginx' servers"] = (*LISTS["nginx' servers"][:2], nginx_servers)


def cut(line: str) -> str:
    return line[: len(line) // 2] + "\n"


def repeated(line: str) -> str:
    return line + line


def blank(line: str) -> str:
    return "\n"


def missing(line: str) -> str:
    return ""


def garbled(line: str) -> str:
    return "\x00\ufffd§ 7\n"


@pytest.mark.parametrize("spoil", [cut, repeated, blank, missing, garbled])
@pytest.mark.parametrize("name", LISTS)
def test_a_damaged_line_leaves_its_neighbours_unaffected(
    host: Build, name: str, spoil: Callable[[str], str]
) -> None:
    (first, middle, last), neighbours, read = LISTS[name]
    whole, skipped = read(host, first + middle + last)
    assert skipped == 0
    assert len(whole) == 3
    lines = middle.splitlines(keepends=True)
    counted = 0
    for at, line in enumerate(lines):
        spoilt = "".join([*lines[:at], spoil(line), *lines[at + 1 :]])
        if line.startswith("[") and spoil in (blank, missing):
            continue  # PHP-FPM itself takes what follows for the pool's before
        found, skipped = read(host, first + spoilt + last)
        assert neighbours <= found, spoilt
        counted += bool(skipped)
    if spoil is garbled and name not in FREE:
        assert counted == len(lines), "a garbled line is counted, whichever it is"


@pytest.mark.parametrize("name", sorted(LISTS.keys() - {"nginx' servers"}))
def test_a_list_without_an_intelligible_entry_finds_nothing_and_is_reported(host: Build, name: str) -> None:
    try:
        found, skipped = LISTS[name][2](host, garbled("") * 5)
    except ValueError:
        return
    assert (found, bool(skipped)) == (set(), True)


# Anything but an entry, in the place of one.
STRANGE = [None, 7, "text", [], {}, {"Id": None}, {"name": 1, "version": []}, {"Names": [], "Id": []}]


@pytest.mark.parametrize("strange", STRANGE, ids=repr)
def test_an_unexpected_entry_in_json_leaves_its_neighbours_unaffected(host: Build, strange: object) -> None:
    def packages(source: str, path: str, content: object) -> tuple[set[str], int]:
        findings = READERS[source](host({path: json.dumps(content)}))
        return {str(item["name"]) for _, item in findings.items}, findings.skipped

    entries = [{"name": "a", "version": "1"}, strange, {"name": "c", "version": "1"}]
    expected = ({"a", "c"}, 1)
    assert packages("composer", "/srv/a/vendor/composer/installed.json", {"packages": entries}) == expected
    locked = {f"node_modules/{name}": entry for name, entry in zip("abc", entries, strict=True)}
    assert packages("npm", "/srv/a/node_modules/.package-lock.json", {"packages": locked}) == expected
    findings = Findings()
    containers.add_images(
        findings, "docker", [{"Id": "1", "RepoTags": ["a:1"]}, strange, {"Id": "2", "RepoTags": ["c:1"]}]
    )
    containers.add_containers(findings, "docker", [{"Names": ["/a"]}, strange, {"Names": ["/c"]}])
    assert [item["name"] for _, item in findings.items] == ["a", "c", "a", "c"]
    assert findings.skipped == 2


@pytest.mark.parametrize("spoil", [cut, repeated, blank, missing, garbled])
@pytest.mark.parametrize("at", [0, 1])
def test_a_damaged_python_package_leaves_the_others_unaffected(
    host: Build, at: int, spoil: Callable[[str], str]
) -> None:
    lines = ["Name: b\n", "Version: 1\n"]
    lines[at] = spoil(lines[at])
    texts = {"a": "Name: a\nVersion: 1\n", "b": "".join(lines), "c": "Name: c\nVersion: 1\n"}
    place = "/usr/lib/python3/dist-packages"
    findings = READERS["python"](
        host({f"{place}/{name}.dist-info/METADATA": text for name, text in texts.items()})
    )
    assert {"a", "c"} <= {str(item["name"]) for _, item in findings.items}
    assert len(findings.items) + findings.skipped == 3


class Spoilt:
    """A runner whose source skips something in each run."""

    def run(self, order: Order) -> list[Outcome]:
        part = Part(skipped=2, reason="/var/lib/dpkg/status: a line of a control file that is no field")
        return [Outcome(name, 0.1, part) for name in order.sources]


def test_skipped_entries_are_counted_each_time_and_logged_once(
    host: Build, caplog: pytest.LogCaptureFixture
) -> None:
    service = InventoryService(host({}).roots, sources=["dpkg"], runner=Spoilt())
    for _ in range(3):
        service.hasten()
        service.refresh()
        service._signatures.clear()
    assert b'leitstand_inventory_items_skipped_total{source="dpkg"} 6' in text_page(
        service.snapshot().metrics
    )
    (record,) = caplog.records
    assert "inventory, dpkg" in record.getMessage()
    assert "/var/lib/dpkg/status" in record.getMessage()


def test_every_source_that_reads_a_list_is_tried_here() -> None:
    """A new source belongs into the lists above, or here with the reason why not."""
    tried = {"dpkg", "apt", "apk", "rpm", "users", "addresses", "systemd", "php_fpm", "php", "web"}
    tried |= {"composer", "npm", "python", "containers"}
    elsewhere = {
        "host": "one item",
        "reboot": "words",
        "bundles": "one file for each entry",
        "certificates": "one file for each entry",
        "databases": "no list",
        "libraries": "the kernel's own",
        "listeners": "the kernel's own",
        "mail": "single settings",
    }
    assert tried | elsewhere.keys() == SOURCES.keys()
